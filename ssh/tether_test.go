package ssh

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tetherVar makes this test binary dial with the Options that it holds as JSON.
const tetherVar = "MUSTER_TEST_TETHER"

// TestTetheredChild is the process that TestTether kills.
func TestTetheredChild(t *testing.T) {
	var o Options
	if os.Getenv(tetherVar) == "" {
		t.Skip("TestTether runs this")
	}
	if err := json.Unmarshal([]byte(os.Getenv(tetherVar)), &o); err != nil {
		t.Fatal(err)
	}
	works(t, o) // and is closed again: the next login is another
	c := dial(t, o)
	defer c.Close()
	fmt.Println("logged in")
	io.Copy(io.Discard, os.Stdin)
}

// TestTether kills a process that is logged in: nothing of its login is left, here
// or at the server, even of an ssh that cares for no SIGTERM.
func TestTether(t *testing.T) {
	ssh := needs(t, "ssh", "openssh-client")
	if _, err := os.Stat("/proc/self/comm"); err != nil {
		missing(t, "no /proc here: run this on Linux")
	}
	for name, program := range map[string]string{"ssh": ssh, "deaf": "deaf"} {
		t.Run(name, func(t *testing.T) {
			s, gate := startServer(t, "MaxSessions 1"), startServer(t)
			if program == "deaf" {
				program = s.write(t, program, "#!/bin/sh\ntrap '' TERM\nexec "+ssh+` "$@"`+"\n")
				if err := os.Chmod(program, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			o := Options{Client: OpenSSH, Target: Target{Host: "node", User: me(t)}, Program: program, ControlDir: shortDir(t),
				Config: s.config(t, fmt.Sprintf("Host gate\nHostName 127.0.0.1\nPort %d\nIdentityFile %s\nUserKnownHostsFile %s\nHost node\nProxyJump gate",
					gate.port, gate.path("id"), gate.path("known_hosts")))}
			child := tetheredChild(t, o)
			left := descendants(child.Process.Pid)
			if n := len(running(left, "ssh")); n != 2 { // one is for the gate
				t.Fatalf("%d processes of ssh", n)
			}
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			child.Wait()
			eventually(t, "ssh and what it was started with to end", func() bool { return len(running(left, "")) == 0 })
			eventually(t, "the server to see that", func() bool { return len(descendants(s.cmd.Process.Pid)) == 0 })
			if program == ssh { // it had the time to tidy up
				empty(t, o.ControlDir)
			}
		})
	}
}

// tetheredChild starts this test binary as TestTetheredChild and waits until it is
// logged in.
func tetheredChild(t *testing.T, o Options) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(struct {
		Client, Program, Config, ControlDir string
		Target                              Target
	}{o.Client, o.Program, o.Config, o.ControlDir, o.Target})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTetheredChild$")
	cmd.Env = append(os.Environ(), tetherVar+"="+string(text))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() }) // ends it if the test has not
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if lines.Text() == "logged in" {
			return cmd
		}
		t.Log(lines.Text())
	}
	t.Fatalf("the child did not log in: %v", cmd.Wait())
	return nil
}

// running returns which of the processes still run, of a name if it is not "".
func running(pids []int, name string) []int {
	var list []int
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		comm, rest, _ := strings.Cut(string(text), ") ")
		if !strings.HasPrefix(rest, "Z") && (name == "" || strings.HasSuffix(comm, "("+name)) {
			list = append(list, pid)
		}
	}
	return list
}

// TestLeash is the shell's part of it: what the program gets and what it came to.
func TestLeash(t *testing.T) {
	for script, want := range map[string]struct {
		out  string
		code int
	}{
		`echo out; echo err >&2; exit 7`: {"out\nerr\n", 7},
		`printf '%s.' "$@"`:              {"a b.*.", 0},
		`trap 'echo told; exit 3' TERM; kill -TERM $PPID; while :; do sleep 0.01; done`: {"told\n", 3},
		`(: <&3) 2>/dev/null || echo no third`:                                          {"no third\n", 0},
	} {
		cmd, tether, err := tethered([]string{"/bin/sh", "-c", script, "sh", "a b", "*"})
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		cmd.ExtraFiles[0].Close()
		tether.Close()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != want.code || string(out) != want.out {
			t.Errorf("%s: %q, %v", script, out, err)
		}
	}
	if _, _, err := tethered([]string{"no-such-ssh"}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a program that is not there: %v", err)
	}
}

// TestMasterKeepsAlive unless the user's files say otherwise; Debian's ssh would in
// BatchMode.
func TestMasterKeepsAlive(t *testing.T) {
	needs(t, "ssh", "openssh-client")
	for config, want := range map[string]bool{"": true, "ServerAliveInterval 0": true, "ServerAliveInterval 7": false} {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &openSSH{o: Options{Target: Target{Host: "node"}, Config: file}.withDefaults()}
		if err := s.understand(context.Background()); err != nil {
			t.Fatal(err)
		}
		argv := strings.Join(s.master("socket"), " ")
		if got := strings.Contains(argv, "-o ServerAliveInterval=15 -o ServerAliveCountMax=3"); got != want || strings.Count(argv, "ServerAlive") > 2 {
			t.Errorf("%q: %s", config, argv)
		}
	}
}

// TestRemoteAddr is where the server is, as far as it is known.
func TestRemoteAddr(t *testing.T) {
	s, gate := startServer(t), startServer(t)
	s.write(t, "known_hosts", fmt.Sprintf("[localhost]:%d %s", s.port, s.read(t, "host_key.pub")))
	config := s.config(t, fmt.Sprintf("Host gate\nHostName 127.0.0.1\nPort %d\nIdentityFile %s\nUserKnownHostsFile %s\nHost node\nHostName localhost",
		gate.port, gate.path("id"), gate.path("known_hosts")))
	for _, jump := range [][]Target{nil, {{Host: "gate"}}} {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o.Config, o.Jump = config, jump
			c := dial(t, o)
			defer c.Close()
			want := fmt.Sprintf("localhost:%d", s.port)
			if o.Client == Native && jump == nil {
				want = fmt.Sprintf("127.0.0.1:%d", s.port)
			}
			if got := c.RemoteAddr(); got != want {
				t.Errorf("it is at %q, want %q", got, want)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"two\r\nlines\t.":                "two\nlines\t.",
		"\x1b]0;title\x07 \u009b2J \xff": "?]0;title? ?2J ?",
		strings.Repeat("x", 5000):        strings.Repeat("x", 4096),
	} {
		if got := printable(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}
