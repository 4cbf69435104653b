# One srun for each worker, which stays as long as the worker: muster watches it as a
# process and ends it with the launch.
launcher "command" "srun" {
  command = "srun"
  args    = ["--mem=512", "-n", "1", "."]
  slots   = 1
  muster = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.command.srun
  workers  = 2
}
