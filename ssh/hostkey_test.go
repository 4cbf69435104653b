package ssh

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func print(t *testing.T, public string) string {
	t.Helper()
	out, err := exec.Command(needs(t, "ssh-keygen", "openssh-client"), "-l", "-f", public).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))[1]
}

// TestKnownHosts has known_hosts files that know the server in many ways.
func TestKnownHosts(t *testing.T) {
	s := newServer(t)
	keygen(t, "-t", "ed25519", "-N", "", "-f", s.path("ca"))
	keygen(t, "-t", "rsa", "-N", "", "-f", s.path("host_rsa"))
	keygen(t, "-t", "ed25519", "-N", "", "-f", s.path("wrong"))
	keygen(t, "-h", "-s", s.path("ca"), "-I", "host", "-n", "127.0.0.1,alias", s.path("host_key.pub"))
	s.start(t, "HostKey "+s.path("host_rsa"), "HostCertificate "+s.path("host_key-cert.pub"))
	right, rsa, ca, wrong := s.read(t, "host_key.pub"), s.read(t, "host_rsa.pub"), s.read(t, "ca.pub"), s.read(t, "wrong.pub")
	mine, now := print(t, s.path("wrong.pub")), print(t, s.path("host_key.pub"))
	for _, tc := range []struct {
		name   string
		known  string
		hash   bool
		config string
		says   []string // nothing: the host is trusted
	}{
		{name: "plain", known: s.knownAs() + " " + right},
		{name: "another kind of key alone", known: s.knownAs() + " " + rsa},
		{name: "hashed", known: s.knownAs() + " " + right, hash: true},
		{name: "wildcard", known: "127.0.0.* " + right},
		{name: "authority", known: "@cert-authority 127.0.0.* " + ca},
		{name: "other port", known: "127.0.0.1 " + right},
		{name: "alias", known: "alias " + right, config: "HostKeyAlias alias"},
		{name: "among others", known: "# comment\n\nother " + wrong + s.knownAs() + " " + right},
		{name: "two of one kind", known: s.knownAs() + " " + wrong + s.knownAs() + " " + right},
		{name: "nothing", known: "", says: []string{"not known", now}},
		{name: "other key on another port", known: "127.0.0.1 " + wrong, says: []string{"not known"}},
		{name: "wrong authority", known: "@cert-authority 127.0.0.1 " + wrong, says: []string{"host key of"}},
		{name: "changed", known: "# one\n" + s.knownAs() + " " + wrong, says: []string{"it changed", mine, now, "known_hosts:2", "ssh-keygen -f", "administrators"}},
		{name: "changed and hashed", known: s.knownAs() + " " + wrong, hash: true, says: []string{"it changed", mine, now}},
		{name: "revoked", known: s.knownAs() + " " + right + "@revoked * " + right, says: []string{"revoked", now}},
		{name: "changed, not strict", known: s.knownAs() + " " + wrong, config: "StrictHostKeyChecking no", says: []string{"it changed"}},
		{name: "changed, to be learnt", known: s.knownAs() + " " + wrong, config: "StrictHostKeyChecking accept-new", says: []string{"it changed"}},
	} {
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			file := s.write(t, "known_hosts", tc.known)
			if tc.hash {
				keygen(t, "-H", "-f", file)
				os.Remove(file + ".old")
			}
			before := s.read(t, "known_hosts")
			each(t, nil, func(t *testing.T, o Options, _ *person) {
				o.Config = s.config(t, tc.config)
				if tc.says == nil {
					works(t, o)
				} else {
					err := refused(t, o)
					if !errors.Is(err, ErrHostKey) {
						t.Errorf("not about the host key: %v", err)
					}
					has(t, err, tc.says...)
				}
				if after := s.read(t, "known_hosts"); after != before {
					t.Errorf("known_hosts was changed to\n%s", after)
				}
			})
		})
	}
}

func TestLearnHostKey(t *testing.T) {
	s := startServer(t)
	key := strings.Join(strings.Fields(s.read(t, "host_key.pub"))[:2], " ")
	yes := func() *person { return newPerson(map[string]string{"continue connecting": "yes"}) }
	for _, tc := range []struct {
		name, config string
		set          func(*Options)
		person       func() *person
		hashed       bool
	}{
		{name: "option", set: func(o *Options) { o.AcceptNew = true }},
		{name: "accept-new", config: "StrictHostKeyChecking accept-new"},
		{name: "no", config: "StrictHostKeyChecking no"},
		{name: "hashed", config: "StrictHostKeyChecking accept-new\nHashKnownHosts yes", hashed: true},
		{name: "yes", person: yes},
		{name: "fingerprint", person: func() *person {
			return newPerson(map[string]string{"continue connecting": print(t, s.path("host_key.pub"))})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			each(t, tc.person, func(t *testing.T, o Options, p *person) {
				dir := filepath.Join(t.TempDir(), "new")
				if o.Client == OpenSSH { // it makes ~/.ssh alone
					if err := os.Mkdir(dir, 0o700); err != nil {
						t.Fatal(err)
					}
				}
				file := filepath.Join(dir, "known_hosts")
				o.Config = s.config(t, "UserKnownHostsFile "+file, tc.config)
				if tc.set != nil {
					tc.set(&o)
				}
				works(t, o)
				text, err := os.ReadFile(file)
				if err != nil || !strings.HasSuffix(string(text), " "+key+"\n") || strings.Contains(string(text), "127.0.0.1") == tc.hashed {
					t.Errorf("learnt %q, %v", text, err)
				}
				if st, err := os.Stat(file); o.Client == Native && (err != nil || st.Mode().Perm() != 0o600) {
					t.Errorf("mode %v, %v", st.Mode(), err)
				}
				o.Prompt, o.Askpass, o.AcceptNew = nil, nil, false
				works(t, o)
				if again, _ := os.ReadFile(file); string(again) != string(text) {
					t.Errorf("learnt again: %q", again)
				}
				if p != nil && len(p.questions()) == 0 {
					t.Error("nobody was asked")
				}
			})
		})
	}
}

// TestNewKeyExchange has one after each MB: a key that was learnt is not learnt
// again, and a clock that stopped stays so.
func TestNewKeyExchange(t *testing.T) {
	s := startServer(t, "RekeyLimit 1M")
	each(t, nil, func(t *testing.T, o Options, _ *person) {
		file := filepath.Join(t.TempDir(), "known_hosts")
		o.Config, o.AcceptNew = s.config(t, "UserKnownHostsFile "+file), true
		c := dial(t, o)
		defer c.Close()
		out, err := c.Run(t.Context(), "head -c 5000000 /dev/zero", nil)
		if err != nil || out.Code != 0 {
			t.Errorf("%d %v", out.Code, err)
		}
		if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "\n") != 1 {
			t.Errorf("learnt %q %v", text, err)
		}
	})
	c := newClock(time.Hour, func() {})
	c.stop()
	c.set(time.Hour)
	c.aside(func() error { return nil })
	if c.timer.Stop() {
		t.Error("a clock that was stopped runs again")
	}
}

func TestCancelHostKey(t *testing.T) {
	s := startServer(t)
	each(t, func() *person { p := newPerson(nil); p.block = true; return p }, func(t *testing.T, o Options, p *person) {
		o.Config = s.config(t, "UserKnownHostsFile "+filepath.Join(t.TempDir(), "known_hosts"))
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { _, err := Dial(ctx, o); failed <- err }()
		p.waitAsked(t)
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestHostKeyNotConfirmed(t *testing.T) {
	s := startServer(t)
	now := print(t, s.path("host_key.pub"))
	each(t, func() *person { return newPerson(map[string]string{"continue connecting": "no"}) }, func(t *testing.T, o Options, p *person) {
		file := filepath.Join(t.TempDir(), "known_hosts")
		o.Config = s.config(t, "UserKnownHostsFile "+file)
		if err := refused(t, o); !errors.Is(err, ErrHostKey) {
			t.Error(err)
		}
		if text := strings.Join(p.questions(), "\n"); !strings.Contains(text, now) || !strings.Contains(text, "(yes/no/[fingerprint])") {
			t.Errorf("asked %q", text)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("a key that was not confirmed was learnt")
		}
		o.Prompt, o.Askpass = nil, nil
		o.Config = s.config(t, "UserKnownHostsFile "+file, "StrictHostKeyChecking yes")
		o.AcceptNew = false
		err := refused(t, o)
		if !errors.Is(err, ErrHostKey) {
			t.Error(err)
		}
		has(t, err, "accept-new")
	})
}

func TestAppendLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deep", "known_hosts")
	for i, before := range []string{"", "a\n", "a"} {
		if i > 0 {
			if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := appendLine(file, "b\n"); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"": "b\n", "a\n": "a\nb\n", "a": "a\nb\n"}[before]
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("after %q: %q %v", before, got, err)
		}
	}
	if st, err := os.Stat(filepath.Dir(file)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", st, err)
	}
}
