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
		b.p.tick()
	}
}

// Batch is a set of tasks made from rows by one template, whose results are
// read together.
type Batch struct {
	p    *Pool
	self owned
	opt  BatchOptions

	mu        sync.Mutex // guards all below; taken after Pool.mu, never before
	ready     []*Done
	notify    chan struct{}
	open      int // tasks pushed and not resolved
	pushed    int
	sealed    bool
	backBytes int64
	backTasks int
	dropped   int
	halted    bool // written under Pool.mu too, so that either is enough to read it
}

// BatchOptions configures a Batch.
type BatchOptions struct {
	// Render makes the task of a row when it is its turn. It must be
	// fast, safe for concurrent use and not call back.
	Render func(row []string, index int) task.Spec
	// Common is what all tasks have in common, as far as that is known before they
	// are made: what they need of a machine is told from it.
	Common task.Spec
	// StopOnFailure starts nothing more after a task has failed, and cancels
	// what runs then.
	StopOnFailure bool
}

// NewBatch returns an empty batch.
func (p *Pool) NewBatch(opt BatchOptions) *Batch {
	b := &Batch{p: p, opt: opt, notify: make(chan struct{}, 1)}
	b.self.owner = b
	return b
}

// Submit queues tasks, one a row, numbered from 1 in the order of submission.
func (b *Batch) Submit(rows [][]string) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	b.mu.Lock()
	first := b.pushed + 1
	if b.halted {
		b.dropped += len(rows)
		b.mu.Unlock()
		return
	}
	b.pushed += len(rows)
	b.open += len(rows)
	b.mu.Unlock()
	for i, row := range rows {
		b.p.push(job{owner: &b.self, row: row, index: first + i})
	}
	b.p.pump(time.Now())
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
	return done, (b.sealed || b.halted) && b.open == 0
}

// Stop keeps every task that has not started from starting.
func (b *Batch) Stop() {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	b.stop()
}

// stop is Stop under Pool.mu.
func (b *Batch) stop() {
	b.mu.Lock()
	b.halted = true
	b.mu.Unlock()
	b.dropQueued()
	for _, s := range b.p.sessions {
		s.recallAll()
	}
}

// dropQueued forgets the queued tasks of a pool whose batch was stopped. Under
// Pool.mu.
func (b *Batch) dropQueued() {
	for _, j := range b.p.queue.DropQueued() {
		j.owner.drop(j, task.Cancelled("the run starts nothing more"))
	}
	b.wake()
}

func (b *Batch) drop(job, *task.ErrorValue) {
	b.mu.Lock()
	b.open--
	b.dropped++
	b.mu.Unlock()
}

func (b *Batch) spec(j job) task.Spec { return b.opt.Render(j.row, j.index) }

func (b *Batch) needs(job) queue.Needs { return needsOf(&b.opt.Common) }

func (b *Batch) stopOnFailure() bool { return b.opt.StopOnFailure }

func (b *Batch) stopped() bool { return b.halted }

// size is the length of the row: how much of a run is sent ahead to a worker
// depends on it.
func (b *Batch) size(j job) (n int64) {
	for _, v := range j.row {
		n += int64(len(v))
	}
	return n
}

// Cancel stops every task that runs; each resolves to why.
func (b *Batch) Cancel(why *task.ErrorValue) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	b.cancel(why)
}

func (b *Batch) cancel(why *task.ErrorValue) {
	for _, s := range b.p.sessions {
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

func (b *Batch) resolve(j job, done *Done) {
	done.Row, done.batch = j.row, b
	b.deliver(done)
	if b.opt.StopOnFailure && !b.halted && done.Err != nil && done.Err.Kind != task.KindCancelled {
		b.stop()
		b.cancel(task.Cancelled(fmt.Sprintf("task %d had failed", done.Index)))
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
