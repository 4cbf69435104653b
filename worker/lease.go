package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"muster/internal/wire"
)

// A session with a lease goes on when its connection breaks: what runs runs on,
// what there is to say gathers in the Writer and in the flows' backlogs, and the
// worker dials until it is let in again, refused for good, or the lease is over.

// How long to wait between dials of a worker that is away; each time a random
// part of that is left out, since many lose the same dispatcher at once.
const (
	firstRedial = time.Second
	lastRedial  = 10 * time.Second
)

var errTakenBack = errors.New("its join file is gone, so its launch has been taken back")

// dialled is what came of looking for the dispatcher again.
type dialled struct {
	in  *admission
	err error
}

// depart begins to look for the dispatcher again after the connection broke. It
// returns false if the session does not go on.
func (s *session) depart(ctx context.Context, why error) bool {
	if s.lease == 0 || why == nil || errors.As(why, new(wire.MalformedError)) || s.leaving && s.out.Pending() == 0 {
		return false
	}
	s.hangUp()
	s.out.Detach()
	s.away.Store(true)
	s.log.Warn("the connection broke; looking for the dispatcher again", "error", why, "lease", s.lease)
	for _, f := range s.openFlows() {
		s.lend(f.ref, f.grant(s))
	}
	s.expiry = time.NewTimer(s.lease)
	ctx, s.stopDial = context.WithCancel(ctx)
	t := s.ticket
	t.received = s.in.Received()
	s.dialling.Go(func() { s.back <- s.redial(ctx, t) })
	return true
}

// hangUp ends the connection without a word, which could not be said for want of
// a peer that reads.
func (s *session) hangUp() { s.conn.NetConn().Close() }

// leaseOver is sent to when the lease is over; nil while there is a connection.
func (s *session) leaseOver() <-chan time.Time {
	if s.expiry == nil {
		return nil
	}
	return s.expiry.C
}

func (s *session) openFlows() []*flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.flows))
}

// redial dials until the worker is let in or refused for good.
func (s *session) redial(ctx context.Context, t ticket) dialled {
	o := s.o
	for wait := firstRedial; ; wait = min(2*wait, lastRedial) {
		select {
		case <-time.After(rand.N(wait)):
		case <-ctx.Done():
			return dialled{err: context.Cause(ctx)}
		}
		if err := rejoin(&o); err != nil {
			return dialled{err: err}
		}
		in, err := join(ctx, o, &t)
		if err == nil || finally(err) {
			return dialled{in, err}
		}
		s.log.Debug("the dispatcher cannot be reached yet", "error", err)
	}
}

// rejoin reads the join string again, in case the dispatcher has moved.
func rejoin(o *Options) error {
	if o.Rejoin == nil {
		return nil
	}
	join, err := o.Rejoin()
	if errors.Is(err, fs.ErrNotExist) && o.AutoExit != ExitNever {
		return fmt.Errorf("%w: %w", errTakenBack, err)
	}
	if err == nil {
		o.Join = join
	}
	return nil
}

// comeBack goes on over the connection that was found.
func (s *session) comeBack(d dialled) error {
	if d.err != nil {
		return d.err
	}
	if err := s.out.Acked(d.in.welcome.Received); err != nil {
		d.in.conn.NetConn().Close()
		return err
	}
	s.stopDialling()
	s.log.Info("back with the dispatcher")
	s.conn = d.in.conn
	s.seen()
	s.away.Store(false)
	s.in.Continue(s.conn)
	s.out.Attach(s.conn)
	s.readers.Go(func() { s.gone <- s.read() })
	s.readers.Go(s.catchUp)
	return nil
}

// catchUp sends what has gathered, for which it may have to wait.
func (s *session) catchUp() {
	s.out.Flush()
	for _, f := range s.openFlows() {
		f.resume(s)
		s.settle(f)
	}
	s.out.Flush()
}

// stopDialling ends the lease, and the search for the dispatcher if it goes on.
func (s *session) stopDialling() {
	if s.expiry == nil {
		return
	}
	s.expiry.Stop()
	s.expiry = nil
	s.stopDial()
	s.dialling.Wait()
	select {
	case d := <-s.back:
		if d.in != nil {
			d.in.conn.NetConn().Close()
		}
	default:
	}
}

// lost ends a session whose dispatcher is gone for good, in order if err is nil.
// A worker that was about to leave has left then.
func (s *session) lost(ctx context.Context, err error) (Reason, error) {
	s.stopDialling()
	s.mu.Lock()
	draining := s.draining && s.lease > 0
	s.mu.Unlock()
	if s.o.AutoExit == ExitFinish && !s.leaving && !errors.Is(err, errTakenBack) {
		s.finishRunning(ctx)
	}
	if !draining {
		return again, err
	}
	if err != nil && s.out.Pending() > 0 {
		s.log.Warn("leaving, and the dispatcher may not know what was done here", "error", err)
	}
	return s.reason, nil
}

// leave says goodbye after draining, and reports whether that is all. With a
// lease the worker stays until it is known that all it has said has come.
func (s *session) leave() bool {
	if s.leaving {
		return false
	}
	s.leaving = true
	s.log.Info("leaving", "reason", s.reason)
	if s.awayAndEven() {
		return true
	}
	s.out.Send(&wire.Goodbye{Code: uint32(s.reason), Text: s.reason.String()})
	return s.lease == 0
}

// awayAndEven reports whether there is no connection, and nothing to say for
// which another would be needed.
func (s *session) awayAndEven() bool {
	if !s.away.Load() {
		return false
	}
	s.mu.Lock()
	busy := len(s.owner) > 0 || len(s.flows) > 0
	s.mu.Unlock()
	return !busy && s.out.Pending() == 0
}

// acknowledged notes what the dispatcher has.
func (s *session) acknowledged(m *wire.Ack) error {
	if s.lease == 0 {
		return nil
	}
	if err := s.out.Acked(m.Received); err != nil {
		return err
	}
	if s.out.Pending() == 0 {
		select {
		case s.acked <- struct{}{}:
		default:
		}
	}
	return nil
}

// acknowledge tells the dispatcher what has come, now and then.
func (s *session) acknowledge() {
	if s.lease == 0 {
		return
	}
	if ack := s.in.Ack(); ack != nil {
		s.out.Send(ack)
	}
}
