package exec

import (
	"bytes"
	"syscall"
	"time"
)

const (
	chunk      = 64 << 10 // what out is given at most
	tail       = 8 << 10  // what a report carries of each stream at most
	flushAfter = 250 * time.Millisecond
	liveAfter  = 50 * time.Millisecond // is flushAfter of a task whose output is wanted as it comes
	drainMost  = 4 << 20               // what is still read when all processes are gone; a pipe holds 1 MiB at most
)

// stream is one of a task's output pipes and what was read from it.
type stream struct {
	n       int // 1 stdout, 2 stderr
	fd      int
	open    bool
	watched bool      // the poller waits for it
	buf     []byte    // read, not yet given to out; never more than a chunk
	spare   []byte    // the other buffer, unless out has it
	sending bool      // out has the other buffer
	since   time.Time // when the oldest byte in buf came
}

// attach starts reading from another pipe.
func (s *stream) attach(fd int) {
	if s.spare == nil && !s.sending {
		s.buf, s.spare = make([]byte, 0, chunk), make([]byte, 0, chunk)
	}
	s.fd, s.open, s.watched = fd, true, false
}

func (s *stream) detach() {
	if s.open {
		rawClose(s.fd)
		s.open = false
	}
}

// watch waits for output only while there is room for it.
func (s *stream) watch(p *poller) {
	if room := s.open && len(s.buf) < cap(s.buf); room != s.watched {
		s.watched = room
		if room {
			p.watch(s.n-1, s.fd)
		} else {
			p.unwatch(s.n-1, s.fd)
		}
	}
}

// read reads what has been announced. The pipe blocks, so it is one read; at
// its end, when nobody can write any more, it gives nothing.
func (s *stream) read() {
	n, err := rawRead(s.fd, s.buf[len(s.buf):cap(s.buf)])
	switch {
	case n > 0:
		if len(s.buf) == 0 {
			s.since = time.Now()
		}
		s.buf = s.buf[:len(s.buf)+n]
	case err != syscall.EINTR && err != syscall.EAGAIN:
		s.detach()
	}
}

// takeTail empties the buffer.
func (s *stream) takeTail() []byte {
	p := s.buf
	s.buf = s.buf[:0]
	if len(p) == 0 {
		return nil
	}
	return bytes.Clone(p)
}

// silent reports whether nothing holds a task's output open.
func (r *Runner) silent() bool { return !r.streams[0].open && !r.streams[1].open }
