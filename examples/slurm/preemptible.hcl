# A queue whose jobs may be taken away at any time: Slurm requeues the worker,
# which joins again under its name; what it ran is tried again.
launcher "cluster" "spare" {
  scheduler = "slurm"
  array     = "1-500%100"
  walltime  = "2h"
  cpus      = 1
  queue     = "spare"
  options   = <<-EOT
    #SBATCH --requeue
    #SBATCH --open-mode=append
  EOT
  workdir   = "/scratch/me/sweep"
  output    = "/scratch/me/sweep/%A_%a.out"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.spare
}
