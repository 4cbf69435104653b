package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"muster/hpc"
	"muster/internal/config"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/units"
)

// poolFlags choose a config and a profile of it.
func poolFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Aliases: []string{"c"}, EnvVars: []string{"MUSTER_CONFIG"}, Usage: "read `FILE`", DefaultText: "./muster.hcl, else ~/.config/muster/muster.hcl"},
		&cli.StringFlag{Name: "profile", Aliases: []string{"p"}, EnvVars: []string{"MUSTER_PROFILE"}, Usage: "use the workers of the profile `NAME`", DefaultText: "default, if the config has that"},
	}
}

// pool is what workers a profile has.
type pool struct {
	e      *evaluation
	set    plan.ProfileSettings
	drafts []*plan.Draft
	local  bool // a worker on this machine too

	profile *config.Profile
	name    string
	listen  string // where workers dial, and by which names
	hosts   []string
	relayed bool // none of its workers has to reach this machine
}

// options are the options of the profile's workers.
func (p *pool) options() plan.WorkerOptions {
	w := p.set.Worker
	return plan.WorkerOptions{IdleTime: units.Duration(w.IdleTime), MaxTasks: w.MaxTasks, NoCleanup: !w.Cleanup, AutoExit: w.AutoExit, Output: w.Output, AsyncDial: w.AsyncDial}
}

// workers is how many workers launchers start for the pool.
func (p *pool) workers() int {
	n := 0
	for _, d := range p.drafts {
		n += d.Workers()
	}
	return n
}

// remote reports whether somebody has to log in somewhere.
func (p *pool) remote() bool {
	return slices.ContainsFunc(p.drafts, func(d *plan.Draft) bool { return len(d.Logins()) > 0 })
}

// loadConfig reads the config that the options name or that is found. There need not
// be one.
func loadConfig(c *cli.Context) (f *config.File, found bool, err error) {
	source, err := config.Find(c.String("config"), os.Getenv)
	if err != nil || source.Path == "" {
		return nil, false, err
	}
	f, err = source.Load(plan.Schema())
	return f, true, err
}

var errNoConfig = hinted{errors.New("there is no config"), "write ./muster.hcl or ~/.config/muster/muster.hcl, or name one with -c"}

// findPool returns the profile that the options name, if there is one: else work is
// done on this machine.
func findPool(c *cli.Context) (f *config.File, p *config.Profile, found bool, err error) {
	f, found, err = loadConfig(c)
	if err != nil {
		return nil, nil, false, err
	}
	name := c.String("profile")
	switch {
	case !found && name != "":
		return nil, nil, false, hinted{fmt.Errorf("-p %s: %w", name, errNoConfig.error), errNoConfig.hint}
	case !found:
		return nil, nil, false, nil
	case name == "":
		p, found = find(f, "default")
		return f, p, found, nil
	}
	p, err = f.Profile(name)
	return f, p, err == nil, err
}

// find returns the profile of a name.
func find(f *config.File, name string) (*config.Profile, bool) {
	for _, p := range f.Profiles {
		if p.Name == name {
			return p, true
		}
	}
	return nil, false
}

// launchedBy is a profile with the launcher of a name in the place of its own; it stays
// as it is without a name.
func launchedBy(f *config.File, p *config.Profile, name string) (*config.Profile, error) {
	if name == "" {
		return p, nil
	}
	l, err := f.Launcher(name)
	if err != nil {
		return nil, err
	}
	changed := *p
	changed.Launchers = []*config.Launcher{l}
	return &changed, nil
}

// wish is what a command asks for beside the config.
type wish struct {
	plan.Wish
	overlay func(*plan.ProfileSettings) error // puts the command line's settings over the config's
}

// asConfigured is a wish that leaves a profile's settings as they are.
func asConfigured(w plan.Wish) wish {
	return wish{w, func(*plan.ProfileSettings) error { return nil }}
}

// newPool drafts the workers of a profile.
func newPool(e *evaluation, p *config.Profile, w wish) (*pool, error) {
	pl := &pool{e: e, local: len(p.Launchers) == 0, profile: p, name: p.Name}
	return pl, e.during(func() error { return pl.draft(p, w) })
}

func (pl *pool) draft(p *config.Profile, w wish) error {
	e, f := pl.e, pl.e.f
	if err := e.Profile(p, &pl.set); err != nil {
		return err
	}
	if err := w.overlay(&pl.set); err != nil {
		return err
	}
	var err error
	if pl.listen, pl.hosts, err = host.Endpoint(pl.set.URL); err != nil && p.Has("url") {
		return f.At(p.Where("url"), 0, err.Error(), "")
	} else if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	if w.Workers > 0 && len(p.Launchers) > 1 {
		return fmt.Errorf("-n %d: profile %s has %d launchers, and -n is for one", w.Workers, p.Name, len(p.Launchers))
	}
	if w.Workers > hpc.MaxElements {
		return fmt.Errorf("-n %d: %d workers are the most", w.Workers, hpc.MaxElements)
	}
	w.Profile, w.Options, w.Times = p.Name, pl.options(), plan.AsArray
	if pl.set.Workers.Given {
		w.Times = plan.Times(pl.set.Workers.N)
	}
	if w.Slots == 0 {
		w.Slots = pl.set.Worker.Slots
	}
	w.Walltime, w.Port = pl.set.Worker.Walltime, fixedPort(pl.listen)
	if len(pl.set.URL) > 0 {
		w.URL = pl.set.URL[0]
	}
	var bad []error
	pl.relayed = len(p.Launchers) > 0
	for _, l := range p.Launchers {
		if l.Kind == config.Local {
			pl.local = true
			continue
		}
		d, err := plan.New(e.Evaluation, f, l, w.Wish)
		if err == nil {
			err = pl.check(p, d, w)
		}
		if bad = append(bad, err); err != nil {
			continue
		}
		pl.relayed = pl.relayed && d.Relayed()
		pl.drafts = append(pl.drafts, d)
	}
	return f.Join(bad...)
}

// check finds what a draft and its profile get wrong together.
func (pl *pool) check(p *config.Profile, d *plan.Draft, w wish) error {
	if d.Whose == plan.Foreign && d.Tunnelled() && !slices.Equal(pl.hosts, []string{"127.0.0.1"}) {
		return pl.e.f.At(p.Where("url"), 0, "SSH tunnelling requires the url's host to be 127.0.0.1, where the workers' end of the tunnel listens", `url = "tcp://127.0.0.1:`+w.Port+`"`)
	}
	if w.Estimate > 0 && d.Worker.Walltime > 0 && w.Estimate >= d.Worker.Walltime {
		return fmt.Errorf("--estimate %s: workers of launcher %s live for %s only, so no task would ever start", w.Estimate, d.Launcher, d.Worker.Walltime)
	}
	return nil
}

// own refuses launchers of other people's workers, for commands that have tasks.
func (pl *pool) own() error {
	for _, d := range pl.drafts {
		if d.Whose == plan.Foreign {
			return hinted{fmt.Errorf("launcher %s starts other people's workers, which run none of muster's tasks", d.Launcher), "`muster launch` starts them"}
		}
	}
	return nil
}

// warn says what schedulers take and may not do as it is meant.
func (pl *pool) warn(s streams) {
	for _, d := range pl.drafts {
		for _, w := range d.Warnings() {
			s.err.Say("warning: %v", w)
		}
	}
}

// fixedPort is the port of HOST:PORT, empty if any will do.
func fixedPort(listen string) string {
	if _, port, err := net.SplitHostPort(listen); err == nil && port != "0" {
		return port
	}
	return ""
}
