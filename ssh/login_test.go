package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// startAgent runs an ssh-agent that holds the keys.
func startAgent(t *testing.T, keys ...string) (socket string) {
	t.Helper()
	socket = filepath.Join(shortDir(t), "agent")
	cmd := exec.Command(needs(t, "ssh-agent", "openssh-client"), "-D", "-a", socket)
	out, err := cmd.StdoutPipe() // it prints the socket's name once it is there
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		add := exec.Command(needs(t, "ssh-add", "openssh-client"), "-q", k)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v\n%s", err, out)
		}
	}
	return socket
}

func with(o Options, name, value string) Options {
	o.Getenv = func(n string) string {
		if n == name {
			return value
		}
		return os.Getenv(n)
	}
	return o
}

func TestAgent(t *testing.T) {
	s := startServer(t)
	keygen(t, "-t", "ecdsa", "-N", "", "-f", s.path("other"))
	socket := startAgent(t, s.path("other"), s.path("id"))
	if err := os.Remove(s.path("id")); err != nil {
		t.Fatal(err)
	}
	for name, lines := range map[string]string{
		"environment":    "IdentityAgent SSH_AUTH_SOCK",
		"variable":       "IdentityAgent $SSH_AUTH_SOCK",
		"path":           "IdentityAgent " + socket,
		"only the named": "IdentitiesOnly yes\nIdentityAgent " + socket,
		"all":            "IdentitiesOnly no\nIdentityAgent " + socket,
	} {
		t.Run(name, func(t *testing.T) {
			each(t, nil, func(t *testing.T, o Options, _ *person) {
				o = with(o, "SSH_AUTH_SOCK", socket)
				o.Config = s.config(t, lines)
				works(t, o)
			})
		})
	}
	t.Run("none", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o = with(o, "SSH_AUTH_SOCK", socket)
			o.Config = s.config(t, "IdentityAgent none")
			if err := refused(t, o); !errors.Is(err, ErrAuth) {
				t.Error(err)
			}
		})
	})
}

// stuckAgent waits for a finger that never touches its key.
type stuckAgent struct {
	agent.Agent
	came, gone chan struct{}
}

func (a *stuckAgent) Sign(gossh.PublicKey, []byte) (*gossh.Signature, error) {
	close(a.came)
	<-a.gone
	return nil, errors.New("gone")
}

func TestCancelAgent(t *testing.T) {
	s := startServer(t)
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		private, err := gossh.ParseRawPrivateKey([]byte(s.read(t, "id")))
		if err != nil {
			t.Fatal(err)
		}
		stuck := &stuckAgent{agent.NewKeyring(), make(chan struct{}), make(chan struct{})}
		if err := stuck.Add(agent.AddedKey{PrivateKey: private}); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(shortDir(t), "agent"))
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Go(func() { defer c.Close(); agent.ServeAgent(stuck, c) })
			}
		})
		o.Config = s.config(t, "IdentityAgent "+l.Addr().String())
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { _, err := Dial(ctx, o); failed <- err }()
		<-stuck.came
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(stuck.gone)
		l.Close()
		serving.Wait()
	})
}

// TestTooManyKeys has the server hang up before the right key is tried.
func TestTooManyKeys(t *testing.T) {
	s := startServer(t, "MaxAuthTries 3")
	var keys []string
	for i := range 4 {
		keys = append(keys, s.path(fmt.Sprintf("wrong%d", i)))
		keygen(t, "-t", "ed25519", "-N", "", "-f", keys[i])
	}
	socket := startAgent(t, append(keys, s.path("id"))...)
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t, "IdentitiesOnly no", "IdentityFile /nowhere/id", "IdentityAgent "+socket)
		os.Rename(s.path("id"), s.path("away"))
		os.Rename(s.path("id.pub"), s.path("away.pub"))
		defer os.Rename(s.path("away"), s.path("id"))
		defer os.Rename(s.path("away.pub"), s.path("id.pub"))
		err := refused(t, o)
		if !errors.Is(err, ErrAuth) {
			t.Error(err)
		}
		has(t, err, "Too many authentication failures")
	})
}

func TestPassphrase(t *testing.T) {
	s := newServer(t)
	keygen(t, "-t", "ed25519", "-a", "1", "-N", "open sesame", "-f", s.path("locked"))
	keygen(t, "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "open sesame", "-f", s.path("old"))
	s.authorize(t, "locked.pub")
	s.write(t, "authorized_keys", s.read(t, "locked.pub")+s.read(t, "old.pub"))
	s.start(t)
	knows := func() *person { return newPerson(map[string]string{"passphrase": "open sesame"}) }
	for _, key := range []string{"locked", "old"} {
		t.Run(key, func(t *testing.T) {
			each(t, knows, func(t *testing.T, o Options, p *person) {
				o.Config = s.config(t, "IdentityFile "+s.path(key))
				works(t, o)
				if n := len(p.questions()); n != 1 {
					t.Errorf("asked %d times: %q", n, p.questions())
				}
			})
		})
	}
	t.Run("without its public half", func(t *testing.T) {
		for _, f := range []string{"locked.pub", "old.pub"} {
			if err := os.Remove(s.path(f)); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range []string{"locked", "old"} {
			each(t, knows, func(t *testing.T, o Options, p *person) {
				o.Config = s.config(t, "IdentityFile "+s.path(key))
				works(t, o)
			})
		}
	})
	t.Run("wrong", func(t *testing.T) {
		each(t, func() *person { return newPerson(map[string]string{"passphrase": "no"}) }, func(t *testing.T, o Options, p *person) {
			o.Config = s.config(t, "IdentityFile "+s.path("locked"))
			if err := refused(t, o); !errors.Is(err, ErrAuth) {
				t.Error(err)
			}
			if n := len(p.questions()); n != 3 {
				t.Errorf("asked %d times: %q", n, p.questions())
			}
		})
	})
	t.Run("nobody", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, p *person) {
			o.Config = s.config(t, "IdentityFile "+s.path("locked"))
			err := refused(t, o)
			if !errors.Is(err, ErrAuth) {
				t.Error(err)
			}
			if o.Client == Native {
				has(t, err, s.path("locked"), "ssh-add")
			}
		})
	})
}

// TestPassphraseOnlyWhenTaken asks for none of a key that the server refuses.
func TestPassphraseOnlyWhenTaken(t *testing.T) {
	s := startServer(t)
	keygen(t, "-t", "ed25519", "-a", "1", "-N", "secret", "-f", s.path("locked"))
	each(t, func() *person { return newPerson(map[string]string{"passphrase": "secret"}) }, func(t *testing.T, o Options, p *person) {
		o.Config = s.config(t, "IdentityFile "+s.path("locked"))
		works(t, o)
		if q := p.questions(); len(q) > 0 {
			t.Errorf("asked %q", q)
		}
	})
}

func TestOpenKeyFile(t *testing.T) {
	s := startServer(t)
	if err := os.Chmod(s.path("id"), 0o644); err != nil {
		t.Fatal(err)
	}
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		o.Config = s.config(t)
		err := refused(t, o)
		if !errors.Is(err, ErrAuth) {
			t.Error(err)
		}
		if o.Client == Native {
			has(t, err, "chmod 600", "0644")
		}
	})
}

func TestUserCertificate(t *testing.T) {
	s := newServer(t)
	keygen(t, "-t", "ed25519", "-N", "", "-f", s.path("ca"))
	keygen(t, "-s", s.path("ca"), "-I", "test", "-n", me(t), s.path("id.pub"))
	s.write(t, "authorized_keys", "")
	s.start(t, "TrustedUserCAKeys "+s.path("ca.pub"))
	t.Run("beside the key", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o.Config = s.config(t)
			works(t, o)
		})
	})
	if err := os.Rename(s.path("id-cert.pub"), s.path("elsewhere.pub")); err != nil {
		t.Fatal(err)
	}
	t.Run("named", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o.Config = s.config(t, "CertificateFile "+s.path("elsewhere.pub"))
			works(t, o)
		})
	})
	t.Run("not", func(t *testing.T) {
		each(t, nil, func(t *testing.T, o Options, _ *person) {
			o.Config = s.config(t)
			if err := refused(t, o); !errors.Is(err, ErrAuth) {
				t.Error(err)
			}
		})
	})
}

// addUser makes a user of this machine with a password, until the test ends.
func addUser(t *testing.T, pass string) string {
	t.Helper()
	needsRoot(t)
	name := fmt.Sprintf("mt%d", os.Getpid()%100000)
	if out, err := exec.Command(needs(t, "useradd", "passwd"), "-m", "-d", filepath.Join(t.TempDir(), "home"), "-s", "/bin/sh", name).CombinedOutput(); err != nil {
		t.Fatalf("useradd: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		// The end of their last session may be under way.
		if out, err := exec.Command("userdel", "-f", name).CombinedOutput(); err != nil {
			t.Errorf("userdel: %v\n%s", err, out)
		}
	})
	cmd := exec.Command(needs(t, "chpasswd", "passwd"))
	cmd.Stdin = strings.NewReader(name + ":" + pass + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("chpasswd: %v\n%s", err, out)
	}
	return name
}

func TestPassword(t *testing.T) {
	name := addUser(t, "swordfish")
	for method, lines := range map[string][]string{
		"password":             {"PasswordAuthentication yes"},
		"keyboard-interactive": {"KbdInteractiveAuthentication yes", "UsePAM yes"},
	} {
		t.Run(method, func(t *testing.T) {
			s := startServer(t, append(lines, "MaxAuthTries 6")...)
			t.Run("right", func(t *testing.T) {
				each(t, func() *person { return newPerson(map[string]string{"assword:": "swordfish"}) }, func(t *testing.T, o Options, p *person) {
					o.Target.User = name
					o.Config = s.config(t)
					works(t, o)
					if q := p.questions(); len(q) != 1 || !strings.Contains(q[0], name+"@127.0.0.1") {
						t.Errorf("asked %q", q)
					}
				})
			})
			t.Run("wrong", func(t *testing.T) {
				each(t, func() *person { return newPerson(map[string]string{"assword:": "wrong"}) }, func(t *testing.T, o Options, p *person) {
					o.Target.User = name
					tries := map[string]int{password: 2, keyboard: 1}[method] // PAM takes its time to refuse
					o.Config = s.config(t, fmt.Sprintf("NumberOfPasswordPrompts %d", tries))
					before := s.count("Connection from")
					err := refused(t, o)
					if !errors.Is(err, ErrAuth) {
						t.Error(err)
					}
					has(t, err, method)
					if strings.Contains(err.Error(), "wrong") {
						t.Errorf("the password is in the error: %v", err)
					}
					if n := len(p.questions()); n != tries {
						t.Errorf("asked %d times", n)
					}
					if n := s.count("Connection from") - before; n != 1 {
						t.Errorf("%d connections for one login", n)
					}
				})
			})
			t.Run("nobody", func(t *testing.T) {
				each(t, nil, func(t *testing.T, o Options, p *person) {
					o.Target.User = name
					o.Config = s.config(t)
					err := refused(t, o)
					if !errors.Is(err, ErrAuth) {
						t.Error(err)
					}
					has(t, err, method)
				})
			})
			t.Run("cancelled", func(t *testing.T) {
				each(t, func() *person { p := newPerson(nil); p.block = true; return p }, func(t *testing.T, o Options, p *person) {
					o.Target.User = name
					o.Config = s.config(t)
					ctx, cancel := context.WithCancel(t.Context())
					failed := make(chan error, 1)
					go func() { _, err := Dial(ctx, o); failed <- err }()
					p.waitAsked(t)
					cancel()
					if err := <-failed; !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				})
			})
		})
	}
}

// TestKeyAndPassword wants one after the other.
func TestKeyAndPassword(t *testing.T) {
	name := addUser(t, "swordfish")
	s := newServer(t)
	for _, dir := range []string{filepath.Dir(s.dir), s.dir} { // sshd reads the keys as that user
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t, "AuthenticationMethods publickey,keyboard-interactive", "KbdInteractiveAuthentication yes", "UsePAM yes")
	each(t, func() *person { return newPerson(map[string]string{"assword:": "swordfish"}) }, func(t *testing.T, o Options, p *person) {
		before := s.count("Partial publickey")
		o.Target.User = name
		o.Config = s.config(t)
		works(t, o)
		if s.count("Partial publickey") != before+1 {
			t.Error("the key was not one of the two")
		}
	})
}
