# One job of Flux for each worker.
launcher "command" "flux" {
  command = "flux"
  args    = ["submit", "--nslots=1", "--cores-per-slot=4", "."]
  slots   = 4
  id      = trimspace(output)
  status  = ["flux", "jobs", "--no-header", "--format={state}", id]
  cancel  = ["flux", "cancel", id]
  muster = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.command.flux
  workers  = 2
}
