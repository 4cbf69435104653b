package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
)

// lastWords is how long a peer may take to read what is left when nobody on the
// near side reads it any more; when the link is gone it is a second.
const lastWords = 30 * time.Second

// relay is a connection of the far side and its stream.
type relay struct {
	s       *server
	tcp     *net.TCPConn
	stream  *yamux.Stream
	nobody  atomic.Bool // on the near side reads any more
	pending sync.Once   // gives the place among those that wait back
}

// relay carries bytes both ways until both directions have ended.
func (s *server) relay(listener uint32, tcp *net.TCPConn) {
	defer tcp.Close()
	r := &relay{s: s, tcp: tcp}
	defer r.accepted()
	stream, err := s.session.OpenStream()
	if err != nil {
		return
	}
	r.stream = stream
	defer stream.Close()
	if !s.keep(r) {
		return
	}
	defer s.forget(r)
	// A link that has just ended may have carried this, and an answer to it.
	if err := writeHeader(stream, arrival{listener, tcp.RemoteAddr().String()}); err != nil && !s.session.IsClosed() {
		return
	}
	var wg sync.WaitGroup
	wg.Go(r.up)
	r.down()
	wg.Wait()
}

func (s *server) keep(r *relay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.conns[r.stream.StreamID()] = r
	return true
}

func (s *server) forget(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, r.stream.StreamID())
}

func (r *relay) accepted() { r.pending.Do(func() { <-r.s.pending }) }

// up carries what the peer sends. No buffer is held while there is nothing.
func (r *relay) up() {
	raw, err := r.tcp.SyscallConn()
	for err == nil {
		err = r.upOnce(raw)
	}
	switch {
	case r.s.session.IsClosed(): // down writes what has come, and ends by itself
	case err == io.EOF || r.nobody.Load():
		r.stream.Close()
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.EHOSTUNREACH):
		r.wasReset()
	default:
		r.abort()
	}
}

func (r *relay) upOnce(raw syscall.RawConn) error {
	var b *[chunk]byte
	var n int
	var failed error
	err := raw.Read(func(fd uintptr) bool {
		b = r.s.buffers.Get().(*[chunk]byte)
		n, failed = readFD(int(fd), b[:])
		if failed == syscall.EAGAIN {
			r.s.buffers.Put(b)
			return false
		}
		return true
	})
	if err != nil {
		return err // the buffer went back before it waited
	}
	defer r.s.buffers.Put(b)
	if failed != nil {
		return failed
	}
	if n == 0 {
		return io.EOF
	}
	return writeBulk(r.stream, b[:n])
}

func readFD(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// down carries what the peer is to get, after the byte that says that somebody
// has accepted it.
func (r *relay) down() {
	var first [1]byte
	_, err := r.stream.Read(first[:])
	r.accepted()
	for err == nil {
		err = r.downOnce()
	}
	switch {
	case err == io.EOF && !r.s.session.IsClosed():
		r.tcp.CloseWrite()
	case errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET):
		r.wasReset()
	default:
		r.abort()
	}
}

func (r *relay) downOnce() error {
	// A read of nothing waits until there is something, without a buffer.
	if _, err := r.stream.Read(nil); err != nil {
		return err
	}
	b := r.s.buffers.Get().(*[chunk]byte)
	defer r.s.buffers.Put(b)
	n, err := r.stream.Read(b[:])
	if err != nil {
		return err
	}
	_, err = r.tcp.Write(b[:n])
	return err
}

// unread: nobody reads what the peer sends. It still gets what is under way.
func (r *relay) unread() {
	r.nobody.Store(true)
	r.tcp.SetReadDeadline(time.Unix(1, 0))
	r.tcp.SetWriteDeadline(time.Now().Add(lastWords))
	r.stream.SetWriteDeadline(time.Unix(1, 0))
}

// wasReset tells the near side that there is no peer any more.
func (r *relay) wasReset() {
	if !r.nobody.Load() {
		r.s.tell(r.stream.StreamID())
	}
	r.abort()
}

// abort ends both directions.
func (r *relay) abort() {
	r.tcp.SetDeadline(time.Unix(1, 0))
	r.stream.SetDeadline(time.Unix(1, 0))
	r.stream.Close()
}

// open are the streams of all connections.
func (s *server) open() []*yamux.Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	streams := make([]*yamux.Stream, 0, len(s.conns))
	for _, r := range s.conns {
		streams = append(streams, r.stream)
	}
	return streams
}

// endConns ends all connections, as the link has. What has come for a peer is
// still written.
func (s *server) endConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, r := range s.conns {
		r.tcp.SetReadDeadline(time.Unix(1, 0))
		r.tcp.SetWriteDeadline(time.Now().Add(time.Second))
	}
}
