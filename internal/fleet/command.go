package fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/config"
	"muster/internal/plan"
	"muster/internal/terminal"
	"muster/ssh/relay"
)

// command is any command that starts workers. One that ends when it has started
// something is asked about that by other commands, if the launcher says which; one that
// stays is watched as a process.
type command struct{ apart }

var _ backend = command{}

func addressCommand(k plan.Kind, r *Record) {
	if c := k.(*plan.Command); len(c.Starts) > 0 {
		r.Service = c.Starts[0].Argv[0]
	}
}

func newCommand(at place, r *Record) (backend, error) {
	f, err := fleetOf(at, r)
	return command{apart{f, r.Launcher, r.Service}}, err
}

func (c command) String() string { return "launcher " + c.launcher }

func (c command) prepare(_ context.Context, p *plan.Plan, _ int) (*plan.Plan, error) { return p, nil }

func (c command) describe(p *plan.Plan, i int, part plan.Part, r *Record) {
	run := p.Kind.(*plan.Command).Starts[i]
	r.Array, r.Dir, r.how, r.part = array(part.Indices), run.Dir, p.Kind, i
	r.Index, r.Of = i+1, p.Workers()
	if run.Ends {
		r.Blind, r.Endless = run.Status.IsZero(), run.Cancel.IsZero()
	}
}

// settle is how long a command that may stay is watched for an end that says that it
// has failed.
const settle = time.Second

func (c command) start(ctx context.Context, p *plan.Plan, i int, r *Record, _ string) (outcome, error) {
	run := p.Kind.(*plan.Command).Starts[i]
	if !run.Ends {
		return c.stay(ctx, run, r)
	}
	o, err := c.f.run(ctx, run, run.Argv, run.Stdin)
	switch {
	case errors.Is(err, errNotRun):
		return nothing, err
	case err != nil:
		return c.unsure(ctx, r, err)
	case o.code != 0:
		return nothing, fmt.Errorf("%s: exit status %d%s", run.Argv[0], o.code, o.end())
	}
	r.ID, r.Said = r.Launch, mhttp.Hide(o.stdout.head(maxSaid), run.Secrets)
	id := strings.TrimSpace(o.stdout.head(maxSaid))
	if !run.ID.IsZero() {
		id, err = run.ID.String(config.Known{"output": o.stdout.all()})
	}
	if err == nil {
		err = checkID(id)
	}
	if err != nil && (!run.ID.IsZero() || id != "") {
		return c.unsure(ctx, r, fmt.Errorf("what it printed has no id: %w%s", err, o.end()))
	}
	r.Theirs = id
	return started, nil
}

// maxSaid is how much of what a start has printed is in its record, in bytes.
const maxSaid = 4 << 10

// unsure is the outcome of a command of which nobody knows what it has started: its
// worker will say so.
func (c command) unsure(ctx context.Context, r *Record, err error) (outcome, error) {
	r.ID, r.Blind, r.Endless = r.Launch, true, true
	c.note(ctx, r, "launcher %s: it is not known what %s has started for %s: %v; that may still come, and it cannot be taken back but by its worker", r.Launcher, c.service, r.Launch, err)
	return started, ctx.Err()
}

// stay starts a command that may stay as long as its worker.
func (c command) stay(ctx context.Context, run plan.Run, r *Record) (outcome, error) {
	if r.Output == "" { // that of other people's workers
		r.Output = c.f.Dir + "/" + r.Launch + outputEnding
	}
	s, err := c.f.stay(run, r.Output+"/out")
	if err != nil {
		return nothing, err
	}
	r.ID, r.Processes = r.Launch, []Process{{s.process, hostName(), relay.Boot()}}
	t := time.NewTimer(settle)
	defer t.Stop()
	select {
	case <-s.done:
		if s.err != nil {
			return nothing, fmt.Errorf("%s: %w%s", run.Argv[0], s.err, s.end())
		}
	case <-t.C:
	case <-ctx.Done(): // it is ended with all others
	}
	return started, ctx.Err()
}

func (c command) find(_ context.Context, r *Record) ([]string, error) {
	return nil, errors.New("it cannot be looked for by name")
}

// known is what expressions know of a record's job.
func (c command) known(r *Record) config.Known {
	return config.Known{"id": r.theirs(), "output": r.Said}
}

func (c command) list(ctx context.Context, records []*Record, _ detail) ([]hpc.Element, error) {
	return askEach(records, atOnce, func(r *Record) ([]hpc.Element, error) {
		switch {
		case len(r.Processes) > 0:
			return elements(r, c.f.stands(r.Processes[0])), nil
		case r.Blind:
			return elements(r, hpc.Element{Raw: unseen}), nil
		}
		k, i, err := c.how(ctx, r)
		if err != nil {
			return nil, err
		}
		return c.ask(ctx, k.(*plan.Command).Starts[i], r)
	})
}

// ask runs the command that says how one job stands. Without output it says that there
// is none.
func (c command) ask(ctx context.Context, run plan.Run, r *Record) ([]hpc.Element, error) {
	argv, err := run.Status.Strings(c.known(r))
	if err != nil {
		return nil, err
	}
	o, err := c.f.run(ctx, run, argv, "")
	if err != nil {
		return nil, err
	}
	said := o.stdout.all()
	if o.code != 0 {
		for _, word := range run.States.Ended {
			if strings.Contains(said+o.stderr.all(), word) {
				return nil, nil
			}
		}
		return nil, fmt.Errorf("%s: exit status %d%s", argv[0], o.code, o.end())
	}
	word := ""
	if fields := strings.Fields(said); len(fields) > 0 {
		word = fields[0]
	}
	if !run.State.IsZero() && word != "" {
		if word, err = run.State.String(config.Known{"output": said}); err != nil {
			return nil, err
		}
	}
	if word == "" {
		return nil, nil
	}
	return elements(r, c.says(r, word, run.States)), nil
}

func (c command) cancel(ctx context.Context, r *Record, indices ...int) error {
	if len(r.Processes) > 0 {
		if len(indices) > 0 {
			return nil // it waits for nothing that is known here
		}
		return c.f.endStay(ctx, r.Processes[0])
	}
	if r.Endless {
		if k, is := r.how.(*plan.Command); is && !k.Starts[r.part].Cancel.IsZero() {
			return noCancel("its id is not known")
		}
		return errNoCancel
	}
	k, i, err := c.how(ctx, r)
	if err != nil {
		return err
	}
	run := k.(*plan.Command).Starts[i]
	argv, err := run.Cancel.Strings(c.known(r))
	if err != nil {
		return err
	}
	o, err := c.f.run(ctx, run, argv, "")
	if err == nil && o.code != 0 {
		for _, word := range run.States.Ended {
			if strings.Contains(o.stdout.all()+o.stderr.all(), word) {
				return nil
			}
		}
		err = fmt.Errorf("%s: exit status %d%s", argv[0], o.code, o.end())
	}
	return err
}

func (c command) called(r *Record, index int) string {
	if r.Theirs != "" {
		return "job " + r.Theirs + " of launcher " + c.launcher
	}
	return "worker " + c.element(r, index) + " by " + c.service
}

func (c command) late(*Record) string { return c.service + " has not ended" }

// command is what a person would type to end a command that stays.
func (c command) command(r *Record) []string {
	if len(r.Processes) == 0 {
		return nil
	}
	return []string{"kill", "--", strconv.Itoa(-r.Processes[0].Pid)}
}

func (c command) rules() rules { return rules{atOnce: atOnce, lags: true} }

// errNotRun says that a command has not begun.
var errNotRun = errors.New("it could not be run")

// notRun is the error of a command that has not begun. The system says of a folder, or of
// what a script's first line names, that is not there only that something is not there.
func notRun(cmd *exec.Cmd, err error) error {
	if st, bad := os.Stat(cmd.Dir); cmd.Dir != "" && (bad != nil || !st.IsDir()) {
		if bad == nil {
			bad = fmt.Errorf("%s: %w", cmd.Dir, syscall.ENOTDIR)
		}
		return fmt.Errorf("%s: %w in the folder where it is to run: %w", cmd.Args[0], errNotRun, bad)
	}
	path := cmd.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(cmd.Dir, path)
	}
	if _, bad := os.Stat(path); bad == nil && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: %w: what its first line names, or it is linked with, is not there", cmd.Args[0], errNotRun, err)
	}
	return fmt.Errorf("%s: %w: %w", cmd.Args[0], errNotRun, err)
}

// ran is what a command has printed, and its exit status.
type ran struct {
	stdout, stderr ends
	code           int
	secrets        []string // of its launcher
}

// end is the end of what it has said, for an error.
func (r *ran) end() string {
	text := strings.TrimSpace(r.stderr.all())
	if text == "" {
		text = r.stdout.all()
	}
	return said(text, r.secrets)
}

// said is the end of what a command has printed, for the end of an error: without the
// secrets of its launcher, and join strings, which it may have read.
func said(text string, secrets []string) string {
	text = mhttp.Hide(text, secrets)
	if over := len(text) - tailBytes; over > 0 {
		text = "..." + text[over:]
	}
	text = strings.TrimSpace(terminal.Safe(text))
	if text == "" {
		return "; it said nothing"
	}
	lines := strings.Split(text, "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	if len(lines) == 1 {
		return "; it said: " + text
	}
	return "; it said:\n  " + strings.Join(lines, "\n  ")
}

// run runs a command of a launcher to its end, in this process's own environment and in
// a session of its own, and ends it with all that it started when its time is over. A
// process that it leaves and that keeps its output open is not waited for.
func (f *Fleet) run(ctx context.Context, of plan.Run, argv []string, stdin string) (*ran, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, fmt.Errorf("%w: it has no words", errNotRun)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, of.Timeout, fmt.Errorf("it did not end within %v, the launcher's timeout", of.Timeout))
	defer cancel()
	r := &ran{secrets: of.Secrets}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = of.Dir, strings.NewReader(stdin), &r.stdout, &r.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	ended, err := f.spawn(cmd)
	if err != nil {
		return nil, notRun(cmd, err)
	}
	err = cmd.Wait()
	ended()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w%s", argv[0], context.Cause(ctx), r.end())
	case errors.As(err, &exit) && exit.Exited():
		r.code = exit.ExitCode()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, fmt.Errorf("%s: %w%s", argv[0], err, r.end())
	}
	return r, nil
}

func (f *Fleet) spawn(cmd *exec.Cmd) (ended func(), err error) {
	if f.Spawn != nil {
		return f.Spawn(cmd)
	}
	return func() {}, cmd.Start()
}

// ends keeps the begin and the end of what is written: a command may print without
// end.
type ends struct {
	begin, end []byte
	left       int // bytes between them
}

const (
	maxBegin = 1 << 20
	maxEnd   = 16 << 10
)

func (e *ends) Write(p []byte) (int, error) {
	n := len(p)
	if room := maxBegin - len(e.begin); room > 0 {
		k := min(room, len(p))
		e.begin = append(e.begin, p[:k]...)
		p = p[k:]
	}
	if len(p) > maxEnd {
		e.left += len(p) - maxEnd
		p = p[len(p)-maxEnd:]
	}
	e.end = append(e.end, p...)
	if over := len(e.end) - maxEnd; over > 0 {
		e.left += over
		e.end = append(e.end[:0], e.end[over:]...)
	}
	return n, nil
}

func (e *ends) all() string {
	if e.left > 0 {
		return string(e.begin) + fmt.Sprintf("\n[%d bytes]\n", e.left) + string(e.end)
	}
	return string(e.begin) + string(e.end)
}

// head is the first bytes, at most so many.
func (e *ends) head(most int) string { return string(e.begin[:min(len(e.begin), most)]) }

func hostName() string {
	name, _ := os.Hostname()
	return name
}
