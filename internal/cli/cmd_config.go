package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/host"
	"muster/internal/plan"
	safe "muster/internal/terminal"
)

// newConfig is `muster config`.
func newConfig(s streams) *cli.Command {
	asJSON := false
	return &cli.Command{
		Name:      "config",
		Usage:     "check a config, or show what was understood of it",
		UsageText: "muster config check|show [-c FILE] [--json]",
		Description: `check drafts every launcher and profile of the config, asks the schedulers that are
here whether they would take the jobs, for 10 seconds at most, and starts nothing; it
says what it could not ask. show prints the values that were understood; what comes
from env(), file() and exec() is not shown. Neither runs exec().

   muster config check
   muster config show -c cluster.hcl --json`,
		Flags: append(append(poolFlags()[:1:1], &cli.BoolFlag{Name: "json", Destination: &asJSON, Usage: "print JSON"}), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			what, err := subcommand("config", c.Args().Slice(), subcommands["config"])
			if err != nil {
				return err
			}
			if c.Args().Len() > 1 {
				return tooMany("config "+what, c.Args().Get(1), "muster config "+what+" -c FILE")
			}
			f, found, err := loadConfig(c)
			if err == nil && !found {
				err = errNoConfig
			}
			if err != nil {
				return usageError{err}
			}
			if what == "show" {
				return showConfig(c, s, f, asJSON)
			}
			return checkConfig(c, s, f, asJSON)
		},
	}
}

// checkTime bounds what schedulers are asked while a config is checked.
const checkTime = 10 * time.Second

// checked is what was found of one launcher or profile.
type checked struct {
	Kind    string   `json:"kind"` // launcher or profile
	Name    string   `json:"name"`
	OK      bool     `json:"ok"`
	Found   string   `json:"found,omitempty"`
	Unasked []string `json:"unasked,omitempty"` // what nobody could be asked, and why
	Error   string   `json:"error,omitempty"`

	warnings []error
	err      error
}

// checkConfig drafts everything, asks schedulers, and tells every mistake.
func checkConfig(c *cli.Context, s streams, f *config.File, asJSON bool) error {
	list, err := draftAll(c, s, f)
	if err != nil {
		return err
	}
	var bad []error
	for i := range list {
		one := &list[i]
		for _, w := range one.warnings {
			s.err.Say("warning: %v", w)
		}
		if one.err != nil {
			one.Error = one.err.Error()
			bad = append(bad, one.err)
			continue
		}
		one.OK = true
		if asJSON {
			continue
		}
		safe.Fprintf(s.out, "%s %s: ok", one.Kind, one.Name)
		if one.Found != "" {
			safe.Fprintf(s.out, ": %s", one.Found)
		}
		fmt.Fprintln(s.out)
		for _, u := range one.Unasked {
			safe.Fprintf(s.out, "  not asked: %s\n", u)
		}
	}
	if asJSON {
		bad = append(bad, writeJSON(s.out, list))
	}
	if err := f.Join(bad...); err != nil {
		return usageError{err}
	}
	return nil
}

// draftAll drafts every launcher and profile, and asks the schedulers side by side.
func draftAll(c *cli.Context, s streams, f *config.File) ([]checked, error) {
	dir, err := taskDir("")
	if err != nil {
		return nil, err
	}
	e := evaluate(c, s, f, config.Leave, false)
	asked, stop := interruptible(c) // what is asked ends with the command
	defer stop()
	ctx, cancel := context.WithTimeout(asked, checkTime)
	defer cancel()
	list := make([]checked, 0, len(f.Launchers)+len(f.Profiles))
	var asking sync.WaitGroup
	for _, l := range f.Launchers {
		list = append(list, checked{Kind: "launcher", Name: l.Full()})
		one := &list[len(list)-1] // there is room for all
		d, err := plan.New(e.Evaluation, f, l, plan.Wish{Times: 1, Dir: dir, Port: portOf(e, l)})
		if err == nil {
			_, err = d.Pasted("muster") // settings that speak of the worker have mistakes too
		}
		if one.err = err; err != nil {
			continue
		}
		one.Found, one.warnings = summary(d), d.Warnings()
		asking.Go(func() { one.Unasked, one.err = ask(ctx, d) })
	}
	for _, p := range f.Profiles {
		var set plan.ProfileSettings
		var hosts []string
		err := e.Profile(p, &set)
		if err == nil {
			if _, hosts, err = host.Endpoint(set.URL); err != nil {
				err = f.At(p.Where("url"), 0, err.Error(), "")
			}
		}
		for _, l := range p.Launchers {
			if err == nil && len(set.URL) == 0 {
				err = plan.NeedsURL(f, l)
			}
		}
		one := checked{Kind: "profile", Name: p.Name, err: err}
		if err == nil {
			pl := &pool{e: e, set: set, profile: p, name: p.Name, hosts: hosts}
			var unasked string
			if unasked, one.err = pl.checkTLS(); unasked != "" {
				one.Unasked = append(one.Unasked, unasked)
			}
		}
		list = append(list, one)
	}
	if asking.Wait(); asked.Err() != nil {
		return nil, exitError(exitInterrupted)
	}
	for i := range list[len(f.Launchers):] {
		blame(&list[len(f.Launchers)+i], f.Profiles[i], list[:len(f.Launchers)])
	}
	return list, nil
}

// blame says of a profile which of its launchers have mistakes: it is not right with
// them.
func blame(one *checked, p *config.Profile, launchers []checked) {
	var bad []string
	for _, l := range p.Launchers {
		if slices.ContainsFunc(launchers, func(c checked) bool { return c.Name == l.Full() && c.err != nil }) {
			bad = append(bad, l.Full())
		}
	}
	if one.err == nil && len(bad) > 0 {
		one.err = fmt.Errorf("profile %s cannot be used: launcher %s is wrong", p.Name, strings.Join(bad, ", "))
	}
}

// ask asks the scheduler of a draft what it would refuse, or let wait for ever.
func ask(ctx context.Context, d *plan.Draft) (unasked []string, err error) {
	cluster, is := d.Kind.(*plan.Cluster)
	switch {
	case !is:
		return nil, nil
	case !cluster.Places()[0].Here():
		return []string{fmt.Sprintf("the scheduler is on %s, and a check logs in nowhere: `muster doctor` does", cluster.Login.Name())}, nil
	}
	return d.Ask(ctx, cluster.Client(here(), userName()))
}

// summary says what a draft starts.
func summary(d *plan.Draft) string {
	slots := "a slot for each core"
	if d.Worker.Slots > 0 {
		slots = plural(d.Worker.Slots, "slot")
	}
	return plural(d.Workers(), "worker") + " of " + slots + " " + d.Kind.Way()
}

// portOf is the port in the url of the first profile that uses a launcher.
func portOf(e *evaluation, l *config.Launcher) string {
	for _, p := range e.f.Profiles {
		if slices.Contains(p.Launchers, l) {
			var set plan.ProfileSettings
			if err := e.Profile(p, &set); err == nil {
				listen, _, _ := host.Endpoint(set.URL)
				return fixedPort(listen)
			}
		}
	}
	return ""
}

// shown is a block of the config as it was understood.
type shown struct {
	kind, name string
	settings   []config.Shown
}

func showConfig(c *cli.Context, s streams, f *config.File, asJSON bool) error {
	e := evaluate(c, s, f, config.Placeholder, true)
	var list []shown
	var bad []error
	for _, l := range f.Launchers {
		v, err := e.Show(l)
		bad = append(bad, err)
		list = append(list, shown{"launcher", l.Full(), v})
	}
	for _, p := range f.Profiles {
		v, err := e.ShowProfile(p)
		bad = append(bad, err)
		list = append(list, shown{"profile", p.Name, v})
	}
	if err := f.Join(bad...); err != nil {
		return usageError{err}
	}
	if asJSON {
		all := map[string]map[string]map[string]any{"launcher": {}, "profile": {}}
		for _, block := range list {
			all[block.kind][block.name] = map[string]any{}
			for _, v := range block.settings {
				all[block.kind][block.name][v.Name] = v.Value
			}
		}
		return writeJSON(s.out, all)
	}
	for _, block := range list {
		safe.Fprintf(s.out, "%s %s\n", block.kind, block.name)
		showValues(s.out, block.settings)
	}
	return nil
}

// showValues prints settings so that nothing in a value moves the reader's cursor, and
// lines of a text stand below one another.
func showValues(w io.Writer, list []config.Shown) {
	for _, v := range list {
		text := fmt.Sprint(v.Value)
		if all, is := v.Value.([]string); is {
			text = quotedList(all)
		}
		text = strings.ReplaceAll(strings.TrimSuffix(safe.Safe(text), "\n"), "\n", "\n"+strings.Repeat(" ", 15))
		safe.Fprintf(w, "  %-12s %s\n", v.Name, safe.Text(text))
	}
}

// quotedList writes a list so that one can tell where its texts begin and end.
func quotedList(all []string) string {
	var parts []string
	for _, s := range all {
		parts = append(parts, strconv.Quote(s))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
