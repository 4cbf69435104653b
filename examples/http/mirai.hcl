# R mirai's own way: %s in data is the worker's command, escaped as mirai escapes it, and
# %% is a percent sign. With bare nothing else is added either.
launcher "http" "mirai" {
  url            = "https://api.example.org/launch"
  token          = env("MY_TOKEN")
  data           = "{\"command\": \"%s\"}"
  bare           = true
  worker_command = "mirai::daemon(\"${worker.url}\")"
}

profile "cluster" {
  url      = "tcp://10.75.32.70:5555"
  launcher = launcher.http.mirai
  workers  = 1
}
