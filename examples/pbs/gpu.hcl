# PBS Pro with a select statement of the site's own: it wins over cpus, gpus
# and memory, and an array there counts as array.
launcher "cluster" "gpu" {
  scheduler = "pbs"
  walltime  = "12h"
  cpus      = 8
  gpus      = 1
  slots     = 1
  options   = <<-EOT
    #PBS -J 1-8
    #PBS -l select=1:ncpus=8:ngpus=1:mem=64gb:gpu_model=a100
    #PBS -r y
  EOT
  workdir   = "/scratch/me/train"
  output    = "/scratch/me/train/^array_index^.out"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.gpu
}
