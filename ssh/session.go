package ssh

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	gossh "golang.org/x/crypto/ssh"
)

// stderrTail is what an Exec keeps of a command's stderr.
const stderrTail = 4 << 10

// Session is one command on the other side. Read, Write and the others may be
// called at the same time.
type Session struct {
	client *Client
	ch     gossh.Channel
	stdout *io.PipeReader
	stderr sink
	ended  chan struct{} // closed when status is known and stderr is complete
	status error
	left   chan struct{} // closed by Close
	leave  sync.Once
}

var _ io.ReadWriteCloser = (*Session)(nil)

func (c *Client) newSession(ch gossh.Channel, requests <-chan *gossh.Request, stderr sink) *Session {
	r, w := io.Pipe()
	s := &Session{client: c, ch: ch, stdout: r, stderr: stderr, ended: make(chan struct{}), left: make(chan struct{})}
	// c.open is one of the client's tasks, so these start before Close waits.
	c.tasks.Go(func() {
		_, err := io.CopyBuffer(w, onlyReader{ch}, make([]byte, 32<<10)) // the size of an SSH packet
		w.CloseWithError(err)
	})
	c.tasks.Go(func() {
		var reading sync.WaitGroup
		reading.Go(func() { io.Copy(stderr, ch.Stderr()) })
		s.status = s.follow(requests)
		reading.Wait()
		close(s.ended)
	})
	return s
}

// onlyReader hides every other method, so that io.CopyBuffer uses the buffer.
type onlyReader struct{ io.Reader }

// until closes the session when ctx ends. The goroutine ends with the session.
func (s *Session) until(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	if !s.client.spawn(func() {
		select {
		case <-s.ended:
		case <-s.left:
		}
		stop()
	}) {
		stop()
	}
}

// follow reads what the server says about the command until it closes the
// channel (RFC 4254, section 6.10).
func (s *Session) follow(requests <-chan *gossh.Request) error {
	var status error = errNoStatus
	for r := range requests {
		switch r.Type {
		case "exit-status":
			if len(r.Payload) >= 4 {
				status = exited(int(binary.BigEndian.Uint32(r.Payload)))
			}
		case "exit-signal":
			status = &ExitError{Code: 128, Signal: firstString(r.Payload)}
		}
		if r.WantReply {
			r.Reply(false, nil)
		}
	}
	return status
}

// firstString reads the signal's name. Servers differ in what follows it.
func firstString(payload []byte) string {
	const most = 32
	if len(payload) < 4 {
		return ""
	}
	size := binary.BigEndian.Uint32(payload)
	payload = payload[4:]
	return printable(string(payload[:min(uint64(size), uint64(len(payload)), most)]))
}

// errNoStatus is for a channel that ended before the command did.
var errNoStatus = errors.New("the session ended without the command's exit status")

func exited(code int) error {
	if code == 0 {
		return nil
	}
	return &ExitError{Code: code}
}

// Read reads the command's stdout. It returns net.ErrClosed after Close.
func (s *Session) Read(p []byte) (int, error) { return s.stdout.Read(p) }

// Write writes to the command's stdin. It waits while the command does not
// read, until the session or the connection ends.
func (s *Session) Write(p []byte) (int, error) { return s.ch.Write(p) }

// CloseWrite ends the command's stdin.
func (s *Session) CloseWrite() error { return s.ch.CloseWrite() }

// Wait waits for the command's end: nil if it exited with 0, an *ExitError if
// it did not, an error of kind ErrLost if nobody knows, net.ErrClosed if Close
// came first. Somebody has to read stdout meanwhile.
func (s *Session) Wait() error {
	select {
	case <-s.ended:
	case <-s.left:
		select {
		case <-s.ended:
		default:
			return net.ErrClosed
		}
	}
	var exit *ExitError
	switch {
	case errors.As(s.status, &exit):
		return &ExitError{Code: exit.Code, Signal: exit.Signal, Stderr: s.Stderr()}
	case s.status == nil:
		return nil
	}
	select {
	case <-s.left:
		return net.ErrClosed
	default:
	}
	if err := s.client.Err(); err != nil {
		return err
	}
	return failf(ErrLost, s.client.target.Host, "%w", s.status)
}

// Stderr returns the last 4 KiB of the command's stderr so far.
func (s *Session) Stderr() string {
	b := s.stderr.bytes()
	return string(b[max(0, len(b)-stderrTail):])
}

// Close ends the session. The command is sent SIGTERM, which not every server
// passes on (OpenSSH does since 7.9), and loses its pipes.
func (s *Session) Close() error {
	s.leave.Do(func() {
		close(s.left)
		s.stdout.CloseWithError(net.ErrClosed)
		s.client.spawn(func() { // a dead link may take neither
			select {
			case <-s.ended:
			default:
				s.ch.SendRequest("signal", false, gossh.Marshal(struct{ Signal string }{"TERM"}))
			}
			s.ch.Close()
		})
	})
	return nil
}

// sink keeps a bounded part of what is written to it.
type sink interface {
	io.Writer
	bytes() []byte
}

// tail keeps the last bytes.
type tail struct {
	most int
	mu   sync.Mutex // guards buf
	buf  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-t.most):]...)
	if over := len(t.buf) - t.most; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]byte(nil), t.buf...)
}

// head keeps the first bytes and forgets the rest.
type head struct {
	most int
	mu   sync.Mutex // guards what follows
	buf  []byte
	over bool
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	keep := min(len(p), h.most-len(h.buf))
	h.buf = append(h.buf, p[:keep]...)
	h.over = h.over || keep < len(p)
	return len(p), nil
}

func (h *head) bytes() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]byte(nil), h.buf...)
}

func (h *head) more() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.over
}

func lastLine(s string) string {
	s = strings.TrimSpace(printable(s))
	return s[strings.LastIndexByte(s, '\n')+1:]
}
