// Package testbed starts real schedulers, SSH servers and networks for tests,
// each below a directory of its own, as root and without systemd.
package testbed

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Missing says what must be installed before tests can start what they need,
// empty if nothing is.
func Missing(programs ...string) string {
	packages := map[string]string{"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client",
		"sge_qmaster": "gridengine-master", "sge_execd": "gridengine-exec", "qsub": "gridengine-client",
		"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "sshpass": "sshpass", "ip": "iproute2",
		"nft": "nftables", "nsenter": "util-linux", "gcc": "gcc", "perl": "perl-base", "tcsh": "tcsh",
		"slurmrestd": "slurmrestd", "auth_jwt.so": "slurm-wlm-jwt-plugin"}
	var want []string
	for _, p := range programs {
		if _, err := look(p); err != nil {
			want = append(want, packages[p])
		}
	}
	if os.Getuid() != 0 {
		return "root, who alone can start daemons for others"
	}
	if len(want) > 0 {
		return "apt-get install --no-install-recommends " + strings.Join(want, " ")
	}
	return ""
}

// Cluster is a scheduler that runs.
type Cluster struct {
	Dir  string
	Env  []string // what its commands need, NAME=VALUE
	net  *Network // nil is this machine
	stop []func()
}

// Command returns a command of the scheduler's, on the network's login node if it
// runs in one.
func (c *Cluster) Command(name string, args ...string) *exec.Cmd {
	if c.net != nil {
		cmd := c.net.Command("login", append([]string{name}, args...)...)
		cmd.Env = append(os.Environ(), c.Env...)
		return cmd
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), c.Env...)
	for _, kv := range c.Env {
		if dirs, ok := strings.CutPrefix(kv, "PATH="); ok {
			for _, dir := range filepath.SplitList(dirs) {
				if p := filepath.Join(dir, name); executable(p) && !strings.Contains(name, "/") {
					cmd.Path, cmd.Err = p, nil
					break
				}
			}
		}
	}
	return cmd
}

// Output runs a command and returns what it printed.
func (c *Cluster) Output(name string, args ...string) (string, error) {
	cmd := c.Command(name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// Stop ends the scheduler, its jobs and all that they run.
func (c *Cluster) Stop() {
	for i := len(c.stop) - 1; i >= 0; i-- {
		c.stop[i]()
	}
}

// daemon starts a program in the foreground, as a child that Stop ends; on a node
// if the cluster runs in a network.
func (c *Cluster) daemon(node, name string, args ...string) (*exec.Cmd, error) {
	path, err := look(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	if c.net != nil {
		cmd = c.net.Command(node, append([]string{path}, args...)...)
		cmd.Dir = c.Dir
	}
	cmd.Env = append(os.Environ(), c.Env...)
	return cmd, c.keep(cmd, filepath.Base(name))
}

// keep starts a daemon whose output goes to a file of that name, and which Stop
// ends.
func (c *Cluster) keep(cmd *exec.Cmd, name string) error {
	log, err := os.OpenFile(filepath.Join(c.Dir, name+".out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return err
	}
	c.stop = append(c.stop, func() {
		cmd.Process.Signal(syscall.SIGTERM)
		force := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		force.Stop()
	})
	return nil
}

// await asks until ready says yes.
func (c *Cluster) await(what string, ready func() bool) error {
	deadline := time.Now().Add(30 * time.Second)
	for !ready() {
		if time.Now().After(deadline) {
			var logs bytes.Buffer
			paths, _ := filepath.Glob(filepath.Join(c.Dir, "*.out"))
			for _, p := range paths {
				b, _ := os.ReadFile(p)
				fmt.Fprintf(&logs, "%s:\n%s", p, b[max(0, len(b)-2000):])
			}
			return fmt.Errorf("%s is not ready after 30 s\n%s", what, &logs)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

// endAll kills every process whose environment has kv and mark, a variable
// that only jobs and their keepers have.
func endAll(kv string, mark func(environ string) bool) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		found := marked(kv, mark)
		for _, pid := range found {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(found) == 0 {
			return
		}
	}
}

// marked lists the processes whose environment has kv and mark.
func marked(kv string, mark func(environ string) bool) (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil || !strings.Contains("\x00"+string(b), "\x00"+kv+"\x00") || !mark("\x00"+string(b)) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(p, "/")[2]); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// freePorts returns TCP ports on which nobody listens.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func look(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if p := filepath.Join(dir, name); executable(p) {
			return p, nil
		}
	}
	// Slurm's plugins are no programs.
	if found, _ := filepath.Glob("/usr/lib/*/slurm-wlm/" + name); len(found) > 0 {
		return found[0], nil
	}
	return "", errors.New(name + " is not installed")
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}
