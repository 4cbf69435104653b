package dispatcher

import (
	"errors"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	"muster/task"
)

// An everywhere is a barrier in the queue, which says which worker is to run it
// and when it has passed. Its future gets one result from each worker that runs
// it before it passes; what it comes to on a worker that joins later is only said
// if it failed.

// Everywhere queues a task for every worker, at least min of them: those that
// are there run it before anything that is submitted later starts, and those
// that join later before they take any task.
func (p *Pool) Everywhere(spec task.Spec, min int) (*Future, error) {
	if err := errors.Join(checkInput(&spec), checkCommand(&spec)); err != nil {
		return nil, err
	}
	spec.Everywhere = true
	f := p.newFuture(KindEverywhere, FutureOptions{}, func() {})
	f.everywhere, f.min, f.label = &spec, max(min, 1), newLabel(&spec)
	f.self.owner = f
	if err := p.register(f); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.d.Forget(f)
		return nil, ErrClosed
	}
	defer p.mu.Unlock()
	f.marker = p.queue.PushBarrier(job{owner: &f.self}, needsOf(f.everywhere), f.min)
	p.pump(time.Now())
	return f, nil
}

// sync sends an everywhere to the worker. Under Pool.mu.
func (s *session) sync(d queue.Decision[job]) {
	f := d.Payload.owner.owner.(*Future)
	a := &attempt{Ref: d.Ref, job: d.Payload, after: s.seq,
		spec: *f.everywhere, window: wire.MinWindow, size: wire.MinWindow}
	s.attempts[a.Ref] = a
	s.syncing = a
	s.send(&wire.Assign{Ref: a.Ref, Window: wire.MinWindow, Spec: a.spec})
}

// synced notes what an everywhere came to on this worker. Under Pool.mu.
func (s *session) synced(r task.Result) {
	a, p := s.syncing, s.p
	delete(s.attempts, a.Ref)
	s.syncing = nil
	p.queue.Synced(a.Ref)
	f := a.job.owner.owner.(*Future)
	if a.cancel != nil && r.Err != nil {
		r.Err = a.cancel
	}
	if !f.sealed {
		r.ID, r.Attempt, r.Argv, r.Worker, r.Slot, r.Name = f.marker, 1, a.spec.Argv, s.id, max(a.slot, 1), s.id
		f.append(&Done{Result: r, Output: a.out})
		return
	}
	if r.Err != nil {
		p.log.Warn("an everywhere failed on a worker that joined later", "worker", s.id, "error", r.Err)
	}
	p.d.store.Discard(a.out)
}

// withdraw takes an everywhere out that has not passed: no worker begins it any
// more. Under Pool.mu.
func (p *Pool) withdraw(f *Future, why *task.ErrorValue) {
	running, ok := p.queue.Withdraw(f.marker)
	if !ok {
		return
	}
	for _, r := range running {
		if s := p.sessions[r.Epoch]; s != nil && s.syncing != nil {
			s.cancel(s.syncing, why)
		}
	}
	f.endEverywhere(why)
}

// endEverywhere seals an everywhere; why is its result if no worker has run it.
func (f *Future) endEverywhere(why *task.ErrorValue) {
	f.halt(why)
	if len(f.items) == 0 {
		f.append(&Done{Result: task.Result{ID: f.marker, Argv: f.everywhere.Argv, Err: why}})
	}
	f.seal()
}
