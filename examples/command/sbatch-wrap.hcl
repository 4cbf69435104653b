# One job of Slurm for each worker, as mirai's manual has it. What sbatch prints is the
# job's id, by which its state is asked for and the job is ended.
launcher "command" "sbatch" {
  command = "sbatch"
  args    = ["--parsable", "--mem=512", "-n", "1", "--wrap", "."]
  quote   = true
  slots   = 1
  id      = trimspace(output)
  status  = ["squeue", "-h", "-t", "all", "-j", id, "-o", "%T"]
  ended   = ["Invalid job id"] # squeue fails with that when it has forgotten the job
  cancel  = ["scancel", id]
  muster = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.command.sbatch
  workers  = 2
}
