# Other people's workers need no dispatcher of muster's. This is what R mirai's
# cluster_config("sbatch", options) submits, to the byte.
launcher "cluster" "mirai" {
  scheduler      = "slurm"
  bare           = true
  options        = <<-EOT
    #SBATCH --job-name=mirai
      #SBATCH --mem=10G
    #SBATCH --output=job.out
    module load R/4.5.0
  EOT
  worker_command = "Rscript -e 'mirai::daemon(\"tcp://10.75.32.70:5555\")'"
}

profile "cluster" {
  launcher = launcher.cluster.mirai
  workers  = 2
}
