package dispatcher

import (
	"fmt"
	"sync"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/spool"
	"muster/task"
)

// Bounds on what may wait for Done.Release to let it go, before no new task of
// the batch is started.
const (
	backlogBytes = 256 << 20
	backlogTasks = 100_000
)

// Done is a task that has resolved.
type Done struct {
	task.Result
	Row    []string
	Output *spool.Output // nil if the task never ran
	batch  *Batch
	bytes  int64
}

// Release says that the output has been dealt with and no longer counts.
func (r *Done) Release() {
	b := r.batch
	b.mu.Lock()
	wasFull := b.fullLocked()
	b.backTasks--
	b.backBytes -= r.bytes
	open := wasFull && !b.fullLocked()
	b.mu.Unlock()
	if open {
		b.d.tick()
	}
}

// Batch is a set of tasks made from rows by one template, whose results are
// read together.
type Batch struct {
	d   *Dispatcher
	opt BatchOptions

	mu        sync.Mutex // guards all below; taken after Dispatcher.mu, never before
	ready     []*Done
	notify    chan struct{}
	open      int // tasks pushed and not resolved
	pushed    int
	sealed    bool
	backBytes int64
	backTasks int
	dropped   int
	stopped   bool // written under Dispatcher.mu too, so that either is enough to read it
}

// BatchOptions configures a Batch.
type BatchOptions struct {
	// Render makes the task of a row when a slot is free for it. It must be
	// fast, safe for concurrent use and not call back.
	Render func(row []string, index, slot int) task.Spec
	// StopOnFailure starts nothing more after a task has failed, and cancels
	// what runs then.
	StopOnFailure bool
}

// NewBatch returns an empty batch.
func (d *Dispatcher) NewBatch(opt BatchOptions) *Batch {
	return &Batch{d: d, opt: opt, notify: make(chan struct{}, 1)}
}

// Submit queues tasks, one a row, numbered from 1 in the order of submission.
func (b *Batch) Submit(rows [][]string) {
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	b.mu.Lock()
	first := b.pushed + 1
	if b.stopped {
		b.dropped += len(rows)
		b.mu.Unlock()
		return
	}
	b.pushed += len(rows)
	b.open += len(rows)
	b.mu.Unlock()
	for i, row := range rows {
		b.d.queue.Push(job{batch: b, row: row, index: first + i})
	}
	b.d.pump(time.Now())
}

// Seal says that no more tasks will be submitted: Next ends after the last.
func (b *Batch) Seal() {
	b.mu.Lock()
	b.sealed = true
	b.mu.Unlock()
	b.wake()
}

// Queued returns how many tasks have been submitted and not resolved.
func (b *Batch) Queued() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// Submitted returns how many tasks have been submitted.
func (b *Batch) Submitted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pushed
}

// Dropped returns how many tasks Stop kept from ever starting.
func (b *Batch) Dropped() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

// Ready is sent to when Take may have something to return, or over has become
// true.
func (b *Batch) Ready() <-chan struct{} { return b.notify }

// Take returns the tasks that have resolved since the last call, in the order
// in which they did. over says that there will be no more: the batch is sealed
// or stopped, and all have been returned.
func (b *Batch) Take() (done []*Done, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	done, b.ready = b.ready, nil
	return done, (b.sealed || b.stopped) && b.open == 0
}

// Stop keeps every task that has not started from starting.
func (b *Batch) Stop() {
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	b.stop()
}

// stop is Stop under Dispatcher.mu.
func (b *Batch) stop() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	b.dropQueued()
	for _, s := range b.d.sessions {
		s.recallAll()
	}
}

// dropQueued forgets the queued tasks of a stopped batch. Under Dispatcher.mu.
func (b *Batch) dropQueued() {
	n := 0
	for range b.d.queue.DropQueued() {
		n++
	}
	b.mu.Lock()
	b.open -= n
	b.dropped += n
	b.mu.Unlock()
	b.wake()
}

// Cancel stops every task that runs; each resolves to why.
func (b *Batch) Cancel(why *task.ErrorValue) {
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	b.cancel(why)
}

func (b *Batch) cancel(why *task.ErrorValue) {
	for _, s := range b.d.sessions {
		for _, a := range s.attempts {
			s.cancel(a, why)
		}
	}
}

func (b *Batch) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fullLocked()
}

func (b *Batch) fullLocked() bool {
	return b.backBytes > backlogBytes || b.backTasks > backlogTasks
}

// resolve makes a's task resolved with r, of which it fills in what the
// attempt knows.
func (b *Batch) resolve(a *attempt, s *session, r task.Result) {
	r.ID, r.Attempt = a.Task, int(a.Attempt)
	r.Index, r.Name, r.Argv = a.job.index, a.spec.Name, a.spec.Argv
	r.Worker, r.Slot = s.id, a.slot
	b.deliver(&Done{Result: r, Row: a.job.row, Output: a.out, batch: b})
	if b.opt.StopOnFailure && !b.stopped && r.Err != nil && r.Err.Kind != task.KindCancelled {
		b.stop()
		b.cancel(task.Cancelled(fmt.Sprintf("task %d had failed", r.Index)))
	}
}

func (b *Batch) deliver(r *Done) {
	if r.Output != nil {
		r.bytes = r.Output.Bytes(1) + r.Output.Bytes(2)
	}
	b.mu.Lock()
	b.ready = append(b.ready, r)
	b.open--
	b.backTasks++
	b.backBytes += r.bytes
	b.mu.Unlock()
	b.wake()
}

func (b *Batch) wake() {
	select {
	case b.notify <- struct{}{}:
	default:
	}
}

// attempt is one try at a task, as long as a worker holds it.
type attempt struct {
	queue.Ref
	job    job
	spec   task.Spec
	slot   int
	cancel *task.ErrorValue // what it was cancelled with, if it was
	held   task.Result      // of a task that is held: what it resolves to if it was not lost
	ahead  bool

	// The rest belongs to the session's reader.
	out    *spool.Output
	window int // bytes the worker may still send
	size   int // how large the window has grown
	used   int // bytes spooled since the last credit
	broken bool
}
