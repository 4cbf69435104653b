package testbed_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"muster/internal/testbed"
)

// on runs a program of a node, and returns its output with the blanks made one.
func on(n *testbed.Network, node string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	if n != nil {
		cmd = n.Command(node, argv...)
	}
	out, err := cmd.CombinedOutput()
	return strings.Join(strings.Fields(string(out)), " "), err
}

func TestSSHDHere(t *testing.T) {
	need(t, "sshd", "ssh", "ssh-keygen")
	dir := filepath.Join(open(t), "sshd")
	s, err := testbed.StartSSHD(dir, testbed.SSHDOptions{Env: []string{"ODD=a b"}, Lines: []string{"MaxStartups 3", "SetEnv MORE=c"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if out, err := on(nil, "", "ssh", "-F", dir+"/ssh_config", "node", `echo "$ODD,$MORE"`); err != nil || out != "a b,c" {
		t.Errorf("ssh: %q, %v", out, err)
	}
	// A session's child that has left its session and its parent.
	stray := `setsid -f sh -c 'while :; do sleep 1; done' ` + dir + `/stray </dev/null >/dev/null 2>&1`
	if out, err := on(nil, "", "ssh", "-F", dir+"/ssh_config", "node", stray); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// And a session that is open.
	open := exec.Command("ssh", "-F", dir+"/ssh_config", "node", "echo open; exec sleep 1000")
	stdout, err := open.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile(regexp.QuoteMeta(dir + "/stray"))
	if len(testbed.Running(re)) == 0 {
		t.Fatal("the stray is not there")
	}
	if err := s.Rekey(); err != nil {
		t.Fatal(err)
	}
	if out, err := on(nil, "", "ssh", "-F", dir+"/ssh_config", "node", "true"); err == nil || !strings.Contains(out, "REMOTE HOST IDENTIFICATION HAS CHANGED") {
		t.Errorf("with another key: %v: %s", err, out)
	}
	s.Stop()
	if left := testbed.Running(re); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}
	// Rekey has cut the open session off from the server that Stop ends: its
	// processes have the mark.
	var exit *exec.ExitError
	if err := open.Wait(); !errors.As(err, &exit) {
		t.Errorf("the open session ended with %v", err)
	}
}

func TestSSHDBadLine(t *testing.T) {
	need(t, "sshd", "ssh-keygen")
	_, err := testbed.StartSSHD(filepath.Join(open(t), "sshd"), testbed.SSHDOptions{Lines: []string{"NoSuchKeyword yes"}})
	if err == nil || !strings.Contains(err.Error(), "NoSuchKeyword") {
		t.Errorf("a line that sshd does not know: %v", err)
	}
}

// askpass answers ssh's questions: a password, a code.
const askpass = `#!/bin/sh
case $1 in *[Pp]assword*) echo 'pass word' ;; *code*) echo "$CODE" ;; *) echo "unexpected: $1" >&2; exit 1 ;; esac
`

func TestSSHDLogin(t *testing.T) {
	need(t, "sshd", "ssh", "ssh-keygen", "gcc", "tcsh")
	n := network(t, testbed.NetworkOptions{})
	if _, err := n.AddUser("mustertest", "pass word", "/bin/tcsh"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(n.Dir), "sshd")
	s, err := testbed.StartSSHD(dir, testbed.SSHDOptions{Net: n, NS: "login", Code: "246810",
		Lines: []string{"PasswordAuthentication yes", "KbdInteractiveAuthentication yes", "UsePAM yes", "Match User mustertest", "  AuthenticationMethods keyboard-interactive"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	ask := filepath.Join(n.Dir, "askpass")
	if err := os.WriteFile(ask, []byte(askpass), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := on(n, "laptop", "ssh", "-F", dir+"/ssh_config", "login", "hostname; pwd; id -un"); err != nil || out != "login "+n.Dir+"/home/root root" {
		t.Errorf("by key: %q, %v", out, err)
	}
	login := func(code string) (string, error) {
		return on(n, "laptop", "env", "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force", "CODE="+code, "ssh", "-F", dir+"/ssh_config",
			"-o", "NumberOfPasswordPrompts=1", "mustertest@login", "echo $tcsh; pwd")
	}
	if out, err := login("246810"); err != nil || !strings.HasSuffix(out, n.Dir+"/home/mustertest") || !strings.HasPrefix(out, "6.") {
		t.Errorf("by password and code: %q, %v", out, err)
	}
	if out, err := login("1"); err == nil || !strings.Contains(out, "Permission denied") {
		t.Errorf("by a wrong code: %q, %v", out, err)
	}
}

func TestSlurmOnNetwork(t *testing.T) {
	need(t, "munged", "slurmctld", "slurmd", "sbatch", "sshd", "ssh")
	n := network(t, testbed.NetworkOptions{Compute: 2})
	dir := filepath.Dir(n.Dir)
	c, err := testbed.StartSlurmOn(n, filepath.Join(dir, "slurm"), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	s, err := testbed.StartSSHD(dir+"/sshd", testbed.SSHDOptions{Net: n, NS: "login"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if out, err := on(n, "laptop", "ssh", "-F", dir+"/sshd/ssh_config", "login", "srun -w c2 hostname"); err != nil || out != "c2" {
		t.Errorf("srun through the login node: %q, %v", out, err)
	}
	if out, err := c.Output("sbatch", "-W", "-w", "c1", "-o", dir+"/out", "--wrap", "hostname; echo $HOME"); err != nil {
		t.Errorf("sbatch: %s, %v", out, err)
	}
	if b, err := os.ReadFile(dir + "/out"); err != nil || string(b) != "c1\n"+n.Dir+"/home/root\n" {
		t.Errorf("the job's output: %q, %v", b, err)
	}
	if err := c.FailNode(2); err != nil {
		t.Error(err)
	}
	if out, err := c.Output("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t"); err != nil || !strings.Contains(out, "c2 down") || !strings.Contains(out, "c1 idle") {
		t.Errorf("after a node has failed: %q, %v", out, err)
	}
	if out, err := on(n, "laptop", "squeue"); err == nil {
		t.Errorf("the laptop has a Slurm: %s", out)
	}
}
