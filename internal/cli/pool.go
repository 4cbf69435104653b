package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/host"
	"muster/internal/launch"
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
	set   *config.Settings
	plans []*launch.Plan
	local bool // a worker on this machine too

	name    string
	listen  string // where workers dial, and by which names
	hosts   []string
	relayed bool // none of its workers has to reach this machine
}

// options are the options of the profile's workers.
func (p *pool) options() launch.WorkerOptions {
	s := p.set
	return launch.WorkerOptions{IdleTime: s.IdleTime, MaxTasks: s.MaxTasks, NoCleanup: s.NoCleanup, AutoExit: s.AutoExit, Output: s.Output, AsyncDial: s.AsyncDial}
}

// loadConfig reads the config that the options name or that is found, nil if
// there is none.
func loadConfig(c *cli.Context) (*config.File, error) {
	path, err := config.Find(c.String("config"), os.Getenv)
	if err != nil || path == "" {
		return nil, err
	}
	return config.Load(path)
}

// scope is what the config's expressions see before there is a worker.
func scope(redact bool) config.Scope {
	return config.Scope{Getenv: os.LookupEnv, Exec: true, Redact: redact}
}

var errNoConfig = hinted{errors.New("there is no config"), "write ./muster.hcl or ~/.config/muster/muster.hcl, or name one with -c"}

// findPool returns the profile that the options name, or nil for none: then
// work is done on this machine.
func findPool(c *cli.Context) (*config.File, *config.Profile, error) {
	f, err := loadConfig(c)
	if err != nil {
		return nil, nil, err
	}
	name := c.String("profile")
	if f == nil {
		if name != "" {
			return nil, nil, hinted{fmt.Errorf("-p %s: %w", name, errNoConfig.error), errNoConfig.hint}
		}
		return nil, nil, nil
	}
	if name == "" {
		return f, find(f, "default"), nil
	}
	p, err := f.Profile(name)
	return f, p, err
}

// find returns the profile of a name, or nil.
func find(f *config.File, name string) *config.Profile {
	for _, p := range f.Profiles {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// wish is what a command asks for beside the config.
type wish struct {
	launch.Wish
	idle   bool                   // workers that nobody asked for are not started
	change func(*config.Settings) // puts the command line's settings over the config's; may be nil
}

// newPool plans the workers of a profile.
func newPool(f *config.File, p *config.Profile, s config.Scope, w wish) (*pool, error) {
	set, err := f.Settings(p, s)
	if err != nil {
		return nil, err
	}
	pl := &pool{set: set, local: len(p.Launchers) == 0, name: p.Name}
	if w.change != nil {
		w.change(set)
	}
	if pl.relayed, err = relayed(f, p, s); err != nil {
		return nil, err
	}
	if pl.listen, pl.hosts, err = host.Endpoint(set.URLs); err != nil && p.Has("url") {
		return nil, f.At(p.Where("url"), 0, err.Error(), "")
	} else if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	times := set.Workers
	switch {
	case times < 0:
		times = 1
	case times == 0 && !pl.local:
		return nil, f.At(p.Where("workers"), 0, "with no workers nothing would run", "")
	}
	if w.idle {
		times = max(set.Workers, 0) // none but those asked for
	}
	w.Profile, w.Options = p.Name, pl.options()
	if w.Workers > 0 && len(p.Launchers) > 1 {
		return nil, fmt.Errorf("-n %d: profile %s has %d launchers, and -n is for one", w.Workers, p.Name, len(p.Launchers))
	}
	if w.Slots == 0 {
		w.Slots = set.Slots
	}
	w.Walltime, w.Port = set.Walltime, fixedPort(pl.listen)
	for _, l := range p.Launchers {
		if l == nil {
			pl.local = true
			continue
		}
		if w.Workers == 0 && times == 0 {
			continue
		}
		plan, err := launch.For(f, l, s, w.Wish, times)
		if err != nil {
			return nil, err
		}
		if plan.Foreign && plan.Tunnel && !slices.Equal(pl.hosts, []string{"127.0.0.1"}) {
			return nil, f.At(p.Where("url"), 0, "SSH tunnelling requires the url's host to be 127.0.0.1, where the workers' end of the tunnel listens", `url = "tcp://127.0.0.1:`+plan.Port+`"`)
		}
		if w.Estimate > 0 && plan.Walltime() > 0 && w.Estimate >= plan.Walltime() {
			return nil, fmt.Errorf("--estimate %s: workers of launcher %s live for %s only, so no task would ever start", w.Estimate, l.Name, plan.Walltime())
		}
		pl.plans = append(pl.plans, plan)
	}
	return pl, nil
}

// relayed reports whether the workers of all launchers of a profile come in by way
// of machines behind SSH.
func relayed(f *config.File, p *config.Profile, s config.Scope) (bool, error) {
	for _, l := range p.Launchers {
		switch {
		case l == nil:
			continue // they use a socket
		case l.Kind == "ssh":
			c, err := f.SSH(l, s)
			if err != nil {
				return false, err
			}
			if !c.Tunnel {
				return false, nil
			}
		case l.Via == nil:
			return false, nil
		}
	}
	return len(p.Launchers) > 0, nil
}

// fixedPort is the port of HOST:PORT, empty if any will do.
func fixedPort(listen string) string {
	if _, port, err := net.SplitHostPort(listen); err == nil && port != "0" {
		return port
	}
	return ""
}
