package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// attempt is one attempt at a host's key exchange and login.
type attempt struct {
	r      *route
	h      *host
	conn   *opening
	clock  *clock
	login  *login
	mu     sync.Mutex      // guards what follows, and is held while a person decides about the key
	seen   gossh.PublicKey // the key that the server has shown
	keyErr error           // and it was not trusted
}

func (a *attempt) handshake(ctx context.Context) (*gossh.Client, error) {
	ring, err := newKeyring(a.h, a.r.o, a.clock.aside)
	if err != nil {
		a.mu.Lock()
		a.keyErr = err
		a.mu.Unlock()
		return nil, err
	}
	prompt := a.prompt()
	a.login = newLogin(ctx, a.h, prompt)
	keys := &identities{h: a.h, ask: prompt, report: func(s string) { a.login.note("%s", s) },
		dialed: func(c net.Conn) { a.r.hold(&a.r.agent, c) }}
	config := &gossh.ClientConfig{
		User:              a.h.User,
		HostKeyAlgorithms: ring.algorithms(),
		HostKeyCallback: func(_ string, remote net.Addr, key gossh.PublicKey) error {
			return a.meet(ctx, ring, remote, key)
		},
		AuthCallback: func(server *gossh.ClientAuthContext) (gossh.AuthMethod, error) {
			if a.login.allowed == nil {
				a.login.keys = keys.list()
			}
			return a.login.next(server)
		},
	}
	conn, channels, requests, err := gossh.NewClientConn(a.conn, a.h.address(), config)
	if keys.agent != nil {
		keys.agent.Close()
		a.r.hold(&a.r.agent, nil)
	}
	if err != nil {
		return nil, err
	}
	return gossh.NewClient(conn, channels, requests), nil
}

// meet is called with the server's key, and again at each new key exchange of
// the connection (RFC 4253, section 9): then it has to be the same.
func (a *attempt) meet(ctx context.Context, ring *keyring, remote net.Addr, key gossh.PublicKey) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.seen == nil:
		a.seen = key
		a.keyErr = ring.check(ctx, remote, key)
		a.clock.set(loginTimeout)
		return a.keyErr
	case samePublic(a.seen, key):
		return nil
	}
	return failf(ErrHostKey, a.h.Host, "check the host key of %s: it changed to %s within one connection", a.h.Host, fingerprint(key))
}

// prompt is the caller's, with the clock stopped.
func (a *attempt) prompt() Prompt {
	if a.r.o.Prompt == nil {
		return nil
	}
	return func(ctx context.Context, q Question) (answer string, err error) {
		err = a.clock.aside(func() error {
			answer, err = a.r.o.Prompt(ctx, q)
			return err
		})
		return answer, err
	}
}

// explain says why the handshake failed, and whether it makes sense to try
// again.
func (a *attempt) explain(err error) (_ error, dropped bool) {
	a.mu.Lock() // the key exchange may be asking still, which ends with ctx or an answer
	defer a.mu.Unlock()
	address, said := a.h.address(), a.conn.words()
	var negotiation *gossh.AlgorithmNegotiationError
	switch {
	case a.keyErr != nil:
		return a.keyErr, false
	case a.login.allowed != nil && a.clock.stop():
		return failf(ErrAuth, a.h.Host, "log in to %s as %s: the server did not answer within %s", a.h.Host, a.h.User, loginTimeout), false
	case a.login.allowed != nil:
		return a.login.failure(err), false
	case a.clock.stop():
		return failf(ErrConnect, a.h.Host, "reach %s: connected, but no key exchange within %s: is that an SSH server, and is it overloaded?", address, a.h.timeout), false
	case errors.As(err, &negotiation):
		return failf(ErrConnect, a.h.Host, `reach %s: %w: the server is old or strict: client = "openssh" may know what it wants`, address, err), false
	case penalty(said):
		return failf(ErrConnect, a.h.Host, "reach %s: it accepts nothing from this address for some time, as after failed logins (PerSourcePenalties): wait some minutes", address), false
	case said != "" && !strings.Contains(said, "SSH-") && !strings.HasPrefix(said, "Exceeded MaxStartups"):
		return failf(ErrConnect, a.h.Host, "reach %s: no SSH server answers there but says %q: is the port right?", address, clip(said)), false
	case a.seen == nil && isDrop(err):
		return failf(ErrConnect, a.h.Host, "reach %s: the server closed the connection before the login: "+
			"it may be overloaded (MaxStartups), or not let this address in: %w", address, err), true
	}
	return failf(ErrConnect, a.h.Host, "reach %s: %w", address, err), false
}

func isDrop(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// opening keeps the first bytes that a server sends: some say there why they
// will not talk to us.
type opening struct {
	net.Conn
	mu    sync.Mutex // guards first
	first []byte
}

func (o *opening) Read(p []byte) (int, error) {
	const most = 256
	n, err := o.Conn.Read(p)
	o.mu.Lock()
	if len(o.first) < most {
		o.first = append(o.first, p[:min(n, most-len(o.first))]...)
	}
	o.mu.Unlock()
	return n, err
}

// words returns the first line.
func (o *opening) words() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	line, _, _ := strings.Cut(printable(string(o.first)), "\n")
	return strings.TrimSpace(line)
}

// clock calls expire when something takes too long. It stands still while a
// person is asked.
type clock struct {
	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	limit   time.Duration
	stopped bool
	expired bool
}

func newClock(limit time.Duration, expire func()) *clock {
	c := &clock{limit: limit}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(limit, func() {
		c.mu.Lock()
		c.expired = true
		c.mu.Unlock()
		expire()
	})
	return c
}

// set starts it anew.
func (c *clock) set(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit = limit; !c.stopped {
		c.timer.Reset(limit)
	}
}

// aside does something that takes a person's time.
func (c *clock) aside(f func() error) error {
	c.mu.Lock()
	c.timer.Stop()
	c.mu.Unlock()
	err := f()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.timer.Reset(c.limit)
	}
	return err
}

// stop stops it for good and reports whether the time had been up.
func (c *clock) stop() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.timer.Stop()
	return c.expired
}
