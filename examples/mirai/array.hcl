# The same as one job array, which mirai cannot make.
launcher "cluster" "mirai" {
  scheduler      = "slurm"
  name           = "mirai"
  array          = "1-50"
  memory         = "10GiB"
  setup          = ["module load R/4.5.0"]
  shell          = "/bin/bash -l"
  workdir        = "/home/me/analysis"
  worker_command = "Rscript -e 'mirai::daemon(\"tcp://10.75.32.70:5555\")'"
}

profile "cluster" {
  launcher = launcher.cluster.mirai
}
