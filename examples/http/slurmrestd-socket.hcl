# Slurm through its REST API, over the socket of this machine's slurmrestd, which knows
# the caller by the user number. slurmrestd gives jobs no environment of its own. With
# version, what is printed is in that version's words and can be pasted.
launcher "http" "socket" {
  preset      = "slurmrestd"
  url         = "unix:/run/slurmrestd.socket"
  version     = "v0.0.38"
  workdir     = "/scratch/me/sim"
  environment = ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/me"]
  muster      = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.http.socket
  workers  = 1
}
