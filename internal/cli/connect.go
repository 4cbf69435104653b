package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/live"
	"muster/internal/state"
	safe "muster/internal/terminal"
)

// dispatcherFlags choose the dispatcher that a command talks to.
func dispatcherFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "dispatcher", EnvVars: []string{"MUSTER_DISPATCHER"}, Value: "default", Usage: "talk to the dispatcher `NAME`"},
	}
}

// runFlags choose a run instead.
func runFlag() cli.Flag {
	return &cli.StringFlag{Name: "run", EnvVars: []string{"MUSTER_RUN"}, Usage: "talk to the run `NAME` instead; last is the one that began last"}
}

func profileFlag() cli.Flag {
	return &cli.StringFlag{Name: "profile", Aliases: []string{"p"}, EnvVars: []string{"MUSTER_PROFILE"}, Value: "default", Usage: "use the profile `NAME`"}
}

// dispatcherName is the dispatcher that the options name; an empty variable
// names none.
func dispatcherName(c *cli.Context) string {
	if name := c.String("dispatcher"); name != "" {
		return name
	}
	return "default"
}

// profileName is the profile that the options name; an empty variable names
// none.
func profileName(c *cli.Context) string {
	if name := c.String("profile"); name != "" {
		return name
	}
	return "default"
}

// runSocket is the name of a run's socket, which no dispatcher has.
func runSocket(name string) string { return "run." + name }

// connect returns a client of the dispatcher or the run that the options name.
func connect(c *cli.Context) (*control.Client, error) {
	if remark := state.Remark(os.Getenv); remark != "" {
		safe.NewVoice(c.App.ErrWriter).Say("%s", remark)
	}
	dir, err := state.SocketDir(os.Getenv)
	if err != nil {
		return nil, err
	}
	if run := c.String("run"); run != "" {
		socket, err := findRun(dir, run)
		if err != nil {
			return nil, err
		}
		return control.NewClient(socket), nil
	}
	name := dispatcherName(c)
	if !host.ValidName(name) {
		return nil, usagef("--dispatcher %q: a name has letters, digits, - and _, 40 at most", name)
	}
	return control.NewClient(control.Socket(dir, name)), nil
}

// runs lists the names of the runs that are under way, the latest last.
func runs(dir string) []string {
	paths, _ := filepath.Glob(control.Socket(dir, runSocket("*")))
	slices.SortFunc(paths, func(a, b string) int { return modTime(a).Compare(modTime(b)) })
	var names []string
	for _, p := range paths {
		if !listens(p) {
			continue // it was killed
		}
		name := strings.TrimPrefix(filepath.Base(p), runSocket(""))
		names = append(names, strings.TrimSuffix(name, filepath.Base(control.Socket("", ""))))
	}
	return names
}

// listens reports whether somebody listens on a socket.
func listens(path string) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func modTime(path string) time.Time {
	st, err := os.Lstat(path)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

func findRun(dir, name string) (string, error) {
	all := runs(dir)
	if name == "last" && len(all) > 0 {
		return control.Socket(dir, runSocket(all[len(all)-1])), nil
	}
	for _, n := range all {
		if n == name {
			return control.Socket(dir, runSocket(n)), nil
		}
	}
	hint := "there are none"
	if len(all) > 0 {
		hint = "there are " + strings.Join(all, ", ")
	}
	return "", unreachable{hinted{fmt.Errorf("no run %q is under way", name), hint}}
}

// unreachable is the error of a dispatcher that does not answer: exit code 5.
type unreachable struct{ error }

func (e unreachable) Unwrap() error { return e.error }

// answered gives an error of the dispatcher the exit code and the hint that
// belong to it.
func answered(err error) error {
	var e *control.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, control.ErrUnreachable):
		hint := "`muster up -n 4` starts one with 4 workers"
		if others := running(); others != "" {
			hint = others + "; " + hint
		}
		return unreachable{hinted{err, hint}}
	case !errors.As(err, &e):
		return err
	}
	var out error = e
	if e.Hint != "" {
		out = hinted{e, e.Hint}
	}
	switch e.Code {
	case "full":
		fullHint := hinted{errors.New(e.Message), "the task was not taken; without --try submit waits for room"}
		return full{fullHint}
	case "failed", "closed":
		return out
	}
	return usageError{out}
}

// full is the error of a queue without room: exit code 6.
type full struct{ error }

func (e full) Unwrap() error { return e.error }

// hostOptions are those of every dispatcher that a command runs.
func hostOptions(s streams, log hclog.Logger, bar *progress) (host.Options, error) {
	if err := keepDescriptors(); err != nil {
		return host.Options{}, err
	}
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return host.Options{}, err
	}
	sockets, err := state.SocketDir(os.Getenv)
	if err != nil {
		return host.Options{}, err
	}
	exe, err := os.Executable()
	if err != nil {
		return host.Options{}, fmt.Errorf("find muster's own path: %w", err)
	}
	return host.Options{StateDir: dir, SocketDir: sockets, Log: log, Stderr: live.Below(s.err.Exact()), Build: Version, Askpass: askpass, Copied: bar.copied(), Worker: []string{exe, "worker"}}, nil
}

// dispatchers lists the names of dispatchers that may be up.
func dispatchers(dir string) []string {
	paths, _ := filepath.Glob(control.Socket(dir, "*"))
	var names []string
	for _, p := range paths {
		name := strings.TrimSuffix(filepath.Base(p), filepath.Base(control.Socket("", "")))
		if host.ValidName(name) {
			names = append(names, name)
		}
	}
	return names
}

// running says which dispatchers are running, for whoever looked for another; "" if none
// is.
func running() string {
	dir, err := state.SocketDir(os.Getenv)
	if err != nil {
		return ""
	}
	names := slices.DeleteFunc(dispatchers(dir), func(name string) bool { return !listens(control.Socket(dir, name)) })
	switch len(names) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("dispatcher %s is running: --dispatcher %[1]s", names[0])
	}
	return "dispatchers " + few(names, "dispatcher") + " are running: --dispatcher NAME chooses one"
}
