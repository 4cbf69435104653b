# Grid Engine: memory counts for each slot there, so 8 GiB for four is 2 each.
launcher "cluster" "array" {
  scheduler            = "sge"
  array                = "1-40%10"
  walltime             = "4h"
  cpus                 = 4
  memory               = "8GiB"
  parallel_environment = "smp"
  queue                = "all.q"
  account              = "proj42"
  shell                = "/bin/bash -l"
  setup                = ["module load gcc/12"]
  workdir              = "/scratch/me/sim"
  output               = "/scratch/me/sim/log/$JOB_ID.$TASK_ID"
  muster               = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.array
}
