# Other people's workers by SSH, in the very words of R mirai's ssh_config().
launcher "ssh" "mirai" {
  remotes        = ["ssh://me@10.75.32.90:222", "ssh://10.75.32.91"]
  bare           = true
  worker_command = "Rscript -e 'mirai::daemon(\"tcp://10.75.32.70:5555\")'"
}

profile "cluster" {
  launcher = launcher.ssh.mirai
  workers  = 1
}
