package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"muster/ssh/relay"
)

// Port is a TCP port on a site's machine. Who connects to it there comes out of
// Accept here, over whichever link there is at the time.
type Port struct {
	s     *Site
	host  string // an address there; empty is all of them
	conns chan net.Conn
	over  chan struct{}
	open  sync.WaitGroup

	mu    sync.Mutex // guards all below
	cur   *relay.Listener
	port  int // that it had at first, if it may be had again
	addrs []string
	shut  bool
}

var _ net.Listener = (*Port)(nil)

// Listen opens a port there: on host, an IP address of that machine, or on all
// of them if that is empty. port 0 is any. The port stays, under the same number
// if it can be had again, until it or the site is closed.
func (s *Site) Listen(ctx context.Context, host string, port int) (*Port, error) {
	c, err := s.relay(ctx)
	if err != nil {
		return nil, err
	}
	p := &Port{s: s, host: host, port: port, conns: make(chan net.Conn), over: make(chan struct{})}
	if err := p.listen(ctx, c, relay.Hello{}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.ports = append(s.ports, p)
	s.mu.Unlock()
	return p, nil
}

// listen opens the port over a link. before is the relay of the link before
// this one, which may not have noticed its end and still hold the port.
func (p *Port) listen(ctx context.Context, c *relay.Conn, before relay.Hello) error {
	p.mu.Lock()
	q, shut := relay.ListenRequest{Host: p.host, Port: p.port}, p.shut
	p.mu.Unlock()
	if shut {
		return nil
	}
	if h := c.Hello(); h.Host == before.Host && h.Boot == before.Boot {
		q.Replace = before.Self
	}
	l, err := c.Listen(ctx, q)
	if errors.Is(err, relay.ErrPortTaken) && before.Build != "" {
		q.Port = 0 // workers read the new one in their join file
		l, err = c.Listen(ctx, q)
	}
	if err != nil {
		return fmt.Errorf("listen on %s for workers: %w", p.s.login.Name(), err)
	}
	_, text, _ := net.SplitHostPort(l.Addr().String())
	number, err := strconv.Atoi(text)
	if err != nil {
		l.Close()
		return fmt.Errorf("listen on %s for workers: it listens at %s, which has no port", p.s.login.Name(), l.Addr())
	}
	addrs := l.Addresses()
	if named := p.s.login.Addresses; len(named) > 0 && p.host == "" {
		addrs = nil
		for _, host := range named {
			addrs = append(addrs, net.JoinHostPort(host, text))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return l.Close()
	}
	p.cur, p.port, p.addrs = l, number, addrs
	p.open.Go(func() { p.pass(l) })
	return nil
}

// pass hands on what comes in over one link.
func (p *Port) pass(l *relay.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case p.conns <- c:
		case <-p.over:
			c.Close()
			return
		}
	}
}

// Addresses are where workers dial, HOST:PORT.
func (p *Port) Addresses() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.addrs)
}

// Accept returns the next connection. It waits over lost links, and ends with
// net.ErrClosed when the port is closed.
func (p *Port) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

// Close closes the port there, if there is a link.
func (p *Port) Close() error {
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return nil
	}
	p.shut = true
	cur := p.cur
	p.mu.Unlock()
	close(p.over)
	err := cur.Close()
	p.open.Wait()
	return err
}

// Addr is where the port is.
func (p *Port) Addr() net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur.Addr()
}
