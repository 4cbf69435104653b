package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
)

// relayedConn is the near end of a TCP connection to the far side. Only what
// a net.Conn must do and yamux's streams do not is here: ends and errors.
type relayedConn struct {
	c           *Conn
	stream      *yamux.Stream
	local, peer *net.TCPAddr

	mu     sync.Mutex // guards what follows, and deadlines against Close
	closed bool
	reset  bool
}

var _ net.Conn = (*relayedConn)(nil)

// Read reads what the peer sent. Its error is syscall.ECONNRESET if the peer reset
// the connection, or io.EOF if that is not known yet; net.ErrClosed if the link is gone.
func (r *relayedConn) Read(p []byte) (int, error) {
	if r.broken() {
		return 0, r.failure("read", net.ErrClosed)
	}
	n, err := r.stream.Read(p)
	return n, r.failure("read", err)
}

// Write writes to the peer.
func (r *relayedConn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if r.broken() {
			return done, r.failure("write", net.ErrClosed)
		}
		n, err := r.stream.Write(p[done:min(len(p), done+chunk)])
		done += n
		if err != nil {
			return done, r.failure("write", err)
		}
	}
	return done, nil
}

// take tells the far side that somebody has the connection now.
func (r *relayedConn) take() error {
	_, err := r.stream.Write([]byte{taken})
	return err
}

func (r *relayedConn) broken() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed || r.reset
}

// failure puts a stream's errors into those of a TCP connection.
func (r *relayedConn) failure(op string, err error) error {
	if err == nil {
		return nil
	}
	r.mu.Lock()
	closed, reset := r.closed, r.reset
	r.mu.Unlock()
	switch {
	case closed:
		err = net.ErrClosed
	case reset || errors.Is(err, yamux.ErrConnectionReset):
		err = syscall.ECONNRESET
	case r.c.session.IsClosed(): // for which yamux says EOF too
		err = r.c.lost()
	case errors.Is(err, yamux.ErrTimeout):
		err = os.ErrDeadlineExceeded
	case errors.Is(err, yamux.ErrStreamClosed):
		err = syscall.EPIPE
	case err == io.EOF:
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: r.local, Addr: r.peer, Err: err}
}

// CloseWrite ends what the peer reads; what it sends can still be read.
func (r *relayedConn) CloseWrite() error {
	return r.failure("close", r.stream.Close())
}

// Close ends the connection: the peer gets what was written, and no more is read.
// It does not wait for that.
func (r *relayedConn) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return &net.OpError{Op: "close", Net: "tcp", Source: r.local, Addr: r.peer, Err: net.ErrClosed}
	}
	r.closed = true
	r.stream.SetDeadline(time.Unix(1, 0)) // ends reads and writes that wait
	r.mu.Unlock()
	if r.c.begin(&r.c.winding) {
		go r.windUp()
	}
	return nil
}

func (r *relayedConn) windUp() {
	defer r.c.winding.Done()
	r.stream.Close()
	r.c.tell(r.stream.StreamID())
	r.c.mu.Lock()
	delete(r.c.relayed, r.stream.StreamID())
	r.c.mu.Unlock()
}

// wasReset ends reads and writes: the peer has reset the connection.
func (r *relayedConn) wasReset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reset = true
	r.stream.SetDeadline(time.Unix(1, 0))
}

// LocalAddr is the far side's end.
func (r *relayedConn) LocalAddr() net.Addr { return r.local }

// RemoteAddr is the peer as the far side sees it.
func (r *relayedConn) RemoteAddr() net.Addr { return r.peer }

// SetDeadline sets both deadlines, as net.Conn has them.
func (r *relayedConn) SetDeadline(t time.Time) error {
	return r.deadline(r.stream.SetDeadline, t)
}

// SetReadDeadline sets that of reads.
func (r *relayedConn) SetReadDeadline(t time.Time) error {
	return r.deadline(r.stream.SetReadDeadline, t)
}

// SetWriteDeadline sets that of writes. A write that the link has begun with may
// take up to 30 seconds longer.
func (r *relayedConn) SetWriteDeadline(t time.Time) error {
	return r.deadline(r.stream.SetWriteDeadline, t)
}

func (r *relayedConn) deadline(set func(time.Time) error, t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.reset {
		return &net.OpError{Op: "set", Net: "tcp", Source: r.local, Addr: r.peer, Err: net.ErrClosed}
	}
	return set(t)
}
