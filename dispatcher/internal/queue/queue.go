// Package queue decides which task goes to which worker next, and which worker
// takes nothing and why: all scheduling of one profile. It is pure data, with no
// goroutine, no lock and no clock of its own; one owner calls it and passes the
// time in.
//
//	           Push                Next                 Started
//	(nothing) ------> queued ----------------> assigned --------> running
//	                  ^  ^ ^                    |  |               |  |
//	                  |  | +-- Returned, -------+  |               |  |
//	                  |  |     Lacking             |               |  |
//	                  |  +----- Lost, Leave -------+---------------+  |
//	                  |                            |                  |
//	                  +-- LoseHeld, Lost, Leave -- held <--- Hold ----+
//	                                               |                  |
//	                              Release, Cancel  v                  v  Finished
//	                                             (gone)             (gone)
//
// A queued task that is cancelled, or that no machine can run, is gone as well.
//
// Queued tasks wait in lines, one for each set of conditions that tasks make:
// what they need of a machine, which worker they avoid, whether they run alone.
// Within a line and between lines the oldest task goes first, unless no worker
// that is free may take it.
//
// A barrier is a task that every worker runs once, between those pushed before it
// and those pushed after it; see PushBarrier.
//
// After whatever happened, the owner calls Next until it has nothing more to
// say, then Grants, Passed and Recalls, and sets its timer to Wake.
package queue

import (
	"time"

	"muster/task"
)

// Ref names one attempt at a task by one worker.
type Ref = task.Ref

// Amounts is how much a worker offers, or a task takes, of each thing that is
// counted. Slots are the only one so far.
type Amounts struct{ Slots int }

// Options configures a Queue.
type Options struct {
	// LostRetries is how often a task whose worker was lost is tried again.
	LostRetries int
	// Tries is how often a task that fails is tried in all; 0 is once.
	Tries int
	// RoundRobin binds each task to the next worker in turn when it is pushed.
	RoundRobin bool
	// Memory is how many bytes of tasks may be queued before the gate closes; 0
	// is no limit.
	Memory int64
}

// Verdict says what the owner is to do with a Decision.
type Verdict uint8

// The verdicts.
const (
	Send Verdict = iota // send the task to the worker
	Sync                // send the barrier's task to the worker
	Fail                // resolve the task: no machine can run it, and Lack says why
)

// Decision is what Next returns.
type Decision[P any] struct {
	Verdict Verdict
	Ref     // the Epoch is 0 for Fail
	Payload P
	// Ahead says that every slot of the worker is taken: the task waits there for
	// the first that is free.
	Ahead bool
	Lack  task.Lack // of Fail
}

// Counts is how many tasks, workers and slots there are at this moment.
type Counts struct {
	Queued    int
	Assigned  int // those sent ahead included
	Running   int
	Held      int
	Workers   int
	FreeSlots int // of workers that take tasks
}

// Queue holds the tasks that have not ended, each with a payload that means
// nothing to it. Make one with New.
type Queue[P any] struct {
	opt         Options
	lostRetries uint32
	tasks       store[P]
	n           [task.Done]int  // tasks in each state before Done
	failed      map[task.ID]int // how often those have failed that are tried again

	lines map[conditions]*line // those that are not empty
	order heap[*line]          // the same: that with the oldest task first
	loose int                  // tasks in lines; all others that are queued are bound
	alone int                  // those of them that are to run alone

	workers   map[uint64]*worker
	lastEpoch uint64
	idle      heap[*worker] // take tasks and have a free slot: the least busy first
	free      int           // free slots of the workers in idle
	turn      uint64        // assignments made, to take equally busy workers in turn

	candidates heap[*worker] // may be sent tasks ahead: soonest first
	aheads     heap[*worker] // have tasks ahead that were not recalled: soonest due first
	crowded    heap[*worker] // have tasks behind others that were not recalled: the most first
	unfit      int           // free slots for which no task behind others is fit, as the last search found
	recalled   int           // tasks ahead that were recalled and not answered for
	blocked    bool          // the last Next was stopped by admit
	recent     recent
	keyed      time.Duration // the longest median by which candidates may be ordered

	ring  []*worker     // of round-robin, in turn: those that take tasks
	next  int           // index into ring of whose turn it is
	eager heap[*worker] // have a free slot and a task bound to them: the oldest task first

	barriers barriers[P]
	gate     gate
	sick     map[uint64]*worker // lack something
	tryAt    time.Time          // before it, none of them is to be tried
	expected bool               // more workers may come
}

// New makes an empty queue.
func New[P any](opt Options) *Queue[P] {
	return &Queue[P]{
		opt:         opt,
		lostRetries: uint32(max(opt.LostRetries, 0)),
		failed:      make(map[task.ID]int),
		tasks:       store[P]{chunks: make(map[uint64]*chunk[P])},
		lines:       make(map[conditions]*line),
		workers:     make(map[uint64]*worker),
		sick:        make(map[uint64]*worker),
		gate:        gate{limit: opt.Memory},
		order:       heap[*line]{less: olderLine, moved: func(l *line, i int) { l.index = i }},
		eager:       heap[*worker]{less: olderTask, moved: func(w *worker, i int) { w.eager = i }},
		idle:        heap[*worker]{less: lessBusy, moved: func(w *worker, i int) { w.idle = i }},
		candidates:  heap[*worker]{less: startsSooner, moved: func(w *worker, i int) { w.candidate = i }},
		crowded:     heap[*worker]{less: moreCrowded, moved: func(w *worker, i int) { w.crowded = i }},
		aheads:      heap[*worker]{less: dueSooner, moved: func(w *worker, i int) { w.ahead = i }},
	}
}

// Push queues a task at the back and returns its id, which is one more than
// the last, from 1. size is what it counts of Options.Memory, in bytes.
func (q *Queue[P]) Push(payload P, size int64, needs Needs) task.ID {
	id, e := q.tasks.add(payload)
	e.size = uint32(min(max(size, 0), 1<<32-1))
	e.needs = q.intern(needs)
	q.n[task.Queued]++
	q.gate.add(int64(e.size))
	q.barriers.queued(id, 1)
	q.file(id, e)
	return id
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
func (q *Queue[P]) set(id task.ID, e *entry[P], s task.State) {
	if e.state == task.Queued && s != task.Queued {
		q.unqueued(id, e)
	}
	if e.state != task.Queued && s == task.Queued {
		q.gate.add(int64(e.size))
		q.barriers.queued(id, 1)
	}
	q.n[e.state]--
	e.state = s
	q.n[s]++
}

// unqueued counts a task out of those that are queued.
func (q *Queue[P]) unqueued(id task.ID, e *entry[P]) {
	q.gate.add(-int64(e.size))
	q.barriers.queued(id, -1)
}

// remove forgets a task that has ended, or never will begin, and returns its
// payload. One that is queued leaves its line.
func (q *Queue[P]) remove(id task.ID, e *entry[P]) P {
	if e.state == task.Queued {
		q.unfile(id, e)
		q.unqueued(id, e)
	}
	q.n[e.state]--
	q.release(e.needs)
	delete(q.failed, id)
	return q.tasks.remove(id, e)
}

// requeue puts a task that no worker has any more before all that were never
// assigned.
func (q *Queue[P]) requeue(id task.ID, e *entry[P]) {
	e.worker = nil
	e.again = true
	q.set(id, e, task.Queued)
	q.file(id, e)
}

// file puts a queued task into the backlog of the worker whose turn it is, or
// else into a line.
func (q *Queue[P]) file(id task.ID, e *entry[P]) {
	if c := q.conditions(e); !q.bind(id, e, c) {
		q.enter(id, e, c)
	}
}

// unfile takes a queued task out of where file put it.
func (q *Queue[P]) unfile(id task.ID, e *entry[P]) {
	if e.line != nil {
		q.quit(id, e)
		return
	}
	w := e.worker
	e.worker = nil // from here on the backlog's word for it is stale
	q.review(w)
}
