package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestJump(t *testing.T) {
	inner, outer := startServer(t), startServer(t)
	// Each has a host key and a user key of its own.
	config := func(t *testing.T, lines string) string {
		return inner.config(t, fmt.Sprintf(`
Host gate
  HostName 127.0.0.1
  Port %d
  User %s
  IdentityFile %s
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
%s
`, outer.port, me(t), outer.path("id"), outer.path("known_hosts"), lines))
	}
	through := func(t *testing.T, o Options) {
		t.Helper()
		before, direct := outer.count("Accepted publickey"), inner.count("Accepted publickey")
		works(t, o)
		if outer.count("Accepted publickey") == before || inner.count("Accepted publickey") != direct+1 {
			t.Error("did not go through the gate")
		}
	}
	t.Run("config", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o.Config = config(t, "Host node\nProxyJump gate")
			through(t, o)
		})
	})
	t.Run("option", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o.Config = config(t, "")
			o.Jump = []Target{{Host: "gate"}}
			through(t, o)
		})
	})
	t.Run("none", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			before := outer.count("Accepted")
			o.Config = config(t, "Host node\nProxyJump gate")
			o.Jump = []Target{}
			works(t, o)
			if outer.count("Accepted") != before {
				t.Error("went through the gate")
			}
		})
	})
	t.Run("chain", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o.Config = config(t, fmt.Sprintf("Host second\nHostName 127.0.0.1\nPort %d\nProxyJump gate\nHost node\nProxyJump second", inner.port))
			before := inner.count("Accepted publickey")
			works(t, o)
			if n := inner.count("Accepted publickey") - before; n != 2 {
				t.Errorf("%d logins on the inner host", n)
			}
		})
	})
	t.Run("learn", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			o.Config = inner.config(t, fmt.Sprintf("UserKnownHostsFile %s\nHost gate\nHostName 127.0.0.1\nPort %d\nIdentityFile %s\nHost node\nProxyJump gate",
				file, outer.port, outer.path("id")))
			o.AcceptNew = true
			works(t, o)
			if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "\n") != 2 {
				t.Errorf("learnt %q %v", text, err)
			}
		})
	})
	t.Run("changed key of the gate", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			wrong := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(wrong, []byte(outer.knownAs()+" "+inner.read(t, "host_key.pub")), 0o600); err != nil {
				t.Fatal(err)
			}
			o.Config = inner.config(t, fmt.Sprintf("Host gate\nHostName 127.0.0.1\nPort %d\nUserKnownHostsFile %s\nHost node\nProxyJump gate", outer.port, wrong))
			err := refused(t, o)
			if !errors.Is(err, ErrHostKey) {
				t.Error(err)
			}
			has(t, err, wrong+":1")
		})
	})
	t.Run("nothing behind it", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o.Config = config(t, "")
			o.Jump = []Target{{Host: "gate"}}
			o.Target.Port = freePort(t)
			if err := refused(t, o); !errors.Is(err, ErrConnect) {
				t.Error(err)
			}
		})
	})
	t.Run("no such name behind it", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o.Config = config(t, "")
			o.Jump = []Target{{Host: "gate"}}
			o.Target.Host = "nowhere.invalid"
			if err := refused(t, o); !errors.Is(err, ErrResolve) {
				t.Error(err)
			}
		})
	})
}

func TestJumpForbidden(t *testing.T) {
	inner, outer := startServer(t), startServer(t, "AllowTcpForwarding no")
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = inner.config(t, fmt.Sprintf("Host gate\nHostName 127.0.0.1\nPort %d\nIdentityFile %s\nUserKnownHostsFile %s\nHost node\nProxyJump gate",
			outer.port, outer.path("id"), outer.path("known_hosts")))
		err := refused(t, o)
		if !errors.Is(err, ErrForward) {
			t.Error(err)
		}
		has(t, err, "AllowTcpForwarding", "administratively prohibited")
	})
}

func TestNotReached(t *testing.T) {
	silent := fakeServer(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	web := fakeServer(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
	var refusals atomic.Int32
	penalty := fakeServer(t, func(c net.Conn) { refusals.Add(1); io.WriteString(c, "Not allowed at this time\r\n") })
	for _, tc := range []struct {
		name string
		at   Target
		kind error
		says string
	}{
		{"shut out", penalty, ErrConnect, "PerSourcePenalties"},
		{"no such name", Target{Host: "nowhere.invalid"}, ErrResolve, "name"},
		{"nothing listens", Target{Host: "127.0.0.1", Port: freePort(t)}, ErrConnect, "refused"},
		{"no answer", silent, ErrConnect, ""},
		{"no SSH", web, ErrConnect, ""},
	} {
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			each(t, nil, func(t *testing.T, o Options, _ *person) {
				o.Target, o.Config, o.Timeout = tc.at, "none", time.Second
				start := time.Now()
				err := refused(t, o)
				if !errors.Is(err, tc.kind) {
					t.Errorf("not %v: %v", tc.kind, err)
				}
				has(t, err, tc.says)
				if took := time.Since(start); took > 8*time.Second {
					t.Errorf("took %s", took)
				}
				if n := refusals.Swap(0); n > 1 {
					t.Errorf("came %d times to a server that had shut us out", n)
				}
			})
		})
	}
}

// TestCancel ends a Dial while the server keeps silent, before the key
// exchange.
func TestCancel(t *testing.T) {
	came := make(chan struct{}, 8)
	at := fakeServer(t, func(c net.Conn) { came <- struct{}{}; io.Copy(io.Discard, c) })
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Target, o.Config, o.Timeout = at, "none", time.Minute
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { _, err := Dial(ctx, o); failed <- err }()
		<-came
		cancel()
		start := time.Now()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestDropped fills the server, which then drops whoever comes.
func TestDropped(t *testing.T) {
	s := startServer(t, "MaxStartups 1:100:1", "LoginGraceTime 60")
	hold := func(t *testing.T) net.Conn {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 4)); err != nil { // its banner: the place is taken
			t.Fatal(err)
		}
		return c
	}
	free := func(t *testing.T, c net.Conn) {
		c.Close()
		eventually(t, "the place to be free", func() bool {
			probe, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
			if err != nil {
				return false
			}
			defer probe.Close()
			b := make([]byte, 4)
			_, err = io.ReadFull(probe, b)
			return err == nil && string(b) == "SSH-"
		})
	}
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		c := hold(t)
		var freed sync.WaitGroup
		before := s.count("drop connection") + s.count("past MaxStartups")
		freed.Go(func() {
			eventually(t, "a dropped connection", func() bool { return s.count("drop connection")+s.count("past MaxStartups") > before })
			c.Close()
		})
		works(t, o)
		freed.Wait()
	})
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		var c net.Conn
		eventually(t, "a free place", func() bool {
			var err error
			if c, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port)); err != nil {
				return false
			}
			b := make([]byte, 4)
			_, err = io.ReadFull(c, b)
			return err == nil && string(b) == "SSH-"
		})
		err := refused(t, o)
		if !errors.Is(err, ErrConnect) {
			t.Error(err)
		}
		free(t, c)
	})
}

// TestSilentLink stops the server's process, so that the link is dead without a
// sign of it.
func TestSilentLink(t *testing.T) {
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		s := startServer(t)
		defer s.stop()
		o.Config = s.config(t, "ServerAliveInterval 1", "ServerAliveCountMax 1")
		c := dial(t, o)
		defer c.Close()
		for _, pid := range descendants(s.cmd.Process.Pid) {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && err != syscall.ESRCH { // a helper of sshd may just end
				t.Fatal(err)
			}
		}
		select {
		case <-c.Done():
		case <-time.After(20 * time.Second):
			t.Fatal("nobody noticed")
		}
		if err := c.Err(); !errors.Is(err, ErrLost) {
			t.Error(err)
		}
	})
}

// TestSilentLinkClose closes a client of such a link at once.
func TestSilentLinkClose(t *testing.T) {
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		s := startServer(t)
		defer s.stop()
		o.Config = s.config(t)
		c := dial(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		run, err := c.Exec(ctx, "exec cat")
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range descendants(s.cmd.Process.Pid) {
			syscall.Kill(pid, syscall.SIGSTOP)
		}
		cancel()
		if _, err := run.Read(make([]byte, 1)); err == nil {
			t.Error("read from a session that was cancelled")
		}
		if err := run.Wait(); err == nil {
			t.Error("it ended well")
		}
		start := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("Close took %s", took)
		}
	})
}

func TestCanForward(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		kind  error
	}{
		"yes":   {nil, nil},
		"no":    {[]string{"AllowTcpForwarding no"}, ErrForward},
		"local": {[]string{"AllowTcpForwarding local"}, ErrForward},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, tc.lines...)
			each(t, nil, func(t *testing.T, o Options, _ *person) {
				o.Config = s.config(t)
				c := dial(t, o)
				defer c.Close()
				if err := c.CanForward(t.Context()); !errors.Is(err, tc.kind) {
					t.Errorf("got %v, want %v", err, tc.kind)
				}
			})
		})
	}
}

// TestUsersMaster finds a ControlMaster of the user's and leaves it alone.
func TestUsersMaster(t *testing.T) {
	s := startServer(t)
	socket := filepath.Join(shortDir(t), "theirs")
	config := s.config(t, "ControlPath "+socket)
	ssh := needs(t, "ssh", "openssh-client")
	if out, err := exec.Command(ssh, "-F", config, "-f", "-N", "-M", "node").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer exec.Command(ssh, "-F", config, "-O", "exit", "node").Run()
	o := Options{Client: OpenSSH, Target: Target{Host: "node"}, Config: config, ControlDir: shortDir(t)}
	before := s.count("Accepted")
	works(t, o)
	if s.count("Accepted") != before {
		t.Error("logged in once more")
	}
	empty(t, o.ControlDir)
	if out, err := exec.Command(ssh, "-F", config, "-O", "check", "node").CombinedOutput(); err != nil {
		t.Errorf("the user's master is gone: %s", out)
	}
}

func TestOpenSSHProgram(t *testing.T) {
	o := Options{Client: OpenSSH, Target: Target{Host: "node"}, Program: "no-such-ssh -v", ControlDir: shortDir(t)}
	err := refused(t, o)
	if !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
	has(t, err, "no-such-ssh", "install")
	needs(t, "ssh", "openssh-client")
	o.Program, o.ControlDir = "", "/tmp/"+strings.Repeat("x", 100)
	has(t, refused(t, o), "shorter")
}

func TestUnknownClient(t *testing.T) {
	has(t, refused(t, Options{Client: "putty", Target: Target{Host: "node"}}), "putty", "native", "openssh")
	has(t, refused(t, Options{Target: Target{Host: "-oProxyCommand=id"}}), "begin with -")
}
