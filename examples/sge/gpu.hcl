# Grid Engine, rerunnable, with a resource that this site has for its GPUs.
launcher "cluster" "gpu" {
  scheduler = "sge"
  array     = "1-8"
  walltime  = "12h"
  slots     = 1
  options   = <<-EOT
    #$ -l gpu_card=1,mem_free=32G
    #$ -r y
  EOT
  workdir   = "/scratch/me/train"
  output    = "/scratch/me/train/$JOB_ID.$TASK_ID"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.gpu
}
