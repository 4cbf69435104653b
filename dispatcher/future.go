package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
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
)

// registry is all futures that have not been forgotten.
type registry struct {
	all  map[ID]*Future
	last ID
}

// Future is the handle of tasks that were submitted together. It is unresolved
// until all of them have resolved, and then resolved for ever.
type Future struct {
	id      ID
	pool    *Pool
	self    owned
	kind    Kind
	stop    bool // cancel the others when one fails
	created time.Time

	everywhere *task.Spec // of KindEverywhere, with the three after it
	marker     task.ID
	min        int

	// All below is guarded by Pool.mu.
	items    []item
	sealed   bool // no more items come
	halted   bool // what has not started will not
	unwanted bool // it was forgotten: results are thrown away
	resolved int
	failed   int
	order    []int32         // indices from 0, as they resolved
	watch    chan struct{}   // closed when an item resolves; nil if nobody waits
	done     chan struct{}   // closed when all have; nil until asked for
	racers   []chan struct{} // sent to when all have
	timer    *time.Timer
}

// item is one task of a future.
type item struct {
	id   task.ID
	spec *task.Spec // nil once resolved
	done *Done      // nil until resolved
}

// FutureOptions configures a Future.
type FutureOptions struct {
	// Timeout resolves the future, with code 5, so long after its submission;
	// 0 is never.
	Timeout time.Duration
	// StopOnFailure cancels the other tasks when one has failed.
	StopOnFailure bool
}

// ErrFull says that as many bytes are queued as may be.
var ErrFull = errors.New("the queue is full")

// NewFuture returns a future that Add gives tasks to and Seal completes.
func (p *Pool) NewFuture(kind Kind, opt FutureOptions) (*Future, error) {
	f := &Future{pool: p, kind: kind, stop: opt.StopOnFailure, created: time.Now()}
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
// as long as the queue is full; with try it returns ErrFull instead.
func (p *Pool) Submit(ctx context.Context, spec task.Spec, opt FutureOptions, try bool) (*Future, error) {
	f, err := p.NewFuture(KindSubmit, opt)
	if err != nil {
		return nil, err
	}
	if err := f.add(ctx, spec, try); err != nil {
		p.d.Forget(f)
		return nil, err
	}
	f.Seal()
	return f, nil
}

// Add queues one more task, numbered from 1. It waits as Submit does.
func (f *Future) Add(ctx context.Context, spec task.Spec) error { return f.add(ctx, spec, false) }

func (f *Future) add(ctx context.Context, spec task.Spec, try bool) error {
	if len(spec.Input) > wire.MaxInput {
		return fmt.Errorf("the task's input has %d bytes; at most %d are possible: pass the name of a file", len(spec.Input), wire.MaxInput)
	}
	p := f.pool
	if err := p.enter(ctx, int64(spec.Size()), try); err != nil {
		return err
	}
	defer p.mu.Unlock()
	if spec.Index == 0 {
		spec.Index = len(f.items) + 1
	}
	f.items = append(f.items, item{spec: &spec})
	i := len(f.items)
	if f.halted {
		p.completed++
		f.resolve(job{owner: &f.self, index: i}, &Done{Result: task.Result{Err: task.Cancelled("")}})
		return nil
	}
	// Resolving looks the task up by its item, so that must be known before
	// anything can happen to it; nothing does before pump.
	f.items[i-1].id = p.push(job{owner: &f.self, index: i})
	p.pump(time.Now())
	return nil
}

// Seal says that no more tasks come.
func (f *Future) Seal() {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	f.seal()
}

func (f *Future) seal() {
	f.sealed = true
	f.settle()
}

// Everywhere queues a task for every worker, at least min of them: those that
// are there run it before anything that is submitted later starts, and those
// that join later before they take any task.
func (p *Pool) Everywhere(spec task.Spec, min int) (*Future, error) {
	spec.Everywhere = true
	f := &Future{pool: p, kind: KindEverywhere, created: time.Now(), everywhere: &spec, min: max(min, 1)}
	f.self.owner = f
	if err := p.register(f); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	f.marker = p.queue.PushBarrier(job{owner: &f.self}, needsOf(f.everywhere), f.min)
	p.pump(time.Now())
	return f, nil
}

func (f *Future) spec(j job) task.Spec {
	if f.everywhere != nil {
		return *f.everywhere
	}
	return *f.items[j.index-1].spec
}

func (f *Future) full() bool { return false }

func (f *Future) stopOnFailure() bool { return f.stop }

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
	if j.index > len(f.items) { // it was abandoned and then forgotten
		f.pool.d.discard(done)
		return
	}
	it := &f.items[j.index-1]
	if it.done != nil { // it was abandoned meanwhile
		f.pool.d.discard(done)
		return
	}
	if f.unwanted {
		f.pool.d.discard(done)
	}
	done.Index, done.ID = j.index, it.id
	if it.spec != nil && done.Argv == nil {
		done.Name, done.Argv = it.spec.Name, it.spec.Argv
	}
	it.done, it.spec = done, nil
	f.count(done)
	if f.stop && !f.halted && done.Err != nil && done.Err.Kind != task.KindCancelled {
		f.cancel(task.Cancelled(fmt.Sprintf("task %d had failed", done.Index)))
	}
}

// append adds a result of an everywhere.
func (f *Future) append(done *Done) {
	if f.unwanted {
		f.pool.d.discard(done)
	}
	done.Index = len(f.items) + 1
	f.items = append(f.items, item{id: done.ID, done: done})
	f.pool.completed++
	f.count(done)
}

func (f *Future) count(done *Done) {
	f.resolved++
	f.order = append(f.order, int32(done.Index-1))
	if done.Err != nil {
		f.failed++
	}
	if f.watch != nil {
		close(f.watch)
		f.watch = nil
	}
	f.settle()
}

// settle tells whoever waits when the future is resolved.
func (f *Future) settle() {
	if !f.isResolved() {
		return
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	delete(f.pool.futures, f.id)
	if f.watch != nil {
		close(f.watch)
		f.watch = nil
	}
	if f.done != nil {
		select {
		case <-f.done:
		default:
			close(f.done)
		}
	}
	for _, r := range f.racers {
		select {
		case r <- struct{}{}:
		default:
		}
	}
	f.racers = nil
}

func (f *Future) isResolved() bool { return f.sealed && f.resolved == len(f.items) }

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
	f.halted = true
	for i := range f.items {
		if f.items[i].done == nil {
			f.pool.cancel(f.items[i].id, why)
		}
	}
}

// abandon resolves at once what is unresolved. Its pool is closed.
func (f *Future) abandon(why *task.ErrorValue) {
	if f.everywhere != nil && len(f.items) == 0 {
		f.append(&Done{Result: task.Result{ID: f.marker, Argv: f.everywhere.Argv, Err: why}})
	}
	f.halted = true
	for i := range f.items {
		if f.items[i].done == nil {
			f.pool.completed++
			f.resolve(job{owner: &f.self, index: i + 1}, &Done{Result: task.Result{Err: why}})
		}
	}
	f.seal()
}

// Done returns a channel that is closed when the future is resolved.
func (f *Future) Done() <-chan struct{} {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	if f.done == nil {
		f.done = make(chan struct{})
		if f.isResolved() {
			close(f.done)
		}
	}
	return f.done
}

// Race waits until one of the futures is resolved and returns its index, -1
// for an empty list. The first of several that already are wins.
func Race(ctx context.Context, futures []*Future) (int, error) {
	if len(futures) == 0 {
		return -1, nil
	}
	bell := make(chan struct{}, 1)
	for i, f := range futures {
		f.pool.mu.Lock()
		resolved := f.isResolved()
		if !resolved {
			f.racers = append(f.racers, bell)
		}
		f.pool.mu.Unlock()
		if resolved {
			leaveRace(futures[:i], bell)
			return i, nil
		}
	}
	defer leaveRace(futures, bell)
	select {
	case <-bell:
	case <-ctx.Done():
		return -1, ctx.Err()
	}
	for i, f := range futures {
		if s := f.Status(); s.State == "resolved" {
			return i, nil
		}
	}
	return -1, errors.New("no future is resolved")
}

func leaveRace(futures []*Future, bell chan struct{}) {
	for _, f := range futures {
		f.pool.mu.Lock()
		if i := slices.Index(f.racers, bell); i >= 0 {
			f.racers = slices.Delete(f.racers, i, i+1)
		}
		f.pool.mu.Unlock()
	}
}

// ID returns the future's id.
func (f *Future) ID() ID { return f.id }

// Kind returns what made the future.
func (f *Future) Kind() Kind { return f.kind }

// Pool returns the pool that the future was submitted to.
func (f *Future) Pool() *Pool { return f.pool }

// Result returns the i-th result, from 0, or nil if that task is unresolved or
// not there; more says whether there is or may yet be an i-th task. changed is
// closed when another task of the future has resolved.
func (f *Future) Result(i int) (done *Done, more bool, changed <-chan struct{}) {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	done, more, changed = f.result(i)
	return done, more && (i < len(f.items) || !f.sealed), changed
}

// result returns the i-th result, if it is there, and whether anything is
// unresolved.
func (f *Future) result(i int) (done *Done, more bool, changed <-chan struct{}) {
	if f.watch == nil && !f.isResolved() {
		f.watch = make(chan struct{})
	}
	if i >= 0 && i < len(f.items) {
		done = f.items[i].done
	}
	return done, done != nil || !f.isResolved(), f.watch
}

// Resolved is Result for the i-th task to resolve.
func (f *Future) Resolved(i int) (done *Done, more bool, changed <-chan struct{}) {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	at := -1
	if i < len(f.order) {
		at = int(f.order[i])
	}
	return f.result(at)
}

// FutureStatus says how a future stands.
type FutureStatus struct {
	ID       ID        `json:"id"`
	Kind     Kind      `json:"kind"`
	Profile  string    `json:"profile"`
	State    string    `json:"state"` // queued, running or resolved
	Total    int       `json:"total"`
	Resolved int       `json:"resolved"`
	Failed   int       `json:"failed"`
	Created  time.Time `json:"created"`
}

// Status returns how the future stands.
func (f *Future) Status() FutureStatus {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	s := FutureStatus{ID: f.id, Kind: f.kind, Profile: f.pool.name, State: "queued",
		Total: len(f.items), Resolved: f.resolved, Failed: f.failed, Created: f.created}
	switch {
	case f.isResolved():
		s.State = "resolved"
	case f.everywhere != nil:
		s.Total = max(f.min, len(f.pool.sessions))
		if f.pool.queue.Opened(f.marker) {
			s.State = "running"
		}
	case f.resolved > 0 || f.running():
		s.State = "running"
	}
	return s
}

// running reports whether one of the first tasks is with a worker: later ones
// never are before them, but for a retry.
func (f *Future) running() bool {
	for i := range f.items {
		if f.items[i].done == nil {
			state, ok := f.pool.queue.State(f.items[i].id)
			return ok && state != task.Queued
		}
	}
	return false
}

// Future returns the future of an id, or nil if it is unknown or forgotten.
func (d *Dispatcher) Future(id ID) *Future {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.futures.all[id]
}

// Futures returns all futures that have not been forgotten, oldest first.
func (d *Dispatcher) Futures() []*Future {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*Future
	for _, f := range d.futures.all {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *Future) int { return cmp.Compare(a.id, b.id) })
	return list
}

// Forget drops a future and its results. One that is unresolved runs on, and
// nobody learns what became of it.
func (d *Dispatcher) Forget(f *Future) {
	d.mu.Lock()
	delete(d.futures.all, f.id)
	d.mu.Unlock()
	p := f.pool
	p.mu.Lock()
	delete(p.futures, f.id)
	f.unwanted = true
	items := f.items
	if f.isResolved() {
		f.items, f.resolved = nil, 0
	}
	p.mu.Unlock()
	for _, it := range items {
		if it.done != nil {
			d.discard(it.done)
		}
	}
}

// discard throws a result's output away.
func (d *Dispatcher) discard(done *Done) {
	d.kept.Add(-done.bytes)
	done.bytes = 0
	done.Output.Close()
}

// Finish resolves the future's only task from outside: of a profile without
// workers, whose tasks the caller runs himself.
func (f *Future) Finish(done *Done) error {
	p := f.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.kind == KindEverywhere || f.isResolved() {
		return errors.New("it is resolved")
	}
	i := f.resolved
	if i >= len(f.items) {
		return errors.New("it has no task")
	}
	p.queue.Cancel(f.items[i].id)
	p.completed++
	f.resolve(job{owner: &f.self, index: i + 1}, done)
	return nil
}
