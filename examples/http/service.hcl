# A service of your own that runs a command for whoever has a token. Each worker is one
# request. What the service answers has an id, by which muster asks how the job stands
# and ends it: so Ctrl-C and `muster down` leave nothing behind.
launcher "http" "service" {
  url   = "https://api.example.org/launch"
  token = env("MY_TOKEN") # a header more: Authorization: Bearer ...
  ca    = "ca.pem"        # who has signed the service's certificate
  # An object is turned into JSON, so no command can break it.
  data = jsonencode({ name = worker.name, command = ["/bin/sh", "-c", worker.command] })
  id   = answer.json.id
  status {
    url = "https://api.example.org/jobs/${urlencode(id)}"
  }
  cancel {
    url = "https://api.example.org/jobs/${urlencode(id)}"
  }
  muster = "/opt/muster/bin/muster" # where it lies on the service's machines
}

profile "cluster" {
  launcher = launcher.http.service
  workers  = 2
}
