# One task at a time on each of sixteen GPUs. The site wants a certain card,
# which options say: they win over gpus, and the script says so.
launcher "cluster" "gpu" {
  scheduler = "slurm"
  array     = "1-16"
  walltime  = "24:00:00"
  cpus      = 8
  gpus      = 1
  slots     = 1
  memory    = "64GB"
  queue     = "gpu"
  options   = <<-EOT
    #SBATCH --gres=gpu:a100:1
    #SBATCH --constraint=nvlink
  EOT
  setup     = ["export CUDA_DEVICE_ORDER=PCI_BUS_ID"]
  workdir   = "/scratch/me/train"
  output    = "/scratch/me/train/%A_%a.out"
  muster    = "/home/me/bin/muster"
}

profile "cluster" {
  launcher = launcher.cluster.gpu
}
