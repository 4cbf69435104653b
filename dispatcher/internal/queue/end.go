package queue

import (
	"iter"
	"time"

	"muster/task"
)

// Finished frees the slot and removes the task, whose payload it returns for
// the caller to resolve. elapsed feeds the median, unless the task never
// started. It returns false, and changes nothing, if the ref is stale or the
// task is held.
func (q *Queue[P]) Finished(r Ref, elapsed time.Duration, now time.Time) (P, bool) {
	e := q.find(r)
	if e == nil || e.state == task.Held {
		var none P
		return none, false
	}
	q.over(r, e, elapsed, now)
	return q.remove(r.Task, e), true
}

// Retry queues a task again, at the front, that has failed, held or not, and reports
// whether it did: not if the task has now failed Tries times, is being cancelled, or
// the ref is stale. Then nothing has changed, and Finished or Release is due. The next
// try avoids the worker, and costs none of those that a lost task has.
func (q *Queue[P]) Retry(r Ref, elapsed time.Duration, now time.Time) bool {
	e := q.find(r)
	if e == nil || e.cancelling || q.failed[r.Task]+1 >= q.opt.Tries {
		return false
	}
	w := e.worker
	if e.state == task.Held {
		q.unhold(r.Task, e)
	} else {
		q.over(r, e, elapsed, now)
	}
	q.failed[r.Task]++
	e.uncounted++
	e.avoid = w.epoch
	q.requeue(r.Task, e)
	return true
}

// Hold is Finished for a task that may yet turn out to be lost: the slot is
// free, the task stays, bound to its worker, until Release, LoseHeld, Lost,
// Leave or Cancel.
func (q *Queue[P]) Hold(r Ref, elapsed time.Duration, now time.Time) bool {
	e := q.find(r)
	if e == nil || e.state == task.Held {
		return false
	}
	w := e.worker
	if w.held == nil {
		w.held = make(map[task.ID]struct{})
	}
	w.held[r.Task] = struct{}{}
	q.over(r, e, elapsed, now)
	q.set(r.Task, e, task.Held)
	return true
}

// over takes a task off its worker that has run there.
func (q *Queue[P]) over(r Ref, e *entry[P], elapsed time.Duration, now time.Time) {
	began := e.state == task.Running || elapsed > 0
	if began {
		q.recent.add(elapsed)
	}
	q.unprobed(e.worker, r, began)
	q.vacate(r.Task, e)
}

// Release removes a held task, whose result stands, and returns its payload
// for the caller to resolve. It returns false if the ref is stale or the task
// is not held.
func (q *Queue[P]) Release(r Ref) (P, bool) {
	e := q.find(r)
	if e == nil || e.state != task.Held {
		var none P
		return none, false
	}
	q.unhold(r.Task, e)
	return q.remove(r.Task, e), true
}

// unhold takes a held task from its worker.
func (q *Queue[P]) unhold(id task.ID, e *entry[P]) {
	delete(e.worker.held, id)
	q.review(e.worker)
}

// LoseHeld does to the tasks held for the worker what Leave does to all that
// it has.
func (q *Queue[P]) LoseHeld(epoch uint64) (requeued, givenUp []task.ID) {
	w := q.workers[epoch]
	if w == nil {
		return nil, nil
	}
	var held []task.ID
	for id := range w.held {
		held = append(held, id)
	}
	w.held = nil
	q.review(w)
	return q.lose(held)
}

// Lost does to one task, held or not, what Leave does to all that the worker
// has: it is known that this task was lost, and no other. The next try avoids
// the worker. ok is false if the ref is stale.
func (q *Queue[P]) Lost(r Ref, now time.Time) (givenUp bool, ok bool) {
	e := q.find(r)
	if e == nil {
		return false, false
	}
	w := e.worker
	if e.state == task.Held {
		q.unhold(r.Task, e)
	} else {
		q.unprobed(w, r, e.state == task.Running)
		q.vacate(r.Task, e)
	}
	e.company, e.avoid = false, w.epoch
	_, gone := q.lose([]task.ID{r.Task})
	return len(gone) > 0, true
}

// Returned queues a task again, at the front, that the worker gives back and
// has not started. The attempt does not count as one of its tries. A task
// that was being cancelled is queued like any other: Cancelling still says
// so, and Cancel then removes it. It returns false if the ref is stale or the
// task is known to have started.
func (q *Queue[P]) Returned(r Ref, now time.Time) bool {
	if b := q.barriers.find(q.workers, r); b != nil {
		w := q.workers[r.Epoch]
		q.unprobed(w, r, false)
		q.unsync(w)
		return true
	}
	e := q.find(r)
	if e == nil || e.state != task.Assigned {
		return false
	}
	q.unprobed(e.worker, r, false)
	q.vacate(r.Task, e)
	e.uncounted++
	q.requeue(r.Task, e)
	return true
}

// Cancel ends a task. One that is queued or held is removed at once, for the
// caller to resolve. One that a worker has stays, and the caller tells the
// worker r, who answers as for any task, by Finished; if it is lost instead,
// it is given up. found is false if the task has ended.
func (q *Queue[P]) Cancel(id task.ID) (payload P, removed bool, r Ref, found bool) {
	e := q.tasks.at(id)
	if e == nil {
		return payload, false, Ref{}, false
	}
	switch e.state {
	case task.Queued:
		return q.remove(id, e), true, Ref{}, true
	case task.Held:
		r = Ref{Task: id, Attempt: e.attempt, Epoch: e.worker.epoch}
		q.unhold(id, e)
		return q.remove(id, e), true, r, true
	}
	e.cancelling = true
	w := e.worker
	for i := range w.waiting {
		if w.waiting[i].id == id {
			q.answered(&w.waiting[i])
		}
	}
	q.review(w)
	return e.payload, false, Ref{Task: id, Attempt: e.attempt, Epoch: e.worker.epoch}, true
}

// DropQueued removes all tasks that are queued, in order unless bound to workers,
// each as the loop over it gets there. The loop may call the queue.
func (q *Queue[P]) DropQueued() iter.Seq2[task.ID, P] {
	return func(yield func(task.ID, P) bool) {
		for {
			id, e := q.anyQueued()
			if e == nil || !yield(id, q.remove(id, e)) {
				return
			}
		}
	}
}

// anyQueued returns the oldest task in a line, or else one that is bound; nil if
// nothing is queued.
func (q *Queue[P]) anyQueued() (task.ID, *entry[P]) {
	if l, ok := q.order.top(); ok {
		return q.head(l)
	}
	if !q.opt.RoundRobin {
		return 0, nil
	}
	for _, w := range q.workers {
		if id, ok := q.oldest(w); ok {
			return id, q.tasks.at(id)
		}
	}
	return 0, nil
}
