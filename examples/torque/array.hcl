# Torque, whose qsub has PBS Pro's name and other options: -t, not -J; nodes and
# ppn, not select. `qsub --version` tells them apart.
launcher "cluster" "array" {
  scheduler = "torque"
  name      = "sim"
  array     = "1-40%10"
  walltime  = "4h"
  cpus      = 4
  memory    = "8GiB"
  queue     = "batch"
  workdir   = "/scratch/me/sim"
  output    = "/scratch/me/sim/log/out"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.array
}
