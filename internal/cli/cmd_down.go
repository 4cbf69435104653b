package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"muster/internal/control"
	"muster/internal/disposition"
	"muster/internal/fleet"
	"muster/internal/state"
	safe "muster/internal/terminal"
)

// downOptions are the options of `muster down`.
type downOptions struct {
	workers int
	all     bool
	sure    bool // nobody is asked
}

// newDown is `muster down`.
func newDown(s streams) *cli.Command {
	var o downOptions
	return &cli.Command{
		Name:      "down",
		Usage:     "end a dispatcher, a profile or workers, and what muster has left with schedulers",
		UsageText: "muster down [-p PROFILE] [-n WORKERS] [--yes]",
		Description: `Alone it ends the dispatcher with all its profiles: workers leave, jobs are taken
back, and what is unresolved resolves with 19, Connection reset. With -p it ends
one profile, and the dispatcher with the last of them. With -n it tells that many
workers to finish what they run and leave, idle ones first. It says which futures
are unresolved or not collected, and on a terminal it asks before they go.

Every job is on record from before its submission until the scheduler says that
it is gone. down also ends the jobs of runs that were killed and of muster launch,
looks for those that may have been submitted, and waits until they are gone. Run
it on the machine where they were started.

   muster down
   muster down -p gpu
   muster down -n 2`,
		Flags: append(append(append(dispatcherFlags(), runFlag()),
			&cli.StringFlag{Name: "profile", Aliases: []string{"p"}, Usage: "end the profile `NAME`"},
			&cli.IntFlag{Name: "n", Destination: &o.workers, Usage: "tell `N` workers to leave, and end nothing else"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Destination: &o.sure, Usage: "do not ask, whatever is thrown away"},
			&cli.BoolFlag{Name: "all", Destination: &o.all, Usage: "end every dispatcher of yours on this machine"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if err := optionsOnly(c); err != nil {
				return err
			}
			switch {
			case o.workers == 0 && c.IsSet("n"):
				return usagef("-n %d: at least one worker leaves", o.workers)
			case o.workers > 0:
				return retire(c, s, o.workers)
			case c.String("run") != "":
				return usageError{hinted{errors.New("a run ends by itself, or by Ctrl-C where it was started"), "-n N tells workers of it to leave"}}
			}
			return runDown(c, s, o)
		},
	}
}

// retire tells workers to leave.
func retire(c *cli.Context, s streams, n int) error {
	client, profile, err := attach(c)
	if err != nil {
		return err
	}
	a, err := client.Retire(c.Context, profile, n)
	if err != nil {
		return answered(err)
	}
	if a.Told < n {
		s.err.Say("%s told to leave, and there are no more", plural(a.Told, "worker"))
		return exitError(exitFailure)
	}
	s.err.Say("%s told to leave", plural(a.Told, "worker"))
	return nil
}

func runDown(c *cli.Context, s streams, o downOptions) error {
	ctx, stop := disposition.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ended, err := endDispatchers(c, ctx, s, o)
	var told exitError
	if err != nil && ctx.Err() != nil && !errors.As(err, &told) {
		s.err.Say("interrupted; a dispatcher that has been told to end goes on to, and `muster down` waits for it again")
		return exitError(exitInterrupted)
	}
	if err != nil {
		return err
	}
	if c.String("profile") != "" {
		return nil
	}
	bar, s := newCopyProgress(s)
	defer bar.end()
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	found, err := takeBackAll(ctx, s, log, bar)
	if !found && ended == 0 && err == nil {
		s.sayNone()
	}
	return err
}

// sayNone says that there was nothing to end, and which dispatchers there are that were
// not meant.
func (s streams) sayNone() {
	s.err.Say("no dispatcher is running, and there is nothing left with a scheduler")
	if others := running(); others != "" {
		s.err.Hint(others)
	}
}

// endDispatchers ends the dispatcher, one profile of it, or all dispatchers,
// and returns how many there were.
func endDispatchers(c *cli.Context, ctx context.Context, s streams, o downOptions) (n int, err error) {
	names := []string{dispatcherName(c)}
	dir, err := state.SocketDir(os.Getenv)
	if err != nil {
		return 0, err
	}
	if o.all {
		names = dispatchers(dir)
	}
	profile := c.String("profile")
	for _, name := range names {
		was, err := endNamed(ctx, s, dir, name, profile, o.sure)
		switch {
		case err != nil:
			return n, answered(err)
		case !was:
			continue
		case profile != "":
			s.err.Say("profile %s is reset", profile)
		default:
			s.err.Say("dispatcher %s has ended", name)
		}
		n++
	}
	return n, nil
}

// endNamed ends the dispatcher of a name, or one profile of it, and reports whether
// there was one. One that does not answer though it lives is waited for: it may have
// something with a scheduler.
func endNamed(ctx context.Context, s streams, dir, name, profile string, sure bool) (was bool, err error) {
	client := control.NewClient(control.Socket(dir, name))
	awaits, err := s.beforeEnd(ctx, client, name, profile, sure)
	if err != nil {
		return false, err
	}
	defer tellWaits(ctx, s.err.Say, awaits)()
	for {
		err := s.endOne(ctx, client, profile)
		lives := errors.Is(err, control.ErrUnreachable) && locked(dir, name)
		switch {
		case err == nil && profile == "":
			awaitEnd(ctx, dir, name)
			return true, nil
		case err == nil:
			return true, nil
		case !lives && profile == "" && errors.Is(err, control.ErrUnreachable):
			return was, nil
		case !lives:
			return was, err
		case !was:
			was = true
			s.err.Say("dispatcher %s is being started, or is ending: waiting for it", name)
		}
		select {
		case <-time.After(lockLook):
		case <-ctx.Done():
			return was, ctx.Err()
		}
	}
}

// beforeEnd says what goes with a dispatcher, or with one of its profiles, and asks
// whether that may be. It returns what whoever ends it waits for. One that does not
// answer is told all the same.
func (s streams) beforeEnd(ctx context.Context, client *control.Client, name, profile string, sure bool) (func(context.Context) outlook, error) {
	asked, cancel := context.WithTimeout(ctx, patience()/2)
	defer cancel()
	st, err := client.Status(asked)
	if err != nil {
		return doing("waiting for dispatcher %s to end", name), nil
	}
	l := ofDispatcher(st)
	if profile != "" {
		l = ofProfile(st, profile)
	}
	may, err := s.permit(ctx, l, sure)
	switch {
	case ctx.Err() != nil:
		s.err.Say("interrupted: dispatcher %s goes on", name)
		return nil, exitError(exitInterrupted)
	case err != nil:
		return nil, hinted{err, "--yes does not ask"}
	case !may:
		return nil, hinted{fmt.Errorf("dispatcher %s goes on: nothing was ended", name), "`muster collect ID` prints results; --yes does not ask"}
	}
	what := "the workers of dispatcher " + name + " to leave"
	if len(st.Jobs) > 0 {
		what += ", and for " + few(st.Jobs, "job") + " to be gone"
	}
	if st.Log != "" {
		what += "; it says more in " + st.Log
	}
	return doing("waiting for %s", what), nil
}

// awaitEnd waits until the process of a dispatcher that has ended is gone, as far as its
// lock tells, so that whoever asks next finds none. Another may be there at once, so it
// waits no longer than such a process needs.
func awaitEnd(ctx context.Context, dir, name string) {
	ctx, cancel := context.WithTimeout(ctx, lastBreath)
	defer cancel()
	for locked(dir, name) {
		select {
		case <-time.After(lockLook / 10):
		case <-ctx.Done():
			return
		}
	}
}

// lastBreath is how long the process of a dispatcher may live when that has ended.
const lastBreath = 2 * time.Second

// lockLook is how often a dispatcher that does not answer is looked for.
const lockLook = 100 * time.Millisecond

// endOne resets a profile, and ends the dispatcher with the last one or with
// all if no profile is named.
func (s streams) endOne(ctx context.Context, client *control.Client, profile string) error {
	if profile == "" {
		return s.noted(client.Shutdown(ctx))
	}
	if err := s.noted(client.Down(ctx, profile)); err != nil {
		return err
	}
	st, err := client.Status(ctx)
	if err != nil || len(st.Profiles) > 0 {
		return err
	}
	return s.noted(client.Shutdown(ctx))
}

// noted says what is to be known of what was taken back.
func (s streams) noted(a control.DownAnswer, err error) error {
	s.sayNotes(a.Notes)
	return err
}

func takeBackAll(ctx context.Context, s streams, log hclog.Logger, bar *progress) (found bool, err error) {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return false, err
	}
	runs := state.Ended(dir)
	var failed []error
	f, end, err := newFleet(s, log, nil, bar)
	if err != nil {
		return false, err
	}
	defer end()
	asker, stop, err := answer(bar)
	if err != nil {
		return false, err
	}
	defer stop()
	var all []*fleet.Record
	for _, id := range slices.Sorted(maps.Keys(runs)) {
		records, err := fleet.Records(runs[id])
		if err != nil {
			failed = append(failed, err)
		}
		all = append(all, records...)
	}
	if len(all) > 0 {
		defer tellWaits(ctx, s.err.Say, doing("waiting for what other commands have left with schedulers and services to be gone: %s", count(len(all), "job", "jobs")))()
	}
	for _, o := range f.TakeBack(ctx, all, asker) {
		if o.Err != nil {
			failed = append(failed, fmt.Errorf("launcher %s: %w", o.Record.Launcher, o.Err))
			continue
		}
		safe.Fprintf(s.out, "%v\n", o)
	}
	for id := range runs {
		state.Forget(dir, id)
	}
	return len(all) > 0, errors.Join(failed...)
}
