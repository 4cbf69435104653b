package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/ssh/relay"
)

func sh(script string) relay.Command { return relay.Command{Argv: []string{"sh", "-c", script}} }

func TestRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/plain", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	odd := relay.Command{Argv: []string{"printf", "%s", "\xff\x00 \n'"[:1] + " \n'"}}
	in := sh("cat; pwd >&2")
	in.Stdin, in.Dir = bytes.Repeat([]byte("0123456789abcdef"), 1<<17), dir
	missing := sh("true")
	missing.Dir = dir + "/none"
	relative := sh("true")
	relative.Dir = "."
	tests := []struct {
		name string
		cmd  relay.Command
		want relay.Output
		kind error
		text string
	}{
		{"output", sh("echo out; echo err >&2"), relay.Output{Stdout: []byte("out\n"), Stderr: []byte("err\n")}, nil, ""},
		{"exit status", sh("exit 7"), relay.Output{Code: 7}, nil, ""},
		{"status 255", sh("exit 255"), relay.Output{Code: 255}, nil, ""},
		{"signal", sh("kill -TERM $$"), relay.Output{Code: -1, Signal: "SIGTERM"}, nil, ""},
		{"input and directory", in, relay.Output{Stdout: in.Stdin, Stderr: []byte(dir + "\n")}, nil, ""},
		{"bytes that are not UTF-8", odd, relay.Output{Stdout: []byte("\xff \n'")}, nil, ""},
		{"no such program", relay.Command{Argv: []string{"no-such-program"}}, relay.Output{}, exec.ErrNotFound, "no-such-program"},
		{"no such path", relay.Command{Argv: []string{dir + "/none"}}, relay.Output{}, exec.ErrNotFound, "/none"},
		{"not executable", relay.Command{Argv: []string{dir + "/plain"}}, relay.Output{}, fs.ErrPermission, "permission denied"},
		{"no such directory", missing, relay.Output{}, fs.ErrNotExist, "/none"},
		{"relative directory", relative, relay.Output{}, nil, "not absolute"},
		{"no words", relay.Command{}, relay.Output{}, nil, "no words"},
		{"too many words", relay.Command{Argv: []string{"true", strings.Repeat("x", 1<<20)}}, relay.Output{}, nil, "are possible"},
	}
	both(t, func(t *testing.T, c *relay.Conn) {
		for _, test := range tests {
			got, err := c.Run(t.Context(), test.cmd)
			switch {
			case test.kind == nil && test.text == "" && err != nil,
				(test.kind != nil || test.text != "") && (err == nil || !strings.Contains(err.Error(), test.text)),
				test.kind != nil && !errors.Is(err, test.kind):
				t.Errorf("%s: error %v", test.name, err)
			case !bytes.Equal(got.Stdout, test.want.Stdout) || !bytes.Equal(got.Stderr, test.want.Stderr) || got.Code != test.want.Code || got.Signal != test.want.Signal:
				t.Errorf("%s: %.200q %.200q %d %s", test.name, got.Stdout, got.Stderr, got.Code, got.Signal)
			}
		}
	})
}

func TestRunMissingDirectoryIsNoMissingProgram(t *testing.T) {
	cmd := sh("true")
	cmd.Dir = t.TempDir() + "/none"
	if _, err := piped(t).Run(t.Context(), cmd); errors.Is(err, exec.ErrNotFound) {
		t.Errorf("Run: %v", err)
	}
}

// TestHarmlessErrors: what the far side says is one line that no terminal obeys.
func TestHarmlessErrors(t *testing.T) {
	_, err := piped(t).Run(t.Context(), relay.Command{Argv: []string{"no\x1b[2J\n\u009bsuch"}})
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "no?[2J ?such") {
		t.Errorf("Run: %q", err)
	}
}

// tree is a command that starts a child, writes both numbers to a file and
// waits; it also waits for what it says to be read.
func tree(file string) relay.Command {
	return sh("sleep 60 & echo $$ $! > " + file + ".tmp && mv " + file + ".tmp " + file + "; wait")
}

func pids(t *testing.T, file string) (pids []int) {
	t.Helper()
	var b []byte
	eventually(t, "the command did not start", func() (ok bool) {
		var err error
		b, err = os.ReadFile(file)
		return err == nil
	})
	for _, f := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func TestRunIsKilled(t *testing.T) {
	tests := []struct {
		name string
		end  func(cancel func(), c *relay.Conn)
	}{
		{"with its context", func(cancel func(), c *relay.Conn) { cancel() }},
		{"with the link", func(cancel func(), c *relay.Conn) { c.Close() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, c *relay.Conn) {
				file := filepath.Join(t.TempDir(), "pids")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ran := make(chan error, 1)
				go func() {
					_, err := c.Run(ctx, tree(file))
					ran <- err
				}()
				tree := pids(t, file)
				test.end(cancel, c)
				if err := <-ran; !errors.Is(err, context.Canceled) && !errors.Is(err, relay.ErrLost) {
					t.Errorf("Run: %v", err)
				}
				for _, pid := range tree {
					eventually(t, fmt.Sprintf("process %d of %v is still there", pid, tree), func() bool { return gone(pid) })
				}
			})
		})
	}
}

func TestRunTooMuchOutput(t *testing.T) {
	c, _ := subprocess(t, relay.Options{})
	out, err := c.Run(t.Context(), sh(fmt.Sprintf("head -c %d /dev/zero", relay.MaxStream)))
	if err != nil || len(out.Stdout) != relay.MaxStream {
		t.Errorf("of just as much as may be: %d bytes, %v", len(out.Stdout), err)
	}
	if _, err := c.Run(t.Context(), relay.Command{Argv: []string{"cat", "/dev/zero"}}); !errors.Is(err, relay.ErrTooMuch) {
		t.Errorf("of more: %v", err)
	}
}

func TestRunLeavesChildrenAlone(t *testing.T) {
	c := piped(t)
	begun := time.Now()
	out, err := c.Run(t.Context(), sh("sleep 30 & echo $!"))
	if err != nil || time.Since(begun) > 20*time.Second {
		t.Fatalf("Run waited for a child that has its output: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out.Stdout)))
	if err != nil || gone(pid) {
		t.Errorf("child %d: %v", pid, err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
}

func TestStartOutlivesTheRelay(t *testing.T) {
	c, far := subprocess(t, relay.Options{})
	dir := t.TempDir()
	log := dir + "/new/log"
	cmd := sh("echo out; echo err >&2; cat; echo $$ > pid.tmp; mv pid.tmp pid; exec sleep 60")
	cmd.Dir = dir
	p, err := c.Start(t.Context(), cmd, log)
	if err != nil {
		t.Fatal(err)
	}
	if pid := pids(t, dir+"/pid")[0]; pid != p.Pid {
		t.Errorf("process %d says that it is %d", p.Pid, pid)
	}
	far.Process.Kill()
	<-c.Done()
	next := piped(t)
	alive, err := next.Alive(t.Context(), []relay.Process{p, {Pid: p.Pid, Start: "1"}, {}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []bool{true, false, false}; p.Start != "" && !slices.Equal(alive, want) {
		t.Errorf("alive: %v; another of its number and none are not", alive)
	}
	if b, err := next.Tail(t.Context(), log, 5); string(b) != "\nerr\n" || err != nil {
		t.Errorf("end of its log: %q, %v", b, err)
	}
	if st, err := os.Stat(log); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("its log: %v, %v", st.Mode(), err)
	}
	if st, err := os.Stat(dir + "/new"); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the log's folder: %v, %v", st.Mode(), err)
	}
	if err := next.Signal(t.Context(), relay.Process{Pid: p.Pid, Start: "1"}, "KILL"); p.Start != "" && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to another of its number: %v", err)
	}
	if err := next.Signal(t.Context(), p, "TERM"); err != nil {
		t.Error(err)
	}
	eventually(t, "it survived SIGTERM", func() bool { return gone(p.Pid) })
	if err := next.Signal(t.Context(), p, "SIGTERM"); p.Start != "" && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to one that is gone: %v", err)
	}
}

func TestStartedAreReaped(t *testing.T) {
	c, _ := subprocess(t, relay.Options{})
	p, err := c.Start(t.Context(), relay.Command{Argv: []string{"true"}}, t.TempDir()+"/log")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is still a zombie", func() bool {
		return errors.Is(syscall.Kill(p.Pid, 0), syscall.ESRCH)
	})
	if alive, err := c.Alive(t.Context(), []relay.Process{p}); err != nil || alive[0] {
		t.Errorf("alive: %v, %v", alive, err)
	}
}

func TestZombiesAreDead(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	c := piped(t)
	p := relay.Process{Pid: cmd.Process.Pid, Start: startOf(t, cmd.Process.Pid)}
	if alive, err := c.Alive(t.Context(), []relay.Process{p}); err != nil || !alive[0] {
		t.Fatalf("alive: %v, %v", alive, err)
	}
	cmd.Process.Kill() // and nobody waits for it
	eventually(t, "a zombie is taken for alive", func() bool {
		alive, err := c.Alive(t.Context(), []relay.Process{p})
		return err == nil && !alive[0]
	})
}

func startOf(t *testing.T, pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		lacks(t, "/proc, which is Linux's")
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.Fields(rest)[19]
}

func TestSignalIsForOwnProcesses(t *testing.T) {
	if os.Getuid() != 0 {
		lacks(t, "root, to start a process of another user's")
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	c := piped(t)
	p := relay.Process{Pid: cmd.Process.Pid, Start: startOf(t, cmd.Process.Pid)}
	if err := c.Signal(t.Context(), p, "TERM"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Signal: %v", err)
	}
	if err := c.Signal(t.Context(), c.Hello().Self, "NONSENSE"); err == nil || !strings.Contains(err.Error(), "no signal") {
		t.Errorf("Signal: %v", err)
	}
}

// TestRunEnv: what is run has the environment that the relay is told, and what is
// started has that of the relay.
func TestRunEnv(t *testing.T) {
	t.Setenv("RELAY_TEST", "own")
	near, far := net.Pipe()
	c := inProcess(t, near, far, relay.Options{}, relay.ServeOptions{RunEnv: []string{"PATH=" + os.Getenv("PATH"), "GIVEN=1", "PWD=/wrong"}})
	dir := t.TempDir()
	cmd := sh("echo $GIVEN,$RELAY_TEST,$PWD")
	cmd.Dir = dir
	if o, err := c.Run(t.Context(), cmd); err != nil || string(o.Stdout) != "1,,"+dir+"\n" {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := c.Start(t.Context(), cmd, dir+"/out"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was started", func() bool {
		b, _ := os.ReadFile(dir + "/out")
		return string(b) == ",own,"+dir+"\n"
	})
}
