package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"muster/internal/host"
	"muster/internal/launch"
	"muster/internal/shell"
)

// How long jobs may take to be gone when a run ends: schedulers give them half
// a minute between TERM and KILL.
const (
	recallPatience      = 90 * time.Second
	interruptedPatience = 15 * time.Second
)

// launchAll starts the workers of the run's profile that schedulers start. A
// scheduler may take its time: Ctrl-C ends that, and what was or may have been
// submitted is taken back.
func (e *execution) launchAll() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	leave, err := e.h.LogIn(ctx, e.p.pool.plans, e.asker)
	var done host.Launched
	if err == nil {
		defer leave()
		done, err = e.profile.Launch(ctx, e.p.pool.plans, e.asker)
	}
	if ctx.Err() != nil {
		return e.interruptedEarly(err)
	}
	if err != nil {
		return err
	}
	e.say("%s", asked(done, e.p.pool.plans))
	e.h.Watch(e.checkLeft)
	return nil
}

// asked says what was asked for.
func asked(done host.Launched, plans []*launch.Plan) string {
	if slices.ContainsFunc(plans, func(p *launch.Plan) bool { return p.Dialect != nil }) {
		return fmt.Sprintf("%s asked for in %s: %s", plural(done.Workers, "worker"), plural(len(done.Jobs), "job"), strings.Join(done.Jobs, ", "))
	}
	var machines []string
	for _, p := range plans {
		for _, l := range p.Hosts {
			machines = append(machines, strings.TrimPrefix(l.Target.String(), "ssh://"))
		}
	}
	where := strings.Join(machines, ", ")
	if len(machines) > 4 {
		where = plural(len(machines), "machine")
	}
	return plural(done.Workers, "worker") + " started on " + where
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
	if err != nil && !errors.Is(err, context.Canceled) {
		e.say("%v", err)
	}
	if !e.h.Jobs() {
		e.say("interrupted")
		return exitError(exitInterrupted)
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
	connected, _, _ := e.profile.Pool.Workers()
	if left > 0 || connected > 0 || e.profile.Locals() > 0 || e.p.o.joinFile != "" {
		return
	}
	select {
	case e.alone <- hinted{fmt.Errorf("all workers that were launched have ended, with %s left to do", plural(e.b.Queued(), "task")),
		"the jobs' output above, or `--log-level info`, says why; with more walltime they last longer"}:
	default:
	}
}

// recall ends the run's workers, and takes back what it has with schedulers.
func (e *execution) recall() {
	patience := recallPatience
	if e.signals.hits.Load() > 0 {
		patience = interruptedPatience
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.h.Close(ctx, endPatience); err != nil {
		e.say("%v", err)
	}
}

// lastWords are the commands that end what muster leaves behind.
func (e *execution) lastWords() {
	for _, argv := range e.h.Fleet().CancelCommands() {
		fmt.Fprintf(e.s.err, "muster: left to do: %s\n", shell.Join(argv))
	}
}
