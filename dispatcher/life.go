package dispatcher

import (
	"slices"
	"time"

	"muster/internal/wire"
)

// life tells a worker that lives from one that does not: after four heartbeats
// without a sign of life it is hung up on. These are the signs:
//
//   - the answer to a ping, which it gets at each heartbeat
//   - output of a task that it has, or the end of one
//   - an acknowledgement that says more than the last
//
// A worker handles what it is sent in order, but on a slow link its answer to a
// ping may wait for minutes behind what it had said before. So while one waits for
// its answer, the other signs count only as far as the worker may have said them
// before it read that ping: as much output as the windows of its tasks hold, the end
// of tasks and the acknowledgement of frames that it was sent before. All that is
// bounded: a worker that never answers falls silent, whatever it sends, and one that answers has to
// acknowledge, as pong checks.
//
// It is guarded by Pool.mu.
type life struct {
	heard  time.Time // the last sign of it
	pings  []ping    // that wait for an answer, in order
	seq    uint64    // pings sent
	beaten time.Time // the last heartbeat of this side
	room   int       // bytes of output that may come before the first of pings is answered
	owed   uint64    // frames that are to be acknowledged before the next answer
}

// ping is one that has not been answered.
type ping struct {
	seq  uint64
	at   time.Time
	sent uint64 // frames before it, with a lease
}

// maxPings bounds those that are remembered; the answers to others are ignored.
const maxPings = 16

// output takes n bytes of output of a task that the worker has.
func (l *life) output(n int, now time.Time) {
	switch {
	case n == 0:
		return
	case len(l.pings) > 0 && n > l.room:
		return
	case len(l.pings) > 0:
		l.room -= n
	}
	l.heard = now
}

// end takes the end of a task that the worker had.
func (l *life) end(a *attempt, now time.Time) {
	if len(l.pings) == 0 || a.after < l.pings[0].seq {
		l.heard = now
	}
}

// acknowledged forgets what the worker has.
func (s *session) acknowledged(n uint64, now time.Time) error {
	if s.lease == 0 {
		return nil
	}
	_, before := s.w.Progress()
	if err := s.w.Acked(n); err != nil || n == before {
		return err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if len(s.pings) == 0 || n <= s.pings[0].sent {
		s.heard = now
	}
	return nil
}

func (s *session) silent(now time.Time) bool {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.isSilent(now)
}

func (s *session) isSilent(now time.Time) bool { return now.Sub(s.heard) > 4*s.d.opt.Heartbeat }

// beat pings the worker now and at each heartbeat, which also measures the round
// trip, and hangs up on one that has been silent too long. When a heartbeat comes
// much too late, this process has been stopped itself, or the machine: then what
// the workers have said meanwhile is still to be read, and silence counts anew.
func (s *session) beat(l *link) {
	now := time.Now()
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.link != l || s.state != connected {
		return
	}
	every := s.d.opt.Heartbeat
	if !s.beaten.IsZero() && now.Sub(s.beaten) > 2*every {
		s.heard = now
	}
	s.beaten = now
	if s.isSilent(now) {
		l.raw.Close()
		return
	}
	s.ping(now)
	time.AfterFunc(every, func() { s.beat(l) })
}

// ping asks for a sign of life. Under Pool.mu.
func (s *session) ping(now time.Time) {
	s.seq++
	if len(s.pings) < maxPings {
		p := ping{seq: s.seq, at: now}
		if s.lease > 0 {
			p.sent, _ = s.w.Progress()
		}
		if s.pings = append(s.pings, p); len(s.pings) == 1 {
			s.await()
		}
	}
	s.w.Send(&wire.Ping{Seq: s.seq})
}

// await makes room for the output that may come before the first ping's answer.
// Under Pool.mu.
func (s *session) await() { s.room = (len(s.attempts) + len(s.abandoned)) * wire.MaxWindow }

// pong takes the answer to a ping. A worker acknowledges with it what came
// before that ping, so what came before the last one has been. Under Pool.mu.
func (s *session) pong(seq uint64, now time.Time) error {
	i := slices.IndexFunc(s.pings, func(p ping) bool { return p.seq == seq })
	if i < 0 {
		return nil
	}
	p := s.pings[i]
	s.pings = slices.Delete(s.pings, 0, i+1)
	s.await()
	s.heard = now
	s.p.queue.RTT(s.epoch, now.Sub(p.at))
	if s.lease == 0 {
		return nil
	}
	if _, acked := s.w.Progress(); acked < s.owed {
		return errUnacknowledged
	}
	s.owed = p.sent
	return nil
}
