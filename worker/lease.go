package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"
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

// beginRedial begins to look for the dispatcher again after the connection broke.
func (u *uplink) beginRedial(ctx context.Context, why error) {
	u.hangUp()
	u.out.Detach()
	u.away.Store(true)
	u.log.Warn("the connection broke; looking for the dispatcher again", "error", why, "lease", u.lease)
	for _, f := range u.openFlows() {
		if n := f.grant(u); n > 0 {
			u.lend(f.ref, n)
		}
	}
	u.expiry = time.NewTimer(u.lease)
	ctx, u.stopDial = context.WithCancel(ctx)
	t := u.ticket
	t.received = u.in.Received()
	u.dialling.Go(func() { u.back <- u.redial(ctx, t) })
}

// leaseOver is sent to when the lease is over; nil while there is a connection.
func (u *uplink) leaseOver() <-chan time.Time {
	if u.expiry == nil {
		return nil
	}
	return u.expiry.C
}

// redial dials until the worker is let in or refused for good.
func (u *uplink) redial(ctx context.Context, t ticket) dialled {
	o := *u.o
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
		u.log.Debug("the dispatcher cannot be reached yet", "error", err)
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
func (u *uplink) comeBack(d dialled) error {
	if d.err != nil {
		return d.err
	}
	if err := u.out.Acked(d.in.welcome.Received); err != nil {
		d.in.conn.NetConn().Close()
		return err
	}
	u.stopDialling()
	u.log.Info("back with the dispatcher")
	u.mu.Lock()
	u.conn = d.in.conn
	u.mu.Unlock()
	u.silence.Store(0)
	u.away.Store(false)
	u.in.Continue(u.conn)
	u.out.Attach(u.conn)
	u.start()
	u.readers.Go(u.catchUp)
	return nil
}

// catchUp sends what has gathered, for which it may have to wait.
func (u *uplink) catchUp() {
	u.out.Flush()
	for _, f := range u.openFlows() {
		f.resume(u)
		u.settle(f)
	}
	u.out.Flush()
}

// stopDialling ends the lease, and the search for the dispatcher if it goes on.
func (u *uplink) stopDialling() {
	if u.expiry == nil {
		return
	}
	u.expiry.Stop()
	u.expiry = nil
	u.stopDial()
	u.dialling.Wait()
	select {
	case d := <-u.back:
		if d.in != nil {
			d.in.conn.NetConn().Close()
		}
	default:
	}
}
