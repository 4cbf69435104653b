# A cluster behind a login node, from a laptop: `muster run -p cluster`. Compute
# nodes dial the login node by its name on their own network.
launcher "ssh" "login" {
  remotes   = ["ssh://me@login.example.org"]
  addresses = ["login-ib0"]
}

launcher "cluster" "slurm" {
  scheduler = "slurm"
  array     = "1-100%20"
  walltime  = "4h"
  cpus      = 8
  workdir   = "/scratch/me/project"
  muster    = "/scratch/me/bin/muster"
  via       = launcher.ssh.login
}

profile "cluster" {
  launcher = launcher.cluster.slurm
}
