# Every block and setting that a config may have. Settings of launchers that are
# not built yet are read, and refused where they would be used.
launcher "cluster" "slurm" {
  scheduler = "slurm"  # slurm | pbs | torque | sge | lsf
  command   = "sbatch" # the default: sbatch, qsub or bsub
  array     = "1-100%20"
  walltime  = "4h"
  cpus      = 8
  memory    = "16GB"
  gpus      = 0
  queue     = "main"
  account   = "proj42"
  shell     = "/bin/bash -l" # default /bin/sh
  setup     = ["module load gcc/12"]
  options   = <<-EOT
      #SBATCH --constraint=ib
  EOT
  via       = launcher.ssh.login
}
launcher "ssh" "login" {
  remotes = ["ssh://me@login.example.org:22"]
  tunnel  = true
  timeout = "10s"
}
launcher "http" "workbench" {
  preset           = "posit-workbench"
  cluster          = "Kubernetes"
  resource_profile = "rstudio"
}
launcher "http" "api" {
  url    = "https://api.example.org/launch"
  method = "POST"
  token  = env("MY_API_KEY")
  data   = jsonencode({ command = worker.command })
}
launcher "command" "srun" {
  command = "srun"
  args    = ["--mem", "512", "-n", "1", "."]
}
profile "cluster" {
  # interface = "ib0" (or a list) and family = "ipv4" or "ipv6" choose among addresses
  url        = host_url({ tls = true, port = 5555 })
  launcher   = launcher.cluster.slurm # or a list
  workers    = 1
  memory     = "100MB"
  scheduling = "fifo" # or "round-robin"
  reattach   = "10m"
  everywhere = ["export OMP_NUM_THREADS=8"]
  worker {
    slots    = 8
    idletime = "5m"
    walltime = "3h50m"
    maxtasks = 0
    cleanup  = true
    autoexit = "now"
  }
  tls {
    cert = file("host.pem")
    key  = file("host.key")
  }
}
