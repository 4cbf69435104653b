package dispatcher

import (
	"sync/atomic"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/dispatcher/internal/results"
	"muster/task"
)

// RunOptions configures a Run.
type RunOptions struct {
	// Render makes the task of a row when it is its turn. It must be
	// fast, safe for concurrent use and not call back.
	Render func(row []string, index int) task.Spec
	// Columns are the names of a row's values; nil if they have none.
	Columns []string
	// Common is what all tasks have in common, as far as that is known before they
	// are made: what they need of a machine is told from it.
	Common task.Spec
	// Halt ends the run before all is done.
	Halt Halt
	// Live has what tasks print sent as it comes, for TakePrinted.
	Live bool
}

// Run is a future whose tasks are made from rows by one template, each when it is
// its turn, so that a million rows cost little more than their text. It has its pool
// for itself. Whoever reads its results releases them; while more wait for that than
// may, nothing new is started.
type Run struct {
	*Future
	render   func(row []string, index int) task.Spec
	columns  []string
	common   queue.Needs
	printing *printing // nil unless the run is live
	end      Halt
	skipped  atomic.Int64
	text     int64 // bytes of rows whose tasks are open; guarded by Pool.mu
	early    bool  // it has halted by end; guarded by Pool.mu
}

// NewRun returns a run that Submit gives rows to and Seal completes. It is not
// among the dispatcher's futures: nobody else collects it.
func (p *Pool) NewRun(opt RunOptions) (*Run, error) {
	r := &Run{render: opt.Render, columns: opt.Columns, common: needsOf(&opt.Common), end: opt.Halt}
	r.Future = p.newFuture(KindRun, FutureOptions{StopOnFailure: opt.Halt.first()}, p.tick)
	if opt.Live {
		r.printing = newPrinting()
	}
	r.self.owner = r
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	p.futures[r.id] = r.Future
	p.run = r
	return r, nil
}

// Submit queues tasks, one a row, numbered from 1 in the order of submission.
func (r *Run) Submit(rows [][]string) {
	p := r.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	first := r.log.Add(len(rows))
	for i, row := range rows {
		if r.halted || p.closed {
			r.log.Drop(first + i)
			continue
		}
		r.text += textOf(row)
		p.push(job{owner: &r.self, row: row, index: first + i})
	}
	p.pump(time.Now())
}

// Skip passes over the next n rows: the indices that they would have are nobody's, and
// they do not count.
func (r *Run) Skip(n int) {
	r.skipped.Add(int64(n))
	first := r.log.Add(n)
	for i := range n {
		r.log.Drop(first + i)
	}
}

func textOf(row []string) (n int64) {
	for _, value := range row {
		n += int64(len(value))
	}
	return n
}

// Queued returns how many tasks have been submitted and not resolved.
func (r *Run) Queued() int { return r.log.Counts().Open() }

// QueuedBytes returns how many bytes the rows of those tasks have.
func (r *Run) QueuedBytes() int64 {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	return r.text
}

// Submitted returns how many tasks have been submitted, those that were dropped
// among them.
func (r *Run) Submitted() int { return r.log.Counts().Total - int(r.skipped.Load()) }

// Dropped returns how many tasks Stop kept from ever starting.
func (r *Run) Dropped() int { return r.log.Counts().Dropped - int(r.skipped.Load()) }

// Stop keeps every task that has not started from starting. What is submitted later
// is dropped.
func (r *Run) Stop() {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.startNoMore()
}

// startNoMore is Stop under Pool.mu.
func (r *Run) startNoMore() {
	r.halt(task.Cancelled(""))
	r.pool.dropQueued()
	for _, s := range r.pool.sessions {
		s.recallAll()
	}
	r.seal()
}

// dropQueued drops the queued tasks of a pool whose run was stopped. Under mu.
func (p *Pool) dropQueued() {
	for _, j := range p.queue.DropQueued() {
		j.owner.drop(j, task.Cancelled("the run starts nothing more"))
	}
}

// Cancel stops every task that runs; each resolves to why.
func (r *Run) Cancel(why *task.ErrorValue) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.cancel(why)
}

func (r *Run) cancel(why *task.ErrorValue) {
	for _, s := range r.pool.sessions {
		for _, a := range s.attempts {
			s.cancel(a, why)
		}
	}
}

func (r *Run) spec(j job) task.Spec {
	spec := r.render(j.row, j.index)
	spec.Stream = r.pool.opt.Streams.Of(uint64(j.index))
	spec.Live = r.printing != nil
	return spec
}

func (r *Run) live() *printing { return r.printing }

func (r *Run) needs(job) queue.Needs { return r.common }

func (r *Run) full() bool { return r.log.Full() }

// size is the length of the row: how much is sent ahead to a worker depends on it.
func (r *Run) size(j job) int64 { return textOf(j.row) }

func (r *Run) drop(j job, _ *task.ErrorValue) {
	r.text -= textOf(j.row)
	r.log.Drop(j.index)
	r.settle()
}

func (r *Run) resolve(j job, done *Done) {
	r.text -= textOf(j.row)
	done.Row = task.Row{Values: j.row, Columns: r.columns}
	r.pool.completed++
	r.log.Put(j.index, done)
	r.halts(done)
	r.settle()
}

// Results returns a cursor of the future's results. Whoever asks for it closes it.
func (f *Future) Results(order results.Order) *Cursor { return f.log.Cursor(order) }

// The orders in which Results are read.
const (
	ByIndex    = results.ByIndex
	AsResolved = results.AsResolved
)

// Done is what a task has resolved to. Whoever has it reads its Output while it is
// kept, and gets spool.ErrClosed when it has been thrown away.
type Done = results.Done

// Cursor reads the results of one future, one after another.
type Cursor = results.Cursor

// ErrForgotten says that a future was forgotten before its results were read.
var ErrForgotten = results.ErrForgotten
