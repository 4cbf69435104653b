package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/launch"
	"muster/internal/state"
)

// launchOptions are the options of `muster launch`.
type launchOptions struct {
	workers     int
	launcher    string
	print, json bool
	showSecrets bool
}

func newLaunch(s streams) *cli.Command {
	var o launchOptions
	return &cli.Command{
		Name:      "launch",
		Usage:     "start a profile's workers, or print exactly what would be run",
		UsageText: "muster launch [-p PROFILE] [--launcher NAME] [-n WORKERS] [--print]",
		Description: `With --print nothing is started: each script is shown with the command that
would submit it, as it can be pasted into a shell. Without a dispatcher there is
nothing yet for muster's own workers to join, so JOIN_FILE and RUN_DIR stand for
what a run makes. Launchers with a worker_command start other people's workers,
which need no dispatcher.

   muster launch -p cluster --print
   muster launch --launcher mirai -n 20`,
		Flags: append(append(poolFlags(),
			&cli.StringFlag{Name: "launcher", Destination: &o.launcher, Usage: "use the launcher `NAME`, whatever the profile says"},
			&cli.IntFlag{Name: "n", Destination: &o.workers, Usage: "start `N` workers", DefaultText: "as the config says"},
			&cli.BoolFlag{Name: "print", Destination: &o.print, Usage: "print what would be run, and run nothing"},
			&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print JSON"},
			&cli.BoolFlag{Name: "show-secrets", Destination: &o.showSecrets, Usage: "with --print, show values of env(), file() and exec() too"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("launch takes options only, not %q", c.Args().First())
			}
			return runLaunch(c, s, o)
		},
	}
}

func runLaunch(c *cli.Context, s streams, o launchOptions) error {
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	plans, err := planLaunch(c, o)
	if err != nil {
		return usageError{err}
	}
	if o.print {
		return printPlans(s, plans, o)
	}
	return launchForeign(c, s, plans, o, log)
}

func planLaunch(c *cli.Context, o launchOptions) ([]*launch.Plan, error) {
	if o.workers < 0 {
		return nil, fmt.Errorf("-n %d: at least one worker is started", o.workers)
	}
	dir, err := taskDir("")
	if err != nil {
		return nil, err
	}
	w := launch.Wish{Workers: o.workers, Dir: dir}
	sc := scope(o.print && !o.showSecrets)
	if o.launcher != "" {
		f, err := loadConfig(c)
		if err != nil {
			return nil, err
		}
		if f == nil {
			return nil, errNoConfig
		}
		l, err := f.Launcher(o.launcher)
		if err != nil {
			return nil, err
		}
		p, err := launch.Cluster(f, l, sc, w, 1)
		return []*launch.Plan{p}, err
	}
	f, profile, err := findPool(c)
	switch {
	case err != nil:
		return nil, err
	case f == nil:
		return nil, errNoConfig
	case profile == nil:
		return nil, hinted{fmt.Errorf("%s has no profile default", f.Path), "choose one with -p, or a launcher with --launcher"}
	}
	pl, err := newPool(f, profile, sc, w)
	if err != nil {
		return nil, err
	}
	if len(pl.plans) == 0 {
		return nil, fmt.Errorf("profile %s has no launcher: its workers are local, and `muster run -p %s` starts them", profile.Name, profile.Name)
	}
	return pl.plans, nil
}

// printPlans shows every submission.
func printPlans(s streams, plans []*launch.Plan, o launchOptions) error {
	program, err := programPath()
	if err != nil {
		return err
	}
	own := false
	list := []*launch.Submission{}
	for _, p := range plans {
		own = own || !p.Foreign
		for i := range p.Arrays {
			sub, err := p.Render(i, p.Placeholders(program))
			if err != nil {
				return err
			}
			list = append(list, sub)
		}
	}
	if own {
		fmt.Fprintln(s.err, "muster: no dispatcher is running: JOIN_FILE and RUN_DIR stand for what `muster run` makes")
	}
	if o.json {
		return writeJSON(s.out, list)
	}
	for i, sub := range list {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		if _, err := io.WriteString(s.out, sub.Shell()); err != nil {
			return err
		}
	}
	return nil
}

// programPath is where jobs find muster, which need not be there yet.
func programPath() (string, error) {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return "", err
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find muster's own path: %w", err)
	}
	return state.BinaryPath(dir, exe)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// launchForeign submits other people's workers, and prints the jobs' ids.
func launchForeign(c *cli.Context, s streams, plans []*launch.Plan, o launchOptions, log hclog.Logger) error {
	for _, p := range plans {
		if !p.Foreign {
			return hinted{errors.New("no dispatcher is running for these workers to join"),
				"`muster run -p PROFILE -- CMD` starts one and launches them; --print shows what it would send"}
		}
	}
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return err
	}
	run, err := state.NewRun(dir, time.Now())
	if err != nil {
		return err
	}
	defer run.Close() // stays as long as a job is on record
	f := &launch.Fleet{Dir: run.Launches(), Run: here(), User: userName(), Log: log,
		Say: func(format string, args ...any) { fmt.Fprintf(s.err, "muster: "+format+"\n", args...) }}
	for _, p := range plans {
		if p.Largest() > unasked {
			p.Limit(p.Client(f.Run, f.User).Limit(c.Context))
		}
		err = errors.Join(err, f.Submit(c.Context, p, ""))
	}
	if o.json {
		return errors.Join(err, writeJSON(s.out, map[string]any{"jobs": append([]string{}, f.Jobs()...)}))
	}
	for _, id := range f.Jobs() {
		fmt.Fprintln(s.out, id)
	}
	if len(f.Jobs()) > 0 {
		fmt.Fprintln(s.err, "muster: `muster down` ends these jobs")
	}
	return err
}

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
				return usageError{hinted{errors.New("config: say check or show"), "options come first: muster config -c FILE check"}}
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
		p, err := launch.Cluster(f, l, sc, launch.Wish{Dir: dir}, 1)
		if err == nil {
			err = askLimits(c, f, l, p)
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		fmt.Fprintf(s.out, "launcher %s.%s: ok: %s of %s in %s to %s\n", l.Kind, l.Name,
			plural(p.Workers(), "worker"), plural(p.Slots, "slot"), plural(len(p.Arrays), "job"), p.Dialect.Name)
	}
	for _, p := range f.Profiles {
		set, err := f.Settings(p, sc)
		if err == nil {
			_, _, err = (&pool{file: f, set: set}).endpoint()
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
	if most := client.MostCPUs(c.Context); most > 0 && p.CPUs() > most {
		return f.At(l.Where("cpus"), 0, fmt.Sprintf("no node of this cluster has %d CPUs: the largest has %d, and the job would wait for ever", p.CPUs(), most), "")
	}
	return nil
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
