package dispatcher

import (
	"cmp"
	"slices"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	"muster/task"
)

// barrier is a pool's everywheres. Each is a marker in the queue that nothing
// overtakes. When it is at the head, each worker that has nothing left to do
// runs the task; when all have, and at least as many as were asked for, the
// marker goes. Workers that join later run all of the history first.
type barrier struct {
	markers []*Future // queued, in order; the first may be at the head
	history []*Future // all that ever came to the head, in order
	atHead  bool      // markers[0] is at the head of the queue
	lagging int       // sessions that have not run all of the history
}

// passes reports whether the task may start now. Under mu.
func (p *Pool) passes(id task.ID, j job) bool {
	if len(p.markers) == 0 {
		return true
	}
	first := p.markers[0]
	if j.owner != &first.self {
		return id < first.marker
	}
	if !p.atHead {
		p.atHead = true
		p.history = append(p.history, first)
		p.lagging = len(p.sessions)
	}
	return false
}

// newcomer holds a worker back that has history to catch up with.
func (p *Pool) newcomer(s *session) {
	if len(p.history) > 0 {
		p.lagging++
		s.paused = true
		p.queue.Pause(s.epoch)
		p.advance(s)
	}
}

// advance counts what of the history the worker need not run, and lets it have
// tasks when nothing is left. Under mu.
func (p *Pool) advance(s *session) {
	for s.applied < len(p.history) && p.history[s.applied].halted {
		s.applied++
	}
	if s.applied < len(p.history) {
		return
	}
	p.lagging--
	if s.paused && !s.leaving() && s.away == nil {
		p.queue.Resume(s.epoch)
	}
	s.paused = false
}

// leaving reports whether the worker takes nothing new any more.
func (s *session) leaving() bool { return s.signals != "" || s.retiring != "" }

// synchronise gives the next everywhere to each worker that is due one. Under mu.
func (p *Pool) synchronise() {
	if p.lagging > 0 {
		for _, s := range p.inOrder() {
			if s.applied < len(p.history) && len(s.attempts) == 0 && !s.leaving() && s.away == nil &&
				!(p.atHead && s.applied == len(p.history)-1 && p.queue.Earlier(s.epoch, p.markers[0].marker)) {
				s.sync(p.history[s.applied])
			}
		}
	}
	p.pass()
}

// inOrder returns the sessions in the order in which they joined.
func (p *Pool) inOrder() []*session {
	var list []*session
	for _, s := range p.sessions {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *session) int { return cmp.Compare(a.epoch, b.epoch) })
	return list
}

// sync sends an everywhere to the worker.
func (s *session) sync(f *Future) {
	a := &attempt{Ref: queue.Ref{Task: f.marker, Attempt: 1, Epoch: s.epoch}, job: job{owner: &f.self}, slot: 1, after: s.seq,
		spec: *f.everywhere, window: wire.MinWindow, size: wire.MinWindow}
	s.attempts[a.Ref] = a
	s.syncing = a
	s.w.Send(&wire.Assign{Ref: wire.Ref(a.Ref), Slot: 1, Window: wire.MinWindow, Spec: a.spec})
}

// synced notes what an everywhere came to on this worker.
func (s *session) synced(r task.Result) {
	a, p := s.syncing, s.p
	f := a.job.owner.owner.(*Future)
	delete(s.attempts, a.Ref)
	s.syncing = nil
	if s.applied < len(p.history) {
		s.applied++
		p.advance(s)
	}
	if a.cancel != nil && r.Err != nil {
		r.Err = a.cancel
	}
	if !f.sealed {
		r.ID, r.Attempt, r.Argv, r.Worker, r.Slot, r.Name = f.marker, 1, a.spec.Argv, s.id, 1, s.id
		f.append(&Done{Result: r, Output: a.out})
		return
	}
	if r.Err != nil {
		p.log.Warn("an everywhere failed on a worker that joined later", "worker", s.id, "error", r.Err)
	}
	a.out.Close()
}

// deserted forgets a worker that leaves amid an everywhere.
func (p *Pool) deserted(s *session, why string) {
	if s.syncing != nil {
		s.synced(task.Result{Err: task.Reset(why)})
	}
	if s.applied < len(p.history) {
		p.lagging--
	}
}

// pass ends the open everywhere if all workers have run it.
func (p *Pool) pass() {
	if !p.atHead {
		return
	}
	f := p.markers[0]
	for _, s := range p.sessions {
		if s.applied < len(p.history) && !s.leaving() {
			return
		}
	}
	if len(f.items) < f.min {
		return
	}
	p.markers, p.atHead = p.markers[1:], false
	p.queue.Cancel(f.marker)
	f.seal()
	p.pump(time.Now())
}

// withdraw takes an everywhere out that has not ended.
func (p *Pool) withdraw(f *Future, why *task.ErrorValue) {
	i := slices.Index(p.markers, f)
	if i < 0 {
		return
	}
	f.halted = true // no worker runs it from now on
	if i == 0 && p.atHead {
		p.atHead = false
		for _, s := range p.sessions {
			switch {
			case s.syncing != nil && s.syncing.job.owner == &f.self:
				s.cancel(s.syncing, why)
			case s.applied < len(p.history) && s.syncing == nil:
				p.advance(s)
			}
		}
	}
	p.markers = slices.Delete(p.markers, i, i+1)
	p.queue.Cancel(f.marker)
	if len(f.items) == 0 {
		f.append(&Done{Result: task.Result{ID: f.marker, Argv: f.everywhere.Argv, Err: why}})
	}
	f.seal()
}
