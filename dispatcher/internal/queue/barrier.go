package queue

import (
	"cmp"
	"slices"
	"time"

	"muster/task"
)

// barrier is a task that every worker runs once. Nothing that was pushed behind
// it begins before it has passed. It opens when nothing that was pushed before it
// is queued any more: then each worker that has nothing left runs it, and it
// passes when all have that can, and at least as many as were asked for. Workers
// that join later run all that have opened before their first task.
type barrier[P any] struct {
	id        task.ID
	payload   P
	needs     *interned
	min       int
	before    int    // tasks queued between the barrier before it and this one
	attempts  uint32 // how often it was sent to a worker
	ran       int    // workers that have run it
	withdrawn bool
}

// barriers are all of a queue.
type barriers[P any] struct {
	pending []*barrier[P] // not passed, in order
	open    bool          // the first of them is open
	history []*barrier[P] // all that have opened, in order
	due     []*worker     // that may have one to run now
	later   []*worker     // the same, that lack what it needs and are not to be tried yet
	holdUp  *worker       // that the open one was seen to wait for last
	passed  []*barrier[P] // that the owner has not been told of
}

// PushBarrier queues a barrier behind all that is queued and returns its id. At
// least min workers run it before it passes.
func (q *Queue[P]) PushBarrier(payload P, needs Needs, min int) task.ID {
	id := q.tasks.reserve()
	b := &barrier[P]{id: id, payload: payload, needs: q.intern(needs), min: min, before: q.n[task.Queued]}
	for _, p := range q.barriers.pending {
		b.before -= p.before
	}
	q.barriers.pending = append(q.barriers.pending, b)
	q.openBarrier()
	return id
}

// queued counts tasks that are queued before a barrier in or out.
func (b *barriers[P]) queued(id task.ID, n int) {
	for _, p := range b.pending {
		if id < p.id {
			p.before += n
			return
		}
	}
}

// limit is the id before which tasks may begin.
func (b *barriers[P]) limit() task.ID {
	if len(b.pending) == 0 {
		return 1<<64 - 1
	}
	return b.pending[0].id
}

// limit is the id before which tasks may begin on a worker: what was pushed
// behind a barrier comes after the worker has run that.
func (q *Queue[P]) limit(w *worker) task.ID {
	limit := q.barriers.limit()
	if w.applied < len(q.barriers.history) {
		limit = min(limit, q.barriers.history[w.applied].id)
	}
	return limit
}

// behind reports whether there are barriers that the worker has to run before it
// may have any task that is pushed now: those that have passed, and those that
// had opened when it joined.
func (q *Queue[P]) behind(w *worker) bool {
	passed := len(q.barriers.history)
	if q.barriers.open {
		passed--
	}
	return w.applied < max(passed, w.must)
}

// lags reports whether there are barriers that the worker has to run.
func (q *Queue[P]) lags(w *worker) bool { return w.applied < len(q.barriers.history) }

// openBarrier opens the first barrier if nothing is queued before it.
func (q *Queue[P]) openBarrier() {
	b := &q.barriers
	if b.open || len(b.pending) == 0 || b.pending[0].before > 0 {
		return
	}
	b.open = true
	b.history = append(b.history, b.pending[0])
	q.reviewAll()
}

// reviewAll reviews every worker, after barriers have opened or passed.
func (q *Queue[P]) reviewAll() {
	q.refit()
	for _, w := range q.byEpoch() {
		q.review(w)
	}
}

// advance passes over barriers that the worker need not run, unless it runs one.
func (q *Queue[P]) advance(w *worker) {
	for w.syncing.Task == 0 && q.lags(w) && q.barriers.history[w.applied].withdrawn {
		w.applied++
	}
	q.refit()
	if len(q.barriers.later) > 0 {
		q.tryAt = time.Time{} // it may be able to run this one
	}
	q.review(w)
}

// byEpoch returns the workers in the order in which they joined.
func (q *Queue[P]) byEpoch() []*worker {
	list := make([]*worker, 0, len(q.workers))
	for _, w := range q.workers {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b *worker) int { return cmp.Compare(a.epoch, b.epoch) })
	return list
}

// find returns the barrier that a worker runs, as it says; nil if it does not.
func (b *barriers[P]) find(q map[uint64]*worker, r Ref) *barrier[P] {
	w := q[r.Epoch]
	if w == nil || w.syncing != r || r.Task == 0 {
		return nil
	}
	return b.history[w.applied]
}

// unsync notes that a worker does not run its barrier any more.
func (q *Queue[P]) unsync(w *worker) {
	w.syncing = Ref{}
	q.advance(w)
}

// Synced notes that a worker has run a barrier, whatever came of it, or will not.
// It returns false if the ref is stale.
func (q *Queue[P]) Synced(r Ref) bool {
	b := q.barriers.find(q.workers, r)
	if b == nil {
		return false
	}
	w := q.workers[r.Epoch]
	w.applied++
	b.ran++
	q.unprobed(w, r, false)
	q.unsync(w)
	return true
}

// Passed returns the next barrier that has passed, which the owner resolves.
func (q *Queue[P]) Passed() (id task.ID, payload P, ok bool) {
	q.pass()
	if len(q.barriers.passed) == 0 {
		return 0, payload, false
	}
	b := q.barriers.passed[0]
	q.barriers.passed = q.barriers.passed[1:]
	return b.id, b.payload, true
}

// pass opens the first barrier if nothing is queued before it, ends it if every
// worker has run it that can, and goes on with the next.
func (q *Queue[P]) pass() {
	b := &q.barriers
	for q.openBarrier(); b.open && q.ranEverywhere(b.pending[0]); {
		b.passed = append(b.passed, b.pending[0])
		q.dropBarrier(b.pending[0])
	}
}

// ranEverywhere reports whether nobody is left who is to run the open barrier
// before it passes.
func (q *Queue[P]) ranEverywhere(open *barrier[P]) bool {
	if open.ran < open.min {
		return false
	}
	if w := q.barriers.holdUp; w != nil && q.workers[w.epoch] == w && q.holdsUp(w, open) {
		return false
	}
	for _, w := range q.workers {
		if q.holdsUp(w, open) {
			q.barriers.holdUp = w
			return false
		}
	}
	return true
}

// holdsUp reports whether the open barrier waits for the worker. It does not wait
// for those that cannot run it, unless nobody could so far, so that the barrier
// may be at fault.
func (q *Queue[P]) holdsUp(w *worker, open *barrier[P]) bool {
	if !q.lags(w) || w.reasons&leaving != 0 {
		return false
	}
	if l, _ := w.lacksAny(open.needs.Needs); l != nil && open.ran == 0 {
		return true
	}
	return !q.stopped(w)
}

// stopped reports whether the worker lacks what a barrier needs that it has to run.
func (q *Queue[P]) stopped(w *worker) bool {
	return slices.ContainsFunc(q.barriers.history[w.applied:], func(b *barrier[P]) bool {
		l, _ := w.lacksAny(b.needs.Needs)
		return l != nil && !b.withdrawn
	})
}

// dropBarrier takes a barrier out of those that others wait for.
func (q *Queue[P]) dropBarrier(gone *barrier[P]) {
	b := &q.barriers
	i := slices.Index(b.pending, gone)
	if i == 0 {
		b.open = false
	}
	b.pending = slices.Delete(b.pending, i, i+1)
	if i < len(b.pending) {
		b.pending[i].before += gone.before
	}
	q.openBarrier()
	q.reviewAll()
}

// Withdraw takes a barrier out that has not passed: no worker runs it from now on.
// It returns those that run it now, which the owner tells; they answer by Synced.
func (q *Queue[P]) Withdraw(id task.ID) (running []Ref, ok bool) {
	i := slices.IndexFunc(q.barriers.pending, func(b *barrier[P]) bool { return b.id == id })
	if i < 0 {
		return nil, false
	}
	gone := q.barriers.pending[i]
	gone.withdrawn = true
	if !q.Opened(id) {
		q.release(gone.needs)
	}
	for _, w := range q.byEpoch() {
		if w.syncing.Task == id {
			running = append(running, w.syncing)
		} else {
			q.advance(w)
		}
	}
	q.dropBarrier(gone)
	return running, true
}

// Ahead returns the first barrier that has not passed, whether it is open, and how many
// more workers have to run it at least.
func (q *Queue[P]) Ahead() (payload P, open bool, missing int, ok bool) {
	if len(q.barriers.pending) == 0 {
		return payload, false, 0, false
	}
	b := q.barriers.pending[0]
	return b.payload, q.barriers.open, max(b.min-b.ran, 0), true
}

// Opened reports whether a barrier has opened and not passed.
func (q *Queue[P]) Opened(id task.ID) bool {
	return q.barriers.open && q.barriers.pending[0].id == id
}

// nextSync returns a barrier for a worker that has nothing else to do.
func (q *Queue[P]) nextSync(now time.Time) (d Decision[P], ok bool) {
	b := &q.barriers
	for len(b.due) > 0 {
		w := b.due[0]
		b.due = b.due[1:]
		if w.toSync = q.maySync(w); !w.toSync {
			continue
		}
		next := b.history[w.applied]
		if w.shut || !w.has(next.needs.Needs, now) {
			b.later = append(b.later, w)
			continue
		}
		w.toSync = false
		next.attempts++
		w.syncing = Ref{Task: next.id, Attempt: next.attempts, Epoch: w.epoch}
		q.probed(w, next.needs.Needs, w.syncing)
		q.review(w)
		return Decision[P]{Verdict: Sync, Ref: w.syncing, Payload: next.payload}, true
	}
	b.due = nil
	return d, false
}

// maySync reports whether the worker has nothing to do but a barrier.
func (q *Queue[P]) maySync(w *worker) bool {
	return q.workers[w.epoch] == w && q.lags(w) && w.empty() && w.reasons == 0 && w.reserved == nil
}
