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
func (q *Queue[P]) Finished(r Ref, elapsed time.Duration, _ time.Time) (P, bool) {
	e := q.find(r)
	if e == nil || e.state == task.Held {
		var none P
		return none, false
	}
	q.measure(e, elapsed)
	q.vacate(r.Task, e)
	return q.remove(r.Task, e), true
}

// Hold is Finished for a task that may yet turn out to be lost: the slot is
// free, the task stays, bound to its worker, until Release, LoseHeld, Lost,
// Leave or Cancel.
func (q *Queue[P]) Hold(r Ref, elapsed time.Duration, _ time.Time) bool {
	e := q.find(r)
	if e == nil || e.state == task.Held {
		return false
	}
	q.measure(e, elapsed)
	q.vacate(r.Task, e)
	q.set(e, task.Held)
	if e.worker.held == nil {
		e.worker.held = make(map[task.ID]struct{})
	}
	e.worker.held[r.Task] = struct{}{}
	return true
}

func (q *Queue[P]) measure(e *entry[P], elapsed time.Duration) {
	if e.state == task.Running || elapsed > 0 {
		q.recent.add(elapsed)
	}
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
	delete(e.worker.held, r.Task)
	return q.remove(r.Task, e), true
}

// LoseHeld does to the tasks held for the worker what Leave does to all that
// it has.
func (q *Queue[P]) LoseHeld(epoch uint64, _ time.Time) (requeued, givenUp []task.ID) {
	w := q.workers[epoch]
	if w == nil {
		return nil, nil
	}
	var held []task.ID
	for id := range w.held {
		held = append(held, id)
	}
	w.held = nil
	return q.lose(held)
}

// Lost does to one task, held or not, what Leave does to all that the worker
// has. ok is false if the ref is stale.
func (q *Queue[P]) Lost(r Ref, _ time.Time) (givenUp bool, ok bool) {
	e := q.find(r)
	if e == nil {
		return false, false
	}
	if e.state == task.Held {
		delete(e.worker.held, r.Task)
	} else {
		q.vacate(r.Task, e)
	}
	_, gone := q.lose([]task.ID{r.Task})
	return len(gone) > 0, true
}

// Returned queues a task again, at the front, that the worker gives back and
// has not started. The attempt does not count as one of its tries. A task
// that was being cancelled is queued like any other: Cancelling still says
// so, and Cancel then removes it. It returns false if the ref is stale or the
// task is known to have started.
func (q *Queue[P]) Returned(r Ref, _ time.Time) bool {
	e := q.find(r)
	if e == nil || e.state != task.Assigned {
		return false
	}
	q.vacate(r.Task, e)
	e.returned++
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
		delete(e.worker.held, id)
		return q.remove(id, e), true, r, true
	}
	s := &e.worker.slots[e.slot]
	q.unlist(s)
	e.cancelling = true
	if s.ahead == id {
		q.answered(s)
	}
	q.list(s)
	return e.payload, false, Ref{Task: id, Attempt: e.attempt, Epoch: e.worker.epoch}, true
}

// DropQueued removes all that is queued, in order unless bound to workers, each
// as the loop over it gets there.
func (q *Queue[P]) DropQueued() iter.Seq2[task.ID, P] {
	return func(yield func(task.ID, P) bool) {
		for id, e, ok := q.head(); ok; id, e, ok = q.head() {
			q.behead(id)
			if !yield(id, q.remove(id, e)) {
				return
			}
		}
		for _, w := range q.workers {
			for id, ok := q.oldest(w); ok; id, ok = q.oldest(w) {
				w.backlog.pop()
				if !yield(id, q.remove(id, q.tasks.at(id))) {
					return
				}
			}
		}
	}
}
