package exec

import (
	"time"

	"golang.org/x/sys/unix"
)

// sender calls out, which may block, while pipes and processes are watched.
type sender struct {
	out   func(stream int, p []byte) error
	wake  func()
	after time.Duration // so long a buffer waits to be sent

	queue chan piece // to the goroutine; nil until out is needed
	done  chan piece // back from it
	away  int        // pieces on their way
	err   error      // out's first; from then on pieces are dropped
}

// piece is a full buffer on its way to out, an empty one on its way back.
type piece struct {
	stream int
	p      []byte
	err    error
}

// offer hands the stream's buffer over if there is reason to: it holds more
// than a report takes, or it has waited.
func (d *sender) offer(s *stream, now time.Time) {
	if s.sending || len(s.buf) == 0 || len(s.buf) <= tail && now.Sub(s.since) < d.after {
		return
	}
	d.send(s)
}

func (d *sender) send(s *stream) {
	if d.err != nil {
		s.buf = s.buf[:0]
		return
	}
	if d.queue == nil {
		d.queue, d.done = make(chan piece, 2), make(chan piece, 2)
		go d.serve(d.queue)
	}
	d.queue <- piece{stream: s.n, p: s.buf}
	d.away++
	s.sending = true
	s.buf, s.spare = s.spare, nil
}

// serve calls out until the queue is closed, and not again after an error.
func (d *sender) serve(queue <-chan piece) {
	var err error
	for c := range queue {
		if err == nil {
			err = d.out(c.stream, c.p)
		}
		c.err, c.p = err, c.p[:0]
		d.done <- c
		d.wake()
	}
}

// collect takes back the buffers that out is done with.
func (d *sender) collect(s *[2]stream) {
	for d.away > 0 {
		select {
		case c := <-d.done:
			d.back(s, c)
		default:
			return
		}
	}
}

func (d *sender) back(s *[2]stream, c piece) {
	d.away--
	s[c.stream-1].spare, s[c.stream-1].sending = c.p, false
	if c.err != nil {
		d.err = c.err
	}
}

// drain reads the stream to its end when all that wrote to it are gone. Only
// something outside the task's tree can then still hold it open: it is given
// up when it is silent for a second, or when more comes than a pipe can hold.
func (d *sender) drain(s *[2]stream, this *stream) {
	for left := drainMost; this.open && left > 0; {
		if len(this.buf) > tail {
			for this.sending {
				d.back(s, <-d.done)
			}
			d.send(this)
		}
		fds := []unix.PollFd{{Fd: int32(this.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, timeoutMillis(finishWriting)); n == 0 || err != nil && err != unix.EINTR {
			break
		}
		before := len(this.buf)
		if fds[0].Revents != 0 {
			this.read()
		}
		left -= len(this.buf) - before
	}
	this.detach()
	for this.sending {
		d.back(s, <-d.done)
	}
	if len(this.buf) > tail || d.err != nil {
		d.send(this)
	}
}

// close waits for out.
func (d *sender) close(s *[2]stream) {
	if d.queue == nil {
		return
	}
	for d.away > 0 {
		d.back(s, <-d.done)
	}
	close(d.queue)
}
