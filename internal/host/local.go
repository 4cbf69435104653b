package host

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"muster/dispatcher"
	"muster/task"
	mtls "muster/tls"
	"muster/worker"
)

const (
	endPatience  = 10 * time.Second       // for a worker on this machine to go in order
	lostPatience = 2 * time.Second        // for one whose session has ended
	firstPause   = 100 * time.Millisecond // before a worker is started again; the next is twice as long
	settleTime   = time.Second            // for the dispatcher to see that a worker is gone
	maxUnjoined  = 5                      // deaths in a row of workers that never joined
	maxDeaths    = 10                     // deaths in a row of workers that finished no task
)

// Local keeps one worker process running on this machine.
type Local struct {
	p      *Profile
	name   string
	argv   []string
	failed func(error)
	over   chan struct{} // closed when it is to go; under Profile.mu
	gone   chan struct{} // closed when the last process is
	err    error         // why it was given up; readable when gone is closed
}

// process is one of the processes that a Local starts one after another. Each has
// a launch of its own: what the dispatcher tells of a session is told of this
// process and of no other.
type process struct {
	l       *Local
	launch  *mtls.Launch
	restart int
	worker  *worker.Local // nil until it is started; for Local.watch alone
	exited  func()        // to be called when worker has been waited for

	lost  chan struct{} // closed when its session has ended without a goodbye
	ended chan struct{} // closed when it has ended, and how is known
	how   string        // readable when ended is closed

	mu     sync.Mutex // guards all below
	isLost bool       // lost is closed
	worked bool       // it has finished a task
}

// StartLocal starts a worker with so many slots on this machine, with more
// options of its command line. When it dies it is started again, unless it
// does so again and again; failed, if not nil, is told then. One that leaves in
// order stays away.
func (p *Profile) StartLocal(slots int, failed func(error), more ...string) (*Local, error) {
	if err := enough(slots); err != nil {
		return nil, err
	}
	l := p.newLocal(slots, failed, more)
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return nil, dispatcher.ErrClosed
	}
	p.locals[l] = true
	p.mu.Unlock()
	first := l.newProcess(0)
	if err := first.start(); err != nil {
		first.remove()
		l.forget()
		return nil, err
	}
	go l.watch(first)
	return l, nil
}

func (p *Profile) newLocal(slots int, failed func(error), more []string) *Local {
	h := p.h
	h.mu.Lock()
	h.locals++
	n := h.locals
	h.mu.Unlock()
	l := &Local{p: p, name: "local-" + strconv.Itoa(n), over: make(chan struct{}), gone: make(chan struct{}), failed: failed}
	if l.failed == nil {
		l.failed = func(err error) { h.opt.Say("%v", err) }
	}
	l.argv = append(append([]string{}, h.opt.Worker...), "--join-file", "-", "--tether", "--element", l.name, "--slots", strconv.Itoa(slots))
	if p.Spec.Walltime > 0 {
		l.argv = append(l.argv, "--walltime", p.Spec.Walltime.String())
	}
	if p.Spec.Estimate > 0 {
		l.argv = append(l.argv, "--estimate", p.Spec.Estimate.String())
	}
	l.argv = append(append(l.argv, p.Spec.Options.Args()...), more...)
	return l
}

// newProcess makes a process that has not been started and lets it join: until it
// has, the pool expects it.
func (l *Local) newProcess(restart int) *process {
	id := l.name
	if restart > 0 {
		id += "-again-" + strconv.Itoa(restart)
	}
	c := &process{l: l, launch: mtls.NewLaunch(id, mtls.Terms{Uses: 1}), restart: restart, lost: make(chan struct{}), ended: make(chan struct{})}
	l.p.Pool.AddLaunch(c.launch, dispatcher.LaunchOptions{
		Expected: c.expected,
		Fate:     c.fate,
		Lost:     func(_ string, done int, _ error) { c.noteLost(done) },
	})
	return c
}

// remove lets the process join no more.
func (c *process) remove() { c.l.p.Pool.RemoveLaunch(c.launch) }

func (c *process) start() (err error) {
	h := c.l.p.h
	join := mtls.Join{Addrs: []string{"unix:" + h.socket}, Pin: h.id.Pin(), Launch: c.launch.ID(), Token: c.launch.Token()}
	c.exited, err = h.children.start(func() (int, error) {
		c.worker, err = worker.StartLocal(append(c.l.argv, "--restart", strconv.Itoa(c.restart)), append(os.Environ(), h.opt.Env...), join, h.opt.Stderr)
		if err != nil {
			return 0, err
		}
		return c.worker.Pid(), nil
	})
	return explainStart(err)
}

// expected is how many workers may yet join by the process's launch.
func (c *process) expected() int {
	if c.joined() || c.l.isLeaving() {
		return 0
	}
	return 1
}

func (c *process) joined() bool { return c.launch.Seen(c.l.name) }

// noteLost notes that the process's session has ended without a goodbye, in which
// it had finished so many tasks.
func (c *process) noteLost(done int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worked = c.worked || done > 0
	if !c.isLost {
		c.isLost = true
		close(c.lost)
	}
}

func (c *process) hasWorked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.worked
}

// fate waits until the process has ended, which it soon has without a session.
func (c *process) fate(ctx context.Context, _ string) dispatcher.Fate {
	c.noteLost(0)
	select {
	case <-c.ended:
		return dispatcher.Fate{Kind: task.KindReset, Text: c.how}
	case <-ctx.Done():
		return dispatcher.Fate{}
	}
}

// run waits until the process has ended, and ends it when it is to go or has lost
// its session. It reports whether another one is to be started.
func (c *process) run() (again bool) {
	how := "its process ended with "
	select {
	case <-c.worker.Done():
	case <-c.l.over:
		c.worker.End(endPatience)
	case <-c.lost:
		// A process that is stopped heeds nothing but SIGKILL.
		select {
		case <-c.worker.Done():
		case <-time.After(lostPatience):
			how = "it no longer answered; its process was ended with "
			c.worker.End(0)
		}
	}
	c.exited()
	c.end(how + c.worker.Status())
	if err := c.l.p.h.children.clear(); err != nil {
		c.l.p.h.opt.Log.Error("processes may be left", "error", err)
	}
	return !c.l.isLeaving() && !c.worker.InOrder()
}

// end says how the process has ended.
func (c *process) end(how string) {
	c.how = how
	close(c.ended)
	c.remove()
}

// watch starts the worker again when it dies.
func (l *Local) watch(cur *process) {
	defer l.forget()
	for deaths := 0; cur.run(); {
		deaths++
		next := l.newProcess(cur.restart + 1)
		if !l.rest(cur, &deaths) {
			next.remove()
			return
		}
		for err := next.start(); err != nil; err = next.start() {
			deaths++
			next.how = err.Error()
			if !l.rest(next, &deaths) {
				next.remove()
				return
			}
		}
		cur = next
	}
}

// rest waits before the worker is started again, the longer the more of its
// processes have died in a row, and reports whether it is to be.
func (l *Local) rest(dead *process, deaths *int) bool {
	most, what := maxDeaths, "died %d times without finishing a task"
	if !dead.joined() {
		most, what = maxUnjoined, "ended %d times before it could join"
	}
	pause := settleTime
	if *deaths < most {
		pause = firstPause << (*deaths - 1)
		l.p.h.opt.Log.Warn("a local worker died; starting another", "worker", l.name, "how", dead.how, "in", pause)
	}
	select {
	case <-time.After(pause):
	case <-l.over:
		return false
	}
	if dead.hasWorked() {
		*deaths = 0
	}
	if *deaths >= most {
		l.err = fmt.Errorf("the local worker "+what+", the last time: %s", *deaths, dead.how)
		l.p.noteTrouble(l.err)
		l.failed(l.err)
		return false
	}
	return true
}

// Gone is closed when the worker is and will not be started again.
func (l *Local) Gone() <-chan struct{} { return l.gone }

// Err returns why the worker was given up, once Gone is closed; nil if it left in
// order or was told to go.
func (l *Local) Err() error { return l.err }

func (l *Local) forget() {
	l.p.mu.Lock()
	delete(l.p.locals, l)
	l.p.mu.Unlock()
	close(l.gone)
}

func (l *Local) isLeaving() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// leaving says that the worker is expected to go. Under Profile.mu.
func (l *Local) leaving() {
	if !l.isLeaving() {
		close(l.over)
	}
}
