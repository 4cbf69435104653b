package queue

import (
	"time"

	"muster/task"
)

// admitFunc is what the owner of a queue says of a task that could begin.
type admitFunc[P any] func(id task.ID, payload P, attempt uint32) bool

// Next returns the next thing to do, if there is one now; it is called until ok
// is false. A task goes to a free slot of the least busy worker that may take it,
// the oldest task first. If no slot is free, it may be sent ahead to the worker
// that is expected to have one soonest.
//
// admit is asked whether a task may start now, as the attempt of that number. If
// not, Next stops: nothing overtakes that task. admit must not call the queue.
func (q *Queue[P]) Next(now time.Time, admit func(id task.ID, payload P, attempt uint32) bool) (d Decision[P], ok bool) {
	q.blocked = false
	q.refresh(now)
	q.pass()
	if d, ok := q.nextLoose(now, admit); ok || q.blocked {
		return d, ok
	}
	if d, ok := q.nextBound(now, admit); ok || q.blocked {
		return d, ok
	}
	if d, ok := q.nextSync(now); ok {
		return d, ok
	}
	return q.nextHopelessBarrier(now)
}

// nextBound is Next for tasks that are bound to a worker.
func (q *Queue[P]) nextBound(now time.Time, admit admitFunc[P]) (d Decision[P], ok bool) {
	w, ok := q.eager.top()
	if !ok {
		return d, false
	}
	id, _ := q.oldest(w)
	e := q.tasks.at(id)
	if !admit(id, e.payload, e.attempt+1) {
		q.blocked = true
		return d, false
	}
	if sick := q.prober(id, e, now); sick != nil {
		w = sick
	}
	return q.send(w, id, e, now), true
}

// nextLoose is Next for tasks in lines. Those that are younger than one that its
// worker may begin come after that.
func (q *Queue[P]) nextLoose(now time.Time, admit admitFunc[P]) (d Decision[P], ok bool) {
	if q.loose == 0 {
		return d, false
	}
	ahead, _ := q.soonest(now)
	if len(q.idle.items) == 0 && ahead == nil && len(q.sick) == 0 && q.alone == 0 {
		return d, false
	}
	for l := range q.inOrder() {
		id, e := q.head(l)
		if w, bound := q.eager.top(); id >= q.barriers.limit() || bound && id > w.backlog.items[0] {
			break // so are all behind it
		}
		w := q.worker(l, id, now)
		if w == nil {
			if d, ok := q.fail(l, id, e, now, admit); ok || q.blocked {
				return d, ok
			}
		}
		switch {
		case w != nil:
		case l.alone:
			q.reserve(l, id, now)
			continue
		case ahead != nil && ahead.takes() && q.mayTake(ahead, l, id, now):
			w = ahead
		default:
			continue
		}
		if !admit(id, e.payload, e.attempt+1) {
			q.blocked = true
			return d, false
		}
		return q.send(w, id, e, now), true
	}
	return d, false
}

// send takes a task to a worker.
func (q *Queue[P]) send(w *worker, id task.ID, e *entry[P], now time.Time) Decision[P] {
	needs := e.needs.Needs
	ahead := w.free() < needs.Takes.Slots
	q.take(w, id, e, now, q.dueAt(w, now))
	r := Ref{Task: id, Attempt: e.attempt, Epoch: w.epoch}
	q.probed(w, needs, r)
	return Decision[P]{Verdict: Send, Ref: r, Payload: e.payload, Ahead: ahead}
}

// worker returns the least busy worker that has a free slot and may take the
// task at the head of a line, nil if there is none.
func (q *Queue[P]) worker(l *line, id task.ID, now time.Time) (best *worker) {
	if l.alone {
		if w := q.reserved(l, id, now); w != nil && w.empty() {
			return w
		}
	}
	var search func(i int)
	search = func(i int) {
		if i >= len(q.idle.items) || best != nil && !lessBusy(q.idle.items[i], best) {
			return // nor are those below it in the heap
		}
		if w := q.idle.items[i]; q.mayTakeNow(w, l, id, now) {
			best = w
			return
		}
		search(2*i + 1)
		search(2*i + 2)
	}
	search(0)
	return best
}

// mayTakeNow is mayTake for a worker that has a free slot.
func (q *Queue[P]) mayTakeNow(w *worker, l *line, id task.ID, now time.Time) bool {
	return q.mayTake(w, l, id, now) && (!l.alone || w.empty())
}

// mayTake reports whether a worker that takes tasks may take the one at the head
// of a line.
func (q *Queue[P]) mayTake(w *worker, l *line, id task.ID, now time.Time) bool {
	return id < q.limit(w) && w.has(l.needs.Needs, now) && (l.avoid != w.epoch || q.isOnly(w, l, id, now))
}

// isOnly reports whether no other worker takes tasks like those of a line.
func (q *Queue[P]) isOnly(w *worker, l *line, id task.ID, now time.Time) bool {
	for _, other := range q.workers {
		if other != w && other.takes() && id < q.limit(other) && other.has(l.needs.Needs, now) {
			return false
		}
	}
	return true
}

// reserve has the least busy worker that may take it take nothing else before
// the task at the head of a line, so that it will have nothing beside it.
func (q *Queue[P]) reserve(l *line, id task.ID, now time.Time) {
	if q.reserved(l, id, now) != nil {
		return
	}
	q.unreserve(l)
	var best *worker
	for _, w := range q.workers {
		if w.takes() && q.mayTake(w, l, id, now) && (best == nil || lessBusy(w, best) || !lessBusy(best, w) && w.epoch < best.epoch) {
			best = w
		}
	}
	if best != nil {
		l.reserved, best.reserved = best, l
		q.review(best)
	}
}

// reserved returns the worker that is reserved for the task at the head of a line
// and may still take it, nil if there is none.
func (q *Queue[P]) reserved(l *line, id task.ID, now time.Time) *worker {
	if w := l.reserved; w != nil && w.reasons == 0 && !w.shut && q.mayTake(w, l, id, now) {
		return w
	}
	return nil
}

// unreserve lets the worker go that is reserved for a line.
func (q *Queue[P]) unreserve(l *line) {
	if w := l.reserved; w != nil {
		l.reserved, w.reserved = nil, nil
		q.review(w)
	}
}

// fail gives up the task at the head of a line that no machine can run.
func (q *Queue[P]) fail(l *line, id task.ID, e *entry[P], now time.Time, admit admitFunc[P]) (d Decision[P], ok bool) {
	why, _ := q.hopeless(l.needs, now)
	if why == nil {
		return d, false
	}
	if !admit(id, e.payload, e.attempt+1) {
		q.blocked = true
		return d, false
	}
	d = Decision[P]{Verdict: Fail, Ref: Ref{Task: id, Attempt: e.attempt}, Payload: e.payload, Lack: why.Lack}
	q.remove(id, e)
	return d, true
}

// nextHopelessBarrier gives up the open barrier if no machine can run it.
func (q *Queue[P]) nextHopelessBarrier(now time.Time) (d Decision[P], ok bool) {
	if !q.barriers.open || q.barriers.pending[0].ran > 0 {
		return d, false
	}
	b := q.barriers.pending[0]
	why, _ := q.hopeless(b.needs, now)
	if why == nil {
		return d, false
	}
	d = Decision[P]{Verdict: Fail, Ref: Ref{Task: b.id, Attempt: b.attempts}, Payload: b.payload, Lack: why.Lack}
	q.Withdraw(b.id)
	return d, true
}

// Started notes that the worker runs the task. It returns false, and changes
// nothing, if the ref is stale or the task has already started.
func (q *Queue[P]) Started(r Ref, now time.Time) bool {
	if b := q.barriers.find(q.workers, r); b != nil {
		q.unprobed(q.workers[r.Epoch], r, true)
		return true
	}
	e := q.find(r)
	if e == nil || e.state != task.Assigned {
		return false
	}
	w := e.worker
	for i := range w.waiting {
		if w.waiting[i].id == r.Task {
			if i > 0 {
				q.refit() // one before it may have lost its slot to it
			}
			q.answered(&w.waiting[i])
			w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
			break
		}
	}
	w.running = append(w.running, started{r.Task, now})
	q.set(r.Task, e, task.Running)
	q.unprobed(w, r, true)
	q.review(w)
	return true
}
