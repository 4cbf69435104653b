# Many small tasks: a hundred workers of four slots, twenty of them at a time.
launcher "cluster" "array" {
  scheduler = "slurm"
  array     = "1-100%20"
  walltime  = "4h"
  cpus      = 4
  memory    = "8GiB"
  queue     = "main"
  account   = "proj42"
  shell     = "/bin/bash -l"
  setup     = ["module load gcc/12"]
  workdir   = "/scratch/me/sim"
  output    = "/scratch/me/sim/log/%A_%a.out"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.array
}
