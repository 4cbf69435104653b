package dispatcher

import (
	"strconv"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/spool"
	"muster/internal/wire"
	"muster/task"
)

// assign sends a task. Under Pool.mu.
func (s *session) assign(d queue.Decision[job]) {
	j := d.Payload
	a := &attempt{Ref: d.Ref, job: j, after: s.seq, window: wire.MinWindow, size: wire.MinWindow}
	a.spec = j.owner.spec(j)
	if err := checkCommand(&a.spec); err != nil {
		s.p.queue.Finished(a.Ref, 0, time.Now())
		s.resolve(a, task.Result{Err: &task.ErrorValue{Kind: task.KindSpawn, Code: 126, Message: err.Error()}})
		return
	}
	s.attempts[a.Ref] = a
	s.send(&wire.Assign{Ref: a.Ref, Window: wire.MinWindow, Spec: a.spec, OnlyAfterSuccess: j.owner.stopOnFailure()})
}

// started notes that a task runs. Under Pool.mu.
func (s *session) started(m *wire.Started, now time.Time) {
	a := s.attempts[m.Ref]
	if a == nil {
		return
	}
	a.slot, a.began = int(m.Slot), now
	s.p.queue.Started(a.Ref, now)
	s.recovered()
}

func (s *session) recall(r queue.Ref) { s.send(&wire.Recall{Ref: r}) }

// recallAll asks for every task that has not started. Under Pool.mu.
func (s *session) recallAll() {
	for ref := range s.attempts {
		if st, ok := s.p.queue.State(ref.Task); ok && st == task.Assigned {
			s.recall(ref)
		}
	}
}

// cancel stops a task. The first reason stands. Under Pool.mu.
func (s *session) cancel(a *attempt, why *task.ErrorValue) {
	if a.cancel != nil {
		return
	}
	a.cancel = why
	if a == s.syncing {
		s.send(&wire.Cancel{Ref: a.Ref, Err: why})
		return
	}
	if _, held, _, _ := s.p.queue.Cancel(a.Task); held {
		delete(s.attempts, a.Ref)
		s.resolve(a, a.held)
		return
	}
	s.send(&wire.Cancel{Ref: a.Ref, Err: why})
	if s.link == nil {
		s.abandon(a)
	}
}

// output spools a chunk and gives its bytes back as credit. The disk is
// written outside the dispatcher's lock; the attempt's spool is this reader's.
func (s *session) output(m *wire.Output, now time.Time) error {
	a, err := s.printed(m, now)
	if a == nil || err != nil {
		return err
	}
	if !a.abandoned {
		s.spool(a, int(m.Stream), m.Data)
		s.tellPrinted(a)
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	a.used += len(m.Data)
	s.credit(a)
	return nil
}

// credit opens a task's window again by what has been spooled, when that is half of
// it. Under Pool.mu.
func (s *session) credit(a *attempt) {
	if a.stuck || a.used < a.size/2 {
		return
	}
	grow := min(a.size, wire.MaxWindow-a.size)
	a.size += grow
	s.w.Send(&wire.Credit{Ref: a.Ref, Bytes: uint32(a.used + grow)})
	a.window += a.used + grow
	a.used = 0
}

// printed returns the attempt whose output has come, nil for one that the worker
// does not have.
func (s *session) printed(m *wire.Output, now time.Time) (*attempt, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	a := s.attempts[m.Ref]
	if a == nil {
		a = s.abandoned[m.Ref]
	}
	if a == nil || a.ended {
		return nil, nil
	}
	s.life.output(len(m.Data), now)
	if a.window -= len(m.Data); a.window < 0 {
		return nil, errWindow
	}
	return a, nil
}

// spool keeps output. If the disk has no room for it, it stays in memory, and the
// task gets no credit until it is written. If it cannot be kept at all, the task is
// stopped: to go on and lose what it says would be worse.
func (s *session) spool(a *attempt, stream int, p []byte) {
	if a.broken || len(p) == 0 {
		return
	}
	if a.out == nil {
		a.out = s.d.NewOutput(s.p.name + "." + strconv.FormatUint(uint64(a.Task), 10) + "." + strconv.Itoa(int(a.Attempt)))
	}
	err := a.out.Write(stream, p)
	switch {
	case spool.IsFull(err):
		s.p.mu.Lock()
		a.stuck = true
		s.p.mu.Unlock()
		s.d.disk.filled(err, a.out, func() { s.unstick(a) })
	case err != nil:
		a.broken = true
		s.p.mu.Lock()
		s.cancel(a, &task.ErrorValue{Kind: task.KindError, Code: 1, Message: "its output could not be kept: " + err.Error()})
		s.p.mu.Unlock()
	}
}

// unstick gives a task the credit that waited for the disk.
func (s *session) unstick(a *attempt) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	a.stuck = false
	if s.attempts[a.Ref] == a {
		s.credit(a)
	}
}

// result ends an attempt, unless nobody knows yet who killed it.
func (s *session) result(m *wire.Result, now time.Time) {
	a := s.over(m, now)
	if a == nil {
		return
	}
	s.pace.ended()
	s.spool(a, 1, m.Stdout)
	s.spool(a, 2, m.Stderr)
	s.d.keep(a.out)
	r := task.Result{Started: m.Started, Elapsed: m.Elapsed, Stream: m.Stream, Err: m.Err.Bounded(), Note: task.BoundedNote(m.Note)}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if m.Slot > 0 {
		a.slot = int(m.Slot)
	}
	if a.cancel != nil && (a.broken || r.Err != nil) {
		r.Err = a.cancel
	}
	switch {
	case a == s.syncing:
		s.synced(r)
	case a.cancel == nil && mayBeTheScheduler(m.Err) && s.signals != "":
		s.taskLost(a.Ref, "the worker was told to end: "+s.signals, now)
	case a.cancel == nil && mayBeTheScheduler(m.Err) && s.p.queue.Hold(a.Ref, m.Elapsed, now):
		s.hold(a, r)
	default:
		s.finish(a, r, now)
	}
}

// over returns the attempt that has ended, nil if it is nobody's any more or had
// ended before: one that is held has a result already.
func (s *session) over(m *wire.Result, now time.Time) *attempt {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if a := s.abandoned[m.Ref]; a != nil {
		s.life.end(a, now)
		delete(s.abandoned, m.Ref)
	}
	a := s.attempts[m.Ref]
	if a == nil || a.ended {
		return nil
	}
	a.ended = true
	s.life.end(a, now)
	return a
}

// finish resolves an attempt that has ended, or has its task tried again. Under Pool.mu.
func (s *session) finish(a *attempt, r task.Result, now time.Time) {
	if s.retried(a, r, now) {
		s.recovered()
		return
	}
	delete(s.attempts, a.Ref)
	if _, ok := s.p.queue.Finished(a.Ref, r.Elapsed, now); ok {
		s.resolve(a, r)
	} else {
		s.discard(a)
	}
	s.recovered()
}

// retried queues a task again that has failed and may be tried once more, and reports
// whether it did. Under Pool.mu.
func (s *session) retried(a *attempt, r task.Result, now time.Time) bool {
	if r.Err == nil || r.Err.Kind == task.KindReset || a.cancel != nil || a.job.owner.stopped() {
		return false
	}
	if !s.p.queue.Retry(a.Ref, r.Elapsed, now) {
		return false
	}
	s.requeued(a)
	return true
}

// mayBeTheScheduler reports whether a task died of a signal that a scheduler
// sends to all of a job at once.
func mayBeTheScheduler(e *task.ErrorValue) bool {
	if e == nil {
		return false
	}
	return e.Kind == task.KindInterrupt ||
		e.Kind == task.KindSignal && (e.Signal == "SIGTERM" || e.Signal == "SIGKILL")
}

// hold keeps a task that was killed unresolved for Options.Hold: if its worker
// is signalled or lost in that time, the task was lost with it.
func (s *session) hold(a *attempt, r task.Result) {
	a.held = r
	time.AfterFunc(s.d.opt.Hold, func() {
		s.p.mu.Lock()
		defer s.p.mu.Unlock()
		if s.state != connected {
			return // it is held again when its worker is back
		}
		if s.retried(a, r, time.Now()) {
			s.p.pump(time.Now())
		} else if _, ok := s.p.queue.Release(a.Ref); ok {
			delete(s.attempts, a.Ref)
			s.resolve(a, r)
			s.p.pump(time.Now())
		}
	})
}

// taskLost queues a task again whose slot died, or resolves it as lost. Under Pool.mu.
func (s *session) taskLost(ref queue.Ref, reason string, now time.Time) {
	delete(s.abandoned, ref)
	a := s.attempts[ref]
	if a == nil {
		return
	}
	if a == s.syncing {
		s.synced(task.Result{Err: task.Reset(reason)})
		return
	}
	givenUp, ok := s.p.queue.Lost(ref, now)
	switch {
	case !ok:
	case givenUp:
		s.resolveLost(a, Fate{Text: reason})
	default:
		s.requeued(a)
	}
}
