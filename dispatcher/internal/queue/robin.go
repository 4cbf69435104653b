package queue

import (
	"slices"

	"muster/task"
)

// Round-robin: a task belongs to a worker from the moment it is pushed, in its
// backlog, and leaves that only to be run, to end, or because its worker does, or
// lacks what it needs. With no worker there at that moment, the first one with a
// free slot has it.

// bind puts a queued task into the backlog of the worker whose turn it is, and
// returns false if tasks are not bound or no worker may have it.
func (q *Queue[P]) bind(id task.ID, e *entry[P], c conditions) bool {
	if !q.opt.RoundRobin || c.alone {
		return false
	}
	for range q.ring {
		if q.next >= len(q.ring) {
			q.next = 0
		}
		w := q.ring[q.next]
		q.next++
		if l, _ := w.lacksAny(c.needs.Needs); l != nil || w.epoch == c.avoid && len(q.ring) > 1 {
			continue
		}
		e.worker = w
		w.backlog.push(id)
		q.reviewEager(w)
		return true
	}
	return false
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

// reviewEager puts the worker among those that have a free slot and a task bound
// to them that may begin, or takes it out.
func (q *Queue[P]) reviewEager(w *worker) {
	if !q.opt.RoundRobin {
		return
	}
	if w.eager >= 0 {
		q.eager.remove(w.eager)
	}
	if id, some := q.oldest(w); some && w.offered > 0 && id < q.limit(w) {
		q.eager.push(w)
	}
}

// reviewRing gives the worker turns, or takes them and what is bound to it away.
func (q *Queue[P]) reviewRing(w *worker) {
	in := q.opt.RoundRobin && w.reasons == 0 && !q.behind(w) && w.offers.Slots > 0 && w.lacks[everything] == nil
	if in == w.inRing {
		return
	}
	w.inRing = in
	if in {
		q.ring = append(q.ring, w)
		return
	}
	i := slices.Index(q.ring, w)
	q.ring = slices.Delete(q.ring, i, i+1)
	if q.next > i {
		q.next--
	}
	q.rebind(w)
}

// rebind gives others what is bound to a worker that may not have it any more.
func (q *Queue[P]) rebind(w *worker) {
	if !q.opt.RoundRobin {
		return
	}
	if w.eager >= 0 {
		q.eager.remove(w.eager)
	}
	ids := w.backlog.items
	w.backlog.clear()
	slices.Sort(ids)
	for _, id := range ids {
		e := q.tasks.at(id)
		if e == nil || e.worker != w || e.state != task.Queued {
			continue
		}
		if l, _ := w.lacksAny(e.needs.Needs); w.inRing && l == nil {
			w.backlog.push(id)
			continue
		}
		e.worker = nil
		e.again = true
		q.file(id, e)
	}
	q.reviewEager(w)
}
