# All workers by one indexed Job, with a Secret for the string by which they join: that
# is on no command line and in no pod's description. Both are deleted at the end; the
# string admits nobody any more by then.
launcher "command" "kubernetes" {
  command = "kubectl"
  args    = ["create", "-f", "-"]
  stdin = jsonencode({
    apiVersion = "v1"
    kind       = "List"
    items = [{
      apiVersion = "v1"
      kind       = "Secret"
      metadata   = { name = worker.name }
      stringData = { join = worker.join }
      }, {
      apiVersion = "batch/v1"
      kind       = "Job"
      metadata   = { name = worker.name }
      spec = {
        completionMode = "Indexed"
        completions    = worker.count
        parallelism    = worker.count
        backoffLimit   = 0
        template = { spec = {
          restartPolicy = "Never"
          containers = [{
            name    = "worker"
            image   = "registry.example.org/muster:latest"
            command = ["/bin/sh", "-c", "exec ${worker.command}"]
            env = [{
              name      = "MUSTER_JOIN"
              valueFrom = { secretKeyRef = { name = worker.name, key = "join" } }
            }]
          }]
        } }
      }
    }]
  })
  together = true
  index    = "$((JOB_COMPLETION_INDEX + 1))"
  join     = "env"
  muster   = "/usr/local/bin/muster" # in the image
  id       = worker.name
  status   = ["kubectl", "get", "job", id, "-o", "jsonpath=Job{.status.conditions[?(@.status==\"True\")].type}"]
  running  = ["Job"]
  ended    = ["JobComplete", "JobFailed", "JobSuccessCriteriaMet", "JobFailureTarget", "NotFound"]
  cancel   = ["kubectl", "delete", "--ignore-not-found", "job/${id}", "secret/${id}"]
}

profile "cluster" {
  launcher = launcher.command.kubernetes
  workers  = 3
}
