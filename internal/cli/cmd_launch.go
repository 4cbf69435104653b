package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"muster/hpc"
	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/launch"
	"muster/internal/state"
	mtls "muster/tls"
)

// launchOptions are the options of `muster launch`.
type launchOptions struct {
	workers     int
	launcher    string
	print, json bool
	showSecrets bool
	local       bool
}

func newLaunch(s streams) *cli.Command {
	var o launchOptions
	return &cli.Command{
		Name:      "launch",
		Usage:     "start a profile's workers, or print exactly what would be run",
		UsageText: "muster launch [-p PROFILE] [--launcher NAME | --local] [-n WORKERS] [--print]",
		Description: `More workers for a dispatcher that is up, or for a run (--run), as the profile's
launcher starts them; on this machine if it has none, or with --local.

With --print nothing is started: each script is shown with the command that
would submit it, as it can be pasted into a shell. Without a dispatcher there is
nothing yet for muster's own workers to join, so JOIN_FILE and RUN_DIR stand for
what a run makes. Launchers with a worker_command start other people's workers,
which need no dispatcher.

   muster launch -n 2
   muster launch -p cluster --print
   muster launch --launcher mirai -n 20`,
		Flags: append(append(append(poolFlags(), append(dispatcherFlags(), runFlag())...),
			&cli.BoolFlag{Name: "local", Destination: &o.local, Usage: "start workers on this machine, whatever the profile says"},
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
	if o.local && (o.launcher != "" || o.print) {
		return usagef("--local starts workers here: --launcher and --print say otherwise")
	}
	var plans []*launch.Plan
	if !o.local {
		name, err := plannedProfile(c)
		if err != nil {
			return err
		}
		if plans, err = planLaunch(c, o, name); err != nil {
			return usageError{err}
		}
	}
	switch {
	case o.print && len(plans) == 0:
		return usageError{hinted{errors.New("there is no launcher: workers are started on this machine"), "`muster join new -o FILE` and then `muster worker --join-file FILE` is the same by hand"}}
	case o.print:
		return printPlans(c, s, plans, o)
	case len(plans) > 0 && allForeign(plans):
		return launchForeign(c, s, plans, o, log)
	}
	return launchAttached(c, s, plans, o)
}

func allForeign(plans []*launch.Plan) bool {
	for _, p := range plans {
		if !p.Foreign {
			return false
		}
	}
	return true
}

// launchAttached has a dispatcher start workers.
func launchAttached(c *cli.Context, s streams, plans []*launch.Plan, o launchOptions) error {
	q := control.LaunchRequest{Plans: plans}
	if len(plans) == 0 {
		q.Workers = max(o.workers, 1)
		if err := nested("muster launch", plural(q.Workers, "worker")); err != nil {
			return err
		}
	}
	client, profile, err := attach(c)
	if err != nil {
		return err
	}
	asker, end, err := answerer(plans, nil)
	if err != nil {
		return err
	}
	defer end()
	q.Asker = asker
	ctx, stop := interruptible(c)
	defer stop()
	done, err := client.Launch(ctx, profile, q)
	if ctx.Err() != nil {
		fmt.Fprintln(s.err, "muster: interrupted; what the dispatcher had begun to start goes on: `muster status` shows it")
		return exitError(exitInterrupted)
	}
	if err != nil {
		return answered(err)
	}
	if len(plans) > 0 {
		if err := s.tellDialled(c, client, func(host.Candidate) bool { return true }); err != nil {
			return err
		}
	}
	if o.json {
		return writeJSON(s.out, done)
	}
	for _, id := range done.Jobs {
		fmt.Fprintln(s.out, id)
	}
	fmt.Fprintf(s.err, "muster: %s asked for\n", plural(done.Workers, "worker"))
	return nil
}

// attach returns a client of what the options name, and the profile.
func attach(c *cli.Context) (client *control.Client, profile string, err error) {
	if client, err = connect(c); err != nil {
		return nil, "", err
	}
	profile, err = profileOf(c, client)
	return client, profile, err
}

// profileOf is the profile that the options name, or the only one that a run has.
func profileOf(c *cli.Context, client *control.Client) (string, error) {
	if name := c.String("profile"); name != "" && (c.IsSet("profile") || c.String("run") == "") {
		return name, nil
	}
	if c.String("run") == "" {
		return "default", nil
	}
	st, err := client.Status(c.Context)
	if err != nil {
		return "", answered(err)
	}
	for _, p := range st.Profiles {
		return p.Profile, nil
	}
	return "default", nil
}

// plannedProfile is the profile of the config whose workers are wanted: that of
// a run is the one that it was started with.
func plannedProfile(c *cli.Context) (string, error) {
	if name := c.String("profile"); name != "" {
		return name, nil
	}
	if c.String("run") == "" {
		return "default", nil
	}
	_, name, err := attach(c)
	return name, err
}

func planLaunch(c *cli.Context, o launchOptions, name string) ([]*launch.Plan, error) {
	if o.workers < 0 {
		return nil, fmt.Errorf("-n %d: at least one worker is started", o.workers)
	}
	dir, err := taskDir("")
	if err != nil {
		return nil, err
	}
	w := wish{Wish: launch.Wish{Workers: o.workers, Dir: dir}}
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
		p, err := launch.For(f, l, sc, w.Wish, 1)
		return []*launch.Plan{p}, err
	}
	f, err := loadConfig(c)
	if err != nil || f == nil {
		return nil, err // without a config, workers are this machine's
	}
	profile := find(f, name)
	if profile == nil {
		return nil, nil
	}
	pl, err := newPool(f, profile, sc, w)
	if err != nil {
		return nil, err
	}
	return pl.plans, nil
}

// printPlans shows every submission.
func printPlans(c *cli.Context, s streams, plans []*launch.Plan, o launchOptions) error {
	path, err := programPath()
	if err != nil {
		return err
	}
	own := false
	list := []*launch.Submission{}
	for _, p := range plans {
		names := p.Placeholders(path)
		if p.Via != nil && p.Muster == "" {
			names.Muster = "MUSTER_THERE"
		}
		if !p.Foreign && p.Via == nil {
			file, port, err := mint(c, p.Workers(), p.Tunnel)
			if err != nil {
				return err
			}
			if file != "" {
				// What is pasted has to find the program where it says.
				if _, err = program(); err != nil {
					return err
				}
				names.JoinFile, names.Dir = file, filepath.Dir(file)
				names.Port = cmp.Or(port, names.Port)
			}
			own = own || file == ""
		}
		own = own || p.Via != nil && !p.Foreign
		more, err := p.Submissions(names)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	if own {
		fmt.Fprintln(s.err, "muster: no dispatcher is running for them: words in capitals stand for what `muster run` makes")
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

// mint writes a join file for workers that a person starts from what is
// printed, if there is a dispatcher; it returns "" if not. For a tunnel it has
// the address of this machine's loopback alone, whose port is returned.
func mint(c *cli.Context, workers int, tunnel bool) (file, port string, err error) {
	client, err := connect(c)
	if err != nil {
		return "", "", nil
	}
	st, err := client.Status(c.Context)
	if errors.Is(err, control.ErrUnreachable) {
		return "", "", nil
	}
	if err != nil {
		return "", "", answered(err)
	}
	profile, err := profileOf(c, client)
	if err != nil {
		return "", "", err
	}
	if !slices.ContainsFunc(st.Profiles, func(p control.ProfileStatus) bool { return p.Profile == profile }) {
		return "", "", nil
	}
	j, err := client.Join(c.Context, profile, control.JoinRequest{Uses: workers, Valid: control.Duration(joinValid), Elsewhere: true, Loopback: tunnel})
	if err != nil {
		return "", "", answered(err)
	}
	join, err := mtls.ParseJoin(j.Text)
	if err != nil {
		return "", "", err
	}
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return "", "", err
	}
	if tunnel {
		_, port, _ = net.SplitHostPort(strings.TrimPrefix(join.Addrs[0], "tcp:"))
	}
	file = filepath.Join(dir, "runs", st.Run, "launches", j.ID+".join")
	return file, port, mtls.WriteJoinFile(file, join)
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

// program is where programPath says, and is there when this returns.
func program() (string, error) {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return "", err
	}
	return host.ProgramFor(dir)(runtime.GOOS, runtime.GOARCH, "")
}

// writeLine writes v as one line of JSON.
func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// launchForeign submits other people's workers, and prints the jobs' ids.
func launchForeign(c *cli.Context, s streams, plans []*launch.Plan, o launchOptions, log hclog.Logger) error {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return err
	}
	run, err := state.NewRun(dir, time.Now())
	if err != nil {
		return err
	}
	defer run.Close() // stays as long as a job is on record
	bar := newCopyProgress(s)
	asker, end, err := answerer(plans, bar)
	if err != nil {
		return err
	}
	defer end()
	f, closeSites, err := newFleet(s, log, run, bar)
	if err != nil {
		return err
	}
	defer closeSites()
	ctx, stop := interruptible(c)
	defer stop()
	leave, err := f.LogIn(ctx, plans, asker)
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	if err != nil {
		return err
	}
	defer leave()
	for _, p := range plans {
		_, failed := f.Submit(ctx, p, "", asker)
		err = errors.Join(err, failed)
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

// here runs schedulers' commands on this machine.
func here() hpc.Runner { return hpc.Here(hpc.Scrub(os.Environ())) }

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}
