package queue

import (
	"slices"

	"muster/task"
)

// Round-robin: a task belongs to a worker from the moment it is pushed, in its
// backlog, and leaves that only to be run, to end, or because its worker does.
// With no worker there at that moment, the first one with a free slot has it.

// bind puts a queued task into the backlog of the worker whose turn it is, and
// returns false if tasks are not bound or there is no worker.
func (q *Queue[P]) bind(id task.ID, e *entry[P]) bool {
	if !q.robin || len(q.ring) == 0 {
		return false
	}
	if q.next >= len(q.ring) {
		q.next = 0
	}
	w := q.ring[q.next]
	q.next++
	q.loose -= e.loose()
	e.worker = w
	w.backlog.push(id)
	q.review(w)
	return true
}

// oldest returns the first task in the worker's backlog.
func (q *Queue[P]) oldest(w *worker) (task.ID, bool) {
	for id, ok := w.backlog.top(); ok; id, ok = w.backlog.top() {
		if e := q.tasks.at(id); e != nil && e.worker == w && e.state == task.Queued {
			return id, true
		}
		w.backlog.pop()
	}
	return 0, false
}

func olderTask(a, b *worker) bool { return a.backlog.items[0] < b.backlog.items[0] }

// review puts the worker into eager or takes it out, as it now should be.
func (q *Queue[P]) review(w *worker) {
	if !q.robin {
		return
	}
	if w.eager >= 0 {
		q.eager.remove(w.eager)
	}
	if _, some := q.oldest(w); some && !w.draining && len(w.vacant) > 0 {
		q.eager.push(w)
	}
}

// nextBound is Next for tasks that are bound to a worker.
func (q *Queue[P]) nextBound(admit func(task.ID, P, uint32) bool) (a Assignment[P], ok bool) {
	for w, some := q.eager.top(); some; w, some = q.eager.top() {
		first := w.backlog.items[0]
		id, live := q.oldest(w)
		if !live || id != first {
			q.review(w) // what it was listed for has been cancelled
			continue
		}
		e := q.tasks.at(id)
		if !admit(id, e.payload, e.attempt+1) {
			q.blocked = true
			return a, false
		}
		q.eager.remove(w.eager)
		w.backlog.pop()
		a = q.assign(w, id, e)
		q.review(w)
		return a, true
	}
	return a, false
}

// Earlier reports whether a task older than id is bound to the worker and
// still queued.
func (q *Queue[P]) Earlier(epoch uint64, id task.ID) bool {
	w := q.workers[epoch]
	if w == nil {
		return false
	}
	first, ok := q.oldest(w)
	return ok && first < id
}

// enlist gives the worker turns from now on.
func (q *Queue[P]) enlist(w *worker) {
	if q.robin {
		q.ring = append(q.ring, w)
	}
}

// delist gives it none any more, and what it has not begun to others.
func (q *Queue[P]) delist(w *worker) {
	if !q.robin {
		return
	}
	if i := slices.Index(q.ring, w); i >= 0 {
		q.ring = slices.Delete(q.ring, i, i+1)
		if q.next > i {
			q.next--
		}
	}
	q.review(w)
	ids := w.backlog.items
	w.backlog.clear()
	slices.Sort(ids)
	for _, id := range ids {
		e := q.tasks.at(id)
		if e == nil || e.worker != w || e.state != task.Queued {
			continue
		}
		e.worker = nil
		q.loose += e.loose()
		if !q.bind(id, e) {
			q.front.push(id)
		}
	}
}
