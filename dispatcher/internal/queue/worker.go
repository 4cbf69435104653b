package queue

import (
	"slices"
	"time"

	"muster/task"
)

// worker is one connection of one worker process, from Join to Leave.
type worker struct {
	epoch    uint64
	slots    []slot
	vacant   []uint32 // indices of free slots; the last one is taken next
	held     map[task.ID]struct{}
	draining bool
	turn     uint64 // Queue.turn when it last got a task
	index    int    // in Queue.idle, or -1
	rtt      roundTrip
	backlog  heap[task.ID] // bound to it and not assigned; may name some that are not any more
	eager    int           // index in Queue.eager, or -1
}

// slot is one place to run one task. It is in Queue.candidates while it runs
// a task and could be sent another, in Queue.aheads while one waits there
// that was not asked back, and in neither otherwise.
type slot struct {
	worker  *worker
	number  uint32  // index in worker.slots
	current task.ID // assigned or running; 0 if the slot is free
	ahead   task.ID // sent ahead; 0 if none
	since   time.Time
	soon    time.Time // since less two round trips
	running bool      // current has started, at since

	recalled bool // ahead was asked back and there is no answer
	index    int  // in one of the two heaps, or -1
}

func (w *worker) busy() int { return len(w.slots) - len(w.vacant) }

func lessBusy(a, b *worker) bool {
	if a.busy() != b.busy() {
		return a.busy() < b.busy()
	}
	return a.turn < b.turn
}

func endsSooner(a, b *slot) bool { return a.soon.Before(b.soon) }

func runsLonger(a, b *slot) bool { return a.since.Before(b.since) }

// Join adds a worker whose slots are numbered 1 to slots, and returns its
// epoch, which grows with every join and is never used again.
func (q *Queue[P]) Join(slots int) (epoch uint64) {
	q.lastEpoch++
	w := &worker{epoch: q.lastEpoch, slots: make([]slot, slots), vacant: make([]uint32, slots), index: -1, eager: -1,
		backlog: heap[task.ID]{less: func(a, b task.ID) bool { return a < b }}}
	for i := range w.slots {
		w.slots[i] = slot{worker: w, number: uint32(i), index: -1}
		w.vacant[i] = uint32(slots - 1 - i)
	}
	q.workers[w.epoch] = w
	if slots > 0 {
		q.idle.push(w)
		q.free += slots
	}
	q.enlist(w)
	return w.epoch
}

// Pause makes the worker take nothing new until Resume. What it has it keeps;
// what is bound to it and not assigned goes to others.
func (q *Queue[P]) Pause(epoch uint64) { q.Drain(epoch) }

// Resume ends what Pause began, or Drain.
func (q *Queue[P]) Resume(epoch uint64) {
	w := q.workers[epoch]
	if w == nil || !w.draining {
		return
	}
	w.draining = false
	q.free += len(w.vacant)
	if len(w.vacant) > 0 {
		q.idle.push(w)
	}
	q.relist(w)
	q.enlist(w)
	q.review(w)
}

// Drain says that the worker takes nothing new. What it has it keeps.
func (q *Queue[P]) Drain(epoch uint64) {
	w := q.workers[epoch]
	if w == nil || w.draining {
		return
	}
	q.retire(w)
	q.relist(w)
}

// relist puts the worker's slots where they belong after it has begun or ceased
// to drain.
func (q *Queue[P]) relist(w *worker) {
	for i := range w.slots {
		s := &w.slots[i]
		q.unlist(s)
		q.list(s)
	}
}

// retire takes the worker's free slots out of the offer.
func (q *Queue[P]) retire(w *worker) {
	if w.draining {
		return
	}
	w.draining = true
	q.free -= len(w.vacant)
	if w.index >= 0 {
		q.idle.remove(w.index)
	}
	q.delist(w)
}

// Leave removes a worker. The tasks it had, held ones too, are queued again at
// the front, or given up if they were tried more than retries times or were
// being cancelled. Both lists are in the order of ids; what is given up is out
// of the queue and for the caller to resolve.
func (q *Queue[P]) Leave(epoch uint64, _ time.Time) (requeued, givenUp []task.ID) {
	w := q.workers[epoch]
	if w == nil {
		return nil, nil
	}
	q.retire(w)
	delete(q.workers, epoch)
	var had []task.ID
	for i := range w.slots {
		s := &w.slots[i]
		q.unlist(s)
		q.answered(s)
		for _, id := range []task.ID{s.current, s.ahead} {
			if id != 0 {
				had = append(had, id)
			}
		}
	}
	for id := range w.held {
		had = append(had, id)
	}
	return q.lose(had)
}

// lose queues again or gives up tasks that are on no slot any more.
func (q *Queue[P]) lose(ids []task.ID) (requeued, givenUp []task.ID) {
	q.abandoned = nil
	slices.Sort(ids)
	for _, id := range ids {
		e := q.tasks.at(id)
		if tries := e.attempt - e.returned; tries <= q.retries && !e.cancelling {
			q.requeue(id, e)
			requeued = append(requeued, id)
			continue
		}
		if q.abandoned == nil {
			q.abandoned = make(map[task.ID]P)
		}
		q.abandoned[id] = q.remove(id, e)
		givenUp = append(givenUp, id)
	}
	return requeued, givenUp
}

// vacate takes a task off its slot, where the one sent ahead, if any, takes
// its place.
func (q *Queue[P]) vacate(id task.ID, e *entry[P]) {
	w := e.worker
	s := &w.slots[e.slot]
	q.unlist(s)
	q.answered(s)
	switch {
	case s.ahead == id:
		s.ahead = 0
	case s.ahead != 0:
		s.current, s.ahead, s.running = s.ahead, 0, false
	default:
		s.current, s.running = 0, false
		q.offer(w, uint32(e.slot))
	}
	q.list(s)
}

// offer makes a slot free.
func (q *Queue[P]) offer(w *worker, index uint32) {
	w.vacant = append(w.vacant, index)
	switch {
	case w.draining:
		return
	case w.index >= 0:
		q.idle.fix(w.index)
	default:
		q.idle.push(w)
	}
	q.free++
	q.review(w)
}

// take gives a free slot of the worker, which is in idle, to a task.
func (q *Queue[P]) take(w *worker) uint32 {
	last := len(w.vacant) - 1
	index := w.vacant[last]
	w.vacant = w.vacant[:last]
	q.free--
	q.turn++
	w.turn = q.turn
	if last == 0 {
		q.idle.remove(w.index)
	} else {
		q.idle.fix(w.index)
	}
	return index
}
