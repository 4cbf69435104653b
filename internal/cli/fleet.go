package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"muster/internal/disposition"
	"muster/internal/fleet"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/shell"
)

// How long jobs may take to be gone when a run ends: schedulers give them half
// a minute between TERM and KILL.
const (
	recallPatience      = 90 * time.Second
	interruptedPatience = 28 * time.Second // a second Ctrl-C ends a run within 30 s
)

// launchAll starts the workers of the run's profile that schedulers start. A
// scheduler may take its time: Ctrl-C ends that, and what was or may have been
// submitted is taken back.
func (e *execution) launchAll() error {
	ctx, stop := disposition.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	pool := e.p.pool
	defer context.AfterFunc(ctx, pool.e.cancel)()
	defer tellWaits(ctx, e.say, unasked(e.bar, asking(e.h.Fleet(), pool.name)))()
	plans, err := named(pool.drafts, func(p *plan.Plan) ([]plan.Names, error) { return e.profile.Names(ctx, p, e.asker) })
	var done host.Launched
	if err == nil {
		done, err = e.profile.Launch(ctx, plans, e.asker)
	}
	if ctx.Err() != nil {
		return e.interruptedEarly(err)
	}
	if err != nil {
		return err
	}
	e.say("%s", asked(done.Workers, done.Jobs, plans))
	e.h.Watch(e.checkLeft)
	return nil
}

// asked says what was asked for.
func asked(workers int, jobs []string, plans []*plan.Plan) string {
	var machines []string
	for _, p := range plans {
		if _, ssh := p.Kind.(*plan.SSH); !ssh {
			return fmt.Sprintf("%s asked for in %s: %s", plural(workers, "worker"), plural(len(jobs), "job"), few(jobs, "job"))
		}
		for _, place := range p.Kind.Places() {
			machines = append(machines, strings.TrimPrefix(place.Login.Target.String(), "ssh://"))
		}
	}
	return plural(workers, "worker") + " started on " + few(machines, "machine")
}

// few lists things, or the first few of many.
func few(list []string, what string) string {
	const most = 4
	if len(list) > most {
		return strings.Join(list[:most-1], ", ") + " and " + plural(len(list)-most+1, "more "+what)
	}
	return strings.Join(list, ", ")
}

// interruptedEarly answers a signal that came before there was anything to run.
func (e *execution) interruptedEarly(err error) error {
	e.signals.hits.Add(1)
	again := make(chan os.Signal, 1)
	disposition.Notify(again, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
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
	case e.alone <- hinted{fmt.Errorf("all workers that were launched have ended, with %s left to do", plural(e.b.Queued(), "task")), e.whyLeft()}:
	default:
	}
}

// whyLeft is what is known of why no worker is left, and what to do about it.
func (e *execution) whyLeft() string {
	for _, j := range slices.Backward(e.h.Fleet().Standing()) {
		if j.Trouble != "" {
			return fmt.Sprintf("%s; `muster doctor -p %s` looks where that breaks", j.Trouble, e.p.pool.name)
		}
	}
	return "the jobs' output, or `--log-level info`, says why; with more walltime they last longer"
}

// recall ends the run's workers, and takes back what it has with schedulers.
func (e *execution) recall() {
	patience := recallPatience
	if e.signals.hits.Load() > 0 {
		patience = interruptedPatience
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer tellWaits(ctx, e.say, doing("waiting for %s", e.ending()))()
	if err := e.h.Close(ctx, endPatience); err != nil {
		e.say("%v", err)
	}
}

// ending is what the end of a run waits for.
func (e *execution) ending() string {
	if jobs := e.h.Fleet().Jobs(); len(jobs) > 0 {
		return "what was asked for to be gone, " + few(jobs, "job") + "; after Ctrl-C `muster down` ends it"
	}
	return "the workers to leave"
}

// sayLeft says how that is ended which muster leaves behind.
func (s streams) sayLeft(f *fleet.Fleet) {
	commands, others := f.Left()
	for _, argv := range commands {
		s.err.Say("left to do: %s", shell.Join(argv))
	}
	if len(others) > 0 {
		s.err.Say("left to do: muster down, which ends %s", few(others, "job"))
	}
}
