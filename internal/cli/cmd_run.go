package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/expand"
	"muster/internal/input"
	"muster/internal/launch"
	"muster/internal/shell"
	"muster/task"
)

var errNoCommand = errors.New("no command to run")

// runOptions are the options of `muster run`.
type runOptions struct {
	slots                  int
	csv, tsv, jsonl        bool
	noHeader, link, shell  bool
	name, replace, dir     string
	keep, json, flat, stop bool
	results, joblog        string
	timeout                time.Duration
	dryRun                 bool
	retries                int
	progress               string
	listen, joinFile       string
	joinUses               int
	estimate               time.Duration
}

func newRun(s streams, words *commandLine) *cli.Command {
	var o runOptions
	return &cli.Command{
		Name:      "run",
		Usage:     "run a command once for each input",
		UsageText: "muster run [OPTIONS] [::: INPUT...] -- CMD [ARG...] [::: INPUT...]",
		Description: `Each input is one line of stdin or of a file (-a), one word after :::, or one row
of a table (--csv, --tsv, --jsonl). In CMD's words these stand for it:

   {}  the input         {.}  without its extension   {/}  its last path element
   {//}  its directory   {/.}  both                   {#}  its number, from 1
   {%}  the slot         {2} {2.} ...  of the second source or column
   {NAME}  the column of that name

With none of them the input is appended. Several ::: make all combinations;
:::+ or --link goes side by side.

   muster run -a inputs.txt -- ./simulate {}
   muster run -- gzip -k {} ::: *.txt
   find . -name '*.png' | muster run --shell -- 'convert {} {.}.jpg && rm {}'
   muster run --csv -a table.csv --name '{id}' --json -- ./fit --alpha {alpha} {file}

A task's output is printed when it ends. A task fails by its exit status; one
whose worker dies is tried again (--retries).`,
		Flags: runFlags(&o),
		Action: func(c *cli.Context) error {
			o.stop = c.Bool("stop")
			return runRun(c, s, o, words)
		},
	}
}

func runFlags(o *runOptions) []cli.Flag {
	return append(append(poolFlags(),
		&cli.IntFlag{Name: "n", Aliases: []string{"j"}, Destination: &o.slots, Usage: "run `N` tasks at once; with a cluster's profile, start N workers", DefaultText: "one a core; as the config says"},
		&cli.StringSliceFlag{Name: "arg-file", Aliases: []string{"a"}, Usage: "read inputs from `FILE`, one a line; - is stdin; repeat for several sources"},
		&cli.BoolFlag{Name: "csv", Destination: &o.csv, Usage: "inputs are CSV; the first row names the columns"},
		&cli.BoolFlag{Name: "tsv", Destination: &o.tsv, Usage: "inputs are tab-separated; the first row names the columns"},
		&cli.BoolFlag{Name: "jsonl", Destination: &o.jsonl, Usage: "inputs are JSON, one object, array or value a line"},
		&cli.BoolFlag{Name: "no-header", Destination: &o.noHeader, Usage: "the first row of --csv or --tsv is data"},
		&cli.BoolFlag{Name: "link", Destination: &o.link, Usage: "take several sources side by side instead of all combinations"},
		&cli.StringFlag{Name: "I", Destination: &o.replace, Value: "{}", Usage: "use `STR` for {}"},
		&cli.BoolFlag{Name: "shell", Destination: &o.shell, Usage: "CMD is shell text; what is put in is quoted"},
		&cli.StringFlag{Name: "name", Destination: &o.name, Usage: "name results by `TEMPLATE`, with CMD's placeholders"},
		&cli.StringFlag{Name: "cd", Destination: &o.dir, Usage: "run tasks in `DIR`", DefaultText: "this one"},
		&cli.StringSliceFlag{Name: "env", Usage: "give tasks the variable `NAME[=VALUE]`"},
		&cli.DurationFlag{Name: "timeout", Destination: &o.timeout, Usage: "stop a task that runs longer than `DURATION`, such as 90s"},
		&cli.IntFlag{Name: "retries", Destination: &o.retries, Value: 2, Usage: "try a task again `N` times when its worker is lost"},
		&cli.BoolFlag{Name: "stop", Usage: "after the first failure start nothing more and cancel what runs"},
		&cli.BoolFlag{Name: "keep-order", Aliases: []string{"k"}, Destination: &o.keep, Usage: "print results in the order of the inputs"},
		&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print one JSON object a task"},
		&cli.BoolFlag{Name: "flat", Destination: &o.flat, Usage: "print stdout alone, in input order, one result a line; with --json one array"},
		&cli.StringFlag{Name: "results", Destination: &o.results, Usage: "also write each result into a folder of `DIR`"},
		&cli.StringFlag{Name: "joblog", Destination: &o.joblog, Usage: "also write a line a task to `FILE`, as GNU parallel does"},
		&cli.BoolFlag{Name: "dry-run", Destination: &o.dryRun, Usage: "print the commands and run nothing"},
		&cli.StringFlag{Name: "progress", Destination: &o.progress, Value: "auto", Usage: "show a progress bar: `WHEN` is auto (on a terminal), always or never"},
		&cli.StringFlag{Name: "listen", Destination: &o.listen, Usage: "let workers join at `HOST:PORT` too, for --join-file", DefaultText: "this machine only"},
		&cli.StringFlag{Name: "join-file", Destination: &o.joinFile, Usage: "write a join string to `FILE`, for workers started by hand with muster worker"},
		&cli.IntFlag{Name: "join-uses", Destination: &o.joinUses, Value: 1, Usage: "let `N` workers join with it"},
		&cli.DurationFlag{Name: "estimate", Destination: &o.estimate, Usage: "a task takes about `DURATION`: begin none on a worker whose walltime is over before"},
	), logFlags("", "")...)
}

// plan is a run that has been checked and not started.
type plan struct {
	o    runOptions
	in   *input.Reader
	cmd  *expand.Template
	name *expand.Template // nil without --name
	dir  string
	env  []string
	pool *pool // nil is this machine
}

func runRun(c *cli.Context, s streams, o runOptions, words *commandLine) error {
	p, err := newPlan(c, s, o, words)
	if err != nil {
		return usageError{err}
	}
	defer p.in.Close()
	if o.dryRun {
		return p.dryRun(s.out)
	}
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	return p.execute(s, log)
}

func newPlan(c *cli.Context, s streams, o runOptions, words *commandLine) (*plan, error) {
	if len(words.argv) == 0 {
		return nil, hinted{errNoCommand, "muster run -a inputs.txt -- ./simulate {}"}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	p := &plan{o: o}
	var err error
	if p.dir, err = taskDir(o.dir); err != nil {
		return nil, err
	}
	if p.env, err = taskEnv(c.StringSlice("env")); err != nil {
		return nil, err
	}
	if err := p.findPool(c); err != nil {
		return nil, err
	}
	var sources []input.Source
	for _, f := range c.StringSlice("arg-file") {
		sources = append(sources, input.Source{File: f})
	}
	sources = append(sources, words.sources...)
	if len(sources) == 0 {
		if terminal(s.in) {
			return nil, hinted{errors.New("no inputs"), "give them after :::, in a file with -a, or on standard input"}
		}
		sources = []input.Source{{File: "-"}}
	}
	p.in, err = input.Open(input.Options{Sources: sources, CSV: o.csv, TSV: o.tsv, JSONL: o.jsonl,
		NoHeader: o.noHeader, Link: o.link, Stdin: s.in})
	if err != nil {
		return nil, err
	}
	if err := p.compile(words.argv); err != nil {
		p.in.Close()
		return nil, err
	}
	return p, nil
}

func (o *runOptions) check() error {
	formats := 0
	for _, set := range []bool{o.csv, o.tsv, o.jsonl} {
		if set {
			formats++
		}
	}
	switch {
	case formats > 1:
		return errors.New("--csv, --tsv and --jsonl exclude each other")
	case o.slots < 0:
		return fmt.Errorf("-n %d: at least one task runs at once", o.slots)
	case o.retries < 0 || o.retries > 100:
		return fmt.Errorf("--retries %d: 0 to 100", o.retries)
	case o.estimate < 0:
		return fmt.Errorf("--estimate %s: it cannot be negative", o.estimate)
	case o.timeout < 0:
		return fmt.Errorf("--timeout %s: it cannot be negative", o.timeout)
	case o.joinUses < 1:
		return fmt.Errorf("--join-uses %d: at least one worker joins", o.joinUses)
	case o.replace == "":
		return errors.New("-I: the replacement string is empty")
	case !slices.Contains([]string{"auto", "always", "never"}, o.progress):
		return fmt.Errorf("--progress %q: it is auto, always or never", o.progress)
	case o.listen != "" && o.joinFile == "":
		return errors.New("--listen is for workers started by hand: give --join-file too")
	}
	return nil
}

// findPool plans the workers that the run will have.
func (p *plan) findPool(c *cli.Context) error {
	f, profile, err := findPool(c)
	if err != nil {
		return err
	}
	if profile != nil {
		w := launch.Wish{Dir: p.dir, Estimate: p.o.estimate}
		if len(profile.Launchers) > 0 {
			w.Workers, p.o.slots = p.o.slots, 0
		}
		if p.pool, err = newPool(f, profile, scope(false), w); err != nil {
			return err
		}
		for _, plan := range p.pool.plans {
			if plan.Foreign {
				return hinted{fmt.Errorf("launcher %s starts other people's workers, which run none of muster's tasks", plan.Launcher), "`muster launch` starts them"}
			}
		}
		if p.o.slots == 0 {
			p.o.slots = p.pool.set.Slots
		}
	}
	if p.o.slots == 0 {
		p.o.slots = runtime.NumCPU()
	}
	return nil
}

func taskDir(dir string) (string, error) {
	if dir == "" {
		dir = "."
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	var bad *fs.PathError
	if st, err := os.Stat(abs); errors.As(err, &bad) {
		return "", fmt.Errorf("--cd %s: %w", abs, bad.Err)
	} else if !st.IsDir() {
		return "", fmt.Errorf("--cd: %s is not a directory", abs)
	}
	return abs, nil
}

// taskEnv resolves --env NAME against muster's own environment.
func taskEnv(list []string) ([]string, error) {
	var env []string
	for _, kv := range list {
		name, _, set := strings.Cut(kv, "=")
		if name == "" || strings.ContainsRune(kv, 0) {
			return nil, fmt.Errorf("--env %q: it is NAME or NAME=VALUE", kv)
		}
		if set {
			env = append(env, kv)
			continue
		}
		v, ok := os.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("--env %s: it is not set here; give it a value with --env %s=VALUE", name, name)
		}
		env = append(env, name+"="+v)
	}
	return env, nil
}

func (p *plan) compile(argv []string) error {
	opt := expand.Options{Replace: p.o.replace, Columns: p.in.Columns(), Width: p.in.Width(), Shell: p.o.shell}
	var err error
	if p.cmd, err = expand.Compile(argv, opt); err != nil {
		return err
	}
	if p.o.name != "" {
		opt.Shell = false
		if p.name, err = expand.CompileName(p.o.name, opt); err != nil {
			return fmt.Errorf("--name: %w", err)
		}
	}
	return nil
}

// render makes the task of one row.
func (p *plan) render(row []string, index, slot int) task.Spec {
	spec := task.Spec{Argv: p.cmd.Expand(row, index, slot), Dir: p.dir, Env: p.env, Timeout: p.o.timeout, Index: index}
	if p.name != nil {
		spec.Name = strings.Join(p.name.Expand(row, index, slot), " ")
	}
	return spec
}

func (p *plan) dryRun(out io.Writer) error {
	for i := 1; ; i++ {
		row, err := p.in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return usageError{err}
		}
		if _, err := fmt.Fprintln(out, p.commandLine(p.cmd.Expand(row, i, 1))); err != nil {
			return err
		}
	}
}

// commandLine shows a task's command as a person would type it.
func (p *plan) commandLine(argv []string) string {
	if p.o.shell && len(argv) == 3 {
		return argv[2]
	}
	return shell.Join(argv)
}
