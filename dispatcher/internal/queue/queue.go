// Package queue decides which task goes to which slot of which worker next:
// the FIFO state machine of one profile. It is pure data, with no goroutine,
// no lock and no clock of its own; one owner calls it and passes the time in.
//
//	           Push                Next                 Started
//	(nothing) ------> queued ----------------> assigned --------> running
//	                  ^  ^ ^                    |  |               |  |
//	                  |  | +--- Returned -------+  |               |  |
//	                  |  +----- Lost, Leave -------+---------------+  |
//	                  |                            |                  |
//	                  +-- LoseHeld, Lost, Leave -- held <--- Hold ----+
//	                                               |                  |
//	                              Release, Cancel  v                  v  Finished
//	                                             (gone)             (gone)
//
// After whatever happened, the owner calls Next until it has nothing more to
// say, then Recalls, and sets its timer to Wake.
package queue

import "muster/task"

// Ref names one attempt at a task by one worker. Attempt grows with every
// assignment, from 1, so that no two assignments share a Ref; whatever a
// worker says about a Ref that is no longer the task's own changes nothing.
type Ref struct {
	Task    task.ID
	Attempt uint32
	Epoch   uint64
}

// Assignment is one task to send to one slot of the worker named by Epoch.
type Assignment[P any] struct {
	Ref
	Slot    int // from 1
	Payload P
	// Ahead says that the slot still runs another task, after which this one
	// is to start.
	Ahead bool
}

// Counts is how many tasks, workers and slots there are at this moment.
type Counts struct {
	Queued    int
	Assigned  int // those sent ahead included
	Running   int
	Held      int
	Workers   int // those that drain included
	FreeSlots int // without those of workers that drain
}

// Queue holds the tasks that have not ended, each with a payload that means
// nothing to it. Make one with New.
type Queue[P any] struct {
	retries uint32
	tasks   store[P]
	n       [task.Done]int // tasks in each state before Done

	loose  int           // queued tasks that are bound to no worker
	front  heap[task.ID] // loose tasks queued again; may name some that are gone
	cursor task.ID       // no task below it is queued for the first time

	workers   map[uint64]*worker
	lastEpoch uint64
	idle      heap[*worker] // with a free slot, not draining: the least busy first
	free      int           // free slots of the workers in idle
	turn      uint64        // assignments made, to take equally busy workers in turn

	candidates heap[*slot] // run a task and may get one sent ahead: soonest first
	aheads     heap[*slot] // have one sent ahead that was not recalled: longest running first
	recalled   int         // tasks ahead that were recalled and not answered for
	blocked    bool        // the last Next was stopped by admit
	recent     recent

	abandoned map[task.ID]P // what the last call that gave tasks up gave up

	robin bool          // tasks are bound to workers in turn
	ring  []*worker     // in turn: those that take tasks
	next  int           // index into ring of whose turn it is
	eager heap[*worker] // have a free slot and a task bound to them: the oldest task first
}

// New makes an empty queue. A task whose worker was lost is tried again up to
// retries times. With roundRobin each task is bound, when it is pushed, to the
// next worker in turn.
func New[P any](retries int, roundRobin bool) *Queue[P] {
	return &Queue[P]{
		robin:      roundRobin,
		eager:      heap[*worker]{less: olderTask, moved: func(w *worker, i int) { w.eager = i }},
		retries:    uint32(max(retries, 0)),
		tasks:      store[P]{chunks: make(map[uint64]*chunk[P])},
		cursor:     1,
		workers:    make(map[uint64]*worker),
		front:      heap[task.ID]{less: func(a, b task.ID) bool { return a < b }},
		idle:       heap[*worker]{less: lessBusy, moved: func(w *worker, i int) { w.index = i }},
		candidates: heap[*slot]{less: endsSooner, moved: func(s *slot, i int) { s.index = i }},
		aheads:     heap[*slot]{less: runsLonger, moved: func(s *slot, i int) { s.index = i }},
	}
}

// Push queues a task at the back and returns its id, which is one more than
// the last, from 1.
func (q *Queue[P]) Push(payload P) task.ID {
	id := q.PushLoose(payload)
	q.bind(id, q.tasks.at(id))
	return id
}

// PushLoose is Push of a task that anybody may have, whose turn it ever is.
func (q *Queue[P]) PushLoose(payload P) task.ID {
	q.n[task.Queued]++
	q.loose++
	return q.tasks.add(payload)
}

// State returns the state of a task that has not ended, and false for any
// other.
func (q *Queue[P]) State(id task.ID) (task.State, bool) {
	e := q.tasks.at(id)
	if e == nil {
		return 0, false
	}
	return e.state, true
}

// Payload returns the payload of a task that has not ended. That of a task
// given up stays readable until the next call to Leave, Lost or LoseHeld.
func (q *Queue[P]) Payload(id task.ID) (P, bool) {
	if e := q.tasks.at(id); e != nil {
		return e.payload, true
	}
	p, ok := q.abandoned[id]
	return p, ok
}

// Holder returns the attempt that a worker has, or had and is held for, of a
// task that is not queued.
func (q *Queue[P]) Holder(id task.ID) (Ref, bool) {
	e := q.tasks.at(id)
	if e == nil || e.state == task.Queued {
		return Ref{}, false
	}
	return Ref{Task: id, Attempt: e.attempt, Epoch: e.worker.epoch}, true
}

// Cancelling reports whether Cancel found the task with a worker, and the
// task has not ended since.
func (q *Queue[P]) Cancelling(id task.ID) bool {
	e := q.tasks.at(id)
	return e != nil && e.cancelling
}

// Counts returns how things stand.
func (q *Queue[P]) Counts() Counts {
	return Counts{
		Queued:    q.n[task.Queued],
		Assigned:  q.n[task.Assigned],
		Running:   q.n[task.Running],
		Held:      q.n[task.Held],
		Workers:   len(q.workers),
		FreeSlots: q.free,
	}
}

// find returns the entry that a worker speaks of, or nil if the ref is stale.
func (q *Queue[P]) find(r Ref) *entry[P] {
	e := q.tasks.at(r.Task)
	if e == nil || e.state == task.Queued || e.worker.epoch != r.Epoch || e.attempt != r.Attempt {
		return nil
	}
	return e
}

// set moves a task to another state.
func (q *Queue[P]) set(e *entry[P], s task.State) {
	q.loose -= e.loose()
	q.n[e.state]--
	e.state = s
	q.n[s]++
	q.loose += e.loose()
}

// loose is 1 for a queued task that is bound to no worker.
func (e *entry[P]) loose() int {
	if e.state == task.Queued && e.worker == nil {
		return 1
	}
	return 0
}

// remove forgets a task that ended and returns its payload.
func (q *Queue[P]) remove(id task.ID, e *entry[P]) P {
	q.loose -= e.loose()
	q.n[e.state]--
	return q.tasks.remove(id, e)
}

// requeue puts a task that is on no slot any more before all that were never
// assigned.
func (q *Queue[P]) requeue(id task.ID, e *entry[P]) {
	e.worker, e.slot = nil, 0
	q.set(e, task.Queued)
	if !q.bind(id, e) {
		q.front.push(id)
	}
}

// head returns the task that is next in line of those that anybody may have,
// or false if there is none.
func (q *Queue[P]) head() (task.ID, *entry[P], bool) {
	if q.loose == 0 {
		q.front.clear()
		q.cursor = q.tasks.last + 1
		return 0, nil, false
	}
	for id, ok := q.front.top(); ok; id, ok = q.front.top() {
		if e := q.tasks.at(id); e != nil && e.loose() == 1 {
			return id, e, true
		}
		q.front.pop()
	}
	id, e := q.tasks.from(q.cursor)
	q.cursor = id
	return id, e, true
}

// behead takes the task that head returned out of the line.
func (q *Queue[P]) behead(id task.ID) {
	if top, ok := q.front.top(); ok && top == id {
		q.front.pop()
		return
	}
	q.cursor = id + 1
}
