package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/prompt"
	"muster/internal/units"
)

// upOptions are the options of `muster up` that are not settings of a profile.
type upOptions struct {
	workers int
	detach  bool
	replace bool
	json    bool
	keep    int64 // bytes
}

// ephemeralLife bounds how long a dispatcher waits that was started for one
// submission and whose result nobody collects.
const ephemeralLife = 7 * 24 * time.Hour

// joinValid is how long a join string admits workers unless it is said.
const joinValid = 24 * time.Hour

func newUp(s streams) *cli.Command {
	var o upOptions
	return &cli.Command{
		Name:      "up",
		Usage:     "start a dispatcher that stays, with profiles and their workers",
		UsageText: "muster up [-p PROFILE] [-n WORKERS] [--detach] [OPTIONS]",
		Description: `It serves every profile of the config, or the one of -p, or one called default,
until muster down or Ctrl-C; with --detach in the background. submit, map and the
others use it from any terminal. If a dispatcher is up already, the profile is
added to it.

   muster up -n 6 --detach
   muster up -p cpu -n 6 --memory 100MB --scheduling round-robin --detach
   muster submit -p cpu -- ./simulate 1`,
		Flags: append(append(append(append(poolFlags(), dispatcherFlags()...),
			&cli.IntFlag{Name: "n", Destination: &o.workers, Usage: "start `N` workers, by SSH on each machine", DefaultText: "as the config says, else none"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Destination: &o.detach, Usage: "run in the background"},
			&cli.BoolFlag{Name: "replace", Destination: &o.replace, Usage: "if the profile is up with other values, reset it first"},
			&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print JSON"},
			&cli.GenericFlag{Name: "keep", Value: newValue(&o.keep, 256<<20, units.ParseSize, showSize), DefaultText: "256MiB", Usage: "hold results that nobody has collected in memory up to `SIZE`, and on disk beyond"},
		), settingFlags()...), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if err := optionsOnly(c); err != nil {
				return err
			}
			return runUp(c, s, o)
		},
	}
}

// profileToBe is a profile that is to be up.
type profileToBe struct {
	spec host.Spec
	pool *pool
}

// profilesToBe evaluates the profiles that are to be up.
func profilesToBe(c *cli.Context, s streams, workers int) ([]profileToBe, error) {
	if workers > plan.MaxWorkers {
		return nil, fmt.Errorf("-n %d: %d workers are the most", workers, plan.MaxWorkers)
	}
	if err := givenRetries(c).check(); err != nil {
		return nil, err
	}
	f, found, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	if !found {
		if f, err = config.Parse("the command line", nil, plan.Schema()); err != nil {
			return nil, err
		}
	}
	name := c.String("profile")
	profiles := f.Profiles
	if name != "" {
		profiles = nil
		if p, there := find(f, name); there {
			profiles = []*config.Profile{p}
		}
	}
	if len(profiles) > 1 {
		for _, flag := range append(settingFlags(), &cli.IntFlag{Name: "n"}) {
			if c.IsSet(flag.Names()[0]) {
				name := flag.Names()[0]
				dashes := strings.Repeat("-", min(len(name), 2))
				return nil, fmt.Errorf("%s%s is for one profile, and %s has %d: choose with -p", dashes, name, f.Path, len(profiles))
			}
		}
	}
	if len(profiles) == 0 { // one of the command line's alone
		name = cmp.Or(name, "default")
		if !host.ValidName(name) {
			return nil, fmt.Errorf("-p %q: a name has letters, digits, - and _, 40 at most", name)
		}
		profiles = []*config.Profile{f.EmptyProfile(name)}
	}
	var list []profileToBe
	e := evaluate(c, s, f, config.Run, false)
	var bad []error
	for _, p := range profiles {
		one, err := newProfileToBe(c, s, e, p, workers)
		if e.ctx.Err() != nil {
			return nil, err
		}
		list, bad = append(list, one), append(bad, err)
	}
	return list, f.Join(bad...)
}

// newProfileToBe evaluates one profile.
func newProfileToBe(c *cli.Context, s streams, e *evaluation, p *config.Profile, workers int) (profileToBe, error) {
	dir, err := taskDir("")
	if err != nil {
		return profileToBe{}, err
	}
	if p, err = launchedBy(e.f, p, c.String("launcher")); err != nil {
		return profileToBe{}, err
	}
	w := wish{plan.Wish{Dir: dir}, func(set *plan.ProfileSettings) error {
		if c.IsSet("n") {
			set.Workers = config.Count{N: workers, Given: true}
		}
		return overlay(c, set)
	}}
	if len(p.Launchers) > 0 {
		w.Workers = workers
	}
	pl, err := newPool(e, p, w)
	if err != nil {
		return profileToBe{}, err
	}
	if err := pl.own(); err != nil {
		return profileToBe{}, err
	}
	pl.warn(s)
	set := pl.set
	if set.Sync {
		pl.drafts = nil
	}
	spec := host.Spec{Name: p.Name, Memory: units.Size(set.Memory), RoundRobin: set.Scheduling == "round-robin", Tries: givenRetries(c).tries(), LostRetries: givenRetries(c).lost, Seed: set.Seed,
		Slots: max(set.Worker.Slots, 1), Reattach: units.Duration(set.Reattach), Walltime: units.Duration(set.Worker.Walltime), Everywhere: set.Everywhere, Sync: set.Sync, ShareLimit: units.Size(set.ShareLimit), Spread: set.Spread, Options: pl.options()}
	if len(pl.drafts) > 0 {
		spec.Launchers = plan.Digest(pl.drafts)
	}
	if len(set.Everywhere) > 0 {
		spec.Dir = dir // else the same profile from elsewhere would be another
	}
	if len(set.URL) > 0 || len(pl.drafts) > 0 {
		spec.Listen, spec.Hosts, spec.Relayed = pl.listen, pl.hosts, pl.relayed
	}
	if spec.TLS, err = pl.tlsSettings((&prompt.Terminal{}).Ask); err != nil {
		return profileToBe{}, err
	}
	if pl.local && !spec.Sync {
		spec.Workers = set.Workers.N
	}
	return profileToBe{spec, pl}, nil
}

func runUp(c *cli.Context, s streams, o upOptions) error {
	list, err := profilesToBe(c, s, o.workers)
	if err != nil {
		return usageError{err}
	}
	q := control.UpRequest{Replace: o.replace}
	var pools []*pool
	for _, p := range list {
		if p.spec.Workers > 0 {
			if err := nested("muster up", plural(p.spec.Workers, "worker")); err != nil {
				return err
			}
		}
		q.Profiles, pools = append(q.Profiles, p.spec), append(pools, p.pool)
	}
	bar, s := newCopyProgress(s)
	defer bar.end()
	asker, end, err := answerer(bar, pools...)
	if err != nil {
		return err
	}
	defer end()
	client, err := connect(c)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(c)
	defer stop()
	serve := serveOptions{Name: dispatcherName(c), Kind: "up", Keep: o.keep, Up: q}
	begin := func(a *control.UpAnswer, elsewhere bool) error {
		return s.beginAll(ctx, c, client, list, a, launchWay{bar, asker, elsewhere}, o.json)
	}
	err = errAnother
	for try := 0; try < startTries && errors.Is(err, errAnother); try++ {
		err = bringUp(ctx, c, s, upWay{client, serve, o.detach, begin, list, bar, stop})
	}
	return err
}

// upWay says how profiles are brought up.
type upWay struct {
	client *control.Client
	serve  serveOptions
	detach bool
	begin  func(a *control.UpAnswer, elsewhere bool) error
	list   []profileToBe
	bar    *progress
	stop   func() // ends what signals mean to the command, as opposed to the dispatcher
}

// bringUp brings profiles up in the dispatcher that is there, or in one that it starts.
// It returns errAnother if another command has started one at the same time.
func bringUp(ctx context.Context, c *cli.Context, s streams, w upWay) error {
	a, err := s.bringUp(ctx, w.client, w.serve.Up)
	away := errors.Is(err, control.ErrUnreachable)
	undo := func() error { return s.downAll(w.client, w.list, a) }
	if away && w.detach && ctx.Err() == nil {
		a, err = detach(ctx, c, s, w.serve, nil)
		undo = func() error { return s.noted(w.client.Shutdown(context.Background())) }
	}
	switch {
	case err == nil:
		if err = w.begin(a, true); err != nil {
			err = errors.Join(answered(err), answered(undo()))
		}
		return err
	case ctx.Err() != nil:
		return exitError(exitInterrupted)
	case !away || w.detach:
		return answered(err)
	}
	return s.serve(c, w.serve, w.bar, func(a *control.UpAnswer) error {
		if err := w.begin(a, false); err != nil {
			return err
		}
		w.stop() // from here on a dispatcher has its own way to end
		s.err.Say("Ctrl-C or `muster down` ends it")
		return nil
	})
}

// bringUp has a dispatcher add profiles. It says what is lost of those that are replaced.
func (s streams) bringUp(ctx context.Context, client *control.Client, q control.UpRequest) (*control.UpAnswer, error) {
	defer tellWaits(ctx, s.err.Say, doing("the dispatcher has not brought up all profiles yet; `muster status` shows those that are"))()
	before := &control.Status{}
	if q.Replace {
		if st, err := client.Status(ctx); err == nil {
			before = st
		}
	}
	a, err := client.Up(ctx, q)
	if err == nil {
		for name, became := range a.Profiles {
			if became == "replaced" {
				s.sayLoss(ofReplaced(before, name))
			}
		}
	}
	return a, err
}

// launchWay says how `muster up` launches.
type launchWay struct {
	bar       *progress // of the terminal at which logins ask
	asker     string    // see answerer
	elsewhere bool      // the dispatcher is another process, whose own words are in its log
}

// beginAll launches what the launchers of new profiles are asked for, and says what
// is up now.
func (s streams) beginAll(ctx context.Context, c *cli.Context, client *control.Client, list []profileToBe, a *control.UpAnswer, way launchWay, asJSON bool) error {
	said, err := launchAll(ctx, s, client, list, a, way)
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	if err != nil {
		return err
	}
	return s.sayUp(c, client, a, said, asJSON)
}

// launchAll launches what the launchers of profiles are asked for that have just come
// up, and returns what there is to say of each.
func launchAll(ctx context.Context, s streams, client *control.Client, list []profileToBe, a *control.UpAnswer, way launchWay) (said map[string]string, err error) {
	said = map[string]string{}
	for _, p := range list {
		name := p.spec.Name
		switch {
		case a.Profiles[name] == "same":
			continue
		case p.pool.workers() > 0:
			if said[name], err = p.launch(ctx, s, client, way); err != nil {
				return nil, err
			}
		case p.spec.Sync:
		case p.spec.Workers > 0:
			said[name] = plural(p.spec.Workers, "worker") + " on this machine"
		default:
			said[name] = fmt.Sprintf("it has no workers yet: `muster launch -p %s -n N` starts some", name)
		}
		if n := p.spec.Workers; n > 0 && p.pool.workers() > 0 {
			said[name] += ", and " + plural(n, "worker") + " on this machine"
		}
	}
	return said, nil
}

// launch launches what the profile's launchers are asked for, and says what that is.
func (p profileToBe) launch(ctx context.Context, s streams, client *control.Client, way launchWay) (string, error) {
	defer context.AfterFunc(ctx, p.pool.e.cancel)()
	plans, err := named(p.pool.drafts, func(pl *plan.Plan) ([]plan.Names, error) {
		a, err := client.Names(ctx, p.spec.Name, control.NamesRequest{Plan: pl, Asker: way.asker})
		return a.Names, err
	})
	if err != nil {
		return "", err
	}
	done, err := launching(ctx, s, way.bar, client, p.spec.Name, control.LaunchRequest{Plans: plans, Asker: way.asker})
	if way.elsewhere {
		s.sayNotes(done.Notes)
	}
	return asked(done.Workers, done.Jobs, plans), err
}

// downAll resets the profiles that have just come up.
func (s streams) downAll(client *control.Client, list []profileToBe, a *control.UpAnswer) error {
	var failed []error
	for _, p := range list {
		if a.Profiles[p.spec.Name] != "same" {
			failed = append(failed, s.noted(client.Down(context.Background(), p.spec.Name)))
		}
	}
	return errors.Join(failed...)
}

// sayUp says what is up now, and what has been started for it.
func (s streams) sayUp(c *cli.Context, client *control.Client, a *control.UpAnswer, said map[string]string, asJSON bool) error {
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	st, err := client.Status(c.Context)
	if err != nil {
		return answered(err)
	}
	defer logDialled(log, st.URLs)
	if asJSON {
		return writeJSON(s.out, a)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Profiles)) {
		what := map[string]string{"created": "is up", "same": "is up already, with these values", "replaced": "was reset and is up"}[a.Profiles[name]]
		s.err.Say("profile %s %s", name, what)
		if said[name] != "" {
			s.err.Say("profile %s: %s", name, said[name])
		}
	}
	if st.Log == "" {
		s.err.Say("dispatcher %s, process %d", st.Name, st.Pid)
	} else {
		s.err.Say("dispatcher %s, process %d; `muster status` shows how it stands, and what it says is in %s", st.Name, st.Pid, st.Log)
	}
	return nil
}
