# A machine that cannot reach this one, behind another: its workers come in by the
# SSH connection.
launcher "ssh" "gate" {
  remotes = ["ssh://me@gate.example.org"]
}

launcher "ssh" "inner" {
  remotes = ["ssh://me@node7:222"]
  via     = launcher.ssh.gate
  tunnel  = true
  muster  = "/opt/muster/bin/muster"
}

profile "cluster" {
  url      = "tls+tcp://127.0.0.1:5555"
  launcher = launcher.ssh.inner
  workers = 1
}
