# Without url and preset: Posit Workbench, from within a session, whose environment says
# where it is and has its cookie. The first cluster and its first profile are taken:
# CLUSTER, IMAGE and PROFILE stand for them where nobody has been asked.
launcher "http" "workbench" {
  muster = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.http.workbench
  workers  = 1
}
