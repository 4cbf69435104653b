package dispatcher

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	"muster/rng"
	"muster/task"
	mtls "muster/tls"
)

// PoolOptions configures a Pool.
type PoolOptions struct {
	// LostRetries is how often a task whose worker was lost is tried again.
	LostRetries int
	// Tries is how often a task that fails is tried in all; 0 is once.
	Tries int
	// Delay is how long after a task was sent to a worker the next one may be.
	Delay time.Duration
	// Memory is how many bytes of tasks may be queued before Submit waits; 0 is
	// no limit. The gate is before the task: its own size does not matter.
	Memory int64
	// RoundRobin binds each task to the next worker in turn when it is
	// submitted, instead of giving it to whichever is free first.
	RoundRobin bool
	// Streams are those that tasks get by their number, in the order of submission;
	// without a seed each slot gives its tasks streams of its own.
	Streams rng.Streams
	// Spread sends workers that cannot read what tasks share a copy of it.
	Spread bool
}

// LaunchOptions says how a pool treats the workers of a launch, and what whoever
// started them can tell. The functions are called without locks, from any
// goroutine; nil ones are not.
type LaunchOptions struct {
	// Lease is how long a worker whose connection breaks keeps its tasks, in
	// which it may come back; with 0 they are taken back at once.
	Lease time.Duration
	// Expected returns how many workers may yet join that have not.
	Expected func() int
	// Fate asks what became of a worker that was lost. Its tasks wait for the
	// answer, 30 s at most, after which ctx is done.
	Fate func(ctx context.Context, element string) Fate
	// Lost is told of a worker whose session has ended and that did not say
	// goodbye. done is how many tasks it had ended.
	Lost func(element string, done int, why error)
}

// Fate is what became of a worker that was lost. The zero value is that nobody
// knows.
type Fate struct {
	// Kind is task.KindPreempted, task.KindWalltime or task.KindOOM, or
	// task.KindReset for every other end.
	Kind task.Kind
	// Text says it in a few words, such as "job 17_3 was cancelled on the cluster".
	Text string
}

// owner is what a task belongs to: it makes the task when its turn has come, and
// takes what it resolved to. All but full is called under Pool.mu.
type owner interface {
	spec(j job) task.Spec
	resolve(j job, done *Done)
	// full reports whether nothing new of this owner may start for now.
	full() bool
	// stopOnFailure reports whether nothing may start after a task has failed.
	stopOnFailure() bool
	// live takes what attempts print as it comes; nil if nobody wants it then.
	live() *printing
	// stopped reports whether a task that comes back is to be dropped.
	stopped() bool
	// size is what a queued task counts of Memory, in bytes, and needs what it
	// needs of a machine.
	size(j job) int64
	needs(j job) queue.Needs
	// drop takes a queued task that will never start.
	drop(j job, why *task.ErrorValue)
}

// owned is an owner behind one word: a million jobs point at it.
type owned struct{ owner }

// job is what the queue holds of a task until it is assigned.
type job struct {
	owner *owned
	row   []string // of a Run
	index int      // from 1
}

// Pool is one profile: a queue, the workers that take from it, and the futures
// of what was submitted to it.
type Pool struct {
	d    *Dispatcher
	name string
	opt  PoolOptions
	log  hclog.Logger

	mu        sync.Mutex // guards all below
	queue     *queue.Queue[job]
	sessions  map[uint64]*session // by epoch
	absent    int                 // sessions that have no connection
	joined    uint64              // workers ever admitted
	completed uint64              // tasks resolved
	numbered  uint64              // tasks that have a number among opt.Streams
	left      [wire.LeftMaxTasks + 1]int
	timer     *time.Timer
	closed    bool
	watch     chan struct{} // closed and replaced when anything changes that status shows
	watched   bool          // somebody waits for watch
	pumping   bool          // pump is at work
	unsent    []*session    // have frames to be written when it is through
	pause     time.Time     // no task is sent before it
	expecting bool          // somebody asks how many workers may yet join
	spreading int           // shares that workers are being sent

	futures map[ID]*Future                // unresolved
	run     *Run                          // what has the pool for itself; nil if nothing has
	waiting map[queue.Place]chan struct{} // Submits before the gate
}

func newPool(d *Dispatcher, name string, opt PoolOptions) *Pool {
	p := &Pool{
		d: d, name: name, opt: opt, log: d.log,
		queue:    queue.New[job](queue.Options{LostRetries: opt.LostRetries, Tries: opt.Tries, RoundRobin: opt.RoundRobin, Memory: opt.Memory}),
		sessions: map[uint64]*session{},
		watch:    make(chan struct{}),
		futures:  map[ID]*Future{},
		waiting:  map[queue.Place]chan struct{}{},
	}
	p.timer = time.AfterFunc(time.Hour, p.tick)
	return p
}

// Name returns the profile's name.
func (p *Pool) Name() string { return p.name }

// Options returns what the pool was made with.
func (p *Pool) Options() PoolOptions { return p.opt }

// AddLaunch lets workers that prove l's token join this pool. If they are expected, no
// task is blamed from now on for what all lack that have joined.
func (p *Pool) AddLaunch(l *mtls.Launch, opt LaunchOptions) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.d.launches[l.ID()] = entrance{launch: l, pool: p, opt: opt}
	p.mu.Lock()
	defer p.mu.Unlock()
	if opt.Expected != nil && p.expecting {
		p.queue.Expect(true)
	}
}

// RemoveLaunch lets nobody in any more with the launch's token.
func (p *Pool) RemoveLaunch(l *mtls.Launch) {
	l.Revoke()
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	delete(p.d.launches, l.ID())
}

// Workers returns how many workers are connected or may come back, how many ever
// joined, and a channel that is closed when anything of the pool's status changes.
func (p *Pool) Workers() (connected int, ever uint64, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched = true
	for _, s := range p.sessions {
		if s.state != lost {
			connected++
		}
	}
	return connected, p.joined, p.watch
}

// Running returns how many tasks run now.
func (p *Pool) Running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.queue.Counts()
	return c.Running + c.Assigned
}

// Busy returns how many slots have a task.
func (p *Pool) Busy() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		n += min(len(s.attempts), int(s.hello.Slots))
	}
	return n
}

// Retire tells n workers to finish what they run and leave, idle ones first,
// and returns how many it told; n below 0 is all. Those that are lost are not told.
func (p *Pool) Retire(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := 0
	for _, idle := range []bool{true, false} {
		for _, s := range p.inOrder() {
			if told == n {
				break
			}
			if s.state != lost && !s.leaving() && (len(s.attempts) == 0) == idle {
				s.retiring = "told to leave"
				p.queue.Set(s.epoch, queue.Retired)
				s.recallAll()
				s.send(&wire.Drain{Reason: "down"})
				told++
			}
		}
	}
	p.pump(time.Now())
	return told
}

// Reset ends the pool: it says goodbye to the workers and resolves what is
// unresolved with code 19. It returns when each worker has hung up or ctx is
// done.
func (p *Pool) Reset(ctx context.Context) {
	p.d.mu.Lock()
	if p.d.pools[p.name] == p {
		delete(p.d.pools, p.name)
	}
	p.d.mu.Unlock()
	p.reset("the profile was reset")
	for {
		connected, _, changed := p.Workers()
		if connected == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.hangUp()
			return
		}
	}
}

func (p *Pool) reset(why string) {
	p.d.mu.Lock()
	for id, e := range p.d.launches {
		if e.pool == p {
			delete(p.d.launches, id)
		}
	}
	p.d.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	p.timer.Stop()
	for place, granted := range p.waiting {
		close(granted)
		delete(p.waiting, place)
	}
	for _, s := range p.sessions {
		if s.link == nil {
			p.endUnconnected(s, errors.New(why))
			continue
		}
		s.goodbye()
	}
	for _, f := range p.futures {
		f.resolveRest(task.Reset(why))
	}
	p.dropQueued() // what is left is a run's
	p.changed()
}

func (p *Pool) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		if s.link != nil {
			s.link.raw.Close()
		}
	}
}

// changed tells those who watch. Under mu.
func (p *Pool) changed() {
	if p.watched {
		close(p.watch)
		p.watch = make(chan struct{})
		p.watched = false
	}
}

func (p *Pool) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pump(time.Now())
}

// pump does whatever may be done now and sets the timer for what may be done
// later. It is called under mu after every event.
func (p *Pool) pump(now time.Time) {
	p.changed()
	if p.closed {
		return
	}
	p.pumping = true
	for again := true; again; {
		for d, ok := p.queue.Next(now, p.admit); ok; d, ok = p.queue.Next(now, p.admit) {
			p.do(d)
		}
		again = p.pass()
	}
	for _, r := range p.queue.Recalls(now) {
		p.sessions[r.Epoch].recall(r)
	}
	for _, place := range p.queue.Grants() {
		close(p.waiting[place])
	}
	p.pumping = false
	p.flush()
	if at, ok := p.queue.Wake(now); ok {
		p.timer.Reset(at.Sub(now))
	}
}

// do carries out what the queue has decided.
func (p *Pool) do(d queue.Decision[job]) {
	switch d.Verdict {
	case queue.Send:
		p.sessions[d.Epoch].assign(d)
		if delay := p.opt.Delay; delay > 0 {
			p.pause = time.Now().Add(delay)
			time.AfterFunc(delay, p.tick)
		}
	case queue.Sync:
		p.sessions[d.Epoch].sync(d)
	case queue.Fail:
		p.fail(d)
	}
}

// fail resolves what no machine can run.
func (p *Pool) fail(d queue.Decision[job]) {
	if f, ok := d.Payload.owner.owner.(*Future); ok && f.everywhere != nil {
		f.endEverywhere(d.Lack.Err())
		return
	}
	j := d.Payload
	spec := j.owner.spec(j).Shown(0)
	j.owner.resolve(j, &Done{Result: task.Result{ID: d.Task, Index: j.index, Attempt: int(d.Attempt), Name: spec.Name, Argv: spec.Argv, Stream: spec.Stream, Err: d.Lack.Err()}})
}

// pass seals the everywheres that have passed, and reports whether one has.
func (p *Pool) pass() (some bool) {
	for {
		_, j, ok := p.queue.Passed()
		if !ok {
			return some
		}
		some = true
		j.owner.owner.(*Future).seal()
	}
}

// flush has the frames written that were queued for workers. Under mu.
func (p *Pool) flush() {
	for _, s := range p.unsent {
		s.unsent = false
		s.w.Flush()
	}
	p.unsent = p.unsent[:0]
}

// admit holds new tasks back while more output waits to be read than their
// owner allows, and while the disk is full, and each until Delay is over. A task that is tried again passes: in
// input order it is the one that the reader waits for.
func (p *Pool) admit(_ task.ID, j job, attempt uint32) bool {
	if p.opt.Delay > 0 && time.Now().Before(p.pause) {
		return false
	}
	return attempt > 1 || !j.owner.full() && !p.d.diskFull()
}

// push queues a task. Under mu.
func (p *Pool) push(j job) task.ID {
	return p.queue.Push(j, j.owner.size(j), j.owner.needs(j))
}

// cancel ends one task and reports whether it had not ended. Under mu.
func (p *Pool) cancel(id task.ID, why *task.ErrorValue) bool {
	state, ok := p.queue.State(id)
	switch {
	case !ok:
		return false
	case state == task.Queued:
		j, _, _, _ := p.queue.Cancel(id)
		j.owner.resolve(j, &Done{Result: task.Result{ID: id, Index: j.index, Err: why}})
		return true
	}
	ref, _ := p.queue.Holder(id)
	s := p.sessions[ref.Epoch]
	s.cancel(s.attempts[ref], why)
	return true
}
