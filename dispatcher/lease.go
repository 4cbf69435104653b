package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

// A session with a lease outlives its connection. When that breaks, it is away:
// it keeps its tasks and is given nothing new, what it is to be told gathers in
// its Writer, and nobody reads. Whoever proves its key on another connection
// goes on with it where it was; when the lease is over first, the worker is lost.

// link is one connection of a session.
type link struct {
	raw  net.Conn
	gone chan struct{} // closed when nobody reads it any more
}

// absence is from the end of one connection to the next one.
type absence struct {
	timer *time.Timer
	why   error
}

// broken marks the end of a connection that neither side has asked for.
type broken struct{ error }

func (b broken) Unwrap() error { return b.error }

var errOver = errors.New("its session is over: it was away for too long, or the dispatcher is another")

// roster finds the session of an identity: there is one at a time.
type roster struct {
	mu sync.Mutex // guards by; nothing is locked after it
	by map[identity]*session
}

// identity is whose session it is; of two with the same one, the later has a
// higher restart number and the place.
type identity struct{ launch, element string }

func identityOf(h *wire.Hello) identity { return identity{h.Launch, h.Element} }

func (l *roster) find(h *wire.Hello) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[identityOf(h)]
}

func (l *roster) add(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[identityOf(&s.hello)] = s
}

func (l *roster) remove(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by[identityOf(&s.hello)] == s {
		delete(l.by, identityOf(&s.hello))
	}
}

// ackPatience is how long the last Ack of a session may take to be written.
const ackPatience = 5 * time.Second

// serve reads the session's link to its end, and then keeps the session for
// another or ends it.
func (s *session) serve(l *link) {
	defer close(l.gone)
	s.beat(l) // not before something is written to l: a ping would be lost
	reason := s.read()
	if s.lease > 0 && orderly(reason) {
		// It waits to hear that all it has said has come.
		l.raw.SetWriteDeadline(time.Now().Add(ackPatience))
		s.w.Send(&wire.Ack{Received: s.r.Received()})
		s.w.Close()
	}
	l.raw.Close()
	if s.lease > 0 {
		s.w.Detach()
		if s.p.beginAbsence(s, reason) {
			return
		}
	}
	s.w.Close()
	s.p.disconnected(s, reason)
}

// beginAbsence begins the session's absence, unless it is over.
func (p *Pool) beginAbsence(s *session, reason error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !errors.As(reason, new(broken)) || p.closed || s.dead || s.replaced || s.w.Behind() {
		return false
	}
	p.detach(s, away)
	a := &absence{why: reason}
	a.timer = time.AfterFunc(s.lease, func() { p.expire(s, a) })
	s.absence = a
	p.queue.Set(s.epoch, queue.Away)
	s.letCancelledGo()
	p.log.Warn("worker is away; waiting for it to come back", "worker", s.id, "reason", reason, "tasks", len(s.attempts), "lease", s.lease)
	p.pump(time.Now())
	return true
}

// letCancelledGo resolves the cancelled tasks of a worker that has no connection.
func (s *session) letCancelledGo() {
	for _, a := range s.attempts {
		if a.cancel != nil && a != s.syncing {
			s.abandon(a)
		}
	}
}

// abandon resolves a cancelled task of a worker that is away, which hears of it
// when it is back. What the task has printed by then, and its result behind that,
// come nevertheless, within the window that it has. Under Pool.mu, when nobody
// reads.
func (s *session) abandon(a *attempt) {
	s.p.queue.Lost(a.Ref, time.Now()) // given up, since it is being cancelled
	delete(s.attempts, a.Ref)
	if s.abandoned == nil {
		s.abandoned = map[queue.Ref]*attempt{}
	}
	s.abandoned[a.Ref] = &attempt{Ref: a.Ref, after: a.after, abandoned: true, window: a.window, size: a.size, used: a.used}
	s.resolve(a, task.Result{Err: a.cancel})
}

// expire ends a session whose worker has not come back in time.
func (p *Pool) expire(s *session, a *absence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.absence == a {
		p.endUnconnected(s, fmt.Errorf("it was away for more than %v: %w", s.lease, a.why))
	}
}

// endUnconnected ends the session of a worker that has no connection. Under mu.
func (p *Pool) endUnconnected(s *session, reason error) {
	s.w.Close() // nothing is written without a connection: it does not wait
	if s.state == lost {
		p.remove(s, reason, Fate{}) // there is no time for an answer
		return
	}
	p.end(s, reason)
}

// Gone says that the worker of an element has ended, as whoever started it has
// found out: if it is away, or its connection breaks, it is not waited for.
func (p *Pool) Gone(l *mtls.Launch, element string) {
	s := p.d.roster.find(&wire.Hello{Launch: l.ID(), Element: element})
	if s == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.dead = true; s.state == away {
		p.endUnconnected(s, fmt.Errorf("it has ended: %w", s.absence.why))
	}
}

var errReplaced = errors.New("its place was taken by a worker of the same identity")

// giveWay ends the session of a worker that is away and has never said a word, so that
// its welcome may not have reached it, when a hello of the same identity comes.
func (d *Dispatcher) giveWay(h *wire.Hello) {
	s := d.roster.find(h)
	if s == nil {
		return
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if (s.state == away || s.state == lost) && h.Restart == s.hello.Restart && !s.spoke {
		s.p.replace(s)
	}
}

// takeOver ends the session of the same identity, for one with a higher restart number
// that has been let in, and returns when it has ended.
func (p *Pool) takeOver(ctx context.Context, h *wire.Hello) error {
	for {
		old := p.ousted(h)
		if old == nil {
			return nil
		}
		select {
		case <-old.gone:
		case <-ctx.Done():
			return errBusy
		}
	}
}

// ousted ends the session that takeOver is about, and returns the link whose reader
// has yet to see it; nil if there is none.
func (p *Pool) ousted(h *wire.Hello) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.d.roster.find(h)
	switch {
	case s == nil:
		return nil
	case s.state == connected:
		s.replaced = true
		s.link.raw.Close()
		return s.link
	}
	p.replace(s)
	return nil
}

// replace ends a session that has no connection and whose place another takes. Under mu.
func (p *Pool) replace(s *session) {
	s.w.Close() // nothing is written without a connection: it does not wait
	p.remove(s, errReplaced, Fate{})
}

// resume goes on with the session whose key the peer on conn proves to know,
// even if its last connection is not known to have broken.
func (d *Dispatcher) resume(ctx context.Context, conn *mtls.Conn, h *wire.Hello, l *link) (*session, error) {
	s := d.roster.find(h)
	if s == nil || s.lease == 0 || s.hello.Restart != h.Restart {
		return nil, unproved(h, errOver)
	}
	if err := s.key.Check(conn, h.ResumeContext(), h.Proof); err != nil {
		return nil, unproved(h, err)
	}
	if err := speaks(h, true); err != nil {
		return nil, err
	}
	if err := s.in.launch.Again(h.Element, time.Now()); err != nil {
		return nil, err
	}
	for {
		old, err := s.comeBack(l, h.Received)
		if err != nil || old == nil {
			return s, err
		}
		select {
		case <-old.gone:
		case <-ctx.Done():
			return nil, errBusy
		}
	}
}

var errBusy = errors.New("its last connection is still being wound up")

// comeBack makes l the session's link, or hangs up on the one it has and
// returns that.
func (s *session) comeBack(l *link, received uint64) (old *link, err error) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s.state {
	case connected:
		s.link.raw.Close()
		return s.link, nil
	case lost, gone:
		return nil, errOver
	}
	if err := s.w.Acked(received); err != nil {
		return nil, err
	}
	s.absence.timer.Stop()
	s.absence = nil
	p.absent--
	s.state, s.link, s.heard, s.pings = connected, l, time.Now(), nil
	p.queue.Clear(s.epoch, queue.Away)
	for _, a := range s.attempts {
		if st, _ := p.queue.State(a.Task); st == task.Held {
			s.hold(a, a.held)
		}
	}
	p.log.Info("worker is back", "worker", s.id, "tasks", len(s.attempts))
	p.pump(time.Now())
	return nil, nil
}
