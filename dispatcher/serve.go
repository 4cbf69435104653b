package dispatcher

import (
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/quiet"
)

// maxPeers bounds the connections of one listener that have not joined yet.
const maxPeers = 256

// How long to wait before another Accept after one has failed.
const (
	firstAcceptWait = 5 * time.Millisecond
	lastAcceptWait  = time.Second
)

// Serve accepts workers on l until l is closed, or Close is called: then it
// returns nil. When Accept fails for want of descriptors or of memory, it says
// so and goes on trying.
func (d *Dispatcher) Serve(l net.Listener) error {
	u := d.newUnadmitted()
	defer d.dropUnadmitted(u)
	wait := firstAcceptWait
	for {
		conn, err := l.Accept()
		switch {
		case err != nil && (d.isClosed() || errors.Is(err, net.ErrClosed)):
			return nil
		case err != nil:
			if wait == firstAcceptWait && !isTimeout(err) {
				d.opt.Say("workers cannot join on %s now: %v; trying on", l.Addr(), err)
			}
			time.Sleep(wait)
			wait = min(2*wait, lastAcceptWait)
			continue
		case wait > firstAcceptWait:
			wait = firstAcceptWait
			d.log.Info("workers can join again", "address", l.Addr().String())
		}
		if !d.begin() {
			conn.Close()
			return nil
		}
		p := u.enter(quiet.Conn(conn))
		go func() {
			defer d.wg.Done()
			d.serveConn(u, p)
		}()
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// peer is a connection that has not joined.
type peer struct {
	conn   net.Conn
	shaken bool // its TLS handshake is done; guarded by unadmitted.mu
}

// unadmitted holds the peers of one listener that have not joined. When there is no
// room for another, the oldest is hung up on that has not finished its handshake, or
// else the oldest. Each listener has a list of its own, so that whoever dials a port
// that others reach keeps no worker out that comes by a socket or a relay.
type unadmitted struct {
	mu     sync.Mutex // guards all below
	list   []*peer    // in the order in which they came
	closed bool
}

func (d *Dispatcher) newUnadmitted() *unadmitted {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := &unadmitted{closed: d.closed}
	d.unadmitted[u] = true
	return u
}

func (d *Dispatcher) dropUnadmitted(u *unadmitted) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.unadmitted, u)
	u.close()
}

func (u *unadmitted) enter(conn net.Conn) *peer {
	p := &peer{conn: conn}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		conn.Close()
		return p
	}
	if len(u.list) >= maxPeers {
		i := max(0, slices.IndexFunc(u.list, func(p *peer) bool { return !p.shaken }))
		u.list[i].conn.Close()
		u.list = slices.Delete(u.list, i, i+1)
	}
	u.list = append(u.list, p)
	return p
}

func (u *unadmitted) shaken(p *peer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p.shaken = true
}

// leave takes a peer out that has joined, or was refused.
func (u *unadmitted) leave(p *peer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := slices.Index(u.list, p); i >= 0 {
		u.list = slices.Delete(u.list, i, i+1)
	}
}

// close hangs up on all peers, and on those that come from now on.
func (u *unadmitted) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for _, p := range u.list {
		p.conn.Close()
	}
	u.list = nil
}

// rejections logs the peers that were not admitted, at most one line a second.
type rejections struct {
	logger hclog.Logger

	mu     sync.Mutex // guards all below
	last   time.Time
	unsaid int
}

func (s *rejections) log(peer string, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.last) < time.Second {
		s.unsaid++
		return
	}
	args := []any{"peer", peer, "reason", oneLine(cut(reason.Error(), maxReason))}
	if s.unsaid > 0 {
		args = append(args, "others since the last line", s.unsaid)
	}
	s.last, s.unsaid = now, 0
	s.logger.Warn("a peer was not admitted", args...)
}
