# Two machines that reach this one: two workers on each, of one slot for every
# four cores they have.
launcher "ssh" "boxes" {
  remotes = ["ssh://me@big1.example.org", "ssh://me@[2001:db8::2]:2222"]
  muster  = "/opt/muster/bin/muster" # it is there already; without this it is copied
  workdir = "/data/project"
  slots   = 4
}

profile "cluster" {
  url      = "tls+tcp://head.example.org:5555"
  launcher = launcher.ssh.boxes
  workers  = 2
}
