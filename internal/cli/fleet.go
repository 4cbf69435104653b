package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"muster/internal/launch"
	"muster/internal/shell"
	"muster/internal/state"
	mtls "muster/tls"
)

// unasked is the largest array index that every scheduler takes by default;
// only beyond it is one asked for its limit.
const unasked = 1000

// How long jobs may take to be gone when a run ends: schedulers give them half
// a minute between TERM and KILL.
const (
	recallPatience      = 90 * time.Second
	interruptedPatience = 15 * time.Second
)

// launchAll starts the workers of the run's profile that schedulers start.
func (e *execution) launchAll(id *mtls.Identity, stateDir string) (undo func(), err error) {
	listen, hosts, err := e.p.pool.endpoint()
	if err != nil {
		return nil, usageError{err}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen for workers: %w", err)
	}
	undo = func() { l.Close() }
	go e.d.Serve(l)
	addrs := candidates(l.Addr().(*net.TCPAddr))
	if len(hosts) > 0 {
		addrs = nil
		_, port, _ := net.SplitHostPort(l.Addr().String())
		for _, h := range hosts {
			addrs = append(addrs, "tcp:"+net.JoinHostPort(h, port))
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return undo, fmt.Errorf("find muster's own path: %w", err)
	}
	program, err := state.Binary(stateDir, exe)
	if err != nil {
		return undo, err
	}
	e.fleet = &launch.Fleet{Dir: e.run.Launches(), Run: here(), User: userName(), Log: e.log, Say: e.say,
		Credentials: func(job string, workers int) (string, func(string) bool) {
			launch := mtls.NewLaunch(job, workers, time.Time{})
			e.d.AddLaunch(launch)
			return mtls.Join{Addrs: addrs, Pin: id.Pin(), Launch: launch.ID(), Token: launch.Token()}.Encode(), launch.Seen
		}}
	ctx, cancel := context.WithCancel(context.Background())
	watching := make(chan struct{})
	close(watching)
	undo = func() {
		cancel()
		<-watching
		l.Close()
	}
	workers, arrays, err := e.submitAll(program)
	if err != nil {
		return undo, err
	}
	e.say("%s asked for in %s: %s", plural(workers, "worker"), plural(arrays, "job"), strings.Join(e.fleet.Jobs(), ", "))
	watching = make(chan struct{})
	go func() {
		defer close(watching)
		e.fleet.Watch(ctx, e.checkLeft)
	}()
	return undo, nil
}

// submitAll hands in every plan. A scheduler may take its time: Ctrl-C ends
// that, and what was or may have been submitted is taken back.
func (e *execution) submitAll(program string) (workers, arrays int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	for _, p := range e.p.pool.plans {
		if p.Largest() > unasked {
			p.Limit(p.Client(e.fleet.Run, e.fleet.User).Limit(ctx))
		}
		err = e.fleet.Submit(ctx, p, program)
		if ctx.Err() != nil {
			return 0, 0, e.interruptedEarly(err)
		}
		if err != nil {
			return 0, 0, err
		}
		workers += p.Workers()
		arrays += len(p.Arrays)
	}
	return workers, arrays, nil
}

// interruptedEarly answers a signal that came before there was anything to run.
func (e *execution) interruptedEarly(err error) error {
	e.signals.hits.Add(1)
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-again
		e.leave()
	}()
	if err != nil {
		e.say("%v", err)
	}
	e.say("interrupted: taking back what was submitted; press Ctrl-C again to leave at once")
	return exitError(exitInterrupted)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkLeft ends the run when there is nobody who could do the rest of it.
func (e *execution) checkLeft(left int) {
	connected, _, _ := e.d.Workers()
	if left > 0 || connected > 0 || e.local != nil || e.p.o.joinFile != "" {
		return
	}
	select {
	case e.alone <- hinted{fmt.Errorf("all workers that were launched have ended, with %s left to do", plural(e.b.Queued(), "task")),
		"the jobs' output above, or `--log-level info`, says why; with more walltime they last longer"}:
	default:
	}
}

// recall takes back what the run has with schedulers.
func (e *execution) recall() {
	if e.fleet == nil {
		return
	}
	patience := recallPatience
	if e.signals.hits.Load() > 0 {
		patience = interruptedPatience
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.fleet.Cancel(ctx); err != nil {
		e.say("%v", err)
	}
}

// lastWords are the commands that end what muster leaves behind.
func (e *execution) lastWords() {
	if e.fleet == nil {
		return
	}
	for _, argv := range e.fleet.CancelCommands() {
		fmt.Fprintf(e.s.err, "muster: left to do: %s\n", shell.Join(argv))
	}
}
