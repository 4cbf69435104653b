# One job of HTCondor for each worker: condor_submit reads what it is from standard
# input, and condor_q says how it stands by a number.
launcher "command" "condor" {
  command = "condor_submit"
  args    = ["-terse", "-"]
  stdin   = <<-EOT
    universe            = vanilla
    executable          = /bin/sh
    transfer_executable = false
    arguments           = "-c 'exec ${worker.command}'"
    request_cpus        = 4
    queue
  EOT
  slots   = 4
  id      = regex("^[0-9.]+", output)
  status  = ["condor_q", id, "-autoformat", "JobStatus"]
  pending = ["1", "5"]      # idle, held
  running = ["2", "6", "7"] # running, transferring output, suspended
  ended   = ["3", "4"]      # removed, completed
  cancel  = ["condor_rm", id]
  muster = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.command.condor
  workers  = 2
}
