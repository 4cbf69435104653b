package dispatcher_test

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipe returns the two ends of a connection in memory that buffers as a
// network does, so that neither side waits for the other to read.
func pipe() (a, b *memConn) {
	x, y := newHalf(), newHalf()
	return &memConn{in: x, out: y}, &memConn{in: y, out: x}
}

const bufferSize = 256 << 10

// half is one direction of a connection.
type half struct {
	mu      sync.Mutex // guards all below
	cond    sync.Cond
	buf     []byte
	closed  bool
	limit   int // bytes that still pass before the fault; below 0 is never
	fault   func()
	lossy   bool // what is written vanishes
	expired [2]bool
	timers  [2]*time.Timer
}

const (
	reading = iota
	writing
)

func newHalf() *half {
	h := &half{limit: -1}
	h.cond.L = &h.mu
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 && !h.closed && !h.expired[reading] {
		h.cond.Wait()
	}
	switch {
	case h.expired[reading]:
		return 0, os.ErrDeadlineExceeded
	case len(h.buf) == 0:
		return 0, io.EOF
	}
	n := copy(p, h.buf)
	h.buf = h.buf[n:]
	h.cond.Broadcast()
	return n, nil
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n < len(p) {
		for len(h.buf) >= bufferSize && !h.closed && !h.expired[writing] {
			h.cond.Wait()
		}
		switch {
		case h.closed:
			return n, net.ErrClosed
		case h.expired[writing]:
			return n, os.ErrDeadlineExceeded
		case h.lossy:
			return len(p), nil
		}
		m := min(len(p)-n, bufferSize-len(h.buf))
		if h.limit >= 0 && m >= h.limit {
			h.buf = append(h.buf, p[n:n+h.limit]...)
			h.limit = -1
			go h.fault()
			h.lossy = true
			h.cond.Broadcast()
			return len(p), nil
		}
		h.limit -= min(m, max(h.limit, 0))
		h.buf = append(h.buf, p[n:n+m]...)
		n += m
		h.cond.Broadcast()
	}
	return n, nil
}

func (h *half) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.cond.Broadcast()
}

func (h *half) deadline(which int, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timers[which] != nil {
		h.timers[which].Stop()
	}
	h.expired[which] = false
	if at.IsZero() {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(time.Until(at), func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.timers[which] == t {
			h.expired[which] = true
			h.cond.Broadcast()
		}
	})
	h.timers[which] = t
}

// after makes fault happen when n more bytes have been written.
func (h *half) after(n int, fault func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limit, h.fault = n, fault
}

func (h *half) lose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lossy = true
}

type memConn struct {
	in, out *half
	from    net.Addr // of the far end; nil is this machine
}

func (c *memConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memConn) Write(p []byte) (int, error) { return c.out.write(p) }

func (c *memConn) Close() error {
	c.in.close()
	c.out.close()
	return nil
}

// partition lets nothing pass any more, in either direction, and tells nobody.
func (c *memConn) partition() {
	c.in.lose()
	c.out.lose()
}

func (c *memConn) LocalAddr() net.Addr { return memAddr{} }

func (c *memConn) RemoteAddr() net.Addr {
	if c.from == nil {
		return memAddr{}
	}
	return c.from
}

func (c *memConn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.deadline(reading, t)
	return nil
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	c.out.deadline(writing, t)
	return nil
}

type memAddr struct{}

func (memAddr) Network() string { return "memory" }
func (memAddr) String() string  { return "peer" }

// errTooMany is how Accept fails for a connection that is nil.
var errTooMany = &net.OpError{Op: "accept", Err: syscall.EMFILE}

// listener hands out connections made by dial.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *listener) dial() *memConn { return l.dialFrom(nil) }

// dialFrom dials from an address of a network.
func (l *listener) dialFrom(from net.Addr) *memConn {
	a, b := pipe()
	b.from = from
	l.conns <- b
	return a
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		if c == nil {
			return nil, errTooMany
		}
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	close(l.closed)
	return nil
}

func (l *listener) Addr() net.Addr { return memAddr{} }
