# One worker with many slots. PBS Pro refuses arrays of one: this is a plain job.
launcher "cluster" "fat" {
  scheduler = "pbs"
  array     = "1"
  walltime  = "48h"
  cpus      = 64
  memory    = "256GB"
  workdir   = "/scratch/me/sim"
  output    = "/scratch/me/sim/fat.out"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.fat
}
