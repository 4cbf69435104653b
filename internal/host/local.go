package host

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"muster/dispatcher"
	mtls "muster/tls"
	"muster/worker"
)

const (
	endPatience = 10 * time.Second // for a worker on this machine to go in order
	maxRelaunch = 3                // deaths of one in a row with no result between them
)

// Local keeps one worker process running on this machine.
type Local struct {
	p      *Profile
	argv   []string
	launch *mtls.Launch
	join   mtls.Join
	failed func(error)
	over   chan struct{} // closed when it is to go
	gone   chan struct{} // closed when the last process is
	cur    *worker.Local
	done   int // tasks of the profile that had ended when it was started
}

// StartLocal starts a worker with so many slots on this machine, with more
// options of its command line. When it dies it is started again, unless it
// does so again and again; failed, if not nil, is told then. One that leaves in
// order stays away.
func (p *Profile) StartLocal(slots int, failed func(error), more ...string) (*Local, error) {
	h := p.h
	h.mu.Lock()
	h.locals++
	n := h.locals
	h.mu.Unlock()
	name := "local-" + strconv.Itoa(n)
	l := &Local{p: p, launch: mtls.NewLaunch(name, 1, time.Time{}), over: make(chan struct{}), gone: make(chan struct{}), failed: failed}
	if l.failed == nil {
		l.failed = func(err error) { h.opt.Say("%v", err) }
	}
	p.Pool.AddLaunch(l.launch, dispatcher.LaunchOptions{})
	l.join = mtls.Join{Addrs: []string{"unix:" + h.socket}, Pin: h.id.Pin(), Launch: l.launch.ID(), Token: l.launch.Token()}
	l.argv = append(append([]string{}, h.opt.Worker...), "--join-file", "-", "--tether", "--element", name, "--slots", strconv.Itoa(slots))
	if p.Spec.Walltime > 0 {
		l.argv = append(l.argv, "--walltime", p.Spec.Walltime.String())
	}
	if p.Spec.Estimate > 0 {
		l.argv = append(l.argv, "--estimate", p.Spec.Estimate.String())
	}
	l.argv = append(append(l.argv, p.Spec.Options.Args()...), more...)
	if err := l.start(0); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.locals[l] = true
	p.mu.Unlock()
	go l.watch()
	return l, nil
}

func (l *Local) start(restart int) error {
	h := l.p.h
	h.kids.Lock()
	defer h.kids.Unlock()
	cur, err := worker.StartLocal(append(l.argv, "--restart", strconv.Itoa(restart)), append(os.Environ(), h.opt.Env...), l.join, h.opt.Stderr)
	if err != nil {
		return err
	}
	h.own[cur.Pid()] = true
	l.cur = cur
	l.done = l.p.Pool.Info().Completed
	return nil
}

// buried says that the process is gone, and clears what it left.
func (l *Local) buried() {
	h := l.p.h
	h.kids.Lock()
	delete(h.own, l.cur.Pid())
	h.kids.Unlock()
	h.clear()
}

// watch starts the worker again when it dies.
func (l *Local) watch() {
	defer func() {
		l.p.Pool.RemoveLaunch(l.launch)
		l.p.mu.Lock()
		delete(l.p.locals, l)
		l.p.mu.Unlock()
		close(l.gone)
	}()
	deaths := 0
	for restart := 1; ; restart++ {
		select {
		case <-l.over:
			l.cur.End(endPatience)
			l.buried()
			return
		case <-l.cur.Done():
		}
		l.buried()
		select {
		case <-l.over:
			return
		default:
		}
		if l.cur.InOrder() {
			return
		}
		if l.p.Pool.Info().Completed > l.done {
			deaths = 0
		}
		if deaths++; deaths > maxRelaunch {
			l.failed(fmt.Errorf("the local worker died %d times without finishing a task, last with: %s", deaths, l.cur.Status()))
			return
		}
		l.p.h.opt.Log.Warn("a local worker died; starting another", "how", l.cur.Status())
		if err := l.start(restart); err != nil {
			l.failed(err)
			return
		}
	}
}

// Gone is closed when the worker is and will not be started again.
func (l *Local) Gone() <-chan struct{} { return l.gone }

// leaving says that the worker is expected to go.
func (l *Local) leaving() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	select {
	case <-l.over:
	default:
		close(l.over)
	}
}

// end waits until the worker and all below it are gone.
func (l *Local) end() {
	l.leaving()
	<-l.gone
}
