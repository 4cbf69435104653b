# PBS Pro and OpenPBS: sixty workers of four slots.
launcher "cluster" "array" {
  scheduler = "pbs"
  array     = "1-60"
  walltime  = "4h"
  cpus      = 4
  memory    = "8GiB"
  queue     = "workq"
  account   = "proj42"
  shell     = "/bin/bash -l"
  setup     = ["module load gcc/12"]
  workdir   = "/scratch/me/sim"
  output    = "/scratch/me/sim/log/^array_index^.out"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.array
}
