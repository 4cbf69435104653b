package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/fleet"
	"muster/internal/host"
	"muster/internal/live"
	"muster/internal/shell"
	"muster/internal/state"
	safe "muster/internal/terminal"
	"muster/internal/units"
	mtls "muster/tls"
)

func newInfo(s streams) *cli.Command {
	asJSON := false
	return &cli.Command{
		Name:      "info",
		Usage:     "print the five counters of a profile",
		UsageText: "muster info [-p PROFILE | --run NAME] [--json]",
		Description: `connections  workers connected now
   cumulative   workers that ever were
   awaiting     tasks that are queued
   executing    tasks that workers have
   completed    tasks that are resolved, cancelled ones too

   muster info
   muster info -p gpu --json`,
		Flags: append(append(append(dispatcherFlags(), runFlag(), profileFlag()), &cli.BoolFlag{Name: "json", Destination: &asJSON, Usage: "print JSON"}), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if err := optionsOnly(c); err != nil {
				return err
			}
			client, profile, err := attach(c)
			if err != nil {
				return err
			}
			i, err := client.Info(c.Context, profile)
			if err != nil {
				return answered(err)
			}
			if asJSON {
				return writeJSON(s.out, i)
			}
			safe.Fprintf(s.out, "%11s %11s %11s %11s %11s\n", "connections", "cumulative", "awaiting", "executing", "completed")
			safe.Fprintf(s.out, "%11d %11d %11d %11d %11d\n", i.Connections, i.Cumulative, i.Awaiting, i.Executing, i.Completed)
			for _, r := range i.Reasons {
				s.err.Say("%s", hintedText(r))
			}
			if i.Log != "" {
				s.err.Say("the dispatcher's log is %s", i.Log)
			}
			return nil
		},
	}
}

func newStatus(s streams) *cli.Command {
	var asJSON, watch bool
	return &cli.Command{
		Name:      "status",
		Usage:     "show a dispatcher, a run or a future in full",
		UsageText: "muster status [--watch] [--json] [--run NAME] [ID...]",
		Description: `Alone it shows the dispatcher: where workers dial, and for each profile its
workers, tasks and queued memory. With ids it shows how those futures stand. With
--watch it goes on showing until Ctrl-C.

   muster status
   muster status --run last
   muster status 3 4`,
		Flags: append(append(append(dispatcherFlags(), runFlag()),
			&cli.BoolFlag{Name: "watch", Destination: &watch, Usage: "show every change; with --json one object each"},
			&cli.BoolFlag{Name: "json", Destination: &asJSON, Usage: "print JSON"}), logFlags("", "")...),
		Action: func(c *cli.Context) error { return runStatus(c, s, watch, asJSON) },
	}
}

func runStatus(c *cli.Context, s streams, watch, asJSON bool) error {
	list, err := ids(c)
	if err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		for _, id := range list {
			f, err := client.Future(c.Context, id)
			if err != nil {
				return answered(err)
			}
			if asJSON {
				err = writeJSON(s.out, f)
			} else {
				_, err = safe.Fprintf(s.out, "%d: %s of profile %s: %s, %d/%d resolved, %d failed; %s\n", f.ID, f.Kind, f.Profile, f.State, f.Resolved, f.Total, f.Failed, called(f))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if watch {
		return watchStatus(c, s, client, asJSON)
	}
	st, err := client.Status(c.Context)
	if errors.Is(err, control.ErrUnreachable) {
		return noDispatcher(err)
	}
	if err != nil {
		return answered(err)
	}
	if asJSON {
		return writeJSON(s.out, st)
	}
	if err := showStatus(s.out, st, time.Now()); err != nil {
		return err
	}
	return showKept(s.out)
}

// noDispatcher says which runs there are, if any.
func noDispatcher(err error) error {
	dir, dirErr := state.SocketDir(os.Getenv)
	if all := runs(dir); dirErr == nil && len(all) > 0 {
		return unreachable{hinted{err, "these runs are under way, for --run: " + strings.Join(all, ", ")}}
	}
	return answered(err)
}

// watchStatus shows every change, on a terminal in place of the one before.
func watchStatus(c *cli.Context, s streams, client *control.Client, asJSON bool) error {
	ctx, stop := interruptible(c)
	defer stop()
	show, end := pageOn(s.out)
	defer end()
	err := client.Watch(ctx, func(st *control.Status) error {
		if asJSON {
			return writeLine(s.out, st)
		}
		var b strings.Builder
		showStatus(&b, st, time.Now())
		return show(b.String())
	})
	if errors.Is(err, control.ErrUnreachable) {
		return noDispatcher(err)
	}
	if ctx.Err() != nil {
		return nil // that is how one ends it
	}
	return answered(err)
}

// pageOn returns what shows one text after another, on a terminal in place of the one
// before, and what ends that.
func pageOn(out io.Writer) (show func(string) error, end func()) {
	if live.Dumb(out) {
		return func(text string) error {
			_, err := io.WriteString(out, text+"\n")
			return err
		}, func() {}
	}
	p := live.NewPage(out.(*os.File))
	return p.Show, p.Close
}

// shownWorkers and shownFutures are how many lines each gets; --json has all.
const (
	shownWorkers = 32
	shownFutures = 32
)

func showStatus(w io.Writer, st *control.Status, now time.Time) error {
	what := "dispatcher"
	if st.Kind == "run" {
		what = "run"
	}
	safe.Fprintf(w, "%s %s: process %d, muster %s, since %s\n", what, st.Name, st.Pid, st.Version, st.Started.Local().Format(time.DateTime))
	for _, u := range st.URLs {
		safe.Fprintf(w, "  %s (%s)\n", u.URL, u.Interface)
	}
	showStanding(w, st.Standing)
	for _, p := range st.Profiles {
		showProfile(w, p)
		for _, r := range p.Reasons {
			if strings.HasPrefix(r.Hint, "`muster status") {
				r.Hint = "" // that is where we are
			}
			safe.Fprintf(w, "  %s: %s\n", r.Code, safe.Line(hintedText(r)))
		}
	}
	if st.Log != "" {
		safe.Fprintf(w, "log %s\n", st.Log)
	}
	showFutures(w, st.Futures, now)
	return nil
}

// showFutures shows a line for each, or for the first of many.
func showFutures(w io.Writer, list []dispatcher.FutureStatus, now time.Time) {
	if len(list) == 0 {
		return
	}
	safe.Fprintf(w, "futures\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, f := range list {
		if i == shownFutures {
			safe.Fprintf(t, "  and %d more\n", len(list)-i)
			break
		}
		safe.Fprintf(t, "  %d\t%s\t%s\t%s\t%d/%d resolved\t%d failed\t%s\t%s\n", f.ID, f.Kind, f.Profile, f.State, f.Resolved, f.Total, f.Failed, units.Age(now.Sub(f.Created)), called(f))
	}
	t.Flush()
}

// called is a future's name, or the command of its first task.
func called(f dispatcher.FutureStatus) string {
	command := shell.Join(f.Argv)
	if f.Kind == dispatcher.KindEverywhere && len(f.Argv) == 1 {
		command = f.Argv[0]
	}
	text := safe.Line(safe.Cut(command, mostCommand))
	if f.Name != "" {
		text = shortName(f.Name) + ": " + text
	}
	return text
}

// mostCommand is how many bytes of a command a line of status has.
const mostCommand = 60

func showProfile(w io.Writer, p control.ProfileStatus) {
	mode := p.Scheduling
	if p.Sync {
		mode = "sync"
	}
	expected := ""
	if p.Expected > 0 {
		expected = fmt.Sprintf(", %d more expected", p.Expected)
	}
	safe.Fprintf(w, "profile %s: %s, %s connected of %d ever%s; %d awaiting, %d executing, %d completed\n", p.Profile, mode,
		plural(p.Info.Connections, "worker"), p.Info.Cumulative, expected, p.Info.Awaiting, p.Info.Executing, p.Info.Completed)
	capacity := "no limit"
	if p.Memory.Capacity != nil {
		capacity = units.Megabytes(*p.Memory.Capacity)
	}
	waiting := ""
	if n := p.Memory.Waiting; n > 0 {
		waiting = fmt.Sprintf(", %d waiting to submit", n)
	}
	safe.Fprintf(w, "  memory: %s used, %s peak, capacity %s%s\n", units.Megabytes(p.Memory.Used), units.Megabytes(p.Memory.Peak), capacity, waiting)
	if p.Shares.Count > 0 {
		safe.Fprintf(w, "  shares: %d, %s of %s\n", p.Shares.Count, units.Megabytes(p.Shares.Bytes), units.Megabytes(p.Shares.Limit))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, k := range p.Workers {
		if i == shownWorkers {
			safe.Fprintf(t, "  and %d more\n", len(p.Workers)-i)
			break
		}
		safe.Fprintf(t, "  %s\t%s\t%d of %s\t%d done\tpid %d\n", k.ID, k.State, min(k.Busy, k.Slots), plural(k.Slots, "slot"), k.Done, k.Pid)
	}
	t.Flush()
	for _, k := range p.Workers {
		for _, lack := range k.Lacks {
			safe.Fprintf(w, "  %s: %s; what needs it goes elsewhere\n", k.Host, lack)
		}
	}
	for why, n := range p.Left {
		safe.Fprintf(w, "  %s left: %s\n", plural(n, "worker"), why)
	}
}

// showStanding shows how the workers of jobs stand, and what went wrong with them.
func showStanding(w io.Writer, list []fleet.JobStanding) {
	for _, j := range list {
		name := j.ID
		if name == "" {
			name = j.Launch
		}
		safe.Fprintf(w, "  job %s of %s: %s", name, j.Endpoint, plural(j.Workers, "worker"))
		for _, c := range []struct {
			n    int
			word string
		}{{j.Pending, "pending"}, {j.Running, "running"}, {j.Ended, "ended"}} {
			if c.n > 0 {
				safe.Fprintf(w, ", %d %s", c.n, c.word)
			}
		}
		if j.Reason != "" {
			safe.Fprintf(w, " (%s)", j.Reason)
		}
		safe.Fprintf(w, "\n")
		if j.Trouble != "" {
			safe.Fprintf(w, "    %s\n", safe.Text(strings.ReplaceAll(j.Trouble, "\n", "\n    ")))
		}
	}
}

func newJoin(s streams) *cli.Command {
	var uses int
	var valid time.Duration
	var file string
	var asJSON, local bool
	return &cli.Command{
		Name:      "join",
		Usage:     "make, list and revoke join strings, for workers that you start yourself",
		UsageText: "muster join new -o FILE [OPTIONS] | list | revoke ID",
		Description: `new writes a join string, a secret, into FILE, which is yours alone to read; each
worker that is started with muster worker --join-file FILE joins the dispatcher.
revoke lets nobody in any more; workers that are in stay.

   muster join new -p cluster --uses 100 -o ~/join
   muster worker --join-file ~/join`,
		Flags: append(append(append(dispatcherFlags(), runFlag(), profileFlag()),
			&cli.IntFlag{Name: "uses", Destination: &uses, Value: 1, Usage: "let `N` workers join with it"},
			&cli.DurationFlag{Name: "valid", Destination: &valid, Value: joinValid, Usage: "for `DURATION`; 0 is as long as the profile"},
			&cli.StringFlag{Name: "o", Destination: &file, Usage: "write it to `FILE`; - is standard output"},
			&cli.BoolFlag{Name: "local", Destination: &local, Usage: "for workers on this machine only: open no port"},
			&cli.BoolFlag{Name: "json", Destination: &asJSON, Usage: "print JSON"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			what, err := subcommand("join", c.Args().Slice(), subcommands["join"])
			if err != nil {
				return err
			}
			takes := map[string]int{"revoke": 1}[what]
			if c.Args().Len() > 1+takes {
				return tooMany("join "+what, c.Args().Get(1+takes), "`muster join --help` shows how it is used")
			}
			client, err := connect(c)
			if err != nil {
				return err
			}
			switch {
			case what == "list":
				return listJoins(c, s, client, asJSON)
			case what == "revoke" && c.Args().Len() == 1:
				return usageError{hinted{errors.New("join revoke: which ID?"), "`muster join list` lists them"}}
			case what == "revoke":
				if err := client.Revoke(c.Context, c.Args().Get(1)); err != nil {
					return answered(err)
				}
				s.err.Say("%s lets nobody in any more", c.Args().Get(1))
				return nil
			case file == "":
				return usageError{hinted{errors.New("join new: where to?"), "-o FILE, a file that muster worker --join-file reads; - is standard output"}}
			}
			profile, err := profileOf(c, client)
			if err != nil {
				return err
			}
			j, err := client.Join(c.Context, profile, control.JoinRequest{Uses: uses, Valid: units.Duration(valid), Elsewhere: !local})
			if err != nil {
				return answered(err)
			}
			join, err := mtls.ParseJoin(j.Text)
			if err == nil {
				err = s.tellDialled(c, client, func(u host.Candidate) bool { return slices.Contains(join.Addrs, "tcp:"+u.Address) })
			}
			if err == nil && file == "-" {
				_, err := fmt.Fprintln(s.out, j.Text)
				return err
			}
			if err == nil {
				err = mtls.WriteJoinFile(file, join)
			}
			if err != nil {
				client.Revoke(c.Context, j.ID)
				return err
			}
			if asJSON {
				return writeJSON(s.out, j.Join)
			}
			s.err.Say("%s admits %s to profile %s: muster worker --join-file %s", j.ID, plural(uses, "worker"), profile, file)
			return nil
		},
	}
}

func listJoins(c *cli.Context, s streams, client *control.Client, asJSON bool) error {
	var list []host.Join
	if err := client.Joins(c.Context, &list); err != nil {
		return answered(err)
	}
	if asJSON {
		return writeJSON(s.out, list)
	}
	for _, j := range list {
		until := "as long as the profile"
		if !j.Until.IsZero() {
			until = "until " + j.Until.Local().Format(time.DateTime)
		}
		safe.Fprintf(s.out, "%s: profile %s, %d of %d used, valid %s\n", j.ID, j.Profile, j.Used, j.Uses, until)
	}
	return nil
}

func newWith(s streams, words *commandLine) *cli.Command {
	workers := 0
	return &cli.Command{
		Name:      "with",
		Usage:     "run a command whose tasks go to a profile",
		UsageText: "muster with -p PROFILE [-n WORKERS [OPTIONS]] -- CMD [ARG...]",
		Description: `MUSTER_PROFILE is set for CMD, in which submit, map and the others use that
profile; an inner -p or with wins. With -n the profile is made first, with so many
workers, and reset when CMD has ended and nothing is left unresolved.

   muster with -p gpu -- ./pipeline.sh
   muster with -n 4 -- sh -c 'muster map --wait -- ./simulate {} ::: 1 2 3'`,
		Flags: append(append(append(append(poolFlags(), dispatcherFlags()...),
			&cli.IntFlag{Name: "n", Destination: &workers, Usage: "make the profile, with `N` workers, for as long as CMD lasts"},
		), settingFlags()...), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if len(words.argv) == 0 {
				return usageError{hinted{errNoCommand, "muster with -p gpu -- ./pipeline.sh"}}
			}
			profile := c.String("profile")
			if profile == "" {
				profile = "default"
			}
			if !host.ValidName(profile) {
				return usagef("-p %q: a name has letters, digits, - and _, 40 at most", profile)
			}
			// The first of two values counts for some programs, the last for others.
			env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
				return strings.HasPrefix(kv, "MUSTER_PROFILE=") || strings.HasPrefix(kv, "MUSTER_DISPATCHER=")
			})
			env = append(env, "MUSTER_PROFILE="+profile, "MUSTER_DISPATCHER="+dispatcherName(c))
			if c.IsSet("n") {
				return withPool(c, s, workers, profile, env, words.argv)
			}
			path, err := exec.LookPath(words.argv[0])
			if err != nil {
				return usageError{fmt.Errorf("with: %w", err)}
			}
			return fmt.Errorf("run %s: %w", path, syscall.Exec(path, words.argv, env))
		},
	}
}
