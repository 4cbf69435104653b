package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/state"
	safe "muster/internal/terminal"
	"muster/internal/units"
)

// newComplete is what the scripts of `muster completion` ask at each TAB: the words that
// may stand in the place of the last. It prints a line for each, with what it means behind
// a tab. A line that begins with a colon asks the shell itself: for files, for folders, or,
// with the number of its first word, for what completes somebody else's command.
func newComplete(s streams) *cli.Command {
	return &cli.Command{
		Name:   "complete",
		Hidden: true,
		Usage:  "print what the last word may be",
		Action: func(c *cli.Context) error {
			for _, found := range complete(c.App, c.Args().Slice()) {
				if _, err := safe.Fprintf(s.out, "%s\t%s\n", safe.Line(found.word), safe.Line(found.what)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// candidate is a word, and what it means.
type candidate struct{ word, what string }

var (
	files   = []candidate{{":files", ""}}
	folders = []candidate{{":folders", ""}}
)

// completing is a command line, of which the last word is not finished.
type completing struct {
	app     *cli.App
	cmd     *cli.Command      // nil if it is not there yet
	given   map[string]string // values of options, by their first names
	words   []string          // what is neither an option nor its value, behind the command
	valueOf cli.Flag          // whose value the last word is; nil if it is none's
	foreign int               // where somebody else's command begins; 0 if it is not there yet
	ended   bool              // -- was there: no options come any more
	inputs  bool              // the last word is an input, behind :::
}

// complete returns what the last of the words may be.
func complete(app *cli.App, words []string) []candidate {
	if len(words) == 0 {
		return nil
	}
	last := len(words) - 1
	p := completing{app: app, given: map[string]string{}}
	if !p.read(words[:last]) {
		return nil
	}
	var all []candidate
	current, prefix := words[last], ""
	name, value, attached := strings.Cut(current, "=")
	switch f := p.flag(name); {
	case p.foreign > 0:
		return []candidate{{fmt.Sprintf(":command %d", p.foreign), ""}}
	case p.valueOf != nil:
		all = p.values(p.valueOf)
	case attached && !p.ended && strings.HasPrefix(name, "--") && f != nil:
		all, current, prefix = p.values(f), value, name+"="
	case p.inputs:
		all = files
	case strings.HasPrefix(current, "-") && !p.ended:
		all = p.options()
	default:
		all = p.arguments(last)
	}
	var list []candidate
	for _, c := range all {
		if strings.HasPrefix(c.word, ":") {
			list = append(list, c)
		} else if strings.HasPrefix(c.word, current) {
			list = append(list, candidate{prefix + c.word, c.what})
		}
	}
	return list
}

// read takes in the words before the last, and reports whether they make sense.
func (p *completing) read(words []string) bool {
	for i := 0; i < len(words) && p.foreign == 0; i++ {
		w := words[i]
		switch {
		case p.cmd != nil && (w == ":::" || w == ":::+" || w == "::::"):
			p.inputs = true
		case w == "--":
			p.ended, p.inputs = true, false
			if p.takesCommand() {
				p.foreign = i + 1
			}
		case p.inputs:
		case len(w) > 1 && w[0] == '-' && !p.ended:
			if p.option(w, words[i+1:]) {
				i++
			}
		case p.cmd == nil:
			if p.cmd = p.app.Command(w); p.cmd == nil {
				return false
			}
		case p.takesCommand():
			p.foreign = i
		default:
			p.words = append(p.words, w)
		}
	}
	return true
}

// option takes in an option, and reports whether the next word is its value; that may be
// the word that is completed.
func (p *completing) option(word string, next []string) bool {
	name, value, attached := strings.Cut(word, "=")
	f := p.flag(name)
	if f == nil {
		all := cluster(p.flags(), word) // -kn4
		name, value, attached = strings.Cut(all[len(all)-1], "=")
		f = p.flag(name)
	}
	switch {
	case f == nil || !takesValue(f):
		return false
	case attached:
		p.given[f.Names()[0]] = value
		return false
	case len(next) == 0:
		p.valueOf = f
		return false
	}
	p.given[f.Names()[0]] = next[0]
	return true
}

func (p *completing) takesCommand() bool {
	return p.cmd != nil && slices.Contains(takesCommand, p.cmd.Name)
}

func (p *completing) flags() []cli.Flag {
	if p.cmd == nil {
		return p.app.Flags
	}
	return p.cmd.Flags
}

// flag finds an option by its name as it is typed. Before the command one of any command
// will do: it is a mistake, and the words behind it are completed all the same.
func (p *completing) flag(name string) cli.Flag {
	name = strings.TrimLeft(name, "-")
	f := findFlag(p.flags(), name)
	if p.cmd == nil {
		for i := 0; f == nil && i < len(p.app.Commands); i++ {
			f = findFlag(p.app.Commands[i].Flags, name)
		}
	}
	return f
}

// options are all options that may stand here.
func (p *completing) options() (list []candidate) {
	for _, f := range p.flags() {
		what := f.(cli.DocGenerationFlag).GetUsage()
		what = placeholder.ReplaceAllString(bracketed.ReplaceAllString(what, ""), "$1")
		for _, n := range f.Names() {
			list = append(list, candidate{dashed(n), what})
		}
	}
	return list
}

// arguments are the words that may stand here and are no options; last is the place of the
// one that is completed.
func (p *completing) arguments(last int) []candidate {
	switch {
	case p.cmd == nil:
		return p.commands()
	case p.takesCommand():
		return []candidate{{fmt.Sprintf(":command %d", last), ""}}
	case p.cmd.Name == "help" && len(p.words) == 0:
		return p.commands()
	case p.cmd.Name == "help" && len(p.words) == 1:
		return plainly(subcommands[p.words[0]])
	case slices.Contains(takesIDs, p.cmd.Name):
		return p.futures()
	case len(p.words) == 0:
		return plainly(subcommands[p.cmd.Name])
	case p.cmd.Name == "join" && p.words[0] == "revoke":
		return p.joins()
	case p.cmd.Name == "tls" && p.words[0] == "pin", p.cmd.Name == "share" && p.words[0] == "put" && len(p.words) == 2:
		return files
	case p.cmd.Name == "share" && p.words[0] == "rm":
		return p.shares()
	}
	return nil
}

// takesIDs are the commands whose words are ids of futures.
var takesIDs = []string{"wait", "collect", "cancel", "status"}

func (p *completing) commands() (list []candidate) {
	for _, c := range p.app.Commands {
		if !c.Hidden {
			list = append(list, candidate{c.Name, c.Usage})
		}
	}
	return list
}

// plainly makes candidates of words that need no words.
func plainly(words []string) (list []candidate) {
	for _, w := range words {
		list = append(list, candidate{w, ""})
	}
	return list
}

// values are the values that an option may have.
func (p *completing) values(f cli.Flag) []candidate {
	name := f.Names()[0]
	if of := choicesOf(f); len(of) > 0 {
		return plainly(of)
	}
	if !takesValue(f) {
		return plainly([]string{"true", "false"})
	}
	for _, set := range profileFields() {
		if flagOf(set) == name && len(set.OneOf) > 0 {
			return plainly(set.OneOf)
		}
	}
	switch name {
	case "profile":
		return p.profiles()
	case "launcher":
		return p.launchers()
	case "dispatcher":
		return p.dispatchers()
	case "run":
		return p.runs()
	case "share":
		if p.cmd != nil && p.cmd.Name == "run" {
			return files
		}
		return p.shares()
	case "env":
		return variables()
	case "valid":
		return plainly([]string{"1h", "8h", "24h", "7d"})
	}
	usage := f.(cli.DocGenerationFlag).GetUsage()
	switch m := placeholder.FindStringSubmatch(usage); {
	case m == nil:
	case m[1] == "FILE":
		return files
	case m[1] == "DIR" || m[1] == "PREFIX":
		return folders
	case m[1] == "DURATION":
		return plainly([]string{"30s", "10m", "1h", "1d"})
	}
	return nil
}

// file is the config that the command will read; nil if there is none that can be read at
// once. What it evaluates is not evaluated.
func (p *completing) file() *config.File {
	named := p.given["config"]
	if named == "" {
		named = os.Getenv("MUSTER_CONFIG")
	}
	source, err := config.Find(named, os.Getenv)
	if err != nil {
		return nil
	}
	if st, err := os.Stat(source.Path); err != nil || !st.Mode().IsRegular() {
		return nil // whoever writes into a pipe writes once
	}
	f, err := source.Load(plan.Schema())
	if err != nil {
		return nil
	}
	return f
}

// profiles are those of the config, and those of the dispatcher.
func (p *completing) profiles() (list []candidate) {
	var names []string
	if f := p.file(); f != nil {
		for _, one := range f.Profiles {
			names, list = append(names, one.Name), append(list, candidate{one.Name, "of " + f.Path})
		}
	}
	for _, one := range p.status().Profiles {
		if !slices.Contains(names, one.Profile) {
			list = append(list, candidate{one.Profile, "is up"})
		}
	}
	return list
}

func (p *completing) launchers() (list []candidate) {
	if f := p.file(); f != nil {
		for _, l := range f.Launchers {
			list = append(list, candidate{l.Name, l.Kind})
		}
	}
	list = append(list, candidate{config.Local, "this machine"})
	if p.cmd != nil && p.cmd.Name == "launch" {
		list = append(list, candidate{byHand, "a person, with --print"})
	}
	return list
}

func (p *completing) dispatchers() []candidate {
	dir, err := state.SocketDir(os.Getenv)
	if err != nil {
		return nil
	}
	return plainly(dispatchers(dir))
}

// runs are the runs that are under way, unless a run is to be named.
func (p *completing) runs() []candidate {
	dir, err := state.SocketDir(os.Getenv)
	if err != nil || p.takesCommand() && p.cmd.Name != "everywhere" {
		return nil
	}
	all := runs(dir)
	if len(all) == 0 {
		return nil
	}
	return append(plainly(all), candidate{"last", "the one that began last"})
}

// client talks to the dispatcher, or the run, that the options name; nil if there is none.
func (p *completing) client() *control.Client {
	dir, err := state.SocketDir(os.Getenv)
	if err != nil {
		return nil
	}
	run, name := p.given["run"], p.given["dispatcher"]
	if run == "" && p.flag("run") != nil {
		run = os.Getenv("MUSTER_RUN")
	}
	if run != "" && !p.takesCommand() {
		socket, err := findRun(dir, run)
		if err != nil {
			return nil
		}
		return control.NewClient(socket)
	}
	if name == "" {
		name = os.Getenv("MUSTER_DISPATCHER")
	}
	if name == "" {
		name = "default"
	}
	return control.NewClient(control.Socket(dir, name))
}

// completeTime is how long somebody who pressed TAB waits for a dispatcher.
const completeTime = time.Second

// status is that of the dispatcher, or empty if none answers at once.
func (p *completing) status() *control.Status {
	ctx, cancel := context.WithTimeout(context.Background(), completeTime)
	defer cancel()
	if client := p.client(); client != nil {
		if st, err := client.Status(ctx); err == nil {
			return st
		}
	}
	return &control.Status{}
}

func (p *completing) futures() (list []candidate) {
	for _, f := range p.status().Futures {
		list = append(list, candidate{fmt.Sprint(f.ID), fmt.Sprintf("%s of profile %s, %s, %d/%d resolved", f.Kind, f.Profile, f.State, f.Resolved, f.Total)})
	}
	return list
}

func (p *completing) joins() (list []candidate) {
	ctx, cancel := context.WithTimeout(context.Background(), completeTime)
	defer cancel()
	client := p.client()
	if client == nil {
		return nil
	}
	var joins []host.Join
	if client.Joins(ctx, &joins) != nil {
		return nil
	}
	for _, j := range joins {
		list = append(list, candidate{j.ID, "of profile " + j.Profile})
	}
	return list
}

// shares are those of the profile that the options name.
func (p *completing) shares() (list []candidate) {
	ctx, cancel := context.WithTimeout(context.Background(), completeTime)
	defer cancel()
	client := p.client()
	if client == nil {
		return nil
	}
	a, err := client.Shares(ctx, cmp.Or(p.given["profile"], os.Getenv("MUSTER_PROFILE"), "default"))
	if err != nil {
		return nil
	}
	for _, st := range a.Shares {
		if !st.Removed {
			list = append(list, candidate{st.Name, units.Megabytes(st.Bytes)})
		}
	}
	return list
}

// variables are the names of the environment's.
func variables() (list []candidate) {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		list = append(list, candidate{name, ""})
	}
	return list
}
