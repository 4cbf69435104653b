# A job array through slurmrestd, with a token: SLURM_JWT as `scontrol token` prints it.
# job has what no setting is for, by Slurm's own names.
launcher "http" "array" {
  preset      = "slurmrestd"
  url         = "http://slurm.example.org:6820"
  user        = "me"
  token       = env("SLURM_JWT")
  version     = "v0.0.40"
  array       = "1-100%20"
  queue       = "main"
  walltime    = "4h"
  cpus        = 4
  memory      = "8GiB"
  workdir     = "/scratch/me/sim"
  setup       = ["module load gcc/12"]
  shell       = "/bin/bash -l"
  environment = ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/me"]
  job         = { constraint = "ib" }
  join        = "file" # where the jobs see this home: they can be requeued then
  muster      = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.http.array
}
