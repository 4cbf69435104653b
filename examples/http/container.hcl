# A service that starts containers. join = "env" leaves the secret out of the command,
# which many can see: the request puts it into the container's environment.
launcher "http" "container" {
  url     = "https://containers.example.org/v1/run"
  headers = { X-Api-Key = env("MY_API_KEY") }
  join    = "env"
  data = jsonencode({
    image = "registry.example.org/muster:1"
    args  = worker.argv
    env   = { MUSTER_JOIN = worker.join }
  })
  id = answer.json.name
  cancel {
    url = "https://containers.example.org/v1/run/${urlencode(id)}"
  }
  slots  = 4
  muster = "/usr/bin/muster" # in the image
}

profile "cluster" {
  launcher = launcher.http.container
  workers  = 1
}
