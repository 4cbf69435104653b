package queue

import (
	"slices"
	"time"

	"muster/task"
)

// mayRecall reports whether a task that has not begun may be asked back.
func (q *Queue[P]) mayRecall(s sent) bool { return !s.recalled && !q.tasks.at(s.id).cancelling }

// Recalls returns the tasks that ought to be asked back now, after Next has had
// nothing more to say: those that are late to begin, if there is another worker;
// and one for each slot that is free and may have it, of those that wait for a
// slot elsewhere, the last first. A task is returned once; Started, Finished or
// Returned answers for it.
func (q *Queue[P]) Recalls(now time.Time) []Ref {
	var refs []Ref
	for w, ok := q.aheads.top(); ok && !now.Before(w.due); w, ok = q.aheads.top() {
		i := slices.IndexFunc(w.waiting, q.mayRecall)
		if !q.othersTake(w) {
			s := &w.waiting[i] // nobody else could have it now
			s.due = now.Add(max(q.patience(), now.Sub(s.at)))
			q.reviewAhead(w)
			continue
		}
		refs = append(refs, q.recall(w, i))
	}
	for len(q.crowded.items) > 0 && q.free > q.recalled+q.unfit {
		w, i := q.spare(now)
		if w == nil {
			q.unfitAll()
			break
		}
		refs = append(refs, q.recall(w, i))
	}
	return refs
}

// unfitAll notes that nothing that waits behind others may go to a slot that is
// free now, so that Recalls need not search again for these slots.
func (q *Queue[P]) unfitAll() {
	for _, w := range q.idle.items {
		w.unfit = w.offered
	}
	q.unfit = q.free
}

// refit has Recalls search again, after workers may take what they might not.
func (q *Queue[P]) refit() {
	if q.unfit == 0 {
		return
	}
	for _, w := range q.idle.items {
		w.unfit = 0
	}
	q.unfit = 0
}

func (q *Queue[P]) othersTake(w *worker) bool {
	for _, other := range q.workers {
		if other != w && other.takes() {
			return true
		}
	}
	return false
}

// spare returns a task that waits for a slot although another worker has one
// free that may take it.
func (q *Queue[P]) spare(now time.Time) (*worker, int) {
	for _, w := range q.crowded.items {
		for i := len(w.waiting) - 1; i >= len(w.begun()); i-- {
			if q.mayRecall(w.waiting[i]) && q.takenElsewhere(w, w.waiting[i].id, now) {
				return w, i
			}
		}
	}
	return nil, 0
}

// takenElsewhere reports whether a worker other than w has a free slot for a task
// that is with w.
func (q *Queue[P]) takenElsewhere(w *worker, id task.ID, now time.Time) bool {
	e := q.tasks.at(id)
	l := line{conditions: q.conditions(e)}
	if l.alone || id >= q.barriers.limit() {
		return false
	}
	for _, other := range q.idle.items {
		if other != w && q.mayTake(other, &l, id, now) {
			return true
		}
	}
	return false
}

// recall asks a task back.
func (q *Queue[P]) recall(w *worker, i int) Ref {
	s := &w.waiting[i]
	s.recalled = true
	q.recalled++
	q.reviewAhead(w)
	return Ref{Task: s.id, Attempt: q.tasks.at(s.id).attempt, Epoch: w.epoch}
}

// forgetRecalls takes back what a worker was asked that does not answer now. It is
// asked again if it comes back.
func (q *Queue[P]) forgetRecalls(w *worker) {
	for i := range w.waiting {
		q.answered(&w.waiting[i])
	}
}

// answered says that nothing more is awaited about a task that was asked back.
func (q *Queue[P]) answered(s *sent) {
	if s.recalled {
		s.recalled = false
		q.recalled--
	}
}
