package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/launch"
)

// upOptions are the options of `muster up` that are not settings of a profile.
type upOptions struct {
	workers int
	detach  bool
	replace bool
	json    bool
}

// ephemeralLife bounds how long a dispatcher waits that was started for one
// submission and whose result nobody collects.
const ephemeralLife = 7 * 24 * time.Hour

// joinValid is how long a join string admits workers unless it is said.
const joinValid = 24 * time.Hour

func newUp(s streams) *cli.Command {
	var o upOptions
	return &cli.Command{
		Name:      "up",
		Usage:     "start a dispatcher that stays, with profiles and their workers",
		UsageText: "muster up [-p PROFILE] [-n WORKERS] [--detach] [OPTIONS]",
		Description: `It serves every profile of the config, or the one of -p, or one called default,
until muster down or Ctrl-C; with --detach in the background. submit, map and the
others use it from any terminal. If a dispatcher is up already, the profile is
added to it.

   muster up -n 6 --detach
   muster up -p cpu -n 6 --memory 100MB --scheduling round-robin --detach
   muster submit -p cpu -- ./simulate 1`,
		Flags: append(append(append(append(poolFlags(), dispatcherFlags()...),
			&cli.IntFlag{Name: "n", Destination: &o.workers, Usage: "start `N` workers", DefaultText: "as the config says, else none"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Destination: &o.detach, Usage: "run in the background"},
			&cli.BoolFlag{Name: "replace", Destination: &o.replace, Usage: "if the profile is up with other values, reset it first"},
			&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print JSON"},
			&cli.StringFlag{Name: "keep", Value: "256MiB", Usage: "hold results that nobody has collected in memory up to `SIZE`, and on disk beyond"},
		), settingFlags()...), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("up takes options only, not %q", c.Args().First())
			}
			return runUp(c, s, o)
		},
	}
}

// settingFlags are the settings of a profile and of its worker block.
func settingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "url", Usage: "let workers dial `URL`, such as tls+tcp://HOST:5555"},
		&cli.StringFlag{Name: "launcher", Usage: "start workers with the launcher `NAME`"},
		&cli.StringFlag{Name: "memory", Usage: "let submit wait while tasks of `SIZE` or more are queued", DefaultText: "no limit"},
		&cli.StringFlag{Name: "scheduling", Usage: "`HOW` is fifo, to whoever is free, or round-robin", DefaultText: "fifo"},
		&cli.StringFlag{Name: "reattach", Usage: "wait `DURATION` for a worker whose connection broke, whose tasks run on; 0s for not at all", DefaultText: "10m; as the config says"},
		&cli.StringSliceFlag{Name: "everywhere", Usage: "run `CMD`, shell text, on every worker before its first task"},
		&cli.BoolFlag{Name: "sync", Usage: "for debugging: tasks run in the terminal of whoever submits them, one after another; no workers"},
		&cli.IntFlag{Name: "retries", Value: 2, Usage: "try a task again `N` times when its worker is lost"},
		&cli.IntFlag{Name: "slots", Usage: "each worker runs `N` tasks at once", DefaultText: "1; as the config says"},
		&cli.StringFlag{Name: "idletime", Usage: "workers leave after `DURATION` without a task"},
		&cli.StringFlag{Name: "walltime", Usage: "workers leave before `DURATION` is over"},
		&cli.IntFlag{Name: "maxtasks", Usage: "workers leave after `N` tasks"},
		&cli.BoolFlag{Name: "cleanup", Value: true, Usage: "empty MUSTER_TASK_DIR after each task"},
		&cli.StringFlag{Name: "autoexit", Usage: "when the dispatcher ends workers leave `WHEN`: now, finish or never", DefaultText: "now"},
		&cli.StringFlag{Name: "output", Usage: "what becomes of what tasks print: `HOW` is collect, discard or echo", DefaultText: "collect"},
		&cli.BoolFlag{Name: "asyncdial", Usage: "workers go on dialling for ever"},
	}
}

// overlay puts the settings of the command line over those of the config.
func overlay(c *cli.Context, set *config.Settings) error {
	var bad []error
	duration := func(name string, to *time.Duration) {
		if c.IsSet(name) {
			d, err := config.ParseDuration(c.String(name))
			if err != nil {
				bad = append(bad, fmt.Errorf("--%s: %w", name, err))
			}
			*to = d
		}
	}
	oneOf := func(name string, to *string, known ...string) {
		if c.IsSet(name) {
			if *to = c.String(name); !slices.Contains(known, *to) {
				bad = append(bad, fmt.Errorf("--%s %q: it is %s", name, *to, strings.Join(known, " or ")))
			}
		}
	}
	count := func(name string, to *int) {
		if c.IsSet(name) {
			if *to = c.Int(name); *to < 0 {
				bad = append(bad, fmt.Errorf("--%s %d: it cannot be negative", name, *to))
			}
		}
	}
	if c.IsSet("memory") {
		n, err := config.ParseSize(c.String("memory"))
		if err != nil {
			bad = append(bad, fmt.Errorf("--memory: %w", err))
		}
		set.Memory = n
	}
	if c.IsSet("url") {
		set.URLs = c.StringSlice("url")
	}
	if c.IsSet("everywhere") {
		set.Everywhere = c.StringSlice("everywhere")
	}
	if c.IsSet("sync") {
		set.Sync = c.Bool("sync")
	}
	if c.IsSet("cleanup") {
		set.NoCleanup = !c.Bool("cleanup")
	}
	if c.IsSet("asyncdial") {
		set.AsyncDial = c.Bool("asyncdial")
	}
	oneOf("scheduling", &set.Scheduling, "fifo", "round-robin")
	oneOf("autoexit", &set.AutoExit, "now", "finish", "never")
	oneOf("output", &set.Output, "collect", "discard", "echo")
	duration("reattach", &set.Reattach)
	duration("idletime", &set.IdleTime)
	duration("walltime", &set.Walltime)
	count("slots", &set.Slots)
	count("maxtasks", &set.MaxTasks)
	return errors.Join(bad...)
}

// specs evaluates the profiles that are to be up.
func specs(c *cli.Context, workers int) ([]host.Spec, error) {
	if workers < 0 {
		return nil, fmt.Errorf("-n %d: it cannot be negative", workers)
	}
	if n := c.Int("retries"); n < 0 || n > 100 {
		return nil, fmt.Errorf("--retries %d: 0 to 100", n)
	}
	f, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	name := c.String("profile")
	var profiles []*config.Profile
	switch {
	case f == nil:
	case name != "":
		if p := find(f, name); p != nil {
			profiles = append(profiles, p)
		}
	default:
		profiles = f.Profiles
	}
	if len(profiles) > 1 {
		for _, flag := range append(settingFlags(), &cli.IntFlag{Name: "n"}) {
			if c.IsSet(flag.Names()[0]) {
				return nil, fmt.Errorf("--%s is for one profile, and %s has %d: choose with -p", flag.Names()[0], f.Path, len(profiles))
			}
		}
	}
	if len(profiles) == 0 {
		if name == "" {
			name = "default"
		}
		if !host.ValidName(name) {
			return nil, fmt.Errorf("-p %q: a name has letters, digits, - and _, 40 at most", name)
		}
		spec, err := newSpec(c, f, &config.Profile{Name: name}, workers)
		return []host.Spec{spec}, err
	}
	var list []host.Spec
	for _, p := range profiles {
		spec, err := newSpec(c, f, p, workers)
		if err != nil {
			return nil, err
		}
		list = append(list, spec)
	}
	return list, nil
}

// newSpec evaluates one profile. One that no config has is the command line's
// alone.
func newSpec(c *cli.Context, f *config.File, p *config.Profile, workers int) (host.Spec, error) {
	dir, err := taskDir("")
	if err != nil {
		return host.Spec{}, err
	}
	if f == nil {
		if f, err = config.Parse("the command line", nil); err != nil {
			return host.Spec{}, err
		}
	}
	if launcher := c.String("launcher"); launcher != "" {
		l, err := f.Launcher(launcher)
		if err != nil {
			return host.Spec{}, err
		}
		changed := *p
		changed.Launchers = []*config.Launcher{l}
		p = &changed
	}
	var bad error
	w := wish{Wish: launch.Wish{Dir: dir}, idle: true, change: func(set *config.Settings) { bad = overlay(c, set) }}
	if len(p.Launchers) > 0 {
		w.Workers = workers
	}
	pl, err := newPool(f, p, scope(false), w)
	if bad != nil || err != nil {
		return host.Spec{}, errors.Join(bad, err)
	}
	for _, plan := range pl.plans {
		if plan.Foreign {
			return host.Spec{}, hinted{fmt.Errorf("launcher %s starts other people's workers, which run none of muster's tasks", plan.Launcher), "`muster launch` starts them"}
		}
	}
	set := pl.set
	spec := host.Spec{Name: p.Name, Memory: set.Memory, RoundRobin: set.Scheduling == "round-robin", Retries: c.Int("retries"),
		Slots: max(set.Slots, 1), Reattach: set.Reattach, Walltime: set.Walltime, Everywhere: set.Everywhere, Sync: set.Sync, Options: pl.options(), Plans: pl.plans}
	if len(set.Everywhere) > 0 {
		spec.Dir = dir // else the same profile from elsewhere would be another
	}
	if len(set.URLs) > 0 || len(pl.plans) > 0 {
		spec.Listen, spec.Hosts, spec.Relayed = pl.listen, pl.hosts, pl.relayed
	}
	if pl.local {
		spec.Workers = max(set.Workers, 0)
		if workers > 0 {
			spec.Workers = workers
		}
	}
	if spec.Sync {
		spec.Workers, spec.Plans = 0, nil
	}
	return spec, nil
}

func runUp(c *cli.Context, s streams, o upOptions) error {
	list, err := specs(c, o.workers)
	if err != nil {
		return usageError{err}
	}
	keep, err := config.ParseSize(c.String("keep"))
	if err != nil {
		return usagef("--keep: %w", err)
	}
	for _, spec := range list {
		if spec.Workers > 0 {
			if err := nested("muster up", plural(spec.Workers, "worker")); err != nil {
				return err
			}
		}
	}
	var plans []*launch.Plan
	for _, spec := range list {
		plans = append(plans, spec.Plans...)
	}
	bar := newCopyProgress(s)
	asker, end, err := answerer(plans, bar)
	if err != nil {
		return err
	}
	defer end()
	q := control.UpRequest{Profiles: list, Replace: o.replace, Asker: asker}
	client, err := connect(c)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(c)
	defer stop()
	a, err := client.Up(ctx, q)
	serve := serveOptions{Name: dispatcherName(c), Kind: "up", Keep: keep, Up: q}
	away := errors.Is(err, control.ErrUnreachable)
	if away && o.detach && ctx.Err() == nil {
		a, err = detach(ctx, c, s, serve, nil)
	}
	switch {
	case ctx.Err() != nil:
		return exitError(exitInterrupted)
	case err == nil:
		return s.sayUp(c, client, a, o.json)
	case !away || o.detach:
		return answered(err)
	}
	stop() // a dispatcher has its own way to end
	return s.serve(c, serve, bar, func(a *control.UpAnswer) error {
		err := s.sayUp(c, client, a, o.json)
		fmt.Fprintln(s.err, "muster: Ctrl-C or `muster down` ends it")
		return err
	})
}

// sayUp says what is up now.
func (s streams) sayUp(c *cli.Context, client *control.Client, a *control.UpAnswer, asJSON bool) error {
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	st, err := client.Status(c.Context)
	if err != nil {
		return answered(err)
	}
	defer logDialled(log, st.URLs)
	if asJSON {
		return writeJSON(s.out, a)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Profiles)) {
		what := map[string]string{"created": "is up", "same": "is up already, with these values", "replaced": "was reset and is up"}[a.Profiles[name]]
		fmt.Fprintf(s.err, "muster: profile %s %s\n", name, what)
	}
	fmt.Fprintf(s.err, "muster: dispatcher %s, process %d\n", st.Name, st.Pid)
	return nil
}

// serveOptions are what a dispatcher's process is told.
type serveOptions struct {
	Name   string            `json:"name"`
	Kind   string            `json:"kind"`
	Keep   int64             `json:"keep"`
	Tether bool              `json:"tether"` // end when standard input closes
	Up     control.UpRequest `json:"up"`
}

// serve is a dispatcher until it is told to end. ready is called when it
// answers; bar shows copies, or is nil.
func (s streams) serve(c *cli.Context, o serveOptions, bar *progress, ready func(*control.UpAnswer) error) error {
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	opt, err := hostOptions(s, log, bar)
	if err != nil {
		return err
	}
	opt.Keep = o.Keep
	opt.Say = func(format string, args ...any) {
		bar.clear()
		fmt.Fprintf(s.err, "muster: "+format+"\n", args...)
	}
	unlock, err := lock(opt.SocketDir, o.Name)
	if err != nil {
		return err
	}
	defer unlock()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	path := control.Socket(opt.SocketDir, o.Name)
	if err := host.RemoveStale(path); err != nil {
		return err
	}
	h, err := host.Open(opt)
	if err != nil {
		return err
	}
	over := make(chan struct{})
	ended := make(chan error, 1)
	end := func() {
		ctx, cancel := context.WithTimeout(context.Background(), recallPatience)
		defer cancel()
		ended <- h.Close(ctx, endPatience)
	}
	l, err := host.ListenUnix(path)
	if err != nil {
		end()
		return errors.Join(fmt.Errorf("let commands reach the dispatcher: %w", err), <-ended)
	}
	server := control.NewServer(l, control.Options{Host: h, Name: o.Name, Kind: o.Kind, Version: Version, Shutdown: shutdown(over, ended)})
	defer func() {
		// A connection that has asked nothing yet is waited for, for 5 s.
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		server.Close(ctx)
	}()
	a, err := upUnlessTold(c.Context, server, o.Up, signals)
	if err == nil {
		err = ready(a)
	}
	if err == nil {
		if o.Kind == "ephemeral" {
			t := time.AfterFunc(ephemeralLife, func() { server.Shutdown(context.Background()) })
			defer t.Stop()
		}
		s.untilOver(h, signals, over, o.Tether)
	}
	l.Close() // who comes now finds nobody; those who are here get their answers
	go end()
	select {
	case closed := <-ended:
		ended <- closed // for whoever asked for it
		return errors.Join(answered(err), closed)
	case <-signals:
		left := h.Leave()
		for _, argv := range h.Fleet().CancelCommands() {
			fmt.Fprintf(s.err, "muster: left to do: %s\n", strings.Join(argv, " "))
		}
		os.Remove(path)
		return errors.Join(exitError(exitInterrupted), left)
	}
}

// upUnlessTold brings profiles up, and gives that up at a signal.
func upUnlessTold(ctx context.Context, server *control.Server, q control.UpRequest, signals <-chan os.Signal) (*control.UpAnswer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-signals:
			cancel(exitError(exitInterrupted))
		case <-over:
		}
	}()
	a, err := server.Up(ctx, q)
	close(over)
	<-watched
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return a, err
}

// shutdown returns what tells a dispatcher to end, and waits for it.
func shutdown(over chan struct{}, ended chan error) func(context.Context) error {
	once := make(chan struct{}, 1)
	return func(ctx context.Context) error {
		select {
		case once <- struct{}{}:
			close(over)
		default:
		}
		select {
		case err := <-ended:
			ended <- err
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// untilOver waits until the dispatcher is to end.
func (s streams) untilOver(h *host.Host, signals <-chan os.Signal, over <-chan struct{}, tether bool) {
	closed := make(chan struct{})
	if tether {
		go func() {
			defer close(closed)
			var b [64]byte
			for {
				if _, err := s.in.Read(b[:]); err != nil {
					return
				}
			}
		}()
	}
	select {
	case <-over:
	case <-closed:
	case <-signals:
		fmt.Fprintln(s.err, "muster: ending; Ctrl-C again leaves at once")
	}
}

// newServe is the process of a dispatcher in the background.
func newServe(s streams) *cli.Command {
	return &cli.Command{Name: "serve", Hidden: true, Usage: "be a dispatcher in the background", Flags: logFlags("", ""),
		Action: func(c *cli.Context) error { return serveDetached(c, s) }}
}

// readyMessage is what a dispatcher in the background says to who started it.
type readyMessage struct {
	Answer *control.UpAnswer `json:"answer,omitempty"`
	Error  string            `json:"error,omitempty"`
	Hint   string            `json:"hint,omitempty"`
	Exit   int               `json:"exit,omitempty"`
}

// readyFd is where it says that.
const readyFd = 3

func serveDetached(c *cli.Context, s streams) error {
	ready := os.NewFile(readyFd, "ready")
	if ready == nil {
		return usagef("serve is started by muster, not by hand")
	}
	dec := json.NewDecoder(s.in)
	var o serveOptions
	if err := dec.Decode(&o); err != nil {
		return fmt.Errorf("read what to serve: %w", err)
	}
	told := false
	tell := func(m readyMessage) {
		if !told {
			told = true
			json.NewEncoder(ready).Encode(m)
			ready.Close()
		}
	}
	err := s.serve(c, o, newCopyProgress(s), func(a *control.UpAnswer) error {
		tell(readyMessage{Answer: a})
		return nil
	})
	if err != nil {
		m := readyMessage{Error: err.Error(), Exit: exitFailure}
		var usage usageError
		var hint hinted
		if errors.As(err, &hint) {
			m.Hint = hint.hint
		}
		if errors.As(err, &usage) {
			m.Exit = exitUsage
		}
		tell(m)
	}
	return err
}
