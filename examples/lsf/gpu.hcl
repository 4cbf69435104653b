# LSF with a GPU for each worker, and a requirement of the site's own.
launcher "cluster" "gpu" {
  scheduler = "lsf"
  array     = "1-8"
  walltime  = "12h"
  cpus      = 8
  gpus      = 1
  slots     = 1
  options   = <<-EOT
    #BSUB -R "select[rh8]"
  EOT
  workdir   = "/scratch/me/train"
  output    = "/scratch/me/train/%J.%I"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.gpu
}
