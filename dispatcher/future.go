package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/dispatcher/internal/results"
	"muster/internal/wire"
	"muster/rng"
	"muster/task"
)

// ID names a future within one dispatcher. IDs grow by one from 1 and are
// never used again.
type ID uint64

// Kind is what a future was made by.
type Kind string

// The kinds of future.
const (
	KindSubmit     Kind = "submit"     // one task
	KindMap        Kind = "map"        // one task an input
	KindEverywhere Kind = "everywhere" // one task a worker
	KindRun        Kind = "run"        // one task a row
)

// Future is the handle of tasks that were submitted together. It is unresolved
// until all of them have resolved, and then resolved for ever. It makes the tasks;
// its log has what they resolved to.
type Future struct {
	id      ID
	pool    *Pool
	self    owned
	kind    Kind
	stop    bool // cancel the others when one fails
	streams rng.Streams
	created time.Time
	log     *results.Log

	label      label      // of its first task; guarded by Pool.mu
	everywhere *task.Spec // of KindEverywhere, with the three after it
	marker     task.ID
	min        int

	// All below is guarded by Pool.mu.
	items  []item
	sealed bool             // no more items come
	halted bool             // what has not started will not
	why    *task.ErrorValue // what a halted future was cancelled with
	alive  context.Context  // of whoever waits to add to it; nil until somebody does
	end    context.CancelFunc
	racers []chan struct{} // sent to when all have resolved
	timer  *time.Timer

	collected bool // somebody has read all results
}

// item is one task of a future.
type item struct {
	id   task.ID
	spec *task.Spec // nil once resolved
}

// FutureOptions configures a Future.
type FutureOptions struct {
	// Timeout resolves the future, with code 5, so long after its submission;
	// 0 is never.
	Timeout time.Duration
	// StopOnFailure cancels the other tasks when one has failed.
	StopOnFailure bool
	// Streams are those that the future's tasks get by their index, in the place of
	// the profile's, among which they have no number then.
	Streams rng.Streams
	// Try has Submit return ErrFull instead of waiting when the queue is full.
	Try bool
}

// ErrFull says that as many bytes are queued as may be.
var ErrFull = errors.New("the queue is full")

// NewFuture returns a future that Add gives tasks to and Seal completes.
func (p *Pool) NewFuture(kind Kind, opt FutureOptions) (*Future, error) {
	f := p.newFuture(kind, opt, func() {})
	f.self.owner = f
	if err := p.register(f); err != nil {
		return nil, err
	}
	if opt.Timeout > 0 {
		p.mu.Lock()
		f.timer = time.AfterFunc(opt.Timeout, func() {
			f.Cancel(task.Timeout(fmt.Sprintf("its limit was %v from its submission", opt.Timeout)))
		})
		p.mu.Unlock()
	}
	return f, nil
}

// newFuture makes a future that nobody knows. It calls room, without locks, when
// its log was full and is not any more.
func (p *Pool) newFuture(kind Kind, opt FutureOptions, room func()) *Future {
	return &Future{pool: p, kind: kind, stop: opt.StopOnFailure, streams: opt.Streams, created: time.Now(), log: p.d.store.NewLog(room)}
}

// register makes a future known.
func (p *Pool) register(f *Future) error {
	d := p.d
	d.mu.Lock()
	defer d.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	d.futures.last++
	f.id = d.futures.last
	d.futures.all[f.id] = f
	p.futures[f.id] = f
	return nil
}

// Submit queues one task. With a limit on memory it waits, until ctx is done,
// as long as the queue is full.
func (p *Pool) Submit(ctx context.Context, spec task.Spec, opt FutureOptions) (*Future, error) {
	f, err := p.NewFuture(KindSubmit, opt)
	if err != nil {
		return nil, err
	}
	if err := f.add(ctx, spec, opt.Try); err != nil {
		p.d.Abort(f)
		return nil, err
	}
	f.Seal()
	return f, nil
}

// Add queues one more task, numbered from 1. It waits as Submit does.
func (f *Future) Add(ctx context.Context, spec task.Spec) error { return f.add(ctx, spec, false) }

func (f *Future) add(ctx context.Context, spec task.Spec, try bool) error {
	if err := checkInput(&spec); err != nil {
		return err
	}
	p := f.pool
	waiting, stop := f.whileAlive(ctx)
	defer stop()
	if err := p.enter(waiting, int64(spec.Size()), try); err != nil {
		if ctx.Err() != nil || !errors.Is(err, context.Canceled) {
			return err
		}
		p.mu.Lock() // the future was cancelled meanwhile
	}
	defer p.mu.Unlock()
	i := f.log.Add(1)
	if spec.Index == 0 {
		spec.Index = i
	}
	spec.Stream = f.stream(i)
	f.items = append(f.items, item{spec: &spec})
	if i == 1 {
		f.label = newLabel(&spec)
	}
	if f.halted {
		f.resolve(job{owner: &f.self, index: i}, &Done{Result: task.Result{Err: f.why}})
		return nil
	}
	// Resolving looks the task up by its item, so that must be known before
	// anything can happen to it; nothing does before pump.
	f.items[i-1].id = p.push(job{owner: &f.self, index: i})
	p.pump(time.Now())
	return nil
}

// stream returns the stream of the task of an index that is submitted now. Under Pool.mu.
func (f *Future) stream(i int) rng.Stream {
	if !f.streams.IsZero() {
		return f.streams.Of(uint64(i))
	}
	f.pool.numbered++
	return f.pool.opt.Streams.Of(f.pool.numbered)
}

// checkInput checks that a task's input fits into a frame.
func checkInput(spec *task.Spec) error {
	if len(spec.Input) > wire.MaxInput {
		return fmt.Errorf("the task's input has %d bytes; at most %d are possible: pass the name of a file", len(spec.Input), wire.MaxInput)
	}
	return nil
}

// checkCommand checks that the rest of a task does. The kernel would not take what
// does not (execve(2), "Limits on size of arguments and environment").
func checkCommand(spec *task.Spec) error {
	if n := spec.Size() - len(spec.Input); n > wire.MaxSpec {
		return fmt.Errorf("its command and variables are too long: %d bytes; %d are possible", n, wire.MaxSpec)
	}
	return nil
}

// whileAlive returns a context for the wait at the gate, that also ends when the
// future is cancelled.
func (f *Future) whileAlive(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.pool.opt.Memory == 0 {
		return ctx, func() {} // there is no gate
	}
	f.pool.mu.Lock()
	if f.alive == nil {
		f.alive, f.end = context.WithCancel(context.Background())
		if f.halted {
			f.end()
		}
	}
	alive := f.alive
	f.pool.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(alive, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// halt keeps what has not started from starting, and ends the waits of those who
// would add more. The first reason stands. Under Pool.mu.
func (f *Future) halt(why *task.ErrorValue) {
	if !f.halted {
		f.halted, f.why = true, why
	}
	if f.end != nil {
		f.end()
	}
}

// Seal says that no more tasks come.
func (f *Future) Seal() {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	f.seal()
}

func (f *Future) seal() {
	f.sealed = true
	f.log.Seal()
	f.settle()
}

func (f *Future) spec(j job) task.Spec {
	if f.everywhere != nil {
		return *f.everywhere
	}
	return *f.items[j.index-1].spec
}

func (f *Future) full() bool { return false }

func (f *Future) stopOnFailure() bool { return f.stop }

func (f *Future) live() *printing { return nil }

func (f *Future) stopped() bool { return f.halted }

func (f *Future) size(j job) int64 {
	if f.everywhere != nil || j.index > len(f.items) || f.items[j.index-1].spec == nil {
		return 0
	}
	return int64(f.items[j.index-1].spec.Size())
}

func (f *Future) needs(j job) queue.Needs { return needsOf(f.items[j.index-1].spec) }

func (f *Future) drop(j job, why *task.ErrorValue) {
	if f.everywhere != nil {
		f.pool.withdraw(f, why)
		return
	}
	f.resolve(j, &Done{Result: task.Result{Err: why}})
}

func (f *Future) resolve(j job, done *Done) {
	it := &f.items[j.index-1]
	if it.spec == nil { // its pool was reset meanwhile
		f.pool.d.store.Discard(done.Output)
		return
	}
	if done.ID = it.id; done.Argv == nil {
		shown := it.spec.Shown(0)
		done.Name, done.Argv = shown.Name, shown.Argv
		done.Stream = cmp.Or(it.spec.Stream, done.Stream)
	}
	done.Row = it.spec.Row
	it.spec = nil
	f.pool.completed++
	f.log.Put(j.index, done)
	f.settle()
	if f.stop && !f.halted && done.Err != nil && done.Err.Kind != task.KindCancelled {
		f.cancel(task.Cancelled(fmt.Sprintf("task %d had failed", done.Index)))
	}
}

// append adds a result of an everywhere.
func (f *Future) append(done *Done) {
	f.items = append(f.items, item{id: done.ID})
	f.pool.completed++
	f.log.Put(f.log.Add(1), done)
	f.settle()
}

// settle tells whoever waits when the future is resolved. Under Pool.mu.
func (f *Future) settle() {
	if !f.isResolved() {
		return
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	delete(f.pool.futures, f.id)
	for _, r := range f.racers {
		select {
		case r <- struct{}{}:
		default:
		}
	}
	f.racers = nil
}

func (f *Future) isResolved() bool { return f.log.Counts().Over }

// Cancel ends every task of the future that has not resolved; they resolve to
// why. It reports whether there was one.
func (f *Future) Cancel(why *task.ErrorValue) bool {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	if f.isResolved() {
		return false
	}
	f.cancel(why)
	f.pool.pump(time.Now())
	return true
}

func (f *Future) cancel(why *task.ErrorValue) {
	if f.everywhere != nil {
		f.pool.withdraw(f, why)
		return
	}
	f.halt(why)
	for i := range f.items {
		if f.items[i].spec != nil {
			f.pool.cancel(f.items[i].id, why)
		}
	}
}

// resolveRest resolves at once what is unresolved. Its pool is closed.
func (f *Future) resolveRest(why *task.ErrorValue) {
	if f.everywhere != nil {
		f.endEverywhere(why)
		return
	}
	f.halt(why)
	for i := range f.items {
		if f.items[i].spec != nil {
			f.resolve(job{owner: &f.self, index: i + 1}, &Done{Result: task.Result{Err: why}})
		}
	}
	f.seal()
}

// Done returns a channel that is closed when the future is resolved.
func (f *Future) Done() <-chan struct{} { return f.log.Over() }

// MarkCollected notes that somebody has read all results.
func (f *Future) MarkCollected() {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	f.collected = true
}

// ID returns the future's id.
func (f *Future) ID() ID { return f.id }

// Kind returns what made the future.
func (f *Future) Kind() Kind { return f.kind }

// Pool returns the pool that the future was submitted to.
func (f *Future) Pool() *Pool { return f.pool }

// Result returns the i-th result, from 0, or nil if that task is unresolved or
// not there; more says whether there is or may yet be an i-th task. changed is
// closed when anything of the future has changed.
func (f *Future) Result(i int) (done *Done, more bool, changed <-chan struct{}) {
	return f.log.At(i + 1)
}

// Resolved is Result for the i-th task to resolve.
func (f *Future) Resolved(i int) (done *Done, more bool, changed <-chan struct{}) {
	return f.log.AtResolved(i + 1)
}

// Streams returns the streams of the future's tasks, by index, or nothing if they follow
// from no seed. That of a task that has resolved is the zero one.
func (f *Future) Streams() []rng.Stream {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	if f.streams.IsZero() && f.pool.opt.Streams.IsZero() {
		return nil
	}
	list := make([]rng.Stream, len(f.items))
	for i, it := range f.items {
		if it.spec != nil {
			list[i] = it.spec.Stream
		}
	}
	return list
}

// Finish resolves the future's next task from outside: in a profile without
// workers whoever submits a task runs it too. done is what it came to.
func (f *Future) Finish(done *Done) error {
	p := f.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.kind == KindEverywhere || f.isResolved() {
		return errors.New("it is resolved")
	}
	i := f.log.Counts().Resolved
	if i >= len(f.items) {
		return errors.New("it has no task")
	}
	p.queue.Cancel(f.items[i].id)
	f.resolve(job{owner: &f.self, index: i + 1}, done)
	return nil
}
