package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/control"
	"muster/rng"
	"muster/task"
)

// mapOptions are the options of `muster map` that run does not have.
type mapOptions struct {
	runOptions
	tasks string
	wait  bool
}

func newMap(s streams, words *commandLine) *cli.Command {
	var o mapOptions
	return &cli.Command{
		Name:      "map",
		Usage:     "queue a command once for each input, and print one id for all",
		UsageText: "muster map [OPTIONS] [::: INPUT...] -- CMD [ARG...] [::: INPUT...]",
		Description: `Inputs and placeholders are those of muster run. With --tasks each line is a task
of its own: {"argv": [...], "env": {...}, "dir": ..., "stdin": ..., "timeout": "90s",
"name": ..., "input": [...]}, of which argv alone has to be there.

   muster map -- ./simulate {} ::: 1 2 3
   muster collect --flat $(muster map --name {1} -a inputs.txt -- ./simulate {})`,
		Flags: append(append(append(append(dispatcherFlags(), profileFlag()), inputFlags(&o.runOptions)...),
			shareFlag(),
			&cli.StringFlag{Name: "tasks", Destination: &o.tasks, Usage: "read tasks from `FILE`, one JSON object a line; - is standard input"},
			&cli.BoolFlag{Name: "stop", Usage: "after the first failure cancel all others"},
			&cli.BoolFlag{Name: "wait", Aliases: []string{"w"}, Destination: &o.wait, Usage: "wait for the results and collect them, instead of printing the id"},
			&cli.BoolFlag{Name: "flat", Destination: &o.flat, Usage: "with --wait: as collect --flat"},
			choiceFlag("progress", &o.runOptions.progress, "auto", "with --wait: as collect --progress", "auto", "always", "never"),
			&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print JSON"},
			&cli.BoolFlag{Name: "sync", Destination: &o.sync, Usage: "for debugging: run one task after another here, in this terminal, now"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			o.stop = c.Bool("stop")
			return runMap(c, s, o, words)
		},
	}
}

func runMap(c *cli.Context, s streams, o mapOptions, words *commandLine) error {
	o.joinUses, o.runOptions.slots = 1, 0
	if err := o.check(c); err != nil {
		return usageError{err}
	}
	if o.packs() && o.group == 0 {
		return usagef("a map does not know how many slots there will be: say with -N how many inputs a task gets at most")
	}
	if os.Getenv("MUSTER_TASK_ID") != "" && os.Getenv("MUSTER_TASK_PROFILE") == profileName(c) {
		return usageError{hinted{fmt.Errorf("this is a task of profile %s, and a map onto the same profile would wait for slots that its own callers hold", profileName(c)),
			"start another profile for the inner tasks outside, `muster up -p inner -n 4`, and use `muster map -p inner` here"}}
	}
	seed, err := seedOf(c)
	if err != nil {
		return usageError{err}
	}
	var lines io.Reader
	var p *runPlan
	if o.tasks != "" {
		if len(words.argv) > 0 || len(words.sources) > 0 {
			return usagef("--tasks has the commands; there can be no other, nor inputs")
		}
		if o.sync {
			return usagef("--sync runs a command for each input: --tasks is for workers")
		}
		f, err := openTasks(s, o.tasks)
		if err != nil {
			return usageError{err}
		}
		defer f.Close()
		if lines, err = inThisDirectory(f); err != nil {
			return usageError{err}
		}
	} else {
		if p, err = newMapPlan(c, s, o, seed, words); err != nil {
			return usageError{err}
		}
		defer p.in.Close()
		if o.sync {
			return p.runSync(s)
		}
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	if p != nil {
		lines = p.lines()
	}
	var read func() int64
	if p != nil {
		read = p.read.Load
	}
	a, err := submitting(c.Context, s, client, profileName(c), read, func() (control.SubmitAnswer, error) {
		return client.Map(c.Context, profileName(c), o.stop, seed, lines)
	})
	var bad *inputError
	switch {
	case errors.As(err, &bad):
		return usageError{bad.error}
	case errors.Is(err, control.ErrUnreachable):
		return usageError{hinted{errors.New("a map needs workers, and no dispatcher is running"), "`muster up -n 4 --detach` starts one with 4 workers; `muster run` needs none"}}
	case err != nil:
		return answered(err)
	}
	if a.Sync {
		if err := p.finishAll(c, s, client, a, words); err != nil {
			return err
		}
	}
	if o.wait {
		return collect(c, s, client, a.ID, collectOptions{json: o.json, flat: o.flat, stop: o.stop, progress: o.runOptions.progress})
	}
	return sayID(s, a, o.json)
}

// newMapPlan is newPlan without a pool.
func newMapPlan(c *cli.Context, s streams, o mapOptions, seed rng.Streams, words *commandLine) (*runPlan, error) {
	if len(words.argv) == 0 {
		return nil, hinted{errNoCommand, "muster map -- ./simulate {} ::: 1 2 3"}
	}
	for _, w := range words.argv {
		if strings.Contains(w, "{%}") {
			return nil, hinted{errors.New("{%}, the slot, is not known when a task is queued"), "the task finds it in $MUSTER_SLOT"}
		}
	}
	p := &runPlan{o: o.runOptions, seed: seed, shuf: shuffling(seed)}
	var err error
	if p.shared, err = newSharing(c); err != nil {
		return nil, err
	}
	if p.dir, err = taskDir(o.dir); err != nil {
		return nil, err
	}
	if p.env, err = taskEnv(c); err != nil {
		return nil, err
	}
	if err := p.openInputs(c, s, words); err != nil {
		return nil, err
	}
	if o.sync && len(p.shared.names) > 0 {
		return nil, errors.Join(errSyncShares, p.in.Close())
	}
	return p, nil
}

// inputError is the user's mistake in the inputs of a map.
type inputError struct{ error }

// lines reads the plan's inputs as tasks, one JSON object a line.
func (p *runPlan) lines() io.Reader {
	r, w := io.Pipe()
	go func() {
		buf := bufio.NewWriterSize(w, 64<<10)
		enc := json.NewEncoder(buf)
		enc.SetEscapeHTML(false)
		for i := 1; ; i++ {
			row, err := p.in.Next()
			if err == io.EOF {
				w.CloseWithError(buf.Flush())
				return
			}
			if err == nil {
				p.read.Add(1)
				spec := p.render(row, i).InSlot(1)
				spec.Row = task.Row{Values: row, Columns: p.in.Columns()}
				err = enc.Encode(control.NewTask(spec))
			} else {
				err = &inputError{err}
			}
			if err != nil {
				w.CloseWithError(err)
				return
			}
		}
	}()
	return r
}

// finishAll runs the tasks of a map onto a sync profile.
func (p *runPlan) finishAll(c *cli.Context, s streams, client *control.Client, a control.SubmitAnswer, words *commandLine) error {
	if p == nil || p.fromStdin {
		return hinted{errors.New("a sync profile runs tasks where they are typed, and the inputs are gone"), "give the inputs after ::: or with -a FILE"}
	}
	if err := p.openInputs(c, s, words); err != nil {
		return usageError{err}
	}
	for i := 1; i <= a.Total; i++ {
		row, err := p.in.Next()
		if err != nil {
			return err
		}
		spec := p.render(row, i).InSlot(1)
		spec.Stream, spec.Shares = a.Stream(i), a.Shares
		if err := finishHere(c, s, client, a.ID, spec); err != nil {
			return err
		}
	}
	return nil
}

func openTasks(s streams, file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(s.in), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--tasks: %w", err)
	}
	return f, nil
}

// inThisDirectory gives each task without a directory this one, and says at
// which line a mistake is before anything is queued.
func inThisDirectory(r io.Reader) (io.Reader, error) {
	dir, err := taskDir("")
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	n := 0
	err = control.Lines(r, func(line []byte) error {
		n++
		dec := json.NewDecoder(strings.NewReader(string(line)))
		dec.DisallowUnknownFields()
		var t control.Task
		if err := dec.Decode(&t); err != nil {
			return fmt.Errorf("--tasks: line %d: %w", n, err)
		}
		if t.Dir == "" && !t.Base64 {
			t.Dir = dir
		}
		if _, err := t.Spec(); err != nil {
			return fmt.Errorf("--tasks: line %d: %w", n, err)
		}
		return enc.Encode(t)
	})
	return strings.NewReader(out.String()), err
}

// inputFlags are the flags that say what a command's inputs are.
func inputFlags(o *runOptions) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringSliceFlag{Name: "arg-file", Aliases: []string{"a"}, Usage: "read inputs from `FILE`, one a line; - is stdin; repeat for several sources"},
		&cli.BoolFlag{Name: "csv", Destination: &o.csv, Usage: "inputs are CSV; the first row names the columns"},
		&cli.BoolFlag{Name: "tsv", Destination: &o.tsv, Usage: "inputs are tab-separated; the first row names the columns"},
		&cli.BoolFlag{Name: "jsonl", Destination: &o.jsonl, Usage: "inputs are JSON, one object, array or value a line"},
		&cli.BoolFlag{Name: "no-header", Destination: &o.noHeader, Usage: "the first row of --csv or --tsv is data"},
		&cli.BoolFlag{Name: "link", Destination: &o.link, Usage: "take several sources side by side instead of all combinations"},
		&cli.StringFlag{Name: "I", Destination: &o.replace, Value: "{}", Usage: "use `STR` for {}"},
		&cli.BoolFlag{Name: "shell", Destination: &o.shell, Usage: "CMD is shell text, for /bin/sh; what is put in is quoted"},
		&cli.BoolFlag{Name: "bash", Destination: &o.bash, Usage: "as --shell, for bash"},
		&cli.StringFlag{Name: "name", Destination: &o.name, Usage: "name results by `TEMPLATE`, with CMD's placeholders"},
		&cli.StringFlag{Name: "cd", Destination: &o.dir, Usage: "run tasks in `DIR`", DefaultText: "this one"},
		envFlag(), envFileFlag(),
		&cli.DurationFlag{Name: "timeout", Destination: &o.timeout, Usage: "stop a task that runs longer than `DURATION`, such as 90s"},
		seedFlag(),
	}, sourceFlags(&o.sourceOptions)...)
}
