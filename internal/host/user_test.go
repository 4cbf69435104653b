package host_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/internal/control"
	"muster/internal/host"
)

// envAsk has a copy of the test ask at a socket.
const envAsk = "_MUSTER_TEST_ASK"

// ask asks at a socket and prints the answer.
func ask(socket string) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		os.Stdout.WriteString("not dialled: " + err.Error())
		return
	}
	io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n")
	b, _ := io.ReadAll(c)
	os.Stdout.WriteString("dialled, and got " + string(b))
}

// TestAnotherUserGetsNothing, whether the socket keeps them out or a mistake with its
// mode lets them dial.
func TestAnotherUserGetsNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	m := newHome(t)
	h := m.open()
	defer m.shut(h)
	socketOfControl := filepath.Join(m.sockets, "control.sock")
	l, err := host.ListenUnix(socketOfControl)
	if err != nil {
		t.Fatal(err)
	}
	s := control.NewServer(l, control.Options{Host: h, Name: "test", Kind: "up", Version: "test"})
	defer s.Close(context.Background())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "m") // where the other user gets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	exe = filepath.Join(dir, "test")
	if err := os.WriteFile(exe, program, 0o755); err != nil {
		t.Fatal(err)
	}
	as := func(uid uint32, socket string) string {
		cmd := exec.Command(exe)
		cmd.Dir, cmd.Env = "/", append(os.Environ(), envAsk+"="+socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	sockets, err := filepath.Glob(filepath.Join(m.sockets, "*.sock"))
	if err != nil || len(sockets) != 2 {
		t.Fatalf("%q, %v", sockets, err)
	}
	for _, socket := range sockets {
		if got := as(65534, socket); !strings.Contains(got, "permission denied") {
			t.Errorf("another user %s", got)
		}
	}
	os.Chmod(m.sockets, 0o711)
	for _, socket := range sockets {
		if got := as(65534, socket); !strings.Contains(got, "permission denied") {
			t.Errorf("in a folder that others may enter, another user %s", got)
		}
		os.Chmod(socket, 0o666)
		if got := as(65534, socket); got != "dialled, and got " {
			t.Errorf("of a socket that others may dial, another user %s", got)
		}
	}
	if got := as(0, socketOfControl); !strings.Contains(got, http.StatusText(http.StatusOK)) {
		t.Errorf("this user %s", got)
	}
}

// TestSocketIsMadeAgain: a socket that somebody removes, with its folder, is there again,
// and one that another has made in its place stays, also when the listener is closed.
func TestSocketIsMadeAgain(t *testing.T) {
	tmp, err := os.MkdirTemp("", "m") // short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	base := filepath.Join(tmp, "base")
	path := filepath.Join(base, "dir", "socket")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := host.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 8)
	go func() {
		for {
			c, err := l.Accept()
			accepted <- err
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for again := range 2 {
		deadline := time.Now().Add(time.Minute)
		for !host.Listens(path) {
			if time.Now().After(deadline) {
				t.Fatal("the socket is not made again")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := <-accepted; err != nil {
			t.Fatal(err)
		}
		if again == 0 {
			os.RemoveAll(base)
		}
	}
	other := filepath.Join(tmp, "other")
	if err := os.WriteFile(other, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("another's file is gone:", err)
	}
}
