package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/host"
	"muster/task"
)

// submitOptions are the options of `muster submit`.
type submitOptions struct {
	dir, name, stdin string
	timeout          time.Duration
	shell, bash      bool
	try, wait, sync  bool
	json             bool
}

// taskFlags say how a task runs.
func taskFlags(dir, name *string, timeout *time.Duration, timeoutUsage string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cd", Destination: dir, Usage: "run in `DIR`", DefaultText: "this one"},
		envFlag(), envFileFlag(),
		&cli.DurationFlag{Name: "timeout", Destination: timeout, Usage: timeoutUsage},
		&cli.StringFlag{Name: "name", Destination: name, Usage: "name the result `NAME`"},
		seedFlag(),
		shareFlag(),
	}
}

func newSubmit(s streams, words *commandLine) *cli.Command {
	var o submitOptions
	return &cli.Command{
		Name:      "submit",
		Usage:     "queue one command, and print its id",
		UsageText: "muster submit [OPTIONS] -- CMD [ARG...]",
		Description: `The id is for wait, collect, cancel and status. Without a dispatcher that is up,
one is started in the background with one worker for this command, and both end
when the result has been collected.

   muster submit --wait -- ./simulate 1
   id=$(muster submit -- ./simulate 1)
   muster collect $id`,
		Flags: append(append(append(append(dispatcherFlags(), profileFlag()),
			taskFlags(&o.dir, &o.name, &o.timeout, "resolve it with 5, Timed out, `DURATION` after it was submitted")...),
			&cli.StringFlag{Name: "stdin", Destination: &o.stdin, Usage: "give it `FILE` on standard input; - is this command's"},
			&cli.BoolFlag{Name: "shell", Destination: &o.shell, Usage: "CMD is shell text, for /bin/sh"},
			&cli.BoolFlag{Name: "bash", Destination: &o.bash, Usage: "CMD is shell text, for bash"},
			&cli.BoolFlag{Name: "try", Destination: &o.try, Usage: "if the queue is full, do not wait: exit with 6"},
			&cli.BoolFlag{Name: "wait", Aliases: []string{"w"}, Destination: &o.wait, Usage: "wait for the result and collect it, instead of printing the id"},
			&cli.BoolFlag{Name: "sync", Destination: &o.sync, Usage: "for debugging: run it here, in this terminal, now"},
			&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print JSON"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error { return runSubmit(c, s, o, words.argv) },
	}
}

func runSubmit(c *cli.Context, s streams, o submitOptions, argv []string) error {
	if len(argv) == 0 {
		return usageError{hinted{errNoCommand, "muster submit -- ./simulate 1"}}
	}
	if program := shellProgram(o.shell, o.bash); program != "" {
		argv = []string{program, "-c", strings.Join(argv, " ")}
	} else if err := checkCommand(argv, false); err != nil {
		return usageError{err}
	}
	shared, err := newSharing(c)
	if err != nil {
		return usageError{err}
	}
	argv = shared.words(argv)
	spec := task.Spec{Argv: argv, Shares: shared.shares(), Name: o.name, Timeout: o.timeout, Index: 1}
	if spec.Dir, err = taskDir(o.dir); err != nil {
		return usageError{err}
	}
	if spec.Env, err = taskEnv(c); err != nil {
		return usageError{err}
	}
	seed, err := seedOf(c)
	if err != nil {
		return usageError{err}
	}
	if o.sync && len(spec.Shares) > 0 {
		return usageError{errSyncShares}
	}
	if err := checkSync(c); err != nil {
		return usageError{err}
	}
	if o.sync {
		spec.Stream = seed.Sequence().Next()
		return exitOf(s, runHere(spec, s.in, s.out, s.err.Exact()))
	}
	if o.stdin != "" {
		if spec.Input, err = readStdin(s, o.stdin); err != nil {
			return usageError{err}
		}
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	q := control.SubmitRequest{Task: control.NewTask(spec), Try: o.try, Seed: seed}
	submit := func() (control.SubmitAnswer, error) { return client.Submit(c.Context, profileName(c), q) }
	a, err := submitting(c.Context, s, client, profileName(c), nil, submit)
	for try := 0; try < startTries && noLonger(err) && profileName(c) == "default"; try++ {
		if err := startEphemeral(c, s); err != nil && !errors.Is(err, errAnother) {
			return err
		}
		a, err = submit()
	}
	if err != nil {
		return answered(err)
	}
	if a.Sync {
		spec.Stream, spec.Shares = a.Stream(1), a.Shares
		if err := finishHere(c, s, client, a.ID, spec); err != nil {
			return err
		}
	}
	if o.wait {
		return collect(c, s, client, a.ID, collectOptions{json: o.json})
	}
	return sayID(s, a, o.json)
}

// startTries is how often a command starts a dispatcher, or finds one that another
// command has started, which then is not there any more: one without profiles ends with
// its last result.
const startTries = 10

// noLonger reports whether a dispatcher is not there, or is ending and has taken nothing.
func noLonger(err error) bool {
	var e *control.Error
	return errors.Is(err, control.ErrUnreachable) || errors.As(err, &e) && e.Code == "closed"
}

func readStdin(s streams, file string) ([]byte, error) {
	from := s.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--stdin: %w", err)
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(from)
	if err != nil {
		return nil, fmt.Errorf("--stdin %s: %w", file, err)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// startEphemeral starts a dispatcher in the background that ends when all its
// results have been collected.
func startEphemeral(c *cli.Context, s streams) error {
	if err := nested("muster submit", "a dispatcher and a worker"); err != nil {
		return err
	}
	_, err := detach(c.Context, c, s, serveOptions{Name: dispatcherName(c), Kind: "ephemeral",
		Up: control.UpRequest{Profiles: []host.Spec{{Name: "default", Slots: 1, Tries: 1, LostRetries: defaultLostRetries, Ephemeral: true}}}}, nil)
	return err
}

// finishHere runs a task of a sync profile in this terminal, and tells the
// dispatcher what it came to.
func finishHere(c *cli.Context, s streams, client *control.Client, id dispatcher.ID, spec task.Spec) error {
	var kept tailBuffer
	began := time.Now()
	spec, err := sharedHere(spec)
	if err != nil {
		return err
	}
	v := runHere(spec, s.in, io.MultiWriter(s.err.Exact(), &kept), s.err.Exact())
	q := control.FinishRequest{Started: began, Seconds: time.Since(began).Seconds(), Stdout: kept.b, Stream: spec.Stream, Error: control.NewErrorValue(v)}
	return answered(client.Finish(c.Context, id, q))
}

// tailBuffer keeps the first 16 MiB that are written to it.
type tailBuffer struct{ b []byte }

func (t *tailBuffer) Write(p []byte) (int, error) {
	const most = 16 << 20
	t.b = append(t.b, p[:min(len(p), most-len(t.b))]...)
	return len(p), nil
}

func sayID(s streams, a control.SubmitAnswer, asJSON bool) error {
	if asJSON {
		return writeJSON(s.out, a)
	}
	_, err := fmt.Fprintln(s.out, a.ID)
	return err
}

// exitOf is the exit of a task that was run here.
func exitOf(s streams, v *task.ErrorValue) error {
	if v == nil {
		return nil
	}
	s.err.Say("%s", describe(v))
	if v.Kind == task.KindInterrupt {
		return exitError(exitInterrupted)
	}
	return exitError(exitTaskFailed)
}
