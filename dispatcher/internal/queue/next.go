package queue

import (
	"time"

	"muster/task"
)

// Next returns the next task to send, if one may be sent now; it is called
// until ok is false. The task goes to a free slot of the least busy worker,
// or, if no slot is free, ahead to the slot expected to be free soonest, if
// that is within two of its worker's round trips.
//
// admit is asked whether the task at the head of the queue may start now, as
// the attempt of that number. If not, Next stops: nothing overtakes the head.
// admit must not call the queue.
func (q *Queue[P]) Next(now time.Time, admit func(id task.ID, payload P, attempt uint32) bool) (a Assignment[P], ok bool) {
	q.blocked = false
	if a, ok := q.nextBound(admit); ok {
		return a, true
	}
	id, e, ok := q.head()
	if !ok {
		return a, false
	}
	w, free := q.idle.top()
	var behind *slot
	if !free && q.robin {
		return a, false
	}
	if !free {
		if behind = q.candidate(now); behind == nil {
			return a, false
		}
		w = behind.worker
	}
	if !admit(id, e.payload, e.attempt+1) {
		q.blocked = true
		return a, false
	}
	q.behead(id)
	if free {
		return q.assign(w, id, e), true
	}
	q.set(e, task.Assigned)
	e.worker = w
	e.attempt++
	e.slot = uint16(behind.number)
	q.unlist(behind)
	behind.ahead = id
	q.list(behind)
	return Assignment[P]{
		Ref:     Ref{Task: id, Attempt: e.attempt, Epoch: w.epoch},
		Slot:    int(e.slot) + 1,
		Payload: e.payload,
		Ahead:   true,
	}, true
}

// assign gives a free slot of the worker to a queued task.
func (q *Queue[P]) assign(w *worker, id task.ID, e *entry[P]) Assignment[P] {
	q.set(e, task.Assigned)
	e.worker = w
	e.attempt++
	e.slot = uint16(q.take(w))
	w.slots[e.slot].current = id
	return Assignment[P]{
		Ref:     Ref{Task: id, Attempt: e.attempt, Epoch: w.epoch},
		Slot:    int(e.slot) + 1,
		Payload: e.payload,
	}
}

// Started notes that the worker runs the task. It returns false, and changes
// nothing, if the ref is stale, if the task already started, or if another
// one on the same slot has not ended yet.
func (q *Queue[P]) Started(r Ref, now time.Time) bool {
	e := q.find(r)
	if e == nil || e.state != task.Assigned {
		return false
	}
	s := &e.worker.slots[e.slot]
	if s.current != r.Task {
		return false
	}
	q.unlist(s)
	q.set(e, task.Running)
	s.running, s.since, s.soon = true, now, now.Add(-2*e.worker.rtt.value())
	q.list(s)
	return true
}

// candidate returns the slot that may be sent a task ahead now, or nil.
func (q *Queue[P]) candidate(now time.Time) *slot {
	median, ok := q.recent.median()
	if !ok {
		return nil
	}
	for s, ok := q.candidates.top(); ok && !now.Before(s.soon.Add(median)); s, ok = q.candidates.top() {
		if !q.late(s, now) {
			return s
		}
		// What runs too long already may run for ever; a median that grows
		// later is no reason to hope again.
		q.candidates.pop()
	}
	return nil
}

// unlist takes a slot out of the heap it is in. Whatever changes a slot does
// so between unlist and list.
func (q *Queue[P]) unlist(s *slot) {
	switch {
	case s.index < 0:
	case s.ahead != 0:
		q.aheads.remove(s.index)
	default:
		q.candidates.remove(s.index)
	}
}

// list puts a slot into the heap it belongs in, if any.
func (q *Queue[P]) list(s *slot) {
	switch {
	case !s.running:
	case s.ahead == 0:
		if !s.worker.draining {
			q.candidates.push(s)
		}
	case !s.recalled && !q.tasks.at(s.ahead).cancelling:
		q.aheads.push(s)
	}
}
