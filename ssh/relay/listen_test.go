package relay_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"muster/ssh/relay"
)

func listen(t testing.TB, c *relay.Conn) *relay.Listener {
	t.Helper()
	l, err := c.Listen(t.Context(), relay.ListenRequest{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// connection returns both ends of a relayed connection.
func connection(t testing.TB, l *relay.Listener) (near net.Conn, peer *net.TCPConn) {
	t.Helper()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); dialled.Close() })
	return near, dialled.(*net.TCPConn)
}

func TestBothDirectionsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, c *relay.Conn) {
		near, peer := connection(t, listen(t, c))
		if near.RemoteAddr().String() != peer.LocalAddr().String() || near.LocalAddr().String() != peer.RemoteAddr().String() {
			t.Errorf("near %v-%v, peer %v-%v", near.LocalAddr(), near.RemoteAddr(), peer.LocalAddr(), peer.RemoteAddr())
		}
		const size = 100 << 20
		var wg sync.WaitGroup
		carry := func(what string, from io.Writer, to io.Reader, seed byte) {
			sent := make(chan []byte, 1)
			wg.Go(func() {
				h := sha256.New()
				_, err := io.CopyN(io.MultiWriter(from, h), rand.NewChaCha8([32]byte{seed}), size)
				from.(interface{ CloseWrite() error }).CloseWrite()
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
				sent <- h.Sum(nil)
			})
			wg.Go(func() {
				h := sha256.New()
				n, err := io.Copy(h, to)
				if sum := <-sent; n != size || err != nil || !bytes.Equal(sum, h.Sum(nil)) {
					t.Errorf("%s: %d bytes came, the same: %v, %v", what, n, bytes.Equal(sum, h.Sum(nil)), err)
				}
			})
		}
		carry("up", peer, near, 1)
		carry("down", near, peer, 2)
		wg.Wait()
	})
}

func TestHalfClose(t *testing.T) {
	l := listen(t, piped(t))
	t.Run("peer first", func(t *testing.T) {
		near, peer := connection(t, l)
		io.WriteString(peer, "question")
		peer.CloseWrite()
		if b, err := io.ReadAll(near); string(b) != "question" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		io.WriteString(near, "answer")
		near.Close()
		if b, err := io.ReadAll(peer); string(b) != "answer" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	})
	t.Run("near first", func(t *testing.T) {
		near, peer := connection(t, l)
		io.WriteString(near, "question")
		near.(interface{ CloseWrite() error }).CloseWrite()
		if b, err := io.ReadAll(peer); string(b) != "question" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write after CloseWrite: %v", err)
		}
		io.WriteString(peer, "answer")
		peer.Close()
		if b, err := io.ReadAll(near); string(b) != "answer" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	})
}

func TestReset(t *testing.T) {
	near, peer := connection(t, listen(t, piped(t)))
	read := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		read <- err
	}()
	peer.SetLinger(0)
	peer.Close()
	// The end of the stream may be seen before the notice of the reset.
	if err := <-read; !errors.Is(err, syscall.ECONNRESET) && err != io.EOF {
		t.Errorf("read: %v", err)
	}
	eventually(t, "writes are not told of the reset", func() bool {
		_, err := near.Write([]byte("x"))
		return errors.Is(err, syscall.ECONNRESET)
	})
}

func TestCloseTellsThePeer(t *testing.T) {
	near, peer := connection(t, listen(t, piped(t)))
	io.WriteString(near, "last words")
	near.Close()
	if b, err := io.ReadAll(peer); string(b) != "last words" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	// The peer has not ended its side, and the near side's window was never read:
	// writing must fail as it does on a closed socket, not block.
	peer.SetWriteDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 64<<10)
	var err error
	for err == nil {
		_, err = peer.Write(buf)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the peer of a closed connection was left writing")
	}
	if _, err := near.Read(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

func TestLastWordsOutliveTheLink(t *testing.T) {
	both(t, func(t *testing.T, c *relay.Conn) {
		l := listen(t, c)
		near, peer := connection(t, l)
		other, otherPeer := connection(t, l)
		words := bytes.Repeat([]byte("words "), 10000)
		near.Write(words)
		other.Write(words)
		near.Close()
		c.Close()
		for _, p := range []net.Conn{peer, otherPeer} {
			if b, err := io.ReadAll(p); !bytes.Equal(b, words) || err != nil {
				t.Errorf("%d bytes of %d: %v", len(b), len(words), err)
			}
		}
		if _, err := other.Write(words); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after the link's end: %v", err)
		}
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	near, _ := connection(t, listen(t, piped(t)))
	read := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		read <- err
	}()
	near.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
}

func TestDeadlines(t *testing.T) {
	near, peer := connection(t, listen(t, piped(t)))
	near.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := near.Read(make([]byte, 1))
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("read: %v", err)
	}
	near.SetReadDeadline(time.Time{})
	io.WriteString(peer, "x")
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Errorf("read after its deadline was lifted: %v", err)
	}
	near.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	buf := make([]byte, 1<<20)
	for err = nil; err == nil; { // until socket buffers and window are full
		_, err = near.Write(buf)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %v", err)
	}
}

func TestSlowReaderHoldsUpNobody(t *testing.T) {
	near, far := net.Pipe()
	c := inProcess(t, near, far, relay.WithKeepalive(relay.Options{}, 200*time.Millisecond), relay.ServeWithKeepalive(relay.ServeOptions{}, 200*time.Millisecond))
	l := listen(t, c)
	full := func(w net.Conn) {
		w.SetWriteDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 1<<20)
		for err := error(nil); err == nil; {
			_, err = w.Write(buf)
		}
	}
	nearSlow, peerSlow := connection(t, l)
	var wg sync.WaitGroup
	wg.Go(func() { full(nearSlow) })
	wg.Go(func() { full(peerSlow) })
	wg.Wait() // five intervals of the keepalive
	quick, peer := connection(t, l)
	go io.Copy(quick, quick)
	io.WriteString(peer, "still here")
	b := make([]byte, 10)
	peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(peer, b); err != nil || string(b) != "still here" {
		t.Errorf("%q, %v", b, err)
	}
	if err := c.Err(); err != nil {
		t.Errorf("the link: %v", err)
	}
}

func TestListenerCloses(t *testing.T) {
	both(t, func(t *testing.T, c *relay.Conn) {
		l := listen(t, c)
		near, peer := connection(t, l)
		accepted := make(chan error, 1)
		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if !refused(l.Addr().String()) {
			t.Error("the port is open after Close")
		}
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
		io.WriteString(peer, "x")
		if _, err := near.Read(make([]byte, 1)); err != nil {
			t.Errorf("what was accepted before ended too: %v", err)
		}
		if _, err := c.Alive(t.Context(), nil); err != nil {
			t.Errorf("the link ended too: %v", err)
		}
		l.Close()
	})
}

func TestAddresses(t *testing.T) {
	c := piped(t)
	l := listen(t, c)
	if a := l.Addresses(); len(a) != 1 || a[0] != l.Addr().String() {
		t.Errorf("of a loopback port: %v", a)
	}
	all, err := c.Listen(t.Context(), relay.ListenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(all.Addr().(*net.TCPAddr).Port)
	for _, a := range all.Addresses() {
		host, p, err := net.SplitHostPort(a)
		ip := net.ParseIP(host)
		if err != nil || p != port || ip != nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()) {
			t.Errorf("of a port on all interfaces: %s", a)
		}
	}
	if host, _ := os.Hostname(); host != "localhost" && !strings.Contains(strings.Join(all.Addresses(), " "), host) {
		t.Errorf("%v do not name %s", all.Addresses(), host)
	}
}

func TestPortTaken(t *testing.T) {
	c := piped(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	r := relay.ListenRequest{Host: "127.0.0.1", Port: other.Addr().(*net.TCPAddr).Port}
	if _, err := c.Listen(t.Context(), r); !errors.Is(err, relay.ErrPortTaken) {
		t.Errorf("Listen: %v", err)
	}
	r.Replace = c.Hello().Self // never itself
	if _, err := c.Listen(t.Context(), r); !errors.Is(err, relay.ErrPortTaken) {
		t.Errorf("Listen in place of itself: %v", err)
	}
	if _, err := c.Listen(t.Context(), relay.ListenRequest{Host: "localhost; id", Port: 1}); err == nil || errors.Is(err, relay.ErrPortTaken) {
		t.Errorf("Listen on no address: %v", err)
	}
}

func TestReplace(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		lacks(t, "/proc, which is Linux's")
	}
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprint("stopped ", stopped), func(t *testing.T) {
			t.Parallel()
			old, cmd := subprocess(t, relay.Options{})
			l := listen(t, old)
			if stopped { // SIGTERM waits, SIGKILL does not
				cmd.Process.Signal(syscall.SIGSTOP)
			}
			r := relay.ListenRequest{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
			c := piped(t)
			r.Replace = relay.Process{Pid: cmd.Process.Pid, Start: "1"}
			if _, err := c.Listen(t.Context(), r); !errors.Is(err, relay.ErrPortTaken) {
				t.Fatalf("in place of another process of that number: %v", err)
			}
			r.Replace = old.Hello().Self
			replaced, err := c.Listen(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if replaced.Addr().String() != l.Addr().String() {
				t.Errorf("listens on %v, not %v", replaced.Addr(), l.Addr())
			}
			<-old.Done()
		})
	}
}

func TestReplaceEndsRelaysOnly(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		lacks(t, "/proc, which is Linux's")
	}
	c := piped(t)
	p, err := c.Start(t.Context(), relay.Command{Argv: []string{"sleep", "60"}}, t.TempDir()+"/log")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Signal(t.Context(), p, "KILL")
	taken := listen(t, c)
	r := relay.ListenRequest{Host: "127.0.0.1", Port: taken.Addr().(*net.TCPAddr).Port, Replace: p}
	if _, err := c.Listen(t.Context(), r); !errors.Is(err, relay.ErrPortTaken) {
		t.Errorf("Listen: %v", err)
	}
	if alive, err := c.Alive(t.Context(), []relay.Process{p}); err != nil || !alive[0] {
		t.Errorf("a process that is no relay was ended: %v", err)
	}
}

func TestFloodBeyondWhatMayWait(t *testing.T) {
	c, _ := subprocess(t, relay.Options{})
	l := listen(t, c)
	const flood = 2000
	conns := make([]net.Conn, 0, flood)
	defer func() {
		for _, p := range conns {
			p.Close()
		}
	}()
	for range flood {
		p, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, p)
	}
	closed := 0
	for _, p := range conns[relay.Waiting:] {
		p.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := p.Read(make([]byte, 1)); err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
			closed++
		}
	}
	if closed != flood-relay.Waiting {
		t.Errorf("%d of %d that had to go were closed", closed, flood-relay.Waiting)
	}
	for i := range relay.Waiting {
		near, err := l.Accept()
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		near.Close()
	}
	go func() {
		for near, err := l.Accept(); err == nil; near, err = l.Accept() {
			io.WriteString(near, "next")
			near.Close()
		}
	}()
	// Places become free when the far side hears of it.
	eventually(t, "nobody gets in after the flood", func() bool {
		next, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return false
		}
		defer next.Close()
		next.SetReadDeadline(time.Now().Add(5 * time.Second))
		b, err := io.ReadAll(next)
		return string(b) == "next" && err == nil
	})
}

func TestPeersComeAndGo(t *testing.T) {
	c, cmd := subprocess(t, relay.Options{})
	l := listen(t, c)
	for range 200 {
		near, peer := connection(t, l)
		near.Close()
		peer.Close()
	}
	eventually(t, "the far side holds sockets of closed connections", func() bool {
		return sockets(t, cmd) <= 4
	})
}

func sockets(t *testing.T, cmd *exec.Cmd) int {
	dir := fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		lacks(t, "/proc, which is Linux's")
	}
	n := 0
	for _, e := range entries {
		if to, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

func TestNoMoreConnectionsThanMayBe(t *testing.T) {
	near, far := net.Pipe()
	c := inProcess(t, near, far, relay.Options{}, relay.ServeWithLimit(relay.ServeOptions{}, 2))
	l := listen(t, c)
	one, onePeer := connection(t, l)
	connection(t, l)
	third, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	third.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := third.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many: %v", err)
	}
	one.Close()
	onePeer.Close()
	eventually(t, "the place of a closed connection is not free", func() bool {
		next, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return false
		}
		defer next.Close()
		next.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = next.Read(make([]byte, 1))
		return errors.Is(err, os.ErrDeadlineExceeded) // neither closed nor reset
	})
}
