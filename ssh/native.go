package ssh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// loginTimeout is for a login after the key exchange, without the time in which
// we ask a person: sshd itself ends it after that long (LoginGraceTime in
// sshd_config(5)), and some of it may be a person's who looks at a telephone.
const loginTimeout = 2 * time.Minute

// Servers with many logins under way drop new connections at random
// (MaxStartups in sshd_config(5)), so one that is dropped before it has shown
// its key is tried again, after about this long and twice that.
const (
	dropTries = 3
	dropPause = 700 * time.Millisecond
)

// route is the chain of connections to a host, as far as it is built.
type route struct {
	o    Options
	hops []*gossh.Client

	mu    sync.Mutex // guards what follows
	base  net.Conn   // the TCP connection below all hops; closing it ends them all
	agent net.Conn   // to an agent, during a login
	over  bool       // cut was called
}

func dialNative(ctx context.Context, o Options) (*Client, error) {
	b, err := newBook(o)
	if err != nil {
		return nil, err
	}
	way, err := b.route(o.Target, o.Jump)
	if err != nil {
		return nil, err
	}
	r := &route{o: o}
	stop := context.AfterFunc(ctx, r.cut)
	defer stop()
	for _, h := range way {
		if err := r.pass(ctx, h); err != nil {
			r.free()
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		r.free()
		return nil, fmt.Errorf("log in to %s: %w", o.Target.Host, err)
	}
	last := way[len(way)-1]
	c := &Client{target: last.Target, remote: last.address(), conn: r.hops[len(r.hops)-1], cut: r.cut, free: r.free}
	c.forward = c.listen
	if len(way) == 1 {
		c.remote = r.base.RemoteAddr().String()
	}
	return c.start(last.aliveInterval, last.aliveMax), nil
}

// cut ends all connections at once, and with them whatever waits for them.
func (r *route) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for _, c := range []net.Conn{r.base, r.agent} {
		if c != nil {
			c.Close()
		}
	}
}

// hold keeps a connection in its place, for cut to find.
func (r *route) hold(place *net.Conn, c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*place = c
	if r.over && c != nil {
		c.Close()
	}
}

// free waits until nothing is left of them.
func (r *route) free() error {
	r.cut()
	for _, c := range r.hops {
		c.Close()
		c.Wait()
	}
	return nil
}

// pass goes on to the next host.
func (r *route) pass(ctx context.Context, h *host) error {
	for try := 1; ; try++ {
		err, dropped := r.reach(ctx, h)
		if ctx.Err() != nil {
			return fmt.Errorf("log in to %s: %w", h.Host, ctx.Err())
		}
		if !dropped || try == dropTries {
			return err
		}
		r.o.Log.Info("the server dropped the connection, trying again", "host", h.Host, "try", try, "error", err)
		if err := pause(ctx, dropPause<<(try-1)); err != nil {
			return fmt.Errorf("log in to %s: %w", h.Host, err)
		}
	}
}

// pause waits for d, give or take a half, so that many do not come back at once.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reach tries once. dropped says that to try again makes sense.
func (r *route) reach(ctx context.Context, h *host) (err error, dropped bool) {
	clock := newClock(h.timeout, r.cut)
	defer clock.stop()
	conn, err := r.connect(ctx, h)
	if err != nil {
		if clock.stop() {
			return failf(ErrConnect, h.Host, "reach %s: no answer within %s: is the address right, and is a firewall between?", h.address(), h.timeout), false
		}
		return err, false
	}
	a := &attempt{r: r, h: h, conn: &opening{Conn: conn}, clock: clock}
	client, err := a.handshake(ctx)
	if err != nil {
		conn.Close()
		return a.explain(err)
	}
	r.hops = append(r.hops, client)
	return nil, false
}

// connect opens the TCP connection, by way of the last hop if there is one.
func (r *route) connect(ctx context.Context, h *host) (net.Conn, error) {
	if len(r.hops) > 0 {
		before := r.hops[len(r.hops)-1]
		conn, err := before.Dial("tcp", h.address())
		if err != nil {
			return nil, forwardError(h, err)
		}
		return conn, nil
	}
	d := net.Dialer{Timeout: h.timeout}
	conn, err := d.DialContext(ctx, h.network, h.address())
	if err != nil {
		return nil, dialError(h, err)
	}
	r.hold(&r.base, conn)
	return conn, nil
}

func dialError(h *host, err error) error {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return failf(ErrResolve, h.Host, "find the address of %s: %w: is the name right, and does this machine reach a name server?", h.Host, dns)
	case errors.Is(err, syscall.ECONNREFUSED):
		return failf(ErrConnect, h.Host, "reach %s: nothing listens there: %w: is the port right?", h.address(), err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return failf(ErrConnect, h.Host, "reach %s: no answer within %s: is the address right, and is a firewall between?", h.address(), h.timeout)
	}
	return failf(ErrConnect, h.Host, "reach %s: %w", h.address(), err)
}

// forwardError is for a jump host that does not take us further.
func forwardError(h *host, err error) error {
	var refused *gossh.OpenChannelError
	if !errors.As(err, &refused) {
		return failf(ErrLost, h.Host, "reach %s through its jump host: %w", h.address(), err)
	}
	said := printable(refused.Message)
	switch {
	case refused.Reason == gossh.Prohibited:
		return failf(ErrForward, h.Host, "reach %s: its jump host does not pass connections on (administratively prohibited: %s): "+
			"ask for AllowTcpForwarding and PermitOpen in its sshd_config", h.address(), said)
	case isNameError(said):
		return failf(ErrResolve, h.Host, "find the address of %s on its jump host: %s", h.Host, said)
	}
	return failf(ErrConnect, h.Host, "reach %s through its jump host: %s", h.address(), said)
}

// isNameError recognises what getaddrinfo(3) says of names, as servers and ssh
// repeat it.
func isNameError(s string) bool {
	for _, t := range []string{"not known", "name resolution", "No address associated", "nodename nor servname", "Could not resolve"} {
		if strings.Contains(s, t) {
			return true
		}
	}
	return false
}
