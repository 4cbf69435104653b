package dispatcher

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/quiet"
)

// maxPeers bounds the connections of one listener that have not joined yet; where a
// process may have few files open, it is a quarter of those.
const maxPeers = 1024

// peersAllowed is maxPeers, or less where the limit on open files asks for it.
var peersAllowed = sync.OnceValue(func() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return maxPeers
	}
	return int(min(max(l.Cur/4, 64), maxPeers))
})

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
	source netip.Prefix // where it comes from; the zero value is this machine
	shaken bool         // its TLS handshake is done; guarded by unadmitted.mu
}

// sourceOf returns what of a peer's address whoever dials cannot choose at will: an
// IPv4 address, or an IPv6 network of 64 bits. Sockets of this machine are one source.
func sourceOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	source, _ := ip.WithZone("").Prefix(bits)
	return source
}

// unadmitted holds the peers of one listener that have not joined. When there is no
// room for another, one goes that comes from where most of them come from: of these the
// oldest that has finished its handshake, if more than half have, or else the oldest
// that has not. So whoever comes in numbers gets into the way of those who come from the
// same place only, and of these it takes a flood that outruns a round trip. Each listener
// has a list of its own: whoever dials a port that others reach keeps no worker out that
// comes by a socket or a relay.
type unadmitted struct {
	mu     sync.Mutex           // guards all below
	list   []*peer              // in the order in which they came
	from   map[netip.Prefix]int // how many of them
	closed bool
}

func (d *Dispatcher) newUnadmitted() *unadmitted {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := &unadmitted{closed: d.closed, from: map[netip.Prefix]int{}}
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
	p := &peer{conn: conn, source: sourceOf(conn.RemoteAddr())}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		conn.Close()
		return p
	}
	u.list = append(u.list, p)
	u.from[p.source]++
	if len(u.list) > peersAllowed() {
		u.dropOne()
	}
	return p
}

// dropOne hangs up on one peer, not the one that has just come. Under mu.
func (u *unadmitted) dropOne() {
	most, crowd, shaken := 0, 0, 0
	for _, n := range u.from {
		most = max(most, n)
	}
	for _, p := range u.list {
		if u.from[p.source] == most {
			crowd++
			if p.shaken {
				shaken++
			}
		}
	}
	victim := func(p *peer) bool { return u.from[p.source] == most && p.shaken == (shaken > crowd/2) }
	i := max(0, slices.IndexFunc(u.list[:len(u.list)-1], victim))
	u.list[i].conn.Close()
	u.remove(i)
}

// remove takes a peer out of the list. Under mu.
func (u *unadmitted) remove(i int) {
	source := u.list[i].source
	u.list = slices.Delete(u.list, i, i+1)
	if u.from[source]--; u.from[source] == 0 {
		delete(u.from, source)
	}
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
		u.remove(i)
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
	u.list, u.from = nil, nil
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
