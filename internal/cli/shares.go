package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"muster/internal/expand"
	"muster/internal/host"
	safe "muster/internal/terminal"
	"muster/internal/units"
	"muster/share"
	"muster/task"
)

// sharing is what the tasks of a command read in memory.
type sharing struct {
	names []string // of --share and of placeholders
	files map[string]string
	// list returns what a task can read that begins now; nil if whoever takes the
	// tasks knows.
	list func() []task.Share
}

// shareFlag names shares that are there.
func shareFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "share", Usage: "start it only where the share `NAME` can be read, as $MUSTER_SHARE_NAME or {share:NAME} in CMD"}
}

// runShareFlag makes the shares of a run.
func runShareFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "share", Usage: "put `NAME=FILE` into memory once, for {share:NAME} in CMD; repeatable"}
}

// newSharing reads the shares that are named with --share.
func newSharing(c *cli.Context) (*sharing, error) {
	o := &sharing{}
	for _, name := range c.StringSlice("share") {
		if !task.ValidShare(name) {
			return nil, fmt.Errorf("--share: %q %w", name, host.ErrShareName)
		}
		o.need(name)
	}
	return o, nil
}

// newRunSharing reads the shares that --share makes.
func newRunSharing(c *cli.Context) (*sharing, error) {
	o := &sharing{files: map[string]string{}}
	for _, text := range c.StringSlice("share") {
		name, file, ok := strings.Cut(text, "=")
		switch {
		case !ok || file == "" || file == "-":
			return nil, hinted{fmt.Errorf("--share %s: which file?", text), "--share NAME=FILE"}
		case !task.ValidShare(name):
			return nil, fmt.Errorf("--share: %q %w", name, host.ErrShareName)
		case o.files[name] != "":
			return nil, fmt.Errorf("--share %s: there is a share %s already", text, name)
		}
		if st, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("--share %s: %w", name, err)
		} else if st.IsDir() {
			return nil, fmt.Errorf("--share %s: %s is a directory", name, file)
		}
		o.files[name] = file
		o.need(name)
	}
	return o, nil
}

func (o *sharing) need(name string) {
	if !slices.Contains(o.names, name) {
		o.names = append(o.names, name)
	}
}

// mark returns what stands in a command for the path of a share.
func (o *sharing) mark(name string) (string, bool) {
	if !task.ValidShare(name) {
		return "", false
	}
	o.need(name)
	return task.ShareMark(name), true
}

// words puts marks into a command that has no other placeholders.
func (o *sharing) words(argv []string) []string {
	argv = slices.Clone(argv)
	for i, w := range argv {
		argv[i] = expand.Shares(w, o.mark)
	}
	return argv
}

// check refuses placeholders of a run for which --share has made nothing.
func (o *sharing) check() error {
	for _, name := range o.names {
		if o.files[name] == "" {
			return hinted{fmt.Errorf("{share:%s}: there is no share %s", name, name), "--share " + name + "=FILE makes one of a file; --literal share:" + name + " leaves it as it is"}
		}
	}
	return nil
}

// shares are those of a task that begins now.
func (o *sharing) shares() []task.Share {
	if o.list != nil {
		return o.list()
	}
	var list []task.Share
	for _, name := range o.names {
		list = append(list, task.Share{Name: name, Needed: true})
	}
	return list
}

// open puts what --share names, and has the tasks read it.
func (o *sharing) open(shares *host.Shares) error {
	for _, name := range o.names {
		if err := o.put(shares, name); err != nil {
			return fmt.Errorf("--share %s: %w", name, err)
		}
	}
	hold, err := shares.Hold(o.names)
	if err != nil {
		return err
	}
	o.list = hold.List
	return nil
}

func (o *sharing) put(shares *host.Shares, name string) error {
	f, size, err := openShare(o.files[name])
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = shares.Put(name, size, false, f)
	return err
}

// openShare opens a file and says how many bytes it has, -1 if that is not known
// before it has been read.
func openShare(file string) (f *os.File, size int64, err error) {
	if f, err = os.Open(file); err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%s is a directory", file)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	if st.Mode().IsRegular() && st.Size() > 0 { // those of /proc say 0
		return f, st.Size(), nil
	}
	return f, -1, nil
}

// sharedHere returns a task that runs in this process's terminal, with the paths of what
// it shares.
func sharedHere(spec task.Spec) (task.Spec, error) {
	paths := map[string]string{}
	for _, sh := range spec.Shares {
		ref, err := share.ParseRef(sh.Ref)
		if err == nil {
			err = ref.Check()
		}
		if err == nil {
			paths[sh.Name] = ref.Path()
		} else if sh.Needed {
			return spec, fmt.Errorf("share %s: %w", sh.Name, err)
		}
	}
	return spec.WithShares(paths), nil
}

// errSyncShares refuses shares where there is nobody to have them.
var errSyncShares = hinted{errors.New("--sync runs the command here, without a dispatcher that has shares"), "`muster run --sync --share NAME=FILE` shares a file"}

// openHere is open for a run in sync mode: this process has the shares.
func (o *sharing) openHere(say func(format string, args ...any)) error {
	if len(o.names) == 0 {
		return nil
	}
	return o.open(host.NewShares("default", 0, say))
}

// newShare is the command for shares that stay.
func newShare(s streams) *cli.Command {
	var replace, asJSON bool
	return &cli.Command{
		Name:      "share",
		Usage:     "put what is large into memory once, for all tasks of a machine to read",
		UsageText: "muster share put NAME FILE | list | rm NAME...",
		Description: `put shares a file, or with - standard input, with the tasks of a profile: in a
command {share:NAME} is a path that any program can read or map, and so is
$MUSTER_SHARE_NAME in its environment. No task has a copy. rm takes shares away;
tasks that are queued and name one keep it, and its memory is freed when they end.

   muster share put data table.bin
   muster map -- ./fit --table {share:data} {} ::: 1 2 3
   muster share rm data`,
		Flags: append(append(append(dispatcherFlags(), runFlag(), profileFlag()),
			&cli.BoolFlag{Name: "replace", Destination: &replace, Usage: "put it in the place of a share of the same name"},
			&cli.BoolFlag{Name: "json", Destination: &asJSON, Usage: "print JSON"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			what, err := subcommand("share", words, subcommands["share"])
			if err != nil {
				return err
			}
			words = words[1:]
			if takes := map[string]int{"put": 2, "list": 0, "rm": len(words)}[what]; len(words) > takes {
				return tooMany("share "+what, words[takes], "`muster share --help` shows how it is used")
			}
			switch {
			case what == "list":
				return listShares(c, s, asJSON)
			case what == "rm" && len(words) == 0:
				return usageError{hinted{errors.New("share rm: which NAME?"), "`muster share list` lists them"}}
			case what == "rm":
				return removeShares(c, s, words, asJSON)
			case len(words) < 2:
				return usageError{hinted{errors.New("share put: which NAME, and which FILE?"), "muster share put data table.bin"}}
			}
			return putShare(c, s, words[0], words[1], replace, asJSON)
		},
	}
}

func putShare(c *cli.Context, s streams, name, file string, replace, asJSON bool) error {
	if !task.ValidShare(name) {
		return usagef("share put: %q %w", name, host.ErrShareName)
	}
	client, profile, err := attach(c)
	if err != nil {
		return err
	}
	from, size := s.in, int64(-1)
	if file != "-" {
		f, n, err := openShare(file)
		if err != nil {
			return usagef("share %s: %w", name, err)
		}
		defer f.Close()
		from, size = io.Reader(f), n
	}
	st, err := client.PutShare(c.Context, profile, name, size, replace, from)
	if err != nil {
		return answered(err)
	}
	if asJSON {
		return writeJSON(s.out, st)
	}
	s.err.Say("share %s of profile %s has %s: {share:%s} in a command, $%s%s in its environment", name, profile, plural(int(st.Bytes), "byte"), name, task.ShareVariable, name)
	return nil
}

func listShares(c *cli.Context, s streams, asJSON bool) error {
	client, profile, err := attach(c)
	if err != nil {
		return err
	}
	a, err := client.Shares(c.Context, profile)
	if err != nil {
		return answered(err)
	}
	if asJSON {
		return writeJSON(s.out, a)
	}
	return showShares(s.out, a.Shares)
}

func removeShares(c *cli.Context, s streams, names []string, asJSON bool) error {
	for _, name := range names {
		if !task.ValidShare(name) {
			return usagef("share rm: %q %w", name, host.ErrShareName)
		}
	}
	client, profile, err := attach(c)
	if err != nil {
		return err
	}
	a, err := client.RemoveShares(c.Context, profile, names)
	if err != nil {
		return answered(err)
	}
	if asJSON {
		return writeJSON(s.out, a)
	}
	for _, st := range a.Shares {
		when := "is freed"
		if st.Futures > 0 {
			when = "is freed when those have ended that need it: " + plural(st.Futures, "future")
		}
		s.err.Say("share %s is removed; its memory, %s, %s", st.Name, units.Megabytes(st.Bytes), when)
	}
	return nil
}

func showShares(w io.Writer, list []host.ShareStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, st := range list {
		needed := ""
		if st.Futures > 0 {
			needed = plural(st.Futures, "future") + " need it"
			if st.Futures == 1 {
				needed = "1 future needs it"
			}
		}
		if st.Removed {
			needed = "removed; " + needed
		}
		safe.Fprintf(t, "%s\t%s\t%s\t%s\n", st.Name, units.Megabytes(st.Bytes), st.Path, needed)
	}
	return t.Flush()
}
