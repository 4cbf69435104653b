package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/host"
	"muster/internal/launch"
)

// newConfig is `muster config`.
func newConfig(s streams) *cli.Command {
	asJSON := false
	return &cli.Command{
		Name:      "config",
		Usage:     "check a config, or show what was understood of it",
		UsageText: "muster config check|show [-c FILE] [--json]",
		Description: `check builds every plan of the config, asks the schedulers that are here for
their limits, and starts nothing. show prints the values that were understood;
what comes from env(), file() and exec() is not shown.`,
		Flags: append(append(poolFlags()[:1:1], &cli.BoolFlag{Name: "json", Destination: &asJSON, Usage: "print JSON"}), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			what := c.Args().First()
			if c.Args().Len() != 1 || what != "check" && what != "show" {
				return usageError{hinted{errors.New("config: say check or show"), "muster config check -c FILE"}}
			}
			f, err := loadConfig(c)
			if err == nil && f == nil {
				err = errNoConfig
			}
			if err != nil {
				return usageError{err}
			}
			if what == "show" {
				return showConfig(s, f, asJSON)
			}
			return checkConfig(c, s, f)
		},
	}
}

// checkConfig plans everything and tells every mistake.
func checkConfig(c *cli.Context, s streams, f *config.File) error {
	dir, err := taskDir("")
	if err != nil {
		return err
	}
	sc := config.Scope{Getenv: os.LookupEnv} // exec() is not run
	var bad []error
	for _, l := range f.Launchers {
		p, err := launch.For(f, l, sc, launch.Wish{Dir: dir, Port: portOf(f, l, sc)}, 1)
		if err == nil && p.Dialect != nil && p.Via == nil {
			err = askLimits(c, f, l, p)
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		fmt.Fprintf(s.out, "launcher %s.%s: ok: %s\n", l.Kind, l.Name, summary(p))
	}
	for _, p := range f.Profiles {
		set, err := f.Settings(p, sc)
		if err == nil {
			_, _, err = host.Endpoint(set.URLs)
			if err != nil {
				err = f.At(p.Where("url"), 0, err.Error(), "")
			}
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		fmt.Fprintf(s.out, "profile %s: ok\n", p.Name)
	}
	if len(bad) > 0 {
		return usageError{errors.Join(bad...)}
	}
	return nil
}

// summary says what a plan starts.
func summary(p *launch.Plan) string {
	slots := "a slot for each core"
	if p.Slots > 0 {
		slots = plural(p.Slots, "slot")
	}
	workers := plural(p.Workers(), "worker") + " of " + slots
	if p.Dialect == nil {
		return workers + " by SSH on " + plural(len(p.Hosts), "machine")
	}
	text := workers + " in " + plural(len(p.Arrays), "job") + " to " + p.Dialect.Name
	if p.Via != nil {
		text += " on " + p.Via.Name()
	}
	return text
}

// portOf is the port in the url of the first profile that uses a launcher.
func portOf(f *config.File, l *config.Launcher, sc config.Scope) string {
	for _, p := range f.Profiles {
		if slices.Contains(p.Launchers, l) {
			if set, err := f.Settings(p, sc); err == nil {
				listen, _, _ := host.Endpoint(set.URLs)
				return fixedPort(listen)
			}
		}
	}
	return ""
}

// askLimits asks the scheduler, if its commands are here, what it would refuse
// or let wait for ever.
func askLimits(c *cli.Context, f *config.File, l *config.Launcher, p *launch.Plan) error {
	client := p.Client(here(), userName())
	if n := p.Largest(); n > 0 {
		if limit := client.Limit(c.Context); limit > 0 && n > limit {
			return f.At(l.Where("array"), 0, fmt.Sprintf("its largest index is %d, and this scheduler takes %d at most", n, limit),
				"with -n muster splits arrays by itself")
		}
	}
	var bad []error
	problems, _ := p.Check(c.Context, client)
	for _, e := range problems {
		bad = append(bad, f.At(l.Where(e.Field), e.Line, e.Msg, e.Hint))
	}
	return errors.Join(bad...)
}

func showConfig(s streams, f *config.File, asJSON bool) error {
	shown := map[string]map[string]any{"launcher": {}, "profile": {}}
	sc := config.Scope{Getenv: os.LookupEnv, Redact: true}
	var bad []error
	for _, l := range f.Launchers {
		v, err := f.Shown(l, sc)
		bad = append(bad, err)
		shown["launcher"][l.Kind+"."+l.Name] = v
	}
	for _, p := range f.Profiles {
		v, err := f.ShownProfile(p, sc)
		bad = append(bad, err)
		shown["profile"][p.Name] = v
	}
	if err := errors.Join(bad...); err != nil {
		return usageError{err}
	}
	if asJSON {
		return writeJSON(s.out, shown)
	}
	for _, l := range f.Launchers {
		fmt.Fprintf(s.out, "launcher %s.%s\n", l.Kind, l.Name)
		showValues(s.out, shown["launcher"][l.Kind+"."+l.Name].(map[string]any))
	}
	for _, p := range f.Profiles {
		fmt.Fprintf(s.out, "profile %s\n", p.Name)
		showValues(s.out, shown["profile"][p.Name].(map[string]any))
	}
	return nil
}

func showValues(w io.Writer, m map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(w, "  %-12s %v\n", name, m[name])
	}
}
