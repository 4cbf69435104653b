package dispatcher_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	mtls "muster/tls"
)

func TestAFailingAcceptIsSaidAndOvercome(t *testing.T) {
	var s said
	bubble(t, func(t *testing.T, w *world) {
		for range 20 {
			w.l.conns <- nil
		}
		w.worker(1)
		if text := s.text(); strings.Count(text, "too many open files") != 1 {
			t.Errorf("the user was told %q", text)
		}
		w.l.conns <- nil
		w.worker(1)
		if text := s.text(); strings.Count(text, "too many open files") != 2 {
			t.Errorf("of the second time the user was told %q", text)
		}
	}, saying(&s))
}

// TestStrangersKeepNobodyOut: when they are too many, the oldest goes.
func TestStrangersKeepNobodyOut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		began := time.Now()
		first := w.l.dial()
		for range 3000 {
			w.l.dial()
		}
		w.worker(1)
		if d := time.Since(began); d > 0 {
			t.Errorf("a worker waited for %v", d)
		}
		if _, err := io.ReadAll(first); err != nil || time.Since(began) > 0 {
			t.Errorf("the oldest stranger is still there: %v", err)
		}
		w.worker(1)
	})
}

// slow is a worker that has dialled and does not get on.
type slow struct {
	raw  *memConn
	conn *mtls.Conn // after its handshake
}

// dialSlowly dials from an address, and shakes hands.
func (w *world) dialSlowly(from net.Addr, shakes bool) *slow {
	s := &slow{raw: w.l.dialFrom(from)}
	if shakes {
		var err error
		if s.conn, err = mtls.Client(context.Background(), s.raw, w.id.Pin()); err != nil {
			w.t.Fatal(err)
		}
	}
	synctest.Wait()
	return s
}

// isThere reports whether the dispatcher has not hung up.
func (s *slow) isThere() bool {
	synctest.Wait()
	s.raw.in.mu.Lock()
	defer s.raw.in.mu.Unlock()
	return !s.raw.in.closed
}

// TestACrowdIsInItsOwnWay: those who come in numbers push out each other, and neither
// who comes from elsewhere nor who has shaken hands, or not, in the time that takes.
func TestACrowdIsInItsOwnWay(t *testing.T) {
	address := func(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }
	crowd := []net.Addr{address("[2001:db8::1]:5"), address("[2001:db8::2:3:4]:5"), address("[2001:db8::ffff]:6")}
	for _, shakes := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *world) {
			var far []*slow
			for _, from := range []string{"192.0.2.1:5", "[2001:db8:0:1::1]:5", "[::ffff:192.0.2.2]:5"} {
				far = append(far, w.dialSlowly(address(from), false), w.dialSlowly(address(from), true))
			}
			far = append(far, w.dialSlowly(nil, false))
			for i := range 1100 {
				w.dialSlowly(crowd[i%3], shakes)
			}
			near := w.dialSlowly(crowd[0], !shakes)
			for i := range 100 {
				w.dialSlowly(crowd[i%3], shakes)
			}
			for i, s := range append(far, near) {
				if !s.isThere() {
					t.Errorf("%v: the slow peer %d was hung up on", shakes, i)
				}
			}
			time.Sleep(dispatcher.HelloTimeout)
			for i, s := range append(far, near) {
				if s.isThere() {
					t.Errorf("%v: the slow peer %d is still there after %v", shakes, i, dispatcher.HelloTimeout)
				}
			}
		})
	}
}

func TestClosingWaitsForNoStranger(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.l.dial()
		synctest.Wait()
		began := time.Now()
		if err := w.door.Close(context.Background()); err != nil || time.Since(began) > 0 {
			t.Errorf("closing took %v: %v", time.Since(began), err)
		}
	})
}

func TestStrangersAreCountedNotQuoted(t *testing.T) {
	var log bytes.Buffer
	bubble(t, func(t *testing.T, w *world) {
		for i := range 500 {
			raw := w.l.dial()
			h := w.hello()
			h.Version, h.MinVersion, h.Build = 99, 99, strings.Repeat("b", 3900)
			w.greet(raw, h, mtls.NewToken())
			raw.Close()
			if i == 250 {
				time.Sleep(2 * time.Second)
			}
		}
		synctest.Wait()
		if n := bytes.Count(log.Bytes(), []byte("not admitted")); n != 2 || log.Len() > 2000 || bytes.Contains(log.Bytes(), []byte("bbb")) {
			t.Errorf("%d lines, %d bytes: %.2000s", n, log.Len(), log.String())
		}
	}, func(o *options, _ *dispatcher.RunOptions) {
		o.Log = hclog.New(&hclog.LoggerOptions{Output: &log})
	})
}
