# Every setting that a config can have, each once at least; docs/config.md says
# what they mean. All may be left out but scheduler, remotes of an ssh
# launcher and command of a command launcher.

# A cluster behind a login node.
launcher "cluster" "slurm" {
  scheduler = "slurm"          # slurm | pbs | torque | sge | lsf
  command   = "sbatch --quiet" # sbatch, qsub or bsub unless given
  array     = "1-100%20"       # a hundred workers, twenty at a time
  walltime  = "4h"             # or "04:00:00", "1-12:00:00"
  cpus      = 8
  memory    = "16GB" # 16,000,000,000 bytes; "16GiB" is 2^34
  gpus      = 1
  queue     = "main"
  account   = "proj42"
  name      = "sweep"
  output    = "/scratch/me/sweep/%A_%a.out"
  shell     = "/bin/bash -l" # module needs a login shell
  setup     = ["module load gcc/12"]
  workdir   = "/scratch/me/sweep"
  # In a heredoc $${ is what ${ is to the shell.
  options = <<-EOT
    #SBATCH --constraint=ib
    export OMP_PROC_BIND=$${OMP_PROC_BIND:-close}
  EOT
  slots     = 8
  poll      = "30s"
  join      = "file" # or "script", where nodes do not see the state directory
  muster    = "/home/me/bin/muster"
  via       = launcher.ssh.login
}

# Grid Engine, on its own login node, with directives from a file.
launcher "cluster" "sge" {
  scheduler            = "sge"
  array                = "1-10"
  cpus                 = 4
  parallel_environment = "smp"
  options_file         = "sge/directives.sh"
}

# Other people's workers, and nothing around them.
launcher "cluster" "mirai" {
  scheduler      = "slurm"
  bare           = true
  worker_command = "Rscript -e 'mirai::daemon(\"${worker.url}\")'"
}

# The login node, and a gate before it.
launcher "ssh" "gate" {
  remotes = ["ssh://me@gate.example.org"]
}
launcher "ssh" "login" {
  remotes    = ["ssh://me@login.example.org:22"]
  via        = launcher.ssh.gate
  client     = "native" # or "openssh", which command starts
  accept_new = false
  timeout    = "10s"
  addresses  = ["login-ib0"] # as compute nodes call it
  state      = "$SCRATCH/muster"
  binary     = "/home/me/.local/share/muster/bin/muster-linux-amd64"
}

# Machines without a scheduler.
launcher "ssh" "boxes" {
  remotes = ["ssh://me@big1.example.org", "ssh://me@[2001:db8::2]:2222"]
  tunnel  = true
  workdir = "/data/project"
  slots   = 4
  poll    = "10s"
  muster  = "/opt/muster/bin/muster"
}
launcher "ssh" "dask" {
  remotes        = ["ssh://me@big1.example.org"]
  client         = "openssh"
  command        = "ssh -F /home/me/.ssh/cluster"
  bare           = true
  worker_command = "dask worker tcp://head.example.org:8786"
}

# A service that starts workers when a request asks for it, and tells how they stand.
launcher "http" "service" {
  url     = "https://api.example.org/launch"
  method  = "POST"
  headers = { X-Api-Key = env("MY_API_KEY"), X-Team = "genomics" }
  cookie  = env("MY_COOKIE") # two headers more, where that is how it knows you
  token   = env("MY_TOKEN")
  ca      = "http/ca.pem"
  timeout = "30s"
  data    = jsonencode({ name = worker.name, command = ["/bin/sh", "-c", worker.command] })
  id      = answer.json.id
  status {
    url     = "https://api.example.org/jobs/${urlencode(id)}"
    method  = "GET"
    state   = answer.json.state
    pending = ["PARKED"]
    running = ["UP"]
    ended   = ["GONE"]
  }
  cancel {
    url    = "https://api.example.org/jobs/${urlencode(id)}"
    method = "DELETE"
    data   = jsonencode({ reason = "muster down" })
  }
  poll  = "10s"
  join  = "inline" # in worker.command; or "env", "file"
  slots = 4
}

# As R mirai asks another people's service, to the byte.
launcher "http" "mirai" {
  url            = "https://api.example.org/launch"
  data           = "{\"command\": \"%s\"}"
  bare           = true
  worker_command = "Rscript -e 'mirai::daemon(\"${worker.url}\")'"
}

# Posit Workbench, from within a session of it.
launcher "http" "workbench" {
  preset           = "posit-workbench"
  cluster          = "Kubernetes"
  resource_profile = "small"
  cpus             = 2
  memory           = "4GB"
  job_name         = "sim"
  exe              = "/bin/sh" # or "Rscript", and its library folders
  lib_paths        = []
  muster           = "/opt/muster/bin/muster"
}

# Slurm through its REST API.
launcher "http" "slurm" {
  preset      = "slurmrestd"
  url         = "http://slurm.example.org:6820" # or "unix:/run/slurmrestd.socket"
  token       = env("SLURM_JWT")
  user        = "me"
  version     = "v0.0.38" # asked for unless given
  array       = "1-100%20"
  queue       = "main"
  account     = "proj42"
  walltime    = "4h"
  workdir     = "/scratch/me/sweep"
  shell       = "/bin/bash -l"
  setup       = ["module load gcc/12"]
  environment = ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/me"]
  job         = { constraint = "ib" }
}

# Any command: a job of Slurm for each worker, its end and its state known.
launcher "command" "sbatch" {
  command = "sbatch"
  args    = ["--parsable", "--mem=512", "--wrap", "."]
  quote   = true # "." is one word
  shell   = false
  id      = trimspace(output)
  status  = ["squeue", "-h", "-j", id, "-o", "%T"]
  state   = trimspace(output)
  pending = ["REQUEUED"]
  running = ["STAGE_OUT"]
  ended   = ["Invalid"]
  cancel  = ["scancel", id]
  timeout = "1m"
  poll    = "10s"
  slots   = 1
  workdir = "/scratch/me/sweep"
  muster  = "/opt/muster/bin/muster"
}

# One start for all workers, each of which its shell tells which it is; the secret by
# which they join goes to the command's standard input.
launcher "command" "podman" {
  command  = "ssh"
  args     = ["big1.example.org", "sh"]
  stdin    = <<-EOT
    export MUSTER_JOIN='${worker.join}'
    for i in $(seq ${worker.count}); do
      podman run --rm --env MUSTER_JOIN image ${worker.command} &
    done
    wait
  EOT
  together = true
  index    = "$i"
  join     = "env"
}

# Other people's workers.
launcher "command" "dask" {
  command        = "srun"
  args           = ["sh", "-c", "."]
  quote          = true
  worker_command = "dask worker tcp://head.example.org:8786"
}

# muster run -p cluster
profile "cluster" {
  launcher    = launcher.cluster.slurm # or a list, which may have "local"
  url         = "tls+tcp://0.0.0.0:5555"
  workers     = 1 # how often the array goes out
  memory      = "100MB"
  share_limit = "4GB"
  spread      = false
  scheduling  = "fifo" # or "round-robin"
  reattach    = "10m"
  everywhere  = ["export OMP_NUM_THREADS=8"]
  sync        = false
  seed        = 42
  worker {
    slots     = 8
    idletime  = "5m"
    walltime  = "3h50m"
    maxtasks  = 0
    cleanup   = true
    autoexit  = "now"     # or "finish", "never"
    output    = "collect" # or "discard", "echo"
    asyncdial = false
  }
  tls { # without it, workers pin a key that is made on first use
    cert       = file("tls/host.pem") # may hold the key too
    key        = exec(["vault", "kv", "get", "-field=key", "secret/muster"])
    passphrase = exec(["vault", "kv", "get", "-field=passphrase", "secret/muster"])
    chain      = file("tls/ca.pem") # or chain_path, on the workers' machines
    crl        = file("tls/ca.crl") # or crl_path
    name       = "head.example.org"
  }
}

# muster run -p boxes: workers of one slot for every four cores.
profile "boxes" {
  launcher = launcher.ssh.boxes
  workers  = 2 # on each machine
  tls {
    cert       = file("tls/host.pem")
    key        = exec(["pass", "muster/host.key"])
    chain_path = "/etc/ssl/certs/site-ca.pem"
    crl_path   = "/etc/ssl/site-ca.crl"
    name       = "head.example.org"
  }
}

# For other people's workers: muster launch -p mirai
profile "mirai" {
  launcher = launcher.cluster.mirai
  # interface = "ib0" (or a list) and family = "ipv4" or "ipv6" choose among addresses
  url = host_url({ port = 5555, tls = false })
}
