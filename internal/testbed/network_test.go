package testbed_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/internal/testbed"
)

// need skips where programs are missing, but not on CI.
func need(t testing.TB, programs ...string) {
	t.Helper()
	missing := testbed.Missing(programs...)
	if missing != "" && os.Getenv("CI") != "" {
		t.Fatalf("this needs %s", missing)
	}
	if missing != "" {
		t.Skipf("needs %s", missing)
	}
}

// open is a folder that other users may traverse.
func open(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func network(t testing.TB, o testbed.NetworkOptions) *testbed.Network {
	t.Helper()
	need(t, "ip", "nft", "nsenter", "perl")
	n, err := testbed.StartNetwork(filepath.Join(open(t), "net"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return n
}

// dial dials from a node.
func dial(n *testbed.Network, from, addr string, port int, patience time.Duration) (c net.Conn, err error) {
	err = n.Do(from, func() (err error) {
		c, err = net.DialTimeout("tcp", net.JoinHostPort(addr, strconv.Itoa(port)), patience)
		return err
	})
	return c, err
}

// listen echoes what it is sent, on a node.
func listen(t testing.TB, n *testbed.Network, on string, port int) {
	t.Helper()
	var l net.Listener
	err := n.Do(on, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-over })
}

func echo(c net.Conn, patience time.Duration) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestNetworkReach(t *testing.T) {
	n := network(t, testbed.NetworkOptions{Compute: 2, SSHPort: 2222})
	for _, node := range []string{"laptop", "login", "c1", "c2"} {
		listen(t, n, node, 2222)
		listen(t, n, node, 7000)
	}
	for _, tt := range []struct {
		from, addr string
		port       int
		want       string // "", refused, lost
	}{
		{"laptop", testbed.LoginWAN, 2222, ""},
		{"laptop", testbed.LoginAddr, 2222, ""},
		{"laptop", testbed.LoginWAN, 7000, "refused"},
		{"laptop", n.Addr("c1"), 2222, "refused"},
		{"login", n.Addr("c1"), 7000, ""},
		{"login", testbed.LaptopAddr, 7000, ""},
		{"c1", testbed.LoginAddr, 7000, ""},
		{"c1", n.Addr("c2"), 7000, ""},
		{"c1", n.Addr("c2"), 7001, "refused"},
		{"c1", testbed.LaptopAddr, 7000, "lost"},
	} {
		patience := 10 * time.Second
		if tt.want == "lost" {
			patience = 300 * time.Millisecond
		}
		c, err := dial(n, tt.from, tt.addr, tt.port, patience)
		got := ""
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			got = "refused"
		case err != nil && err.(net.Error).Timeout():
			got = "lost"
		case err != nil:
			got = err.Error()
		default:
			c.Close()
		}
		if got != tt.want {
			t.Errorf("%s to %s:%d: %q, want %q", tt.from, tt.addr, tt.port, got, tt.want)
		}
	}
	for node, want := range map[string][]int{"laptop": {2222, 7000}, "c1": {2222, 7000}} {
		if got, err := n.Listeners(node); err != nil || !slices.Equal(got, want) {
			t.Errorf("listeners of %s: %v, %v; want %v", node, got, err, want)
		}
	}
}

func TestNetworkJump(t *testing.T) {
	n := network(t, testbed.NetworkOptions{Jump: true})
	listen(t, n, "jump", 22)
	listen(t, n, "login", 22)
	for _, tt := range []struct {
		from, addr string
		ok         bool
	}{
		{"laptop", testbed.JumpWAN, true},
		{"laptop", testbed.LoginWAN, false},
		{"jump", testbed.LoginWAN, true},
	} {
		patience := 10 * time.Second
		if !tt.ok {
			patience = 300 * time.Millisecond
		}
		c, err := dial(n, tt.from, tt.addr, 22, patience)
		if (err == nil) != tt.ok {
			t.Errorf("%s to %s: %v", tt.from, tt.addr, err)
		}
		if err == nil {
			c.Close()
		}
	}
}

// A link that is down says nothing, and the connection is still good after.
func TestNetworkDown(t *testing.T) {
	n := network(t, testbed.NetworkOptions{Compute: 1})
	listen(t, n, "login", 7000)
	c, err := dial(n, "c1", testbed.LoginAddr, 7000, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := n.Down("c1"); err != nil {
		t.Fatal(err)
	}
	if err := echo(c, 300*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("over a dead link: %v", err)
	}
	for range 2 { // Up is idempotent
		if err := n.Up("c1"); err != nil {
			t.Fatal(err)
		}
	}
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("after the link is back: %v", err)
	}
}

func TestNetworkNodes(t *testing.T) {
	n := network(t, testbed.NetworkOptions{Compute: 1})
	secret := filepath.Join(n.Dir, "secret")
	if err := os.MkdirAll(secret, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secret, "hello"), []byte("#!/bin/sh\necho hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(n.Dir, "small")
	for _, err := range []error{n.Hide("login", secret), n.Tmpfs("login", small, 1<<20, true), n.Setenv("login", "ODD=it's $HOME")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.AddUser("mustertest", "pass word", "/bin/sh"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ node, script, want string }{
		{"login", "hostname", "login"},
		{"c1", "hostname", "c1"},
		{"laptop", "getent hosts login", testbed.LoginWAN + " login"},
		{"c1", "getent hosts login", testbed.LoginAddr + " login"},
		{"laptop", "getent hosts c1 || echo unknown", "unknown"},
		{"laptop", "ls " + secret, "hello"},
		{"login", "ls " + secret, ""},
		{"login", "dd if=/dev/zero of=" + small + "/f bs=1M count=2 2>/dev/null || echo full", "full"},
		{"login", "rm " + small + "/f; cp /bin/true " + small + " && " + small + "/true || echo $?", "126"},
		{"laptop", "ls " + small, ""},
		{"login", `echo "$ODD"`, "it's $HOME"},
		{"c1", "echo ~", filepath.Join(n.Dir, "home", "root")},
		{"c1", "eval echo ~mustertest; id -un mustertest", filepath.Join(n.Dir, "home", "mustertest") + " mustertest"},
		{"laptop", "id mustertest >/dev/null 2>&1 || echo unknown", "unknown"},
		{"login", "pwd", mustGetwd(t)},
		{"c1", "test -d /sys/fs/cgroup/ && echo $(ls /sys/fs/cgroup | wc -l)", strconv.Itoa(len(glob("/sys/fs/cgroup/*")))},
	} {
		cmd := n.Command(tt.node, "sh", "-c", tt.script)
		out, err := cmd.Output()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != tt.want {
			t.Errorf("%s: %s: %q, %v; want %q", tt.node, tt.script, got, err, tt.want)
		}
	}
	if id, err := os.ReadFile("/etc/passwd"); err != nil || strings.Contains(string(id), "mustertest") {
		t.Errorf("the machine's own accounts have changed (%v)", err)
	}
}

func mustGetwd(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern)
	return paths
}

// Stop ends what has left its parent too.
func TestNetworkStop(t *testing.T) {
	n := network(t, testbed.NetworkOptions{Compute: 1})
	name := filepath.Join(n.Dir, "stray")
	cmd := n.Command("c1", "sh", "-c", `setsid -f sh -c 'while :; do sleep 1; done' "$0" </dev/null >/dev/null 2>&1`, name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	re := regexp.MustCompile(regexp.QuoteMeta(name))
	if len(testbed.Running(re)) == 0 {
		t.Fatal("the stray is not there")
	}
	n.Stop()
	if left := testbed.Running(re); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}
}

// A test that is killed leaves nothing behind.
func TestNetworkOrphaned(t *testing.T) {
	if dir := os.Getenv("TESTBED_ORPHAN"); dir != "" {
		n, err := testbed.StartNetwork(dir, testbed.NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cmd := n.Command("login", "sh", "-c", `setsid -f sh -c 'while :; do sleep 1; done' "$0" </dev/null >/dev/null 2>&1`, dir+"/stray")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	need(t, "ip", "nft", "nsenter", "perl")
	dir := filepath.Join(open(t), "net")
	cmd := exec.Command(os.Args[0], "-test.run=^TestNetworkOrphaned$")
	cmd.Env = append(os.Environ(), "TESTBED_ORPHAN="+dir)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != -1 {
		t.Fatalf("%v: %s", err, out)
	}
	re := regexp.MustCompile(regexp.QuoteMeta(dir))
	deadline := time.Now().Add(2 * time.Minute)
	for tick := time.NewTicker(20 * time.Millisecond); len(testbed.Running(re)) > 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %q", testbed.Running(re))
		}
	}
}

func TestNetworkDelay(t *testing.T) {
	n := network(t, testbed.NetworkOptions{SSHPort: 7000})
	listen(t, n, "login", 7000)
	const oneWay = 25 * time.Millisecond
	_, login, err := n.Delay("laptop", "login", oneWay)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(n, "laptop", login, 7000, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	best := time.Hour
	for range 5 {
		began := time.Now()
		if err := echo(c, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(began))
	}
	if best < 2*oneWay || best > 4*oneWay {
		t.Errorf("a round trip takes %v, want %v", best, 2*oneWay)
	}
	if c, err := dial(n, "laptop", login, 7001, 10*time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("another port, over the delayed link: %v, %v", c, err)
	}
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if err := carry(c, 8<<20); err != nil {
		t.Error(err)
	}
}

// carry sends bytes through an echo and checks each that comes back.
func carry(c net.Conn, size int) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, io.LimitReader(&pattern{}, int64(size)))
		sent <- err
	}()
	want, buf, got := &pattern{}, make([]byte, 64<<10), 0
	expect := make([]byte, len(buf))
	for got < size {
		k, err := c.Read(buf)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", got, errors.Join(err, <-sent))
		}
		want.Read(expect[:k])
		if !slices.Equal(buf[:k], expect[:k]) {
			return fmt.Errorf("what came back is not what was sent, within %d bytes of %d", k, got)
		}
		got += k
	}
	return <-sent
}

// pattern is bytes without end, of no period that packets or buffers have.
type pattern struct{ at int }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(p.at % 251)
		p.at++
	}
	return len(b), nil
}

// BenchmarkDelay measures what a link with a round trip of 50 ms carries one way,
// once its connection has opened its window.
func BenchmarkDelay(b *testing.B) {
	n := network(b, testbed.NetworkOptions{})
	var l net.Listener
	err := n.Do("login", func() (err error) { l, err = net.Listen("tcp4", "0.0.0.0:22"); return err })
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	_, login, err := n.Delay("laptop", "login", 25*time.Millisecond)
	if err != nil {
		b.Fatal(err)
	}
	c, err := dial(n, "laptop", login, 22, 10*time.Second)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	far, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer far.Close()
	const size = 8 << 20
	send := func() {
		go c.Write(make([]byte, size))
		if _, err := io.CopyN(io.Discard, far, size); err != nil {
			b.Fatal(err)
		}
	}
	send()
	b.SetBytes(size)
	for b.Loop() {
		send()
	}
}
