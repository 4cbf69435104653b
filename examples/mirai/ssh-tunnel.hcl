# R mirai's ssh_config(tunnel = TRUE): the port is that of the url, at both ends.
launcher "ssh" "mirai" {
  remotes        = ["ssh://10.75.32.90"]
  bare           = true
  tunnel         = true
  worker_command = "Rscript -e 'mirai::daemon(\"tcp://127.0.0.1:5555\")'"
}

profile "cluster" {
  url      = "tcp://127.0.0.1:5555"
  launcher = launcher.ssh.mirai
  workers = 1
}
