package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/internal/testbed"
)

// scriptCommands are what scripts need beside testscript's own commands.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"code":     cmdCode,
	"signal":   cmdSignal,
	"double":   cmdDouble,
	"slurm":    cmdSlurm,
	"failnode": cmdFailNode,
	"sge":      cmdGridEngine,
	"waitfor":  cmdWaitFor,
	"gone":     cmdGone,
	"peak":     cmdPeak,

	// docs_test.go
	"shows": cmdShows,

	// script_http_test.go
	"workbench": cmdWorkbench,
	"service":   cmdService,

	// script_network_test.go
	"network":   cmdNetwork,
	"in":        cmdIn,
	"link":      cmdLink,
	"delay":     cmdDelay,
	"hide":      cmdHide,
	"tmpfs":     cmdTmpfs,
	"user":      cmdUser,
	"sshd":      cmdSSHD,
	"rekey":     cmdRekey,
	"slurmnet":  cmdSlurmNet,
	"nolisten":  cmdNoListen,
	"noproc":    cmdNoProc,
	"watchargs": cmdWatchArgs,
	"nosecret":  cmdNoSecret,

	// script_terminal_test.go
	"harmless": cmdHarmless,
}

// cmdCode runs a command and checks its exit status: code 3 muster run ...
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code STATUS COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s exited with %d, want %d", args[1], got, want)
	}
}

// cmdSignal sends a signal to the process whose number a file holds.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal HUP|INT|QUIT|TERM|KILL|STOP|CONT PIDFILE")
	}
	sig := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}[args[0]]
	ts.Check(syscall.Kill(pids(ts, args[1])[0], sig))
}

func pids(ts *testscript.TestScript, file string) []int {
	var list []int
	for _, f := range strings.Fields(ts.ReadFile(file)) {
		n, err := strconv.Atoi(f)
		ts.Check(err)
		list = append(list, n)
	}
	if len(list) == 0 {
		ts.Fatalf("%s holds no process numbers", file)
	}
	return list
}

const patience = 3 * time.Minute

// until polls a condition for which the system has no event to wait on.
func until(ok func() bool) bool {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}

// cmdWaitFor waits until a file matches a pattern.
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	path := ts.MkAbs(args[0])
	if !until(func() bool { b, _ := os.ReadFile(path); return re.Match(b) }) {
		b, _ := os.ReadFile(path)
		ts.Fatalf("%s did not come to match %s; it holds:\n%s", args[0], args[1], b)
	}
}

// cmdGone waits until the processes whose numbers a file holds have ended.
func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] gone PIDFILE")
	}
	for _, pid := range pids(ts, args[0]) {
		if neg {
			if ended(pid) {
				ts.Fatalf("process %d has ended", pid)
			}
			continue
		}
		if !until(func() bool { return ended(pid) }) {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			ts.Fatalf("process %d is still there: %q", pid, b)
		}
	}
}

// cmdPeak checks that the process whose number a file holds has never had more
// than so many megabytes of memory of its own (VmHWM of proc(5)).
func cmdPeak(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: peak PIDFILE MEGABYTES")
	}
	most, err := strconv.Atoi(args[1])
	ts.Check(err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids(ts, args[0])[0]))
	ts.Check(err)
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		ts.Fatalf("no VmHWM in %s", status)
	}
	kb, err := strconv.Atoi(string(m[1]))
	ts.Check(err)
	ts.Logf("peak: %d kB", kb)
	if kb*1024 > most*1_000_000 {
		ts.Fatalf("%d kB of memory were used; %d MB are allowed", kb, most)
	}
}

// ended reports whether a process is gone, or a zombie that nobody reaped.
func ended(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, ok := strings.Cut(string(b), ") ")
	return err == nil && ok && strings.HasPrefix(after, "Z")
}

// scriptCondition knows [root] and [have:PROGRAM], which on CI have to be true.
func scriptCondition(cond string) (bool, error) {
	if cond == "root" {
		if os.Getuid() != 0 && os.Getenv("CI") != "" {
			return false, errors.New("CI has to run the tests as root")
		}
		return os.Getuid() == 0, nil
	}
	if name, ok := strings.CutPrefix(cond, "have:"); ok {
		_, err := exec.LookPath(name)
		if err != nil && os.Getenv("CI") != "" {
			return false, fmt.Errorf("%s is missing: the test command installs it", name)
		}
		return err == nil, nil
	}
	if name, ok := strings.CutPrefix(cond, "boots:"); ok {
		missing := testbed.Missing(map[string][]string{
			"slurm":      {"munged", "slurmctld", "slurmd", "sbatch"},
			"slurmrestd": {"munged", "slurmctld", "slurmd", "sbatch", "slurmrestd", "auth_jwt.so"},
			"sge":        {"sge_qmaster", "sge_execd", "qsub"},
			"network":    {"ip", "nft", "nsenter", "perl"},
			"sshd":       {"sshd", "ssh", "ssh-keygen", "sshpass", "gcc", "tcsh"},
		}[name]...)
		if missing != "" && os.Getenv("CI") != "" {
			return false, fmt.Errorf("%s cannot be booted: it needs %s", name, missing)
		}
		return missing == "", nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// cmdSlurm boots a Slurm for the rest of the script: slurm NODES CPUS [rest[=USER]].
// With rest (the condition is [boots:slurmrestd]) it has slurmrestd too, v0.0.38:
// SLURMREST_SOCKET is a unix socket whose jobs run as USER, or whoever runs the
// script; SLURMREST_URL takes the user's name and SLURMREST_TOKEN.
func cmdSlurm(ts *testscript.TestScript, neg bool, args []string) {
	rest, local := false, ""
	if len(args) == 3 {
		rest = args[2] == "rest"
		if name, ok := strings.CutPrefix(args[2], "rest="); ok {
			rest, local = true, name
		}
	}
	if neg || len(args) != 2 && !rest {
		ts.Fatalf("usage: slurm NODES CPUS [rest[=USER]]")
	}
	nodes, _ := strconv.Atoi(args[0])
	cpus, _ := strconv.Atoi(args[1])
	var s *testbed.Slurm
	var err error
	if rest {
		s, err = testbed.StartSlurmREST(ts.MkAbs("slurm"), nodes, cpus, local)
	} else {
		s, err = testbed.StartSlurm(ts.MkAbs("slurm"), nodes, cpus)
	}
	ts.Check(err)
	slurms.Store(ts.MkAbs("slurm"), s)
	booted(ts, &s.Cluster)
	if rest {
		own, err := user.Current()
		ts.Check(err)
		token, err := s.Token(own.Username, time.Hour)
		ts.Check(err)
		ts.Setenv("SLURMREST_SOCKET", s.Socket)
		ts.Setenv("SLURMREST_URL", s.URL)
		// Not SLURM_JWT, which Slurm's own commands would use.
		ts.Setenv("SLURMREST_TOKEN", token)
	}
}

// slurms are those that scripts have booted, by their directories.
var slurms sync.Map

// cmdFailNode has a node of the script's Slurm die: failnode N.
func cmdFailNode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: failnode N")
	}
	n, _ := strconv.Atoi(args[0])
	s, ok := slurms.Load(ts.MkAbs("slurm"))
	if !ok {
		ts.Fatalf("there is no Slurm")
	}
	ts.Check(s.(*testbed.Slurm).FailNode(n))
}

// cmdGridEngine boots a Grid Engine for the rest of the script: sge SLOTS.
func cmdGridEngine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sge SLOTS")
	}
	slots, _ := strconv.Atoi(args[0])
	c, err := testbed.StartGridEngine(ts.MkAbs("sge"), slots)
	ts.Check(err)
	booted(ts, c)
}

// cmdDouble puts the commands of a double first in the script's PATH: double
// pbs, torque or lsf.
func cmdDouble(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || testbed.DoubleCommands(args[0]) == nil {
		ts.Fatalf("usage: double pbs|torque|lsf")
	}
	dir := ts.MkAbs("double")
	ts.Check(os.MkdirAll(dir+"/bin", 0o755))
	for _, c := range testbed.DoubleCommands(args[0]) {
		ts.Check(os.WriteFile(dir+"/bin/"+c, []byte("#!/bin/sh\nexec double-"+args[0]+" "+c+` "$@"`+"\n"), 0o755))
	}
	ts.Setenv("DOUBLE_DIR", dir)
	ts.Setenv("PATH", dir+"/bin:"+ts.Getenv("PATH"))
}

func booted(ts *testscript.TestScript, c *testbed.Cluster) {
	ts.Defer(c.Stop)
	for _, kv := range c.Env {
		name, value, _ := strings.Cut(kv, "=")
		if name == "PATH" {
			dir, _, _ := strings.Cut(value, ":")
			value = dir + ":" + ts.Getenv("PATH")
		}
		ts.Setenv(name, value)
	}
}
