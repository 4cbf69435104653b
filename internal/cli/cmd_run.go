package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"muster/dispatcher"
	"muster/internal/config"
	"muster/internal/expand"
	"muster/internal/host"
	"muster/internal/input"
	"muster/internal/plan"
	"muster/internal/report"
	"muster/internal/shell"
	safe "muster/internal/terminal"
	"muster/rng"
	"muster/task"
)

var errNoCommand = errors.New("no command to run")

// runOptions are the options of `muster run`.
type runOptions struct {
	slots                  int
	jobs                   jobs
	csv, tsv, jsonl        bool
	noHeader, link         bool
	shell, bash            bool
	name, replace, dir     string
	keep, json, flat, stop bool
	results, joblog        string
	timeout                time.Duration
	dryRun                 bool
	retries                retries
	live                   liveOptions
	halt                   string
	past                   resumeOptions
	progress               string
	listen, joinFile       string
	joinUses               int
	estimate               time.Duration
	run                    string
	sync, spread           bool
	sourceOptions
}

func newRun(s streams, words *commandLine) *cli.Command {
	var o runOptions
	return &cli.Command{
		Name:      "run",
		Usage:     "run a command once for each input",
		UsageText: "muster run [OPTIONS] [::: INPUT...] -- CMD [ARG...] [::: INPUT...]",
		Description: `Each input is one line of stdin or of a file (-a, or after ::::), one word after :::,
or one row of a table (--csv, --tsv, --jsonl, --colsep). In CMD's words these stand for
it:

   {}  the input         {.}  without its extension   {/}  its last path element
   {//}  its directory   {/.}  both                   {#}  its number, from 1
   {%}  the slot         {2} {2.} ...  of the second source or column
   {NAME}  the column of that name
   {share:NAME}  a path at which the file of --share NAME=FILE is in memory

With none of them the input is appended. Several ::: make all combinations;
:::+ or --link goes side by side.

   muster run -a inputs.txt -- ./simulate {}
   muster run -- gzip -k {} ::: *.txt
   find . -name '*.png' | muster run --shell -- 'convert {} {.}.jpg && rm {}'
   muster run --csv -a table.csv --name '{id}' --json -- ./fit --alpha {alpha} {file}

A task's output is printed when it ends. A task fails by its exit status, and is
tried again with --retries; one whose worker dies is tried again (--lost-retries).

--resume, --resume-failed and --retry-failed go on with a --joblog. It has numbers and
commands and no more: the first two need the same inputs in the same order, and the last
runs commands under /bin/sh in this directory, without the --env or --cd that they had.`,
		Flags: runFlags(&o),
		Action: func(c *cli.Context) error {
			o.stop = c.Bool("stop")
			if (c.Bool("bar") || c.Bool("eta")) && !c.IsSet("progress") {
				o.progress = "always"
			}
			return runRun(c, s, o, words)
		},
	}
}

func runFlags(o *runOptions) []cli.Flag {
	return append(append(append(append(append(poolFlags(), inputFlags(o)...), o.retries.flags()...), append(append(o.jobs.flags(), o.live.flags()...), append(o.past.flags(), runShareFlag())...)...),
		&cli.BoolFlag{Name: "stop", Usage: "after the first failure start nothing more and cancel what runs"},
		&cli.StringFlag{Name: "halt", Destination: &o.halt, Usage: "end early: `WHEN` is never, or as in soon,fail=3 or now,success=1 or now,done=10%"},
		&cli.BoolFlag{Name: "keep-order", Aliases: []string{"k"}, Destination: &o.keep, Usage: "print results in the order of the inputs"},
		&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print one JSON object a task"},
		&cli.BoolFlag{Name: "flat", Destination: &o.flat, Usage: "print stdout alone, in input order, one result a line; with --json one array"},
		&cli.StringFlag{Name: "results", Destination: &o.results, Usage: "also write each result into a folder of `DIR`"},
		&cli.StringFlag{Name: "joblog", Destination: &o.joblog, Usage: "also write a line a task to `FILE`, as GNU parallel does; +FILE appends to it"},
		&cli.BoolFlag{Name: "dry-run", Destination: &o.dryRun, Usage: "print the commands and run nothing"},
		choiceFlag("progress", &o.progress, "auto", "show a progress bar: `WHEN` is auto (on a terminal), always or never", "auto", "always", "never"),
		&cli.BoolFlag{Name: "bar", Usage: "--progress always, as GNU parallel calls it"},
		&cli.BoolFlag{Name: "eta", Usage: "the same: the line says when all is done"},
		&cli.StringFlag{Name: "listen", Destination: &o.listen, Usage: "let workers join at `HOST:PORT` too, for --join-file", DefaultText: "this machine only"},
		&cli.StringFlag{Name: "join-file", Destination: &o.joinFile, Usage: "write a join string to `FILE`, for workers started by hand with muster worker"},
		&cli.IntFlag{Name: "join-uses", Destination: &o.joinUses, Value: 1, Usage: "let `N` workers join with it"},
		&cli.StringSliceFlag{Name: "everywhere", Usage: "run `CMD`, shell text, on every worker before its first task; what it exports, and where it goes, stays"},
		&cli.StringFlag{Name: "run", Destination: &o.run, Usage: "call the run `NAME`, for other commands' --run", DefaultText: "the time of its start"},
		&cli.BoolFlag{Name: "sync", Destination: &o.sync, Usage: "for debugging: run one task after another here, in this terminal, without workers"},
		&cli.BoolFlag{Name: "spread", Destination: &o.spread, Usage: "send workers on other machines a copy of the shares, once each"},
		&cli.DurationFlag{Name: "estimate", Destination: &o.estimate, Usage: "a task takes about `DURATION`: begin none on a worker whose walltime is over before"},
	), logFlags("", "")...)
}

// runPlan is a run that has been checked and not started.
type runPlan struct {
	o    runOptions
	in   *input.Reader
	cmd  *expand.Template
	name *expand.Template // nil without --name
	tag  *expand.Template // nil without --tag and --tagstring
	dir  string
	env  []string
	halt dispatcher.Halt
	seed rng.Streams // without a seed the profile has none either

	mostAtOnce bool           // as many slots as possible
	past       *report.Past   // of the job log that the run goes on with; nil if it is a new one
	numbers    []int          // of the inputs, where they are not 1, 2, 3
	taken      int            // inputs read
	ahead      [][]string     // inputs that were read before anything starts
	places     map[string]int // with --results: the number of the input whose results lie there

	pool *pool // of the profile; nil is one worker on this machine

	everywhere []string
	shared     *sharing
	fromStdin  bool         // inputs are read from standard input
	read       atomic.Int64 // how many inputs a map has read

	shuf uint64                           // how --shuf shuffles
	say  func(format string, args ...any) // tells a person about the inputs
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
	bar, above := p.newProgress(s)
	log, err := logger(c, above.err)
	if err != nil {
		return err
	}
	if p.o.sync || p.pool != nil && p.pool.set.Sync {
		return p.runSync(s)
	}
	if err := p.guard(c); err != nil {
		return err
	}
	return p.execute(above, log, bar)
}

func newPlan(c *cli.Context, s streams, o runOptions, words *commandLine) (*runPlan, error) {
	if o.past.retryFailed && (len(words.argv)+len(words.sources) > 0 || c.IsSet("arg-file")) {
		return nil, errors.New("--retry-failed takes the commands from the log: leave out the command and its inputs")
	}
	if len(words.argv) == 0 && !o.past.retryFailed {
		return nil, hinted{errNoCommand, "muster run -a inputs.txt -- ./simulate {}"}
	}
	if err := o.check(c); err != nil {
		return nil, err
	}
	p := &runPlan{o: o, everywhere: c.StringSlice("everywhere")}
	var err error
	if p.halt, err = o.halting(); err != nil {
		return nil, err
	}
	if p.shared, err = newRunSharing(c); err != nil {
		return nil, err
	}
	if p.dir, err = taskDir(o.dir); err != nil {
		return nil, err
	}
	if p.env, err = taskEnv(c); err != nil {
		return nil, err
	}
	if p.seed, err = seedOf(c); err != nil {
		return nil, err
	}
	if err := p.findPool(c, s); err != nil {
		return nil, err
	}
	if err := p.settleSeed(); err != nil {
		return nil, err
	}
	if err := p.readPast(); err != nil {
		return nil, err
	}
	open := func() error { return p.openInputs(c, s, words) }
	if o.past.retryFailed {
		open = p.openFailed
	}
	if err := open(); err != nil {
		return nil, err
	}
	p.fitJobs()
	if err := cmp.Or(p.shared.check(), p.checkDistinct()); err != nil {
		p.in.Close()
		return nil, err
	}
	return p, nil
}

// openInputs finds the inputs, and compiles the command for them.
func (p *runPlan) openInputs(c *cli.Context, s streams, words *commandLine) error {
	if err := checkCommand(words.argv, p.o.shellProgram() != ""); err != nil {
		return err
	}
	if err := checkTable(words.argv); err != nil {
		return err
	}
	sources, err := p.sources(c, s, words)
	if err != nil {
		return err
	}
	if err := p.o.checkHeader(sources, words.argv); err != nil {
		return err
	}
	p.fromStdin = slices.ContainsFunc(sources, func(s input.Source) bool { return s.File == "-" })
	if p.in, err = input.Open(p.inputOptions(s, sources)); err != nil {
		return err
	}
	p.group()
	if err := p.compile(s, words.argv); err != nil {
		p.in.Close()
		return err
	}
	p.pack()
	return nil
}

// guard refuses to start workers in every task of another run.
func (p *runPlan) guard(c *cli.Context) error {
	if p.o.slots > 0 && c.IsSet("n") || p.pool != nil && !p.pool.local {
		return nil
	}
	return nested("muster run", fmt.Sprintf("%d tasks at once", p.o.slots))
}

// nested is the error of starting workers on this machine from within a task.
func nested(command, what string) error {
	if os.Getenv("MUSTER_TASK_ID") == "" {
		return nil
	}
	return usageError{hinted{fmt.Errorf("this is a task of muster already, and `%s` here would start %s in each such task: a fork bomb", command, what),
		"start one pool for the inner tasks outside, `muster up -p inner -n 4`, and use `muster map -p inner` here; or say how many with run -n"}}
}

func (o *runOptions) check(c *cli.Context) error {
	formats := 0
	for _, set := range []bool{o.csv, o.tsv, o.jsonl} {
		if set {
			formats++
		}
	}
	switch {
	case formats > 1:
		return errors.New("--csv, --tsv and --jsonl exclude each other")
	case o.joinUses < 1:
		return fmt.Errorf("--join-uses %d: at least one worker joins", o.joinUses)
	case o.run != "" && !host.ValidName(o.run):
		return fmt.Errorf("--run %q: a name has letters, digits, - and _, 40 at most", o.run)
	case o.listen != "" && o.joinFile == "":
		return errors.New("--listen is for workers started by hand: give --join-file too")
	case o.shell && o.bash:
		return errors.New("--shell and --bash exclude each other")
	}
	return cmp.Or(o.retries.check(), checkSync(c), o.checkLive(), o.checkResume(), o.sourceOptions.check(c))
}

// findPool plans the workers that the run will have.
func (p *runPlan) findPool(c *cli.Context, s streams) error {
	f, profile, found, err := findPool(c)
	if err != nil {
		return err
	}
	if err := p.countJobs(found && len(profile.Launchers) > 0); err != nil {
		return err
	}
	if found {
		if err := p.newPool(c, s, f, profile); err != nil {
			return err
		}
	} else if f != nil && len(f.Profiles) > 0 {
		var names []string
		for _, other := range f.Profiles {
			names = append(names, other.Name)
		}
		s.err.Say("%s has no profile called default, so tasks run on this machine; -p chooses one: %s", f.Path, strings.Join(names, ", "))
	}
	if p.o.slots == 0 {
		p.o.slots = runtime.NumCPU()
	}
	return nil
}

// newPool drafts the workers of the run's profile.
func (p *runPlan) newPool(c *cli.Context, s streams, f *config.File, profile *config.Profile) error {
	w := plan.Wish{Dir: p.dir, Estimate: p.o.estimate}
	if len(profile.Launchers) > 0 {
		w.Workers, p.o.slots = p.o.slots, 0
	}
	exec := config.Run
	if p.o.dryRun {
		exec = config.Placeholder
	}
	var err error
	if p.pool, err = newPool(evaluate(c, s, f, exec, false), profile, asConfigured(w)); err != nil {
		return err
	}
	if err := p.pool.own(); err != nil {
		return err
	}
	if !p.pool.local && p.pool.workers() == 0 && !p.pool.set.Sync {
		return f.At(profile.Where("workers"), 0, "nobody would run the tasks: the profile does not say how many workers there are, and its launcher has no array",
			"muster run -n N starts N workers, and so does workers = N here, or array = \"1-N\" in a cluster launcher")
	}
	p.pool.warn(s)
	if p.o.slots == 0 {
		p.o.slots = p.pool.set.Worker.Slots
	}
	return nil
}

func taskDir(dir string) (string, error) {
	if dir == "" {
		dir = "."
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", hinted{fmt.Errorf("find the working directory: %w", err), "somebody has removed the directory of this shell: cd to one that is there"}
	}
	var bad *fs.PathError
	if st, err := os.Stat(abs); errors.As(err, &bad) {
		return "", fmt.Errorf("--cd %s: %w", abs, bad.Err)
	} else if !st.IsDir() {
		return "", fmt.Errorf("--cd: %s is not a directory", abs)
	}
	if dir == "." {
		return abs, nil
	}
	if err := unix.Faccessat(unix.AT_FDCWD, abs, unix.X_OK, unix.AT_EACCESS); err != nil {
		return "", fmt.Errorf("--cd: cannot enter %s: %w", abs, err)
	}
	return abs, nil
}

// shellProgram runs CMD if that is shell text; empty if it is not.
func (o *runOptions) shellProgram() string { return shellProgram(o.shell, o.bash) }

// shellProgram is what --shell and --bash stand for.
func shellProgram(shell, bash bool) string {
	switch {
	case bash:
		return "bash"
	case shell:
		return "/bin/sh"
	}
	return ""
}

func (p *runPlan) compile(s streams, argv []string) error {
	opt := expand.Options{Replace: p.o.replace, Columns: p.in.Columns(), Width: p.in.Width(), Literal: p.o.literal, Shell: p.o.shellProgram(), Many: p.o.many(), Share: p.shared.mark}
	var err error
	if p.cmd, err = expand.Compile(argv, opt); err != nil {
		return err
	}
	if p.cmd.InQuotes() {
		s.err.Hint("a placeholder stands in quotes in the shell text, and values are quoted as they are put in: leave the quotes around it away")
	}
	opt.Shell, opt.Share = "", nil
	return p.compileNames(opt)
}

// compileNames compiles what results are called.
func (p *runPlan) compileNames(opt expand.Options) (err error) {
	if p.o.name != "" {
		if p.name, err = expand.CompileName(p.o.name, opt); err != nil {
			return fmt.Errorf("--name: %w", err)
		}
	}
	return p.compileTag(opt)
}

// render makes the task of one row.
func (p *runPlan) render(row []string, index int) task.Spec {
	spec := task.Spec{Argv: p.cmd.Expand(row, index, task.SlotMark), Dir: p.dir, Env: p.env, Timeout: p.o.timeout, Index: index, Shares: p.shared.shares()}
	if p.o.past.retryFailed {
		spec.Argv = p.withShares(spec.Argv)
	}
	if p.name != nil {
		spec.Name = strings.Join(p.name.Expand(row, index, task.SlotMark), " ")
	}
	return spec
}

// common is what the tasks of all rows have in common.
func (p *runPlan) common() task.Spec {
	spec := task.Spec{Dir: p.dir, Env: p.env, Shares: p.shared.shares()}
	if program, ok := p.cmd.Program(); ok {
		spec.Argv = []string{program}
	}
	return spec
}

func (p *runPlan) dryRun(out io.Writer) error {
	for {
		row, i, err := p.nextRow()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return usageError{err}
		}
		line := p.commandLine(p.render(row, i).Shown(1).Argv)
		if terminal(out) {
			line = safe.Line(line)
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
}

// commandLine shows a task's command as a person would type it.
func (p *runPlan) commandLine(argv []string) string {
	if p.o.shellProgram() != "" && len(argv) == 3 {
		return argv[2]
	}
	return shell.Join(argv)
}
