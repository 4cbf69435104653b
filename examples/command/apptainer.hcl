# Each worker in an image that Apptainer runs; your home, where muster and the file with
# the secret are, is seen in it.
launcher "command" "apptainer" {
  command = "apptainer"
  args    = ["exec", "--cleanenv", "image.sif", "."]
  slots   = 1
  muster = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.command.apptainer
  workers  = 2
}
