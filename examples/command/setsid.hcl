# Workers on this machine, each in a session of its own.
launcher "command" "setsid" {
  command = "setsid"
  args    = ["--fork", "."]
  slots   = 1
  muster = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.command.setsid
  workers  = 2
}
