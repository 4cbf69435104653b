package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/internal/remote"
	mssh "muster/ssh"
	"muster/ssh/relay"
)

// kill ends the relay there.
func kill(t *testing.T, site *remote.Site) {
	t.Helper()
	signal(t, site, syscall.SIGKILL)
}

// signal signals a site's relay.
func signal(t *testing.T, site *remote.Site, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(site.Hello().Self.Pid, sig); err != nil {
		t.Fatal(err)
	}
}

// passes checks that who dials a port there comes out here.
func passes(t *testing.T, port *remote.Port, accepted <-chan net.Conn) {
	t.Helper()
	c, err := net.Dial("tcp", port.Addresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case here := <-accepted:
		defer here.Close()
		io.WriteString(here, "hello")
		c.SetDeadline(time.Now().Add(late))
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Errorf("%q, %v", b, err)
		}
	case <-time.After(late):
		t.Fatal("nothing comes out here")
	}
}

// accept hands on what comes in until the port is closed, of which it tells.
func accept(port *remote.Port) (conns chan net.Conn, over chan error) {
	conns, over = make(chan net.Conn), make(chan error, 1)
	go func() {
		for {
			c, err := port.Accept()
			if err != nil {
				over <- err
				return
			}
			conns <- c
		}
	}()
	return conns, over
}

// TestLinkIsMadeAgain: a relay that is killed costs nothing but time. Its port is
// where it was, and whoever waited goes on waiting.
func TestLinkIsMadeAgain(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	site := m.open()
	first := site.Hello().Self
	port, err := site.Listen(t.Context(), "127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	addr := port.Addr().String()
	conns, over := accept(port)
	passes(t, port, conns)
	renewed := make(chan string, 1)
	site.OnRenewal(func(ctx context.Context) {
		o, err := site.Run(ctx, []string{"echo", "renewed"}, "") // there is a link by now
		if err != nil {
			t.Error(err)
		}
		renewed <- string(o.Stdout)
	})
	kill(t, site)
	m.hears("the link to " + m.name() + " is lost")
	if o, err := site.Run(t.Context(), []string{"echo", "patience"}, ""); err != nil || string(o.Stdout) != "patience\n" {
		t.Errorf("%+v, %v", o, err)
	}
	select {
	case text := <-renewed:
		if text != "renewed\n" {
			t.Errorf("who is told of the new link finds %q", text)
		}
	case <-time.After(late):
		t.Fatal("nobody is told of the new link")
	}
	m.hears("the link to " + m.name() + " is back after")
	if now := site.Hello().Self; now == first {
		t.Errorf("it is still %+v", now)
	}
	if port.Addr().String() != addr || port.Addresses()[0] != addr {
		t.Errorf("the port was at %s and is at %s, %v", addr, port.Addr(), port.Addresses())
	}
	passes(t, port, conns)
	if err := port.Close(); err != nil {
		t.Error(err)
	}
	if err := <-over; !errors.Is(err, net.ErrClosed) {
		t.Errorf("who waits for connections is told %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("it still listens there")
	}
	if said := m.heard("copying"); len(said) > 1 {
		t.Errorf("said is %q", said)
	}
	m.sites.Close(t.Context(), nil)
	if left := m.left(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// session returns the process of sshd below which one is that was started by SSH.
func session(t *testing.T, pid int) int {
	t.Helper()
	for pid > 1 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		name, rest, _ := strings.Cut(string(stat), ") ")
		if strings.Contains(name, "(sshd") {
			return pid
		}
		if _, err := fmt.Sscanf(rest, "%1s %d", new(string), &pid); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("it is below no sshd")
	return 0
}

// stopped reports whether all threads of a process are. Those that run go on for a
// moment after SIGSTOP was sent.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(list) == 0 {
		t.Fatalf("no thread of %d: %v", pid, err)
	}
	for _, path := range list {
		stat, err := os.ReadFile(path)
		if _, rest, _ := strings.Cut(string(stat), ") "); err != nil || !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return true
}

// TestRelayHangs: one that does not notice the end of its link is ended by the
// next, which has its port then.
func TestRelayHangs(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	site := m.open()
	port, err := site.Listen(t.Context(), "127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	conns, _ := accept(port)
	addr, old := port.Addr().String(), site.Hello().Self
	sshd := session(t, old.Pid)
	if err := syscall.Kill(old.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stop of each thread", func() bool { return stopped(t, old.Pid) })
	if err := syscall.Kill(sshd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.hears("the link to " + m.name() + " is back after")
	if port.Addr().String() != addr {
		t.Errorf("the port was at %s and is at %s", addr, port.Addr())
	}
	passes(t, port, conns)
	if alive, err := site.Alive(t.Context(), []relay.Process{old}); err != nil || alive[0] {
		t.Errorf("the old one is alive: %v, %v", alive, err)
	}
}

// TestPortIsTaken while the link was lost: another takes its place, which the
// addresses say by the time that the new link is told of.
func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	m.login.Addresses = []string{"login-ib0"}
	site := m.open()
	port, err := site.Listen(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, number, _ := net.SplitHostPort(port.Addr().String())
	if a := port.Addresses(); len(a) != 1 || a[0] != "login-ib0:"+number {
		t.Errorf("workers dial %q", a)
	}
	renewed := make(chan []string, 1)
	site.OnRenewal(func(context.Context) { renewed <- port.Addresses() })
	kill(t, site)
	m.hears("the link to " + m.name() + " is lost")
	taken, err := net.Listen("tcp", ":"+number)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	select {
	case a := <-renewed:
		if len(a) != 1 || a[0] == "login-ib0:"+number || !strings.HasPrefix(a[0], "login-ib0:") {
			t.Errorf("workers dial %q, and %s is taken", a, number)
		}
	case <-time.After(late):
		t.Fatal("there is no new link")
	}
	if _, err := site.Listen(t.Context(), "", taken.Addr().(*net.TCPAddr).Port); err == nil {
		t.Error("a port that is taken can be had")
	}
}

// TestServerIsGone: who wants something waits as long as he has patience, and the
// end does not wait for what cannot be reached.
func TestServerIsGone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	site := m.open()
	port, err := site.Listen(t.Context(), "127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, over := accept(port)
	m.sshd.Stop()
	m.hears("the link to " + m.name() + " is lost")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := site.Run(ctx, []string{"true"}, ""); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), m.login.Target.String()+" cannot be reached for now") {
		t.Errorf("%v", err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := site.Run(context.Background(), []string{"true"}, "")
		waiting <- err
	}()
	began := time.Now()
	m.sites.Close(t.Context(), nil)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %s", took)
	}
	if err := <-waiting; !errors.Is(err, remote.ErrClosed) {
		t.Errorf("who waits is told %v", err)
	}
	if err := <-over; !errors.Is(err, net.ErrClosed) {
		t.Errorf("who waits for connections is told %v", err)
	}
}

// TestNoLoginAgain: a login that is refused is not tried again and again, which
// is said once, until somebody asks for it.
func TestNoLoginAgain(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.equip()
	site := m.open()
	port, err := site.Listen(t.Context(), "127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	conns, _ := accept(port)
	renewed := make(chan struct{}, 1)
	site.OnRenewal(func(context.Context) { renewed <- struct{}{} })
	keys := filepath.Join(m.sshd.Dir, "authorized_keys")
	if err := os.Rename(keys, keys+".away"); err != nil {
		t.Fatal(err)
	}
	kill(t, site)
	m.hears("logging in to " + m.name() + " again is not possible")
	for range 2 {
		if _, err := site.Run(t.Context(), []string{"true"}, ""); !errors.Is(err, mssh.ErrAuth) || !strings.Contains(err.Error(), m.login.Target.String()+" cannot be reached: ") {
			t.Errorf("%v", err)
		}
	}
	if said := m.heard("not possible"); len(said) != 1 || !strings.Contains(said[0], "`muster launch` with its launcher logs in anew") {
		t.Errorf("said is %q", said)
	}
	m.refused("the server refused")
	if err := os.Rename(keys+".away", keys); err != nil {
		t.Fatal(err)
	}
	if again := m.open(); again != site {
		t.Error("it is another site")
	}
	if n := m.logins(); n != 2 {
		t.Errorf("%d logins", n)
	}
	select {
	case <-renewed:
	case <-time.After(late):
		t.Error("nobody is told of the new link")
	}
	passes(t, port, conns)
}
