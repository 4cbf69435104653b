package testbed

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Slurm is a Slurm with nodes in partitions main (preemptible by requeue) and
// high: n1 to nN on this machine, or the compute nodes of a network, c1 to cN.
type Slurm struct {
	Cluster
	Socket, URL string // of its slurmrestd, where StartSlurmREST booted it
	letter      string // of the nodes' names
	nodes       []*exec.Cmd
}

// Qsub is Slurm's own qsub, which reads #PBS lines, where test.sh puts it.
const Qsub = "/usr/local/lib/slurm-wlm-torque/usr/bin/qsub"

// StartSlurm boots Slurm below dir, which must be absolute and whose parents
// others may traverse.
func StartSlurm(dir string, nodes, cpus int) (*Slurm, error) {
	return startSlurm(nil, dir, nodes, cpus, "")
}

// Where Slurm listens on a network: its controller and its nodes' daemons.
const (
	SlurmctldPort = 6817
	SlurmdPort    = 6818
)

// StartSlurmOn boots Slurm on a network: its controller on the login node, a
// daemon on each compute node. Commands on these find it, in sessions of an sshd
// that is started later too; the laptop does not.
func StartSlurmOn(n *Network, dir string, cpus int) (*Slurm, error) {
	for _, name := range n.Nodes() {
		if name == "laptop" || name == "jump" {
			continue
		}
		if err := n.Setenv(name, "SLURM_CONF="+filepath.Join(dir, "slurm.conf")); err != nil {
			return nil, err
		}
	}
	return startSlurm(n, dir, n.opts.Compute, cpus, "")
}

// startSlurm boots Slurm with more lines of slurm.conf(5).
func startSlurm(n *Network, dir string, nodes, cpus int, lines string) (_ *Slurm, err error) {
	s := &Slurm{Cluster: Cluster{Dir: dir, net: n, Env: []string{"SLURM_CONF=" + filepath.Join(dir, "slurm.conf")}}, letter: "n"}
	if n != nil {
		s.letter = "c"
	}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	for _, d := range []string{"state", "log", "munge"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	key := make([]byte, 1024)
	rand.Read(key)
	if err := os.WriteFile(filepath.Join(dir, "munge/key"), key, 0o600); err != nil {
		return nil, err
	}
	if err := s.writeConf(nodes, cpus, lines); err != nil {
		return nil, err
	}
	// Jobs get PBS's variables too, as on sites that came from there.
	if spank, _ := filepath.Glob("/usr/lib/*/slurm-wlm/spank_pbs.so"); len(spank) > 0 {
		if err := os.WriteFile(filepath.Join(dir, "plugstack.conf"), []byte("required "+spank[0]+"\n"), 0o644); err != nil {
			return nil, err
		}
	}
	munge := filepath.Join(dir, "munge")
	if _, err := s.daemon("login", "munged", "-F", "--force", "--socket="+munge+"/socket", "--key-file="+munge+"/key", "--pid-file="+munge+"/pid",
		"--seed-file="+munge+"/seed", "--log-file="+munge+"/log", "--num-threads=2"); err != nil {
		return nil, err
	}
	if err := s.await("munge", func() bool { return exec.Command("munge", "-S", munge+"/socket", "-n").Run() == nil }); err != nil {
		return nil, err
	}
	if _, err := s.daemon("login", "slurmctld", "-D", "-f", dir+"/slurm.conf"); err != nil {
		return nil, err
	}
	// Before slurmctld ends, its jobs do.
	s.stop = append(s.stop, func() {
		endAll(s.Env[0], func(environ string) bool { return strings.Contains(environ, "\x00SLURM_JOB_ID=") })
	})
	if err := s.await("slurmctld", func() bool {
		out, _ := s.Output("scontrol", "ping")
		return strings.Contains(out, "is UP")
	}); err != nil {
		return nil, err
	}
	for i := range nodes {
		if err := s.StartNode(i + 1); err != nil {
			return nil, err
		}
	}
	return s, s.await("every node", func() bool {
		out, _ := s.Output("sinfo", "-h", "-N", "-p", "main", "-t", "idle,mix,alloc", "-o", "%N")
		return strings.Count(out, "\n") == nodes
	})
}

func (s *Slurm) node(n int) string { return fmt.Sprintf("%s%d", s.letter, n) }

// StartNode starts the slurmd of node n, from 1.
func (s *Slurm) StartNode(n int) error {
	node := s.node(n)
	if err := os.MkdirAll(filepath.Join(s.Dir, "spool-"+node), 0o755); err != nil {
		return err
	}
	cmd, err := s.daemon(node, "slurmd", "-D", "-f", s.Dir+"/slurm.conf", "-N", node)
	for len(s.nodes) < n {
		s.nodes = append(s.nodes, nil)
	}
	s.nodes[n-1] = cmd
	return err
}

// FailNode kills node n's slurmd and all that runs there, and has Slurm know.
func (s *Slurm) FailNode(n int) error {
	s.nodes[n-1].Process.Kill()
	node := s.node(n)
	endAll(s.Env[0], func(environ string) bool { return strings.Contains(environ, "\x00SLURMD_NODENAME="+node+"\x00") })
	_, err := s.Output("scontrol", "update", "nodename="+node, "state=down", "reason=failed")
	return err
}

// daemons says where slurmctld and each slurmd run: a line of slurm.conf(5)
// without what is the same for all.
func (s *Slurm) daemons(nodes int) (ctl string, slurmds []string, err error) {
	if s.net != nil {
		for i := range nodes {
			c := s.node(i + 1)
			slurmds = append(slurmds, fmt.Sprintf("NodeName=%s NodeHostname=%[1]s NodeAddr=%s Port=%d", c, s.net.Addr(c), SlurmdPort))
		}
		return fmt.Sprintf("SlurmctldHost=login(%s)\nSlurmctldPort=%d", LoginAddr, SlurmctldPort), slurmds, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", nil, err
	}
	host, _, _ = strings.Cut(host, ".")
	ports, err := freePorts(nodes + 1)
	if err != nil {
		return "", nil, err
	}
	for i := range nodes {
		slurmds = append(slurmds, fmt.Sprintf("NodeName=%s NodeHostname=%s NodeAddr=127.0.0.1 Port=%d", s.node(i+1), host, ports[i+1]))
	}
	return fmt.Sprintf("SlurmctldHost=%s(127.0.0.1)\nSlurmctldPort=%d", host, ports[0]), slurmds, nil
}

func (s *Slurm) writeConf(nodes, cpus int, lines string) error {
	ctl, slurmds, err := s.daemons(nodes)
	if err != nil {
		return err
	}
	conf := fmt.Sprintf(`ClusterName=test
%s
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=%[2]s/munge/socket,cred_expire=5
StateSaveLocation=%[2]s/state
SlurmctldPidFile=%[2]s/state/slurmctld.pid
SlurmctldLogFile=%[2]s/log/slurmctld.log
SlurmdPidFile=%[2]s/state/%%n.pid
SlurmdLogFile=%[2]s/log/%%n.log
SlurmdSpoolDir=%[2]s/spool-%%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=1,sched_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
MaxArraySize=1001
KillWait=2
SlurmdTimeout=10
MessageTimeout=10
SlurmdParameters=config_overrides
`, ctl, s.Dir)
	for _, d := range slurmds {
		conf += fmt.Sprintf("%s CPUs=%d RealMemory=4000\n", d, cpus)
	}
	conf += fmt.Sprintf("PartitionName=main Nodes=%[2]s[1-%[1]d] Default=YES MaxTime=INFINITE DefaultTime=10 PriorityTier=1 PreemptMode=REQUEUE\n"+
		"PartitionName=high Nodes=%[2]s[1-%[1]d] MaxTime=INFINITE DefaultTime=10 PriorityTier=10 PreemptMode=OFF\n", nodes, s.letter)
	conf += lines
	return os.WriteFile(filepath.Join(s.Dir, "slurm.conf"), []byte(conf), 0o644)
}
