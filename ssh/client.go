package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// What OpenSSH's users commonly set: without it a dead link is never noticed
// (ServerAliveInterval in ssh_config(5) is 0).
const (
	aliveInterval = 15 * time.Second
	aliveMax      = 3 // unanswered ones
)

// Client is a login on one host.
type Client struct {
	target Target
	remote string
	conn   *gossh.Client
	cut    func()       // ends what is below conn at once, whoever waits for it
	free   func() error // waits until all below conn is gone
	why    func() error // says more about a lost connection; may be nil
	// forward tries to have a port of the server forwarded.
	forward func(context.Context) error
	tasks   sync.WaitGroup // goroutines of the connection and its sessions
	done    chan struct{}

	mu     sync.Mutex // guards what follows, and the start of tasks
	closed bool
	err    error
}

// start watches over the connection. An interval of 0 means that somebody else
// sends keepalives.
func (c *Client) start(interval time.Duration, most int) *Client {
	c.done = make(chan struct{})
	c.spawn(c.watch)
	if interval > 0 {
		c.spawn(func() { c.keepAlive(interval, most) })
	}
	return c
}

// spawn runs f in a goroutine that Close waits for, unless it is too late.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.tasks.Go(f)
	return true
}

// watch waits for the connection's end.
func (c *Client) watch() {
	err := c.conn.Wait()
	c.cut()
	if c.why != nil {
		err = c.why()
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("the other side closed it")
	}
	c.end(failf(ErrLost, c.target.Host, "the connection to %s was lost: %w", c.target.Host, err))
}

// end records why the connection ended, the first time that it is called.
func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.done)
	}
}

// keepAlive asks the server for an answer at each interval and gives the
// connection up when most of them passed without one. OpenSSH answers this
// request, as all that it does not know, with a failure.
func (c *Client) keepAlive(interval time.Duration, most int) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	answers := make(chan error, 1)
	missed, waiting := 0, false
	for {
		select {
		case <-c.done:
			return
		case err := <-answers:
			if err != nil {
				return // watch knows why
			}
			missed, waiting = 0, false
		case <-tick.C:
			if waiting {
				if missed++; missed >= most {
					c.end(failf(ErrLost, c.target.Host, "the connection to %s was lost: it did not answer for %s", c.target.Host, interval*time.Duration(most)))
					c.cut()
					return
				}
				continue
			}
			waiting = c.spawn(func() {
				_, _, err := c.conn.SendRequest("keepalive@openssh.com", true, nil)
				answers <- err
			})
		}
	}
}

// Target returns the place logged in to, its user, host name and port filled in.
func (c *Client) Target() Target { return c.target }

// RemoteAddr returns where the server is, as HOST:PORT: its IP address if we are
// connected to it ourselves, else, behind a jump host or with the openssh client,
// the host name and port that ssh_config made of the target.
func (c *Client) RemoteAddr() string { return c.remote }

// Done is closed when the connection is lost or closed.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why, once Done is closed: an error of kind ErrLost, or net.ErrClosed
// after Close. It is nil before.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends every session and the login, and waits until no goroutine, process
// or socket of it is left.
func (c *Client) Close() error {
	c.end(net.ErrClosed)
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cut()
	c.conn.Close()
	err := c.free()
	c.tasks.Wait()
	return err
}

// Exec starts a command, which the user's login shell reads, with pipes and
// without a terminal. The session is closed when ctx ends.
func (c *Client) Exec(ctx context.Context, command string) (*Session, error) {
	return c.session(ctx, request{"exec", command}, &tail{most: stderrTail})
}

// Subsystem starts one of the server's subsystems, such as sftp (Subsystem in
// sshd_config(5)). The session is closed when ctx ends. An error of kind
// ErrSubsystem says that the server does not offer it. A server may accept the
// request and run something else, or nothing.
func (c *Client) Subsystem(ctx context.Context, name string) (*Session, error) {
	return c.session(ctx, request{"subsystem", name}, &tail{most: stderrTail})
}

// request is what a session is opened for (RFC 4254, section 6.5): the type of
// the channel request, and the command or the subsystem's name.
type request struct{ kind, text string }

func (c *Client) session(ctx context.Context, r request, stderr sink) (*Session, error) {
	type opening struct {
		s   *Session
		err error
	}
	opened := make(chan opening, 1)
	if !c.spawn(func() {
		s, err := c.open(r, stderr)
		opened <- opening{s, err}
	}) {
		return nil, c.unusable()
	}
	select {
	case o := <-opened:
		if o.err != nil {
			return nil, o.err
		}
		o.s.until(ctx)
		return o.s, nil
	case <-ctx.Done():
		c.spawn(func() {
			if o := <-opened; o.s != nil {
				o.s.Close()
			}
		})
		return nil, fmt.Errorf("start a command on %s: %w", c.target.Host, ctx.Err())
	}
}

// unusable says that the connection has ended.
func (c *Client) unusable() error {
	return fmt.Errorf("start a command on %s: %w", c.target.Host, c.Err())
}

// open opens a channel and makes the request in it.
func (c *Client) open(r request, stderr sink) (*Session, error) {
	ch, requests, err := c.conn.OpenChannel("session", nil)
	var refused *gossh.OpenChannelError
	switch {
	case errors.As(err, &refused):
		return nil, failf(ErrSession, c.target.Host, "start a command on %s: the server opens no further session (%s): "+
			"it may allow few at a time: see MaxSessions in its sshd_config", c.target.Host, printable(refused.Message))
	case err != nil:
		return nil, c.lostWhile(err)
	}
	ok, err := ch.SendRequest(r.kind, true, gossh.Marshal(struct{ Text string }{r.text}))
	if err == nil && ok {
		return c.newSession(ch, requests, stderr), nil
	}
	ch.Close()
	c.tasks.Go(func() { gossh.DiscardRequests(requests) })
	if err != nil {
		return nil, c.lostWhile(err)
	}
	if r.kind == "subsystem" {
		return nil, failf(ErrSubsystem, c.target.Host, "start the subsystem %s on %s: the server does not offer it: see Subsystem in its sshd_config", r.text, c.target.Host)
	}
	return nil, failf(ErrSession, c.target.Host, "start a command on %s: the server refused to run one", c.target.Host)
}

// lostWhile waits for the reason why the connection ended below a request.
func (c *Client) lostWhile(err error) error {
	const patience = 5 * time.Second // only if the server broke the protocol
	select {
	case <-c.done:
		return c.unusable()
	case <-time.After(patience):
		return failf(ErrLost, c.target.Host, "start a command on %s: %w", c.target.Host, err)
	}
}

// Output is what a command left behind.
type Output struct {
	Stdout, Stderr []byte // at most the first MiB of each
	Truncated      bool   // there was more
	Code           int    // exit status; 128 if a signal ended it
	Signal         string // its name without SIG, or ""
}

// maxOutput bounds each stream of an Output.
const maxOutput = 1 << 20

// Run runs a command to its end. A nil stdin is empty; Run waits for the Read
// that it is in. A status other than 0 is no error.
func (c *Client) Run(ctx context.Context, command string, stdin io.Reader) (Output, error) {
	stdout, stderr := &head{most: maxOutput}, &head{most: maxOutput}
	s, err := c.session(ctx, request{"exec", command}, stderr)
	if err != nil {
		return Output{}, err
	}
	defer s.Close()
	var feeding sync.WaitGroup
	feeding.Go(func() {
		if stdin != nil {
			io.Copy(s, stdin) // a command may end without having read it
		}
		s.CloseWrite()
	})
	io.Copy(stdout, s)
	err = s.Wait()
	feeding.Wait()
	out := Output{Stdout: stdout.bytes(), Stderr: stderr.bytes(), Truncated: stdout.more() || stderr.more()}
	var exit *ExitError
	switch {
	case errors.As(err, &exit):
		out.Code, out.Signal = exit.Code, exit.Signal
	case ctx.Err() != nil:
		return out, fmt.Errorf("run a command on %s: %w", c.target.Host, ctx.Err())
	case err != nil:
		return out, fmt.Errorf("run a command on %s: %w", c.target.Host, err)
	}
	return out, nil
}
