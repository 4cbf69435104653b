package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"muster/hpc"
	"muster/internal/config"
	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/state"
	safe "muster/internal/terminal"
)

// launchOptions are the options of `muster launch`.
type launchOptions struct {
	workers     int
	launcher    string
	print, json bool
	showSecrets bool
	local       bool
	valid       time.Duration
	download    bool
}

func newLaunch(s streams) *cli.Command {
	var o launchOptions
	return &cli.Command{
		Name:      "launch",
		Usage:     "start a profile's workers, or print exactly what would be run",
		UsageText: "muster launch [-p PROFILE] [--launcher NAME | --local] [-n WORKERS] [--print]",
		Description: `More workers for a dispatcher that is up, or for a run (--run), as the profile's
launcher starts them; on this machine if it has none, or with --local.

With --print nothing is started: each script is shown with the command that
would submit it, and each request as curl makes it, as they can be pasted into a
shell. Without a dispatcher there is nothing yet for muster's own workers to join,
so JOIN_FILE and RUN_DIR stand for what a run makes. Launchers with a
worker_command start other people's workers, which need no dispatcher.

A profile without a launcher, or --launcher none, prints a line for each worker, to
be pasted by a person. It names a join file, for machines that see it. With
--show-secrets it holds the join string itself, for any machine: it lets in one
worker, once, as long as --valid says. With --with-download it fetches muster by scp
from here first, for machines that do not have it. What is printed ends with the
dispatcher, or by muster join revoke.

   muster launch -n 2
   muster launch -p cluster --print
   muster launch --launcher mirai -n 20
   muster launch --launcher none -n 2 --print --show-secrets --valid 1h
   muster launch --print --show-secrets --with-download`,
		Flags: append(append(append(poolFlags(), append(dispatcherFlags(), runFlag())...),
			&cli.BoolFlag{Name: "local", Destination: &o.local, Usage: "start workers on this machine, whatever the profile says"},
			&cli.StringFlag{Name: "launcher", Destination: &o.launcher, Usage: "use the launcher `NAME`, whatever the profile says; none is a person, with --print"},
			&cli.IntFlag{Name: "n", Destination: &o.workers, Usage: "start `N` workers, by SSH on each machine", DefaultText: "as the config says"},
			&cli.BoolFlag{Name: "print", Destination: &o.print, Usage: "print what would be run, and run nothing"},
			&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print JSON"},
			&cli.BoolFlag{Name: "show-secrets", Destination: &o.showSecrets, Usage: "with --print, show join strings and values of env(), file() and exec() too"},
			&cli.DurationFlag{Name: "valid", Destination: &o.valid, Value: joinValid, Usage: "with --print, let workers join for `DURATION`"},
			&cli.BoolFlag{Name: "with-download", Destination: &o.download, Usage: "by hand, have each line fetch muster from this machine by scp first"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if err := optionsOnly(c); err != nil {
				return err
			}
			return runLaunch(c, s, o)
		},
	}
}

func runLaunch(c *cli.Context, s streams, o launchOptions) error {
	if _, err := logger(c, s.err); err != nil {
		return err
	}
	switch {
	case !o.print && (c.IsSet("valid") || o.download || o.showSecrets):
		return usagef("--valid, --with-download and --show-secrets are for --print")
	case o.valid == 0:
		return usagef("--valid %v: it is more than nothing", o.valid)
	}
	if o.local && (o.launcher != "" || o.print) {
		return usagef("--local starts workers here: --launcher and --print say otherwise")
	}
	var pl *pool // of launchers; on this machine, no pool is needed
	planned := false
	if !o.local {
		name, err := plannedProfile(c)
		if err != nil {
			return err
		}
		if pl, planned, err = planLaunch(c, s, o, name); err != nil {
			return usageError{err}
		}
	}
	switch {
	case o.print && !planned:
		return printByHand(c, s, pl, o)
	case o.download:
		return usagef("--with-download is for workers that are started by hand, and launcher %s starts them", pl.drafts[0].Launcher)
	case o.print:
		return printPlans(c, s, pl, o)
	case !planned:
		return launchHere(c, s, o)
	}
	pl.warn(s)
	if allForeign(pl.drafts) {
		return launchForeign(c, s, pl, o)
	}
	return launchAttached(c, s, pl, o)
}

func allForeign(drafts []*plan.Draft) bool {
	return !slices.ContainsFunc(drafts, func(d *plan.Draft) bool { return d.Whose != plan.Foreign })
}

// launchHere has a dispatcher start workers on this machine.
func launchHere(c *cli.Context, s streams, o launchOptions) error {
	n := max(o.workers, 1)
	if err := nested("muster launch", plural(n, "worker")); err != nil {
		return err
	}
	client, profile, err := attach(c)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(c)
	defer stop()
	done, err := client.Launch(ctx, profile, control.LaunchRequest{Workers: n})
	if err != nil {
		return interrupted(ctx, c, err)
	}
	return s.sayLaunched(done, " on this machine", o)
}

// launchAttached has a dispatcher launch what the pool's launchers are asked for.
func launchAttached(c *cli.Context, s streams, pl *pool, o launchOptions) error {
	client, profile, err := attach(c)
	if err != nil {
		return err
	}
	bar, s := newCopyProgress(s)
	defer bar.end()
	asker, end, err := answerer(bar, pl)
	if err != nil {
		return err
	}
	defer end()
	ctx, stop := interruptible(c)
	defer stop()
	defer context.AfterFunc(ctx, pl.e.cancel)()
	plans, err := named(pl.drafts, func(p *plan.Plan) ([]plan.Names, error) {
		a, err := client.Names(ctx, profile, control.NamesRequest{Plan: p, Asker: asker})
		return a.Names, err
	})
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	if err != nil {
		return answered(err)
	}
	done, err := launching(ctx, s, bar, client, profile, control.LaunchRequest{Plans: plans, Asker: asker})
	if ctx.Err() != nil {
		s.err.Say("interrupted; what the dispatcher had begun to start goes on: `muster status` shows it")
		return exitError(exitInterrupted)
	}
	if err != nil {
		return answered(err)
	}
	if err := s.tellDialled(c, client, func(host.Candidate) bool { return true }); err != nil {
		return err
	}
	return s.sayLaunched(done, "", o)
}

// sayLaunched says what a dispatcher has asked for, and where. It fails if there is
// something to know of that.
func (s streams) sayLaunched(done host.Launched, where string, o launchOptions) error {
	s.sayNotes(done.Notes)
	if o.json {
		if err := writeJSON(s.out, done); err != nil {
			return err
		}
	} else {
		for _, id := range done.Jobs {
			safe.Fprintf(s.out, "%s\n", id)
		}
		s.err.Say("%s asked for%s", plural(done.Workers, "worker"), where)
	}
	if len(done.Notes) > 0 {
		return exitError(exitFailure)
	}
	return nil
}

// attach returns a client of what the options name, and the profile.
func attach(c *cli.Context) (client *control.Client, profile string, err error) {
	if client, err = connect(c); err != nil {
		return nil, "", err
	}
	profile, err = profileOf(c, client)
	return client, profile, err
}

// profileOf is the profile that the options name, or the only one that a run has.
func profileOf(c *cli.Context, client *control.Client) (string, error) {
	if name := c.String("profile"); name != "" && (c.IsSet("profile") || c.String("run") == "") {
		if !host.ValidName(name) {
			return "", usagef("--profile: %q is no name of a profile: it has letters, digits, - and _, 40 at most", name)
		}
		return name, nil
	}
	if c.String("run") == "" {
		return "default", nil
	}
	st, err := client.Status(c.Context)
	if err != nil {
		return "", answered(err)
	}
	for _, p := range st.Profiles {
		return p.Profile, nil
	}
	return "default", nil
}

// plannedProfile is the profile of the config whose workers are wanted: that of
// a run is the one that it was started with.
func plannedProfile(c *cli.Context) (string, error) {
	if name := c.String("profile"); name != "" {
		return name, nil
	}
	if c.String("run") == "" {
		return "default", nil
	}
	_, name, err := attach(c)
	return name, err
}

// planLaunch drafts what the launchers of a profile are asked for. It reports whether
// there is one.
func planLaunch(c *cli.Context, s streams, o launchOptions, name string) (pl *pool, planned bool, err error) {
	if o.workers == 0 && c.IsSet("n") {
		return nil, false, fmt.Errorf("-n %d: at least one worker is started", o.workers)
	}
	if o.workers > plan.MaxWorkers {
		return nil, false, fmt.Errorf("-n %d: %d workers are the most", o.workers, plan.MaxWorkers)
	}
	dir, err := taskDir("")
	if err != nil {
		return nil, false, err
	}
	f, found, err := loadConfig(c)
	switch {
	case err != nil:
		return nil, false, err
	case !found && o.launcher != "" && o.launcher != config.Local && o.launcher != byHand:
		return nil, false, errNoConfig
	case !found:
		return nil, false, nil // workers are this machine's
	}
	profile, there := find(f, name)
	if !there {
		profile = f.EmptyProfile(name)
	}
	if o.launcher == byHand && !hasLauncher(f, byHand) {
		changed := *profile
		changed.Launchers = nil
		profile = &changed
	} else if profile, err = launchedBy(f, profile, o.launcher); err != nil {
		return nil, false, err
	}
	exec, redact := config.Run, false
	if o.print && !o.showSecrets {
		exec, redact = config.Placeholder, true
	}
	pl, err = newPool(evaluate(c, s, f, exec, redact), profile, asConfigured(plan.Wish{Workers: o.workers, Dir: dir}))
	if err != nil || len(pl.drafts) == 0 {
		return pl, false, err
	}
	// Whoever launches wants a worker at least.
	for i, d := range pl.drafts {
		if d.Workers() == 0 {
			if pl.drafts[i], err = d.Sized(1); err != nil {
				return nil, false, err
			}
		}
	}
	return pl, true, nil
}

// byHand is the launcher that is a person.
const byHand = "none"

// hasLauncher reports whether a config has a launcher of a name.
func hasLauncher(f *config.File, name string) bool {
	return slices.ContainsFunc(f.Launchers, func(l *config.Launcher) bool { return l.Name == name })
}

// launchForeign submits other people's workers, and prints the jobs' ids.
func launchForeign(c *cli.Context, s streams, pl *pool, o launchOptions) error {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return err
	}
	run, err := state.NewRun(dir, time.Now())
	if err != nil {
		return err
	}
	defer run.Close() // stays as long as a job is on record
	bar, s := newCopyProgress(s)
	defer bar.end()
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	asker, end, err := answerer(bar, pl)
	if err != nil {
		return err
	}
	defer end()
	f, closeSites, err := newFleet(s, log, run, bar)
	if err != nil {
		return err
	}
	defer closeSites()
	ctx, stop := interruptible(c)
	defer stop()
	defer context.AfterFunc(ctx, pl.e.cancel)()
	var released []func() // of links, when all is submitted
	defer func() {
		for _, release := range released {
			release()
		}
	}()
	defer tellWaits(ctx, s.err.Say, unasked(bar, asking(f, pl.name)))()
	plans, err := named(pl.drafts, func(p *plan.Plan) ([]plan.Names, error) {
		names, release, err := f.Names(ctx, p, asker)
		released = append(released, release)
		return names, err
	})
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	if err != nil {
		return err
	}
	done := host.Launched{Jobs: []string{}}
	for _, p := range plans {
		list, failed := f.Submit(ctx, p, asker)
		done.Add(p, list)
		err = errors.Join(err, failed)
	}
	endless := f.Forgo(ctx)
	if o.json {
		err = errors.Join(err, writeJSON(s.out, done))
	} else {
		for _, id := range done.Jobs {
			safe.Fprintf(s.out, "%s\n", id)
		}
		if len(f.Jobs()) > 0 {
			s.err.Say("`muster down` ends these jobs")
		}
		switch {
		case endless > 0 && len(done.Notes) > 0: // which say why
			s.err.Say("%s asked for that muster cannot end", plural(endless, "worker"))
		case endless > 0:
			s.err.Say("%s asked for; muster cannot end what was started, since the launcher does not say how", plural(endless, "worker"))
		}
	}
	if err == nil && len(done.Notes) > 0 {
		return exitError(exitFailure)
	}
	return err
}

// here runs schedulers' commands on this machine.
func here() hpc.Runner { return hpc.Here(hpc.Scrub(os.Environ())) }

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}
