# Posit Workbench on Kubernetes, with so many CPUs and so much memory in place of a
# resource profile.
launcher "http" "kubernetes" {
  preset   = "posit-workbench"
  cluster  = "Kubernetes"
  cpus     = 4
  memory   = "8GB"
  job_name = "sim"
  muster   = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.http.kubernetes
  workers  = 1
}
