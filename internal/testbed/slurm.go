package testbed

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Slurm is a Slurm with nodes n1 to nN on this machine, in partitions main
// (preemptible by requeue) and high.
type Slurm struct {
	Cluster
	nodes []*exec.Cmd
}

// Qsub is Slurm's own qsub, which reads #PBS lines, where test.sh puts it.
const Qsub = "/usr/local/lib/slurm-wlm-torque/usr/bin/qsub"

// StartSlurm boots Slurm below dir, which must be absolute and whose parents
// others may traverse.
func StartSlurm(dir string, nodes, cpus int) (s *Slurm, err error) {
	s = &Slurm{Cluster: Cluster{Dir: dir, Env: []string{"SLURM_CONF=" + filepath.Join(dir, "slurm.conf")}}}
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
	if err := s.writeConf(nodes, cpus); err != nil {
		return nil, err
	}
	// Jobs get PBS's variables too, as on sites that came from there.
	if spank, _ := filepath.Glob("/usr/lib/*/slurm-wlm/spank_pbs.so"); len(spank) > 0 {
		if err := os.WriteFile(filepath.Join(dir, "plugstack.conf"), []byte("required "+spank[0]+"\n"), 0o644); err != nil {
			return nil, err
		}
	}
	munge := filepath.Join(dir, "munge")
	if _, err := s.daemon("munged", "-F", "--force", "--socket="+munge+"/socket", "--key-file="+munge+"/key", "--pid-file="+munge+"/pid",
		"--seed-file="+munge+"/seed", "--log-file="+munge+"/log", "--num-threads=2"); err != nil {
		return nil, err
	}
	if err := s.await("munge", func() bool { return exec.Command("munge", "-S", munge+"/socket", "-n").Run() == nil }); err != nil {
		return nil, err
	}
	if _, err := s.daemon("slurmctld", "-D", "-f", dir+"/slurm.conf"); err != nil {
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

// StartNode starts the slurmd of node n, from 1.
func (s *Slurm) StartNode(n int) error {
	node := fmt.Sprintf("n%d", n)
	if err := os.MkdirAll(filepath.Join(s.Dir, "spool-"+node), 0o755); err != nil {
		return err
	}
	cmd, err := s.daemon("slurmd", "-D", "-f", s.Dir+"/slurm.conf", "-N", node)
	for len(s.nodes) < n {
		s.nodes = append(s.nodes, nil)
	}
	s.nodes[n-1] = cmd
	return err
}

// FailNode kills node n's slurmd and all that runs there, and has Slurm know.
func (s *Slurm) FailNode(n int) error {
	s.nodes[n-1].Process.Kill()
	node := fmt.Sprintf("n%d", n)
	endAll(s.Env[0], func(environ string) bool { return strings.Contains(environ, "\x00SLURMD_NODENAME="+node+"\x00") })
	_, err := s.Output("scontrol", "update", "nodename="+node, "state=down", "reason=failed")
	return err
}

func (s *Slurm) writeConf(nodes, cpus int) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	host, _, _ = strings.Cut(host, ".")
	ports, err := freePorts(nodes + 1)
	if err != nil {
		return err
	}
	conf := fmt.Sprintf(`ClusterName=test
SlurmctldHost=%s(127.0.0.1)
SlurmctldPort=%d
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=%[3]s/munge/socket,cred_expire=5
StateSaveLocation=%[3]s/state
SlurmctldPidFile=%[3]s/state/slurmctld.pid
SlurmctldLogFile=%[3]s/log/slurmctld.log
SlurmdPidFile=%[3]s/state/%%n.pid
SlurmdLogFile=%[3]s/log/%%n.log
SlurmdSpoolDir=%[3]s/spool-%%n
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
`, host, ports[0], s.Dir)
	for i := range nodes {
		conf += fmt.Sprintf("NodeName=n%d NodeHostname=%s NodeAddr=127.0.0.1 Port=%d CPUs=%d RealMemory=4000\n", i+1, host, ports[i+1], cpus)
	}
	conf += fmt.Sprintf("PartitionName=main Nodes=n[1-%[1]d] Default=YES MaxTime=INFINITE DefaultTime=10 PriorityTier=1 PreemptMode=REQUEUE\n"+
		"PartitionName=high Nodes=n[1-%[1]d] MaxTime=INFINITE DefaultTime=10 PriorityTier=10 PreemptMode=OFF\n", nodes)
	return os.WriteFile(filepath.Join(s.Dir, "slurm.conf"), []byte(conf), 0o644)
}
