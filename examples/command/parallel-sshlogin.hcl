# GNU parallel logs in to machines and starts a worker on each: one start for all.
launcher "command" "parallel" {
  command  = "parallel"
  args     = ["--nonall", "--sshlogin", "node1,node2", "."]
  quote    = true
  together = true
  slots    = 1
  workdir  = "/tmp"
  muster   = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.command.parallel
  workers  = 2 # as many as there are machines
}
