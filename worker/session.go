package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/wire"
	"muster/share"
)

// stage is how far a session is in its life.
//
//	               limits, signal,        nothing is left        acknowledged,
//	               dispatcher             that runs              or no lease
//	working ──────────────────► draining ─────────────► leaving ─────────────► gone
//	   │                           │                       │                     ▲
//	   └───────────────────────────┴───────────────────────┴─────────────────────┘
//	      goodbye, walltime, the process is told to end, or the uplink is lost
//
// Beside it, the uplink is connected or away:
//
//	             the connection breaks, or
//	             the dispatcher falls silent
//	connected ─────────────────────────────► away ── lease over, refused ──► lost
//	    ▲                                     │
//	    └──────────── it is let in again ─────┘
//
// Without a lease the first of these is the last: the uplink is lost. Only run
// moves a session.
type stage uint8

const (
	working  stage = iota
	draining       // it takes nothing more; what runs goes on
	leaving        // it has said goodbye
)

// dispatcherGone is why a session ends whose dispatcher said goodbye or was lost: the
// worker has no reason of its own to leave, and with ExitNever it dials again.
const dispatcherGone Reason = 1 << 16

// session is a worker between its welcome and its end. All of it belongs to run.
type session struct {
	o      *Options
	log    hclog.Logger
	link   *uplink
	slots  *slots
	copies copies // belongs to the uplink's reader, and to end
	stage  stage
	reason Reason        // why it drains
	told   chan string   // the dispatcher wants the worker to drain
	idle   chan struct{} // there may be nothing left to do
	due    *time.Timer   // the next look at the limits
}

// serve is one session, from the first dial to its end.
func serve(ctx context.Context, o Options, began time.Time) (Reason, error) {
	in, err := persist(ctx, o)
	if err != nil {
		return Ended, err
	}
	o.Log.Info("joined", "worker", in.welcome.WorkerID, "slots", o.Slots)
	s := &session{o: &o, due: time.NewTimer(0), log: o.Log.Named("worker"), told: make(chan string, 1), idle: make(chan struct{}, 1)}
	s.copies = copies{coming: map[string]*share.Writer{}, have: map[string]*share.Segment{}}
	s.link = newUplink(s.o, in)
	s.slots = newSlots(s.o, s.log, s.link, newLimits(began, time.Now(), s.o))
	s.slots.idle, s.slots.limited = s.tellIdle, func() { s.due.Reset(0) }
	s.link.lend, s.link.settled = s.slots.credit, s.tellIdle
	s.link.handle, s.link.flushed = s.handle, s.slots.flush
	defer s.end()
	return s.run(ctx)
}

// run moves the session until it is gone, and says why it is.
func (s *session) run(ctx context.Context) (Reason, error) {
	s.slots.start()
	s.link.start()
	beat := newPulse(s.link.every())
	defer beat.Stop()
	for {
		select {
		case err := <-s.link.gone:
			if !s.survives(err) {
				return s.lost(ctx, err)
			}
			s.link.beginRedial(ctx, err)
			s.slots.flush()
		case d := <-s.link.back:
			if err := s.link.comeBack(d); err != nil {
				return s.lost(ctx, err)
			}
		case <-s.link.leaseOver():
			return s.lost(ctx, fmt.Errorf("the dispatcher was out of reach for more than %v", s.link.lease))
		case <-s.link.acked:
			if s.stage == leaving && s.link.out.Pending() == 0 {
				return s.reason, nil
			}
		case <-ctx.Done():
			s.goodbye(Ended, "stopped")
			return Ended, context.Cause(ctx)
		case why := <-s.o.Drain:
			s.drain(why, Ended)
		case why := <-s.told:
			s.drain(why, Ended)
		case <-beat.C:
			if err := s.beat(beat.late()); err != nil {
				return dispatcherGone, err
			}
		case <-s.due.C:
			if s.limit() {
				return Walltime, s.goodbye(Walltime, "walltime")
			}
		case <-s.idle:
			if s.leave() {
				return s.reason, s.link.close()
			}
		}
	}
}

// handle takes a frame from the dispatcher. The uplink calls it, from the
// goroutine that reads.
func (s *session) handle(m wire.Message) {
	switch m := m.(type) {
	case *wire.Assign:
		s.copies.local(m.Spec.Shares)
		s.slots.assign(m)
	case *wire.Share:
		s.link.out.Send(s.copies.take(m))
	case *wire.Unshare:
		s.copies.drop(m.ID)
	case *wire.Cancel:
		s.slots.cancel(m)
	case *wire.Recall:
		s.slots.recall(m.Ref)
	case *wire.Drain:
		select {
		case s.told <- m.Reason:
		default:
		}
	}
}

// survives reports whether the session goes on when its connection has ended.
func (s *session) survives(why error) bool {
	return s.link.lease > 0 && why != nil && !errors.As(why, new(wire.MalformedError)) &&
		!(s.stage == leaving && s.link.out.Pending() == 0)
}

// beat is a heartbeat. The error is that the dispatcher has fallen silent and that
// there is no lease.
func (s *session) beat(late bool) error {
	s.slots.beat(s.link.every(), late)
	if !s.link.beat(late) {
		return nil
	}
	if s.link.lease == 0 {
		return errors.New("the dispatcher fell silent")
	}
	s.link.hangUp()
	return nil
}

// limit does what the worker's limits call for, and sets when to look at
// them again. It reports whether the walltime is over.
func (s *session) limit() bool {
	now := time.Now()
	v, next := s.slots.due(now, s.link.empty() && !s.link.away.Load())
	if v.leave {
		s.log.Warn("the walltime is over; handing back what runs")
		return true
	}
	if v.drain {
		s.drain(v.reason.setting(), v.reason)
	}
	if !next.IsZero() {
		s.due.Reset(next.Sub(now))
	}
	return false
}

// drain starts leaving, which goes on when nothing runs any more.
func (s *session) drain(why string, reason Reason) {
	if s.stage != working {
		return
	}
	s.stage, s.reason = draining, reason
	s.log.Info("draining", "reason", why)
	if !s.awayAndEven() {
		s.link.out.Send(&wire.Drain{Reason: why})
	}
	s.slots.drain(reason == MaxTasks)
	s.tellIdle()
}

// tellIdle wakes run if the worker is to leave and nothing is left to do.
func (s *session) tellIdle() {
	if s.slots.drained() && s.link.empty() {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}

// leave says goodbye after draining, and reports whether that is all. With a
// lease the worker stays until it is known that all it has said has come.
func (s *session) leave() bool {
	if s.stage == leaving {
		return false
	}
	s.stage = leaving
	s.log.Info("leaving", "reason", s.reason)
	if s.awayAndEven() {
		return true
	}
	s.link.out.Send(&wire.Goodbye{Code: uint32(s.reason), Text: s.reason.String()})
	return s.link.lease == 0
}

// goodbye says why the worker leaves without having drained.
func (s *session) goodbye(code Reason, text string) error {
	s.link.out.Send(&wire.Goodbye{Code: uint32(code), Text: text})
	return s.link.close()
}

// awayAndEven reports whether there is no connection, and nothing to say for
// which another would be needed.
func (s *session) awayAndEven() bool {
	return s.link.away.Load() && len(s.slots.tasks()) == 0 && s.link.empty() && s.link.out.Pending() == 0
}

// lost ends a session whose dispatcher is gone for good, in order if err is nil.
// A worker that was about to leave has left then.
func (s *session) lost(ctx context.Context, err error) (Reason, error) {
	s.link.stopDialling()
	drained := s.stage != working && s.link.lease > 0
	if s.o.AutoExit == ExitFinish && s.stage != leaving && !errors.Is(err, errTakenBack) {
		s.finishRunning(ctx)
	}
	if !drained {
		return dispatcherGone, err
	}
	if err != nil && s.link.out.Pending() > 0 {
		s.log.Warn("leaving, and the dispatcher may not know what was done here", "error", err)
	}
	return s.reason, nil
}

// finishRunning waits until what runs has ended, though nobody will hear of it.
func (s *session) finishRunning(ctx context.Context) {
	s.link.conn.Close()
	s.link.silenceTasks()
	s.slots.drain(false)
	running := s.slots.tasks()
	if len(running) == 0 {
		return
	}
	s.log.Warn("the dispatcher is gone; finishing what runs", "tasks", len(running))
	for _, ref := range running {
		s.slots.credit(ref, wire.MaxWindow)
	}
	s.slots.flush()
	beat := newPulse(s.link.every())
	defer beat.Stop()
	for !s.slots.drained() {
		select {
		case <-s.idle:
		case <-beat.C:
			s.slots.beat(s.link.every(), beat.late())
		case <-ctx.Done():
			return
		}
	}
}

// end stops all that the session has and waits for it.
func (s *session) end() {
	s.due.Stop()
	s.link.stopDialling()
	s.link.conn.Close()
	s.slots.stop()
	s.link.end()
	s.copies.end()
}

// pulse is a ticker that knows when its process has been stopped for a while, by
// SIGSTOP or with the machine: then nobody else is to blame for having been silent.
type pulse struct {
	*time.Ticker
	every time.Duration
	last  time.Time
}

func newPulse(every time.Duration) *pulse {
	return &pulse{time.NewTicker(every), every, time.Now()}
}

// late reports whether the beat that has come should have come long ago.
func (p *pulse) late() bool {
	now := time.Now()
	late := now.Sub(p.last) > p.every+p.every/2
	p.last = now
	return late
}
