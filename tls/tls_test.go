package tls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func identity(t *testing.T) *Identity {
	t.Helper()
	id, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// pair returns the two ends of a connection with buffers, as a real one has:
// over net.Pipe two ends that both send an alert wait for each other.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// connect shakes hands and returns both ends.
func connect(t *testing.T, id *Identity, pin Pin) (client, server *Conn, err error) {
	t.Helper()
	a, b := pair(t)
	done := make(chan error, 1)
	go func() {
		var serr error
		server, serr = Server(context.Background(), b, id)
		done <- serr
	}()
	client, err = Client(context.Background(), a, pin)
	if err != nil {
		a.Close()
	}
	return client, server, errors.Join(err, <-done)
}

func TestProof(t *testing.T) {
	id, token := identity(t), NewToken()
	client, server, err := connect(t, id, id.Pin())
	if err != nil {
		t.Fatal(err)
	}
	proof, err := Proof(client, token, []byte("element 1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckProof(server, token, []byte("element 1"), proof); err != nil {
		t.Errorf("the right proof: %v", err)
	}
	if err := CheckProof(server, NewToken(), []byte("element 1"), proof); !errors.Is(err, ErrProof) {
		t.Errorf("another token: %v, want ErrProof", err)
	}
	if err := CheckProof(server, token, []byte("element 2"), proof); !errors.Is(err, ErrProof) {
		t.Errorf("another identity: %v, want ErrProof", err)
	}
	// A relay that terminates TLS holds two connections; what was proved on
	// one is worth nothing on the other.
	_, other, err := connect(t, id, id.Pin())
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckProof(other, token, []byte("element 1"), proof); !errors.Is(err, ErrProof) {
		t.Errorf("replayed on another connection: %v, want ErrProof", err)
	}
}

func TestWrongPinIsRefused(t *testing.T) {
	id, other := identity(t), identity(t)
	_, _, err := connect(t, id, other.Pin())
	if err == nil || !strings.Contains(err.Error(), id.Pin().String()) {
		t.Fatalf("error %v, want one that names the key shown", err)
	}
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	id := identity(t)
	synctest.Test(t, func(t *testing.T) {
		for name, shake := range map[string]func(net.Conn) error{
			"worker":     func(c net.Conn) error { _, err := Server(context.Background(), c, id); return err },
			"dispatcher": func(c net.Conn) error { _, err := Client(context.Background(), c, id.Pin()); return err },
		} {
			a, b := net.Pipe()
			go io.Copy(io.Discard, b)
			start := time.Now()
			if err := shake(a); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a silent %s: %v, want a deadline", name, err)
			}
			if took := time.Since(start); took != handshakeTimeout {
				t.Errorf("a silent %s was given up after %v, want %v", name, took, handshakeTimeout)
			}
			a.Close()
			b.Close()
		}
	})
}

func TestOldOrForeignPeersAreRefused(t *testing.T) {
	id := identity(t)
	old, b := pair(t)
	go func() {
		c := tls.Client(old, &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true})
		c.Handshake()
		old.Close()
	}()
	if _, err := Server(context.Background(), b, id); err == nil {
		t.Error("a TLS 1.2 client was let in")
	}
	browser, b := pair(t)
	go func() {
		io.WriteString(browser, "GET / HTTP/1.0\r\n\r\n")
		io.Copy(io.Discard, browser)
	}()
	if _, err := Server(context.Background(), b, id); err == nil {
		t.Error("a web browser was let in")
	}
}

func TestIdentityIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "id")
	pins := make([]Pin, 8)
	var wg sync.WaitGroup
	for i := range pins {
		wg.Go(func() {
			id, err := LoadOrCreate(dir)
			if err != nil {
				t.Error(err)
				return
			}
			pins[i] = id.Pin()
		})
	}
	wg.Wait()
	for _, p := range pins {
		if p != pins[0] {
			t.Fatal("two processes made two identities")
		}
	}
	path := filepath.Join(dir, IdentityFile)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v, want mode 0600", st, err)
	}
	os.Chmod(path, 0o644)
	if _, err := LoadOrCreate(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	os.WriteFile(path, []byte("rubbish"), 0o600)
	os.Chmod(path, 0o600)
	if _, err := LoadOrCreate(dir); err == nil {
		t.Error("a corrupt key was taken")
	}
}

func TestLaunchAdmits(t *testing.T) {
	now := time.Now()
	l := NewLaunch("l", Terms{Uses: 2, Until: now.Add(time.Hour)})
	steps := []struct {
		name    string
		restart uint32
		at      time.Time
		want    error
	}{
		{"a", 0, now, nil},
		{"a", 0, now, ErrLive},
		{"a", 1, now, nil}, // requeued: takes over
		{"b", 0, now, nil},
		{"c", 0, now, ErrTokenSpent},
		{"b", 1, now.Add(2 * time.Hour), ErrTokenExpired},
	}
	for i, s := range steps {
		if err := l.Admit(s.name, s.restart, s.at); !errors.Is(err, s.want) {
			t.Errorf("step %d: Admit(%s, %d) = %v, want %v", i, s.name, s.restart, err, s.want)
		}
	}
	l.Release("a", 0) // the session that was replaced
	if err := l.Admit("a", 1, now); !errors.Is(err, ErrLive) {
		t.Errorf("the replaced session's end freed its successor: %v", err)
	}
	l.Release("a", 1)
	if err := l.Admit("a", 1, now); err != nil {
		t.Errorf("after it left: %v", err)
	}
	l.Revoke()
	if err := l.Admit("b", 9, now); !errors.Is(err, ErrRevoked) {
		t.Errorf("after Revoke: %v", err)
	}
}

// TestRestartsAreBounded, in number and in how often an identity may come.
func TestRestartsAreBounded(t *testing.T) {
	now := time.Now()
	l := NewLaunch("l", Terms{Uses: 2})
	if err := l.Admit("a", MaxRestart+1, now); !errors.Is(err, ErrRestarts) || l.Used() != 0 {
		t.Errorf("beyond the last restart: %v, %d used", err, l.Used())
	}
	for restart := range uint32(joinsAtOnce) {
		if err := l.Admit("a", restart, now); err != nil || !l.Holds("a", restart) || l.Holds("a", restart-1) {
			t.Fatalf("restart %d: %v", restart, err)
		}
	}
	if err := l.Admit("a", joinsAtOnce, now); !errors.Is(err, ErrOften) || !l.Holds("a", joinsAtOnce-1) {
		t.Errorf("once too often: %v", err)
	}
	if err := l.Admit("b", 0, now); err != nil {
		t.Errorf("another: %v", err)
	}
	if err := l.Admit("a", joinsAtOnce, now.Add(joinEvery)); err != nil {
		t.Errorf("a while later: %v", err)
	}
	if err := l.Admit("a", MaxRestart, now.Add(time.Hour)); err != nil {
		t.Errorf("the last restart: %v", err)
	}
}

// TestExpiryIsTheDispatchersClock: whatever a worker's machine takes the date for, and
// whenever the dispatcher's certificate was made, its token is good to the moment.
func TestExpiryIsTheDispatchersClock(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	for _, skew := range []time.Duration{-day, 0, day} {
		l := NewLaunch("l", Terms{Uses: 2, Until: now.Add(skew + time.Hour)})
		if err := l.Admit("a", 0, now.Add(skew+time.Hour)); err != nil {
			t.Errorf("a clock that is %v off: in time: %v", skew, err)
		}
		if err := l.Admit("b", 0, now.Add(skew+time.Hour+1)); !errors.Is(err, ErrTokenExpired) {
			t.Errorf("a clock that is %v off: too late: %v", skew, err)
		}
		for _, made := range []time.Duration{skew, skew + 11*365*day, skew - 31*365*day} {
			text, err := generate(now.Add(made))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, IdentityFile), text, 0o600); err != nil {
				t.Fatal(err)
			}
			id, err := LoadOrCreate(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := connect(t, id, id.Pin()); err != nil {
				t.Errorf("a certificate that was made %v from now: %v", made, err)
			}
		}
	}
}

// TestLaunchAdmitsOnce: whoever has read a token that was sent takes nobody's place, not
// that of a live worker, not with a higher restart number, not after it has left.
func TestLaunchAdmitsOnce(t *testing.T) {
	l := NewLaunch("l", Terms{Uses: 2, Once: true})
	if err := l.Admit("a", 0, time.Now()); err != nil || !l.Live("a") || l.Live("b") {
		t.Fatalf("the first: %v, live %v", err, l.Live("a"))
	}
	for _, restart := range []uint32{0, 1, 1<<32 - 1} {
		if err := l.Admit("a", restart, time.Now()); !errors.Is(err, ErrOnce) {
			t.Errorf("restart %d beside the live one: %v", restart, err)
		}
	}
	l.Release("a", 0)
	for _, restart := range []uint32{0, 1} {
		if err := l.Admit("a", restart, time.Now()); !errors.Is(err, ErrOnce) || l.Live("a") {
			t.Errorf("restart %d after it has left: %v", restart, err)
		}
	}
	if err := l.Admit("b", 0, time.Now()); err != nil {
		t.Errorf("another: %v", err)
	}
	if err := l.Admit("c", 0, time.Now()); !errors.Is(err, ErrTokenSpent) {
		t.Errorf("a third of two: %v", err)
	}
}

func TestTokenNeverPrints(t *testing.T) {
	token := NewToken()
	j := Join{Addrs: []string{"unix:/x"}, Token: token}
	for _, s := range []string{fmt.Sprint(token), fmt.Sprintf("%v %x %s %q %+v", token, token, token, token, j)} {
		if strings.Contains(s, token.Encode()) || !strings.Contains(s, "[redacted]") {
			t.Errorf("printed as %s", s)
		}
	}
}

func TestJoinFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "join")
	target := filepath.Join(t.TempDir(), "target")
	os.WriteFile(target, []byte("untouched"), 0o644)
	os.Symlink(target, path)
	want := Join{Addrs: []string{"tcp:[::1]:5555", "unix:/run/x"}, Pin: identity(t).Pin(), Launch: "l", Token: NewToken()}
	if err := WriteJoinFile(path, want); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(target); string(b) != "untouched" {
		t.Error("the join file was written through a link")
	}
	got, err := ReadJoinFile(path)
	if err != nil || got.Encode() != want.Encode() {
		t.Fatalf("read back %v, %v", got, err)
	}
	os.Chmod(path, 0o644)
	if _, err := ReadJoinFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a join file that others can read: %v", err)
	}
}

func FuzzParseJoin(f *testing.F) {
	f.Add(Join{Addrs: []string{"unix:/x"}, Token: NewToken()}.Encode())
	f.Add("muster1:e30")
	f.Add(Join{Addrs: []string{"unix:/x"}, Authority: &Authority{Server: "p", Name: "n", CAs: [][]byte{{1}}, CRLFile: "/x", MadeUnix: 1}}.Encode())
	f.Fuzz(func(t *testing.T, s string) {
		j, err := ParseJoin(s)
		if err != nil {
			return
		}
		again, err := ParseJoin(j.Encode())
		if err != nil || again.Token != j.Token || again.Pin != j.Pin || !reflect.DeepEqual(again.Authority, j.Authority) {
			t.Fatalf("a parsed join string does not survive: %v", err)
		}
		if j.Authority.judges() {
			j.Authority.CAFile, j.Authority.CRLFile = "", "" // it would be read
			j.Authority.judge()
		}
	})
}

// TestJoinFileOfOthers: whoever could have written a join file would have a worker run
// their tasks.
func TestJoinFileOfOthers(t *testing.T) {
	text := (Join{Addrs: []string{"tcp:h:1"}, Token: NewToken(), Launch: "l"}).Encode()
	file := func(t *testing.T, dir string, mode os.FileMode) string {
		path := filepath.Join(dir, "join")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string) string
		want string // in the error; empty for none
		root bool   // root alone can try it
	}{
		"the user's":         {func(t *testing.T, dir string) string { return file(t, dir, 0o600) }, "", false},
		"read only":          {func(t *testing.T, dir string) string { return file(t, dir, 0o400) }, "", false},
		"readable by others": {func(t *testing.T, dir string) string { return file(t, dir, 0o604) }, "everybody, who may read it or write to it (mode 0604)", false},
		"writable by others": {func(t *testing.T, dir string) string { return file(t, dir, 0o602) }, "chmod 600", false},
		"another user's":     {func(t *testing.T, dir string) string { p := file(t, dir, 0o600); os.Chown(p, 65534, -1); return p }, "to whom it belongs", true},
		"another group's":    {func(t *testing.T, dir string) string { p := file(t, dir, 0o640); os.Chown(p, -1, 65533); return p }, "group 65533, who may read it", true},
		"a pipe, no writer": {func(t *testing.T, dir string) string {
			p := filepath.Join(dir, "p")
			syscall.Mkfifo(p, 0o600)
			return p
		}, "no regular file", false},
		"a folder": {func(t *testing.T, dir string) string { return dir }, "no regular file", false},
		"a device": {func(t *testing.T, dir string) string { return "/dev/zero" }, "no regular file", false},
		"a link": {func(t *testing.T, dir string) string {
			p := filepath.Join(dir, "l")
			os.Symlink(file(t, dir, 0o600), p)
			return p
		}, "is a link", false},
		"in an open folder":   {func(t *testing.T, dir string) string { os.Chmod(dir, 0o777); return file(t, dir, 0o600) }, "is open to everybody", false},
		"in a sticky folder":  {func(t *testing.T, dir string) string { os.Chmod(dir, 0o777|os.ModeSticky); return file(t, dir, 0o600) }, "", false},
		"in another's folder": {func(t *testing.T, dir string) string { os.Chown(dir, 65534, -1); return file(t, dir, 0o600) }, "to whom it belongs", true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.root && os.Getuid() != 0 {
				t.Skip("only root can make it")
			}
			dir := t.TempDir()
			path := c.make(t, dir)
			done := make(chan error, 1)
			go func() { _, err := ReadJoinFile(path); done <- err }()
			select {
			case err := <-done:
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%v, want %q", err, c.want)
				}
			case <-time.After(time.Minute):
				t.Error("it waits for somebody")
			}
		})
	}
}

// TestRetract: an identity that does not know that it was let in has not been.
func TestRetract(t *testing.T) {
	for _, once := range []bool{false, true} {
		l := NewLaunch("l", Terms{Uses: 1, Once: once})
		for range 3 {
			if err := l.Admit("a", 1, time.Now()); err != nil {
				t.Fatalf("once %v: %v", once, err)
			}
			l.Retract("a", 0) // another's
			if !l.Live("a") {
				t.Fatalf("once %v: another's retraction took it back", once)
			}
			l.Retract("a", 1)
			if l.Live("a") || l.Seen("a") == once {
				t.Errorf("once %v: live %v, seen %v", once, l.Live("a"), l.Seen("a"))
			}
		}
	}
}
