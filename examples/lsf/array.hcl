# LSF. The array is part of the job's name there.
launcher "cluster" "array" {
  scheduler = "lsf"
  name      = "sim"
  array     = "1-40%10"
  walltime  = "4h"
  cpus      = 4
  memory    = "8GiB"
  queue     = "normal"
  account   = "proj42"
  workdir   = "/scratch/me/sim"
  output    = "/scratch/me/sim/log/%J.%I"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.array
}
