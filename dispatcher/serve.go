package dispatcher

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/quiet"
)

// maxVisitors bounds the connections of one listener that have not joined yet.
const maxVisitors = 256

// How long to wait before another Accept after one has failed.
const (
	firstAcceptWait = 5 * time.Millisecond
	lastAcceptWait  = time.Second
)

// Serve accepts workers on l until l is closed, or Close is called: then it
// returns nil. When Accept fails for want of descriptors or of memory, it says
// so and goes on trying.
func (d *Dispatcher) Serve(l net.Listener) error {
	room := d.newRoom()
	defer d.dropRoom(room)
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
		v := room.enter(quiet.Conn(conn))
		go func() {
			defer d.wg.Done()
			d.serveConn(room, v)
		}()
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// visitor is a connection that has not joined.
type visitor struct {
	conn   net.Conn
	shaken bool // its TLS handshake is done; guarded by waitingRoom.mu
}

// waitingRoom holds the visitors of one listener. When there is no room for
// another, the oldest is hung up on that has not finished its handshake, or else
// the oldest. Each listener has a room of its own, so that strangers at a port
// that others reach keep nobody out who comes by a socket or a relay.
type waitingRoom struct {
	mu     sync.Mutex // guards all below
	list   []*visitor // in the order in which they came
	closed bool
}

func (d *Dispatcher) newRoom() *waitingRoom {
	d.mu.Lock()
	defer d.mu.Unlock()
	room := &waitingRoom{closed: d.closed}
	d.rooms[room] = true
	return room
}

func (d *Dispatcher) dropRoom(r *waitingRoom) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.rooms, r)
	r.close()
}

func (r *waitingRoom) enter(conn net.Conn) *visitor {
	v := &visitor{conn: conn}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		conn.Close()
		return v
	}
	if len(r.list) >= maxVisitors {
		i := max(0, slices.IndexFunc(r.list, func(v *visitor) bool { return !v.shaken }))
		r.list[i].conn.Close()
		r.list = slices.Delete(r.list, i, i+1)
	}
	r.list = append(r.list, v)
	return v
}

func (r *waitingRoom) shaken(v *visitor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v.shaken = true
}

// leave takes a visitor out that has joined, or was refused.
func (r *waitingRoom) leave(v *visitor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.list, v); i >= 0 {
		r.list = slices.Delete(r.list, i, i+1)
	}
}

// close hangs up on all visitors, and on those who come from now on.
func (r *waitingRoom) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, v := range r.list {
		v.conn.Close()
	}
	r.list = nil
}

// strangers logs those who were not admitted, at most one line a second.
type strangers struct {
	logger hclog.Logger

	mu     sync.Mutex // guards all below
	last   time.Time
	unsaid int
}

// maxReason bounds what of a stranger's words is logged, in bytes.
const maxReason = 300

func (s *strangers) log(peer string, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.last) < time.Second {
		s.unsaid++
		return
	}
	text := reason.Error()
	if len(text) > maxReason {
		text = fmt.Sprintf("%s... (%d bytes)", text[:maxReason], len(text))
	}
	args := []any{"peer", peer, "reason", text}
	if s.unsaid > 0 {
		args = append(args, "others since the last line", s.unsaid)
	}
	s.last, s.unsaid = now, 0
	s.logger.Warn("a peer was not admitted", args...)
}
