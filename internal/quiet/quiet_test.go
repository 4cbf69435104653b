package quiet

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func pair(t testing.TB) (a, b net.Conn) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return Conn(a), Conn(b)
}

func TestMoreThanTheSocketHolds(t *testing.T) {
	a, b := pair(t)
	sent := make([]byte, 5<<20)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(sent)
	go func() {
		a.Write(sent)
		a.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d arrived: %v", len(got), len(sent), err)
	}
}

func TestErrors(t *testing.T) {
	a, b := pair(t)
	a.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after its deadline: %v", err)
	}
	if n, err := a.Read(nil); n != 0 || err != nil {
		t.Errorf("read of nothing: %d, %v", n, err)
	}
	b.Close()
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("a write to a peer that is gone succeeded")
	}
	a.Close()
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) && err == nil {
		t.Errorf("read of a closed connection: %v", err)
	}
}

func TestCloseEndsARead(t *testing.T) {
	a, _ := pair(t)
	ended := make(chan error)
	go func() {
		_, err := a.Read(make([]byte, 1))
		ended <- err
	}()
	a.Close()
	if err := <-ended; err == nil {
		t.Error("a read went on after Close")
	}
}

func TestWhatIsNoSocketStaysAsItIs(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	if Conn(a) != a {
		t.Error("a net.Pipe was wrapped")
	}
}
