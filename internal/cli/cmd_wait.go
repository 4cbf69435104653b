package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/disposition"
	"muster/internal/report"
	"muster/internal/shell"
	"muster/internal/spool"
	"muster/internal/state"
	"muster/task"
)

// ids reads the words of a command as futures' ids.
func ids(c *cli.Context) ([]dispatcher.ID, error) {
	var list []dispatcher.ID
	for _, w := range c.Args().Slice() {
		n, err := strconv.ParseUint(w, 10, 64)
		if err != nil {
			return nil, usageError{hinted{fmt.Errorf("%q is no id", w), "submit, map and everywhere print ids"}}
		}
		list = append(list, dispatcher.ID(n))
	}
	return list, nil
}

// interruptible ends with the first signal.
func interruptible(c *cli.Context) (context.Context, context.CancelFunc) {
	return disposition.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

// interrupted gives an error that a signal caused its exit code.
func interrupted(ctx context.Context, c *cli.Context, err error) error {
	if err != nil && ctx.Err() != nil && c.Context.Err() == nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return exitError(exitInterrupted)
	}
	return answered(err)
}

func newWait(s streams) *cli.Command {
	var any, poll bool
	var timeout time.Duration
	return &cli.Command{
		Name:      "wait",
		Usage:     "wait until futures are resolved",
		UsageText: "muster wait [--any | --poll] [--timeout DURATION] ID...",
		Description: `It returns when all are resolved; with --any when the first is, whose place in the
list it prints, from 1, at once if one is already; 0 is the answer to no list. With
--poll it does not wait: it prints resolved, or unresolved and exits with 1.

   muster wait 3 4 5
   muster wait --any --timeout 1h 3 4 5`,
		Flags: append(append(dispatcherFlags(),
			&cli.BoolFlag{Name: "any", Destination: &any, Usage: "return when one is, and print which"},
			&cli.BoolFlag{Name: "poll", Destination: &poll, Usage: "say whether all are, now"},
			&cli.DurationFlag{Name: "timeout", Destination: &timeout, Usage: "give up after `DURATION`, with exit code 1"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			list, err := ids(c)
			switch {
			case err != nil:
				return err
			case any && poll:
				return usagef("--any waits and --poll does not: choose one")
			case len(list) == 0 && any:
				fmt.Fprintln(s.out, 0)
				s.err.Say("there was no id to wait for")
				return nil
			case len(list) == 0:
				return usageError{hinted{errors.New("which ids?"), "muster wait ID..."}}
			}
			client, err := connect(c)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(c)
			defer stop()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			a, err := awaitFutures(ctx, s, client, control.WaitRequest{IDs: list, Any: any, Poll: poll})
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				return fmt.Errorf("%s after %s", task.TextTimeout, timeout)
			case err != nil:
				return interrupted(ctx, c, err)
			case any:
				fmt.Fprintln(s.out, a.Index)
			case poll:
				return sayPoll(s, a)
			}
			return nil
		},
	}
}

// awaitFutures waits, and shows meanwhile how the futures stand.
func awaitFutures(ctx context.Context, s streams, client *control.Client, q control.WaitRequest) (control.WaitAnswer, error) {
	if !q.Poll {
		bar, above := newProgress("auto", s, 0)
		s = above
		bar.start()
		defer bar.end()
		bar.watchFutures(ctx, client, q.IDs...)
	}
	defer tellWaits(ctx, s.err.Say, waitingFor(client, q.IDs...))()
	return client.Wait(ctx, q)
}

func sayPoll(s streams, a control.WaitAnswer) error {
	for _, resolved := range a.Resolved {
		if !resolved {
			fmt.Fprintln(s.out, "unresolved")
			return exitError(exitFailure)
		}
	}
	fmt.Fprintln(s.out, "resolved")
	return nil
}

// collectOptions are the options of `muster collect`.
type collectOptions struct {
	json, flat, stop, keep, forget bool
	progress                       string
	results, joblog                string
}

func newCollect(s streams) *cli.Command {
	var o collectOptions
	return &cli.Command{
		Name:      "collect",
		Usage:     "wait for a future, print what it resolved to, and forget it",
		UsageText: "muster collect [OPTIONS] ID...",
		Description: `A task's stdout and stderr come out as it wrote them; those of a map in the order
of its inputs, or with --flat as one list. With --json each result is one object,
with its error's kind, code and class: error, interrupt, or neither.

The exit code is 0 if all succeeded, 3 if some failed and 4 if all that failed were
cancelled. Results are kept until they are collected, or forgotten with --forget.

   muster collect 3
   muster collect --flat $(muster map -- ./simulate {} ::: 1 2 3)`,
		Flags: append(append(dispatcherFlags(),
			&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print one JSON object a task"},
			&cli.BoolFlag{Name: "flat", Destination: &o.flat, Usage: "print stdout alone, in input order, one result a line; with --json one array of one type"},
			&cli.BoolFlag{Name: "stop", Destination: &o.stop, Usage: "at the first failure cancel the rest, and say which it was"},
			choiceFlag("progress", &o.progress, "auto", "show a progress bar: `WHEN` is auto (on a terminal), always or never", "auto", "always", "never"),
			&cli.StringFlag{Name: "results", Destination: &o.results, Usage: "also write each result into a folder of `DIR`"},
			&cli.StringFlag{Name: "joblog", Destination: &o.joblog, Usage: "also write a line a task to `FILE`, as GNU parallel does"},
			&cli.BoolFlag{Name: "keep", Destination: &o.keep, Usage: "do not forget the results"},
			&cli.BoolFlag{Name: "forget", Destination: &o.forget, Usage: "forget them without printing or waiting"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			list, err := ids(c)
			if err == nil && len(list) == 0 {
				err = usageError{hinted{errors.New("which id?"), "muster collect ID"}}
			}
			if err != nil {
				return err
			}
			client, err := connect(c)
			if err != nil {
				return err
			}
			var code exitError
			for _, id := range list {
				if o.forget {
					err = answered(client.Forget(c.Context, id))
				} else {
					err = collect(c, s, client, id, o)
				}
				var one exitError
				switch {
				case errors.As(err, &one):
					code = max(code, one)
					if code == exitCancelled && one == exitTaskFailed {
						code = one
					}
				case err != nil:
					return err
				}
			}
			if code != 0 {
				return code
			}
			return nil
		},
	}
}

// collector prints the results of one future.
type collector struct {
	c      *cli.Context
	client *control.Client
	id     dispatcher.ID
	o      collectOptions
	s      streams
	out    *report.Writer
	bar    *progress
	dir    *spool.Dir

	single            bool
	failed, cancelled int
	first             *task.Result // that failed
	firstRow          task.Row
}

// collect waits for a future, prints its results and forgets it.
func collect(c *cli.Context, s streams, client *control.Client, id dispatcher.ID, o collectOptions) error {
	ctx, stop := interruptible(c)
	defer stop()
	st, err := client.Future(ctx, id)
	if err != nil {
		return interrupted(ctx, c, err)
	}
	// A large output that JSON names is kept as long as one of a run.
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return err
	}
	run, err := state.NewRun(dir, time.Now())
	if err != nil {
		return err
	}
	defer run.Close()
	co := &collector{c: c, client: client, id: id, o: o, s: s, dir: spool.Open(run.Out()), single: st.Kind == dispatcher.KindSubmit}
	if !co.single {
		co.bar, co.s = newProgress(o.progress, s, st.Total)
	}
	co.out, err = report.New(report.Options{Stdout: co.s.out, Stderr: co.s.err.Exact(), Keep: true, JSON: o.json, Flat: o.flat, ResultsDir: o.results, JobLog: o.joblog, Printed: co.printed})
	if err != nil {
		return usageError{err}
	}
	co.bar.start()
	defer co.bar.end()
	co.bar.watchFutures(ctx, client, id)
	stopTelling := tellWaits(ctx, co.tell, waitingFor(client, id))
	err = client.Results(ctx, id, func(r *control.Result) error { return co.take(ctx, r) })
	stopTelling()
	if berr := co.bar.end(); err == nil {
		err = berr
	}
	if cerr := co.out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return interrupted(ctx, c, err)
	}
	if !o.keep {
		// Whoever collects it at the same time, or a dispatcher that has ended
		// meanwhile, has forgotten it.
		if err := client.Forget(ctx, id); err != nil && !errors.Is(err, control.ErrUnreachable) && !isUnknown(err) {
			return answered(err)
		}
	}
	return co.verdict()
}

// isUnknown reports whether the dispatcher does not know what it was asked about.
func isUnknown(err error) bool {
	var refused *control.Error
	return errors.As(err, &refused) && refused.Code == "unknown"
}

// tell prints a line for a person.
func (co *collector) tell(format string, args ...any) { co.s.err.Say(format, args...) }

func (co *collector) take(ctx context.Context, r *control.Result) error {
	t := r.Result()
	out := co.dir.New(fmt.Sprintf("%d.%d", co.id, r.Index))
	for n, from := range map[int]control.Stream{spool.Stdout: r.Stdout, spool.Stderr: r.Stderr} {
		if err := co.fill(ctx, out, n, r.Index, from); err != nil {
			return err
		}
	}
	err := co.out.Write(report.Item{Result: t, Output: out, Row: r.Row(), Host: ":", Command: shell.Join(t.Argv)})
	if t.Err != nil {
		co.fail(ctx, &t, r.Row())
	}
	if t.Note != "" && !co.o.json {
		co.tell(fmt.Sprintf("task %d succeeded, but %s", t.Index, t.Note))
	}
	co.bar.add(t.Err != nil && t.Err.Kind != task.KindCancelled)
	return err
}

func (co *collector) fill(ctx context.Context, out *spool.Output, n, index int, from control.Stream) error {
	switch {
	case from.Text != nil:
		return out.Write(n, []byte(*from.Text))
	case from.Base64 != nil:
		return out.Write(n, from.Base64)
	case from.Bytes == 0:
		return nil
	}
	return co.client.Stream(ctx, co.id, index, []string{"", "stdout", "stderr"}[n], streamTo{out, n})
}

// streamTo writes to one stream of an output.
type streamTo struct {
	out *spool.Output
	n   int
}

func (w streamTo) Write(p []byte) (int, error) { return len(p), w.out.Write(w.n, p) }

func (co *collector) fail(ctx context.Context, t *task.Result, row task.Row) {
	co.failed++
	if t.Err.Kind == task.KindCancelled {
		co.cancelled++
	}
	if co.first == nil || co.first.Err.Kind == task.KindCancelled && t.Err.Kind != task.KindCancelled {
		co.first, co.firstRow = t, row
		if co.o.stop && !co.single {
			co.client.Cancel(ctx, co.id) // if it fails, so will the next read
		}
	}
}

// printed says what a task failed of, below what it wrote.
func (co *collector) printed(item *report.Item) {
	t := &item.Result
	if t.Err == nil || co.o.json && !co.o.flat {
		return
	}
	if co.single || !co.o.stop && t.Err.Kind != task.KindCancelled {
		co.tell("%s", co.say(t, item.Row))
	}
}

// say says what a task resolved to, as mirai does for codes of its own.
func (co *collector) say(t *task.Result, row task.Row) string {
	text := describe(t.Err)
	if t.Err.Kind.Class() == task.ClassNeither {
		text = fmt.Sprintf("%d | %s", t.Err.Code, text)
	}
	if co.single {
		return text
	}
	return fmt.Sprintf("task %s: %s", labelOf(t.Index, t.Name, row), text)
}

func (co *collector) verdict() error {
	if co.failed == 0 {
		return nil
	}
	if co.o.stop && !co.single {
		name := ""
		if co.first.Name != "" {
			name = ", with name " + shortName(co.first.Name)
		} else if input := co.firstRow.String(); input != "" {
			name = ", with input " + shortName(input)
		}
		co.s.err.Say("stopped in index %d%s: %s", co.first.Index, name, describe(co.first.Err))
	}
	if co.cancelled == co.failed {
		return exitError(exitCancelled)
	}
	return exitError(exitTaskFailed)
}

func newCancel(s streams) *cli.Command {
	return &cli.Command{
		Name:      "cancel",
		Usage:     "cancel futures, with 20, Operation canceled",
		UsageText: "muster cancel ID...",
		Description: `What runs is stopped with all that it started. It prints true for a future that
was unresolved, and false, with exit code 1, for one that was not.

   muster cancel 3 4`,
		Flags: append(dispatcherFlags(), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			list, err := ids(c)
			if err == nil && len(list) == 0 {
				err = usageError{hinted{errors.New("which ids?"), "muster cancel ID..."}}
			}
			if err != nil {
				return err
			}
			client, err := connect(c)
			if err != nil {
				return err
			}
			code := exitOK
			for _, id := range list {
				a, err := client.Cancel(c.Context, id)
				if err != nil {
					return answered(err)
				}
				fmt.Fprintln(s.out, a.Found)
				if !a.Found {
					code = exitFailure
				}
			}
			if code != exitOK {
				return exitError(code)
			}
			return nil
		},
	}
}
