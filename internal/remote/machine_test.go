package remote_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/remote"
	"muster/internal/state"
	"muster/internal/testbed"
	mssh "muster/ssh"
	"muster/ssh/relay"
)

const build = "1.2.3-test"

// TestMain makes the test binary serve as muster on the other side.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "--version":
			fmt.Println("muster version " + build)
			os.Exit(0)
		case "sftp":
			if err := serveSFTP(os.Args[2]); err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		case "relay":
			rw, err := relay.Stdio()
			if err == nil {
				err = relay.Serve(context.Background(), rw, relay.ServeOptions{Build: build})
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	home, err := os.MkdirTemp("", "remote")
	if err == nil {
		err = os.MkdirAll(filepath.Join(home, ".ssh"), 0o700)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("HOME", home)
	os.Unsetenv("SSH_AUTH_SOCK")
	flag.Set("test.parallel", "8") // they wait for logins most of the time
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// near is muster here, in a folder that is called by its SHA-256: a script, which
// is soon copied. Its own path is the last word of what it starts, to be found by.
var near = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	script := filepath.Join(os.Getenv("HOME"), "muster")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+self+" \"$@\" \"$0\"\n"), 0o700); err != nil {
		return "", err
	}
	return state.Binary(os.Getenv("HOME"), script)
})

// hosts guards ssh_config, and counts the hosts in it.
var hosts struct {
	sync.Mutex
	n int
}

// newHost returns a name that ssh_config does not have.
func newHost() string {
	hosts.Lock()
	defer hosts.Unlock()
	hosts.n++
	return fmt.Sprintf("node%d", hosts.n)
}

// addHosts adds a file to ssh_config, in one step.
func addHosts(t *testing.T, file string) {
	t.Helper()
	hosts.Lock()
	defer hosts.Unlock()
	config := filepath.Join(os.Getenv("HOME"), ".ssh", "config")
	before, _ := os.ReadFile(config)
	more, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(config+".new", append(before, more...), 0o600)
	}
	if err == nil {
		err = os.Rename(config+".new", config)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// machine is one that can be reached by SSH, and is this one.
type machine struct {
	t     *testing.T
	sshd  *testbed.SSHD
	login remote.Login
	o     remote.Options
	sites *remote.Sites

	mu   sync.Mutex // guards what follows
	said []string
	more chan struct{}
}

// newMachine starts an SSH server whose logins print what nobody asked for. lines
// are sshd_config's.
func newMachine(t *testing.T, lines ...string) *machine {
	t.Helper()
	if missing := testbed.Missing("sshd", "ssh-keygen"); missing != "" && os.Getenv("CI") != "" {
		t.Fatalf("this needs %s", missing)
	} else if missing != "" {
		t.Skipf("needs %s", missing)
	}
	if len(lines) == 0 {
		lines = []string{`ForceCommand echo welcome; eval "$SSH_ORIGINAL_COMMAND"`}
	}
	dir := t.TempDir()
	m := &machine{t: t, more: make(chan struct{}), login: remote.Login{Target: mssh.Target{Host: newHost()}, State: filepath.Join(dir, "far")}}
	var err error
	m.sshd, err = testbed.StartSSHD(filepath.Join(dir, "sshd"), testbed.SSHDOptions{Name: m.login.Target.Host, Lines: lines,
		Env: []string{"GORACE=atexit_sleep_ms=0", "ODD=" + dir + "/a`b", "RELATIVE=a/b"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.sshd.Stop)
	addHosts(t, filepath.Join(m.sshd.Dir, "ssh_config"))
	m.o = remote.Options{Run: "run-1", Build: build, SocketDir: dir, Log: hclog.NewNullLogger(), Say: m.say,
		Program: func(_, _, wanted string) (string, error) {
			if wanted == "" {
				return near()
			}
			return state.Binary(filepath.Join(dir, "near"), wanted)
		}}
	m.sites = remote.New(m.o)
	t.Cleanup(func() { m.sites.Close(context.Background(), nil) })
	return m
}

// equip puts muster there, for tests of other things than that.
func (m *machine) equip() {
	m.t.Helper()
	program, err := near()
	if err != nil {
		m.t.Fatal(err)
	}
	dir := filepath.Join(m.login.State, "bin", filepath.Base(filepath.Dir(program)))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Link(program, filepath.Join(dir, "muster")); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, fmt.Sprintf(format, args...))
	close(m.more)
	m.more = make(chan struct{})
}

// heard returns what has been said with a text in it.
func (m *machine) heard(text string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.said), func(s string) bool { return !strings.Contains(s, text) })
}

// late is how long a test waits for what should come soon.
const late = 30 * time.Second

// hears waits until something is said.
func (m *machine) hears(text string) {
	m.t.Helper()
	deadline := time.After(late)
	for {
		m.mu.Lock()
		more, said := m.more, m.said
		m.mu.Unlock()
		if len(m.heard(text)) > 0 {
			return
		}
		select {
		case <-more:
		case <-deadline:
			m.t.Fatalf("waited in vain for %q; said is %q", text, said)
		}
	}
}

func (m *machine) name() string { return m.login.Name() }

func (m *machine) open() *remote.Site {
	m.t.Helper()
	site, err := m.sites.Open(m.t.Context(), m.login, "")
	if err != nil {
		m.t.Fatal(err)
	}
	return site
}

// refused opens a site, which must not work.
func (m *machine) refused(want string) {
	m.t.Helper()
	if _, err := m.sites.Open(m.t.Context(), m.login, ""); err == nil || !strings.Contains(err.Error(), want) {
		m.t.Errorf("%+v: %v, want %q", m.login, err, want)
	}
}

// logins counts those that the server let in.
func (m *machine) logins() int {
	b, err := os.ReadFile(filepath.Join(m.sshd.Dir, "sshd.out"))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Count(string(b), "Accepted publickey")
}

// left lists what the machine has of muster's: processes and files, but for the
// program.
func (m *machine) left() []string {
	list := testbed.Running(regexp.MustCompile(regexp.QuoteMeta(m.login.State)))
	filepath.WalkDir(m.login.State, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !regexp.MustCompile(`/bin/[0-9a-f]{64}/muster$`).MatchString(path) {
			list = append(list, path)
		}
		return nil
	})
	return list
}

// eventually polls where the system has no event to wait for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(late); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
