# Every setting that a config can have, each once at least; docs/config.md says
# what they mean. All but scheduler, and remotes of an ssh launcher, may be left out.

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

# muster run -p cluster
profile "cluster" {
  launcher   = launcher.cluster.slurm # or a list, which may have "local"
  url        = "tls+tcp://0.0.0.0:5555"
  workers    = 1 # how often the array goes out
  memory     = "100MB"
  scheduling = "fifo" # or "round-robin"
  reattach   = "10m"
  everywhere = ["export OMP_NUM_THREADS=8"]
  sync       = false
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
}

# muster run -p boxes: workers of one slot for every four cores.
profile "boxes" {
  launcher = launcher.ssh.boxes
  workers  = 2 # on each machine
}

# For other people's workers: muster launch -p mirai
profile "mirai" {
  launcher = launcher.cluster.mirai
  # interface = "ib0" (or a list) and family = "ipv4" or "ipv6" choose among addresses
  url = host_url({ port = 5555 })
}
