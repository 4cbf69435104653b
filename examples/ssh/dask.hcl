# Other people's workers, two on one machine, whose scheduler here they reach by a
# tunnel. One login carries it for both.
launcher "ssh" "dask" {
  remotes        = ["ssh://me@big1.example.org:222"]
  tunnel         = true
  timeout        = "10s"
  worker_command = "dask worker tcp://127.0.0.1:8786"
}

profile "cluster" {
  url      = "tcp://127.0.0.1:8786"
  launcher = launcher.ssh.dask
  workers  = 2
}
