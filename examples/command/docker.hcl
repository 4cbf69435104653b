# Each worker in a container that goes with it. The container sees this program and the
# file with the secret; neither the command line nor `docker inspect` shows that.
launcher "command" "docker" {
  command = "docker"
  args = ["run", "--rm", "--init", "--network", "host",
    "--volume", "${worker.argv[0]}:${worker.argv[0]}:ro",
    "--volume", "${worker.join_file}:${worker.join_file}:ro",
  "debian:stable-slim", "."]
  slots = 1
  muster = "/opt/muster/bin/muster"
}

profile "cluster" {
  launcher = launcher.command.docker
  workers  = 2
}
