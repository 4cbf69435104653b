// Package launch is the one room that sees every launcher: it makes a plan of
// what a config says, renders it, sends it, keeps a record of what was sent,
// watches it, and takes it back.
package launch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"muster/hpc"
	"muster/internal/config"
	"muster/internal/remote"
	"muster/internal/shell"
)

// Plan is what one launcher will be asked for: one or more job arrays, each a
// submission of its own.
type Plan struct {
	Profile  string // whose workers they are
	Launcher string
	Dialect  *hpc.Dialect
	Arrays   []*hpc.Array // one a submission; nil is a plain job
	Slots    int          // of each worker
	Foreign  bool         // its workers are not muster's
	Poll     time.Duration
	// JoinInScript has the script carry the join string, where nodes do not
	// share the state directory.
	JoinInScript bool
	Muster       string // the binary on the nodes; empty is a copy of this one
	// Before are words before the worker's own command, such as env and what a
	// Go program needs to know that it is a worker.
	Before []string
	// Via is where the scheduler's commands are; nil is this machine.
	Via *remote.Login
	// Hosts are the machines on each of which so many workers are started by
	// SSH; then there is no scheduler.
	Hosts   []remote.Login
	PerHost int
	Tunnel  bool // its workers dial their own machine
	// Port is that of the dispatcher, if the profile's url says which.
	Port string

	job      hpc.Job
	bare     bool
	command  []string
	walltime time.Duration // of the worker
	estimate time.Duration
	foreign  string
	options  WorkerOptions
	dir      string // where tasks run, if the launcher says so
}

// WorkerOptions are those of `muster worker` that a profile's worker block sets.
type WorkerOptions struct {
	IdleTime  time.Duration `json:"idletime,omitempty"`
	MaxTasks  int           `json:"maxtasks,omitempty"`
	NoCleanup bool          `json:"no_cleanup,omitempty"`
	AutoExit  string        `json:"autoexit,omitempty"`
	Output    string        `json:"output,omitempty"`
	AsyncDial bool          `json:"asyncdial,omitempty"`
}

// Args returns the options as words of its command line.
func (o WorkerOptions) Args() []string {
	var argv []string
	if o.IdleTime > 0 {
		argv = append(argv, "--idletime", o.IdleTime.String())
	}
	if o.MaxTasks > 0 {
		argv = append(argv, "--maxtasks", strconv.Itoa(o.MaxTasks))
	}
	if o.NoCleanup {
		argv = append(argv, "--cleanup=false")
	}
	if o.AutoExit != "" {
		argv = append(argv, "--autoexit", o.AutoExit)
	}
	if o.Output != "" {
		argv = append(argv, "--output", o.Output)
	}
	if o.AsyncDial {
		argv = append(argv, "--asyncdial")
	}
	return argv
}

// Wish is what the command line asks for beside the config.
type Wish struct {
	Workers  int // of each launcher; 0 is what the config says
	Slots    int
	Walltime time.Duration
	Estimate time.Duration // how long a task takes, about
	Dir      string        // where jobs start unless the config says
	Profile  string
	Port     string // of the dispatcher, empty if any will do
	Options  WorkerOptions
}

// DefaultPoll is how often a scheduler is asked how jobs stand.
const DefaultPoll = 10 * time.Second

// Cluster plans a cluster launcher. times is how often its array goes out.
func Cluster(f *config.File, l *config.Launcher, s config.Scope, w Wish, times int) (*Plan, error) {
	c, err := f.Cluster(l, s)
	if err != nil {
		return nil, err
	}
	d := hpc.Dialects[c.Scheduler]
	if d == nil {
		return nil, f.At(l.Where("scheduler"), 0, fmt.Sprintf("there is no scheduler %q here: they are %s", c.Scheduler, strings.Join(hpc.Names(), ", ")), nearScheduler(c.Scheduler))
	}
	p := &Plan{Profile: w.Profile, options: w.Options, Launcher: l.Name, Dialect: d, Slots: c.Slots, Foreign: c.WorkerCommand != "", foreign: c.WorkerCommand, dir: c.Workdir,
		Poll: c.Poll, JoinInScript: c.Join == "script", Muster: c.Muster, bare: c.Bare, command: c.Command, estimate: w.Estimate}
	if p.Poll == 0 {
		p.Poll = DefaultPoll
	}
	if p.Poll < time.Second {
		return nil, f.At(l.Where("poll"), 0, "a scheduler is asked once a second at most", "")
	}
	if p.Slots == 0 {
		p.Slots = w.Slots
	}
	if p.Slots == 0 {
		p.Slots = max(c.CPUs, 1)
	}
	if p.Via, err = via(f, l, s); err != nil {
		return nil, err
	}
	p.job = hpc.Job{Name: c.Name, Walltime: c.Walltime, CPUs: c.CPUs, Memory: c.Memory, GPUs: c.GPUs, Queue: c.Queue,
		Account: c.Account, Output: c.Output, PE: c.PE, Shell: c.Shell, Workdir: c.Workdir, Setup: c.Setup, Options: c.Options}
	if p.job.Workdir == "" {
		p.job.Workdir = w.Dir
	}
	if p.walltime = c.Walltime; w.Walltime > 0 && (p.walltime == 0 || w.Walltime < p.walltime) {
		p.walltime = w.Walltime
	}
	if !p.Foreign && c.Walltime > 0 {
		p.job.Warn = warning(c.Walltime)
	}
	if c.Array != "" {
		if p.job.Array, err = hpc.ParseArray(c.Array); err != nil {
			return nil, f.At(l.Where("array"), 0, err.Error(), "")
		}
	}
	if p.bare {
		if !p.Foreign {
			return nil, f.At(l.Where("bare"), 0, "bare is for the command of other people's workers: give worker_command too", "")
		}
		p.Arrays = make([]*hpc.Array, times)
		return p, nil
	}
	if p.job, err = d.Normal(p.job); err != nil {
		return nil, at(f, l, err)
	}
	array := p.job.Array
	if w.Workers > 0 {
		array = array.Sized(w.Workers)
		if w.Workers == 1 && p.job.Array == nil {
			array = nil
		}
		times = 1
	}
	for range times {
		p.Arrays = append(p.Arrays, array)
	}
	// What the scheduler would refuse is found before anything is sent.
	if _, err := p.Render(0, Names{Job: p.Name(""), JoinFile: "join", Muster: "muster", Dir: "/"}); err != nil {
		return nil, at(f, l, err)
	}
	return p, nil
}

// warning is how long before its end a job is to be warned: a minute, or a
// tenth of a short one.
func warning(walltime time.Duration) time.Duration { return min(time.Minute, walltime/10) }

func nearScheduler(s string) string {
	switch strings.ToLower(s) {
	case "openpbs", "pbspro", "pbs_pro":
		return `scheduler = "pbs"`
	case "gridengine", "grid_engine", "uge", "ge", "ocs":
		return `scheduler = "sge"`
	case "openlava":
		return `scheduler = "lsf"`
	}
	for _, n := range hpc.Names() {
		if strings.HasPrefix(strings.ToLower(s), n) {
			return "did you mean " + strconv.Quote(n) + "?"
		}
	}
	return ""
}

// at puts a FieldError where the field's setting stands.
func at(f *config.File, l *config.Launcher, err error) error {
	var field *hpc.FieldError
	if !errors.As(err, &field) {
		return err
	}
	if field.Field == "options" && l.Has("options_file") {
		return f.At(l.Where("options_file"), 0, fmt.Sprintf("line %d of the file: %s", field.Line, field.Msg), field.Hint)
	}
	return f.At(l.Where(field.Field), field.Line, field.Msg, field.Hint)
}

// Check asks the scheduler whether it would take the plan's jobs and run them.
func (p *Plan) Check(ctx context.Context, c *hpc.Client) (problems []*hpc.FieldError, unasked []string) {
	return c.Check(ctx, p.job)
}

// Workers returns how many workers the plan starts.
func (p *Plan) Workers() int {
	n := len(p.Hosts) * p.PerHost
	for _, a := range p.Arrays {
		n += elements(a)
	}
	return n
}

func elements(a *hpc.Array) int {
	if a == nil {
		return 1
	}
	return a.Count()
}

// Sized returns the plan for n workers, by SSH on each machine.
func (p *Plan) Sized(n int) *Plan {
	q := *p
	if p.Dialect == nil {
		q.PerHost = n
		return &q
	}
	var array *hpc.Array
	if len(p.Arrays) > 0 {
		array = p.Arrays[0]
	}
	if array = array.Sized(n); n == 1 {
		array = nil
	}
	q.Arrays = []*hpc.Array{array}
	return &q
}

// Short returns the plan for jobs of a minute.
func (p *Plan) Short() *Plan {
	q := *p
	q.walltime = time.Minute
	if q.job.Walltime != 0 || p.Dialect != nil {
		q.job.Walltime, q.job.Warn = time.Minute, warning(time.Minute)
	}
	return &q
}

// Limit splits arrays at the largest index that the scheduler takes.
func (p *Plan) Limit(largest int) {
	var arrays []*hpc.Array
	for _, a := range p.Arrays {
		if a == nil {
			arrays = append(arrays, a)
			continue
		}
		arrays = append(arrays, a.Split(largest)...)
	}
	p.Arrays = arrays
}

// Largest returns the largest index of the plan's arrays.
func (p *Plan) Largest() int {
	n := 0
	for _, a := range p.Arrays {
		if a != nil {
			n = max(n, a.Last())
		}
	}
	return n
}

// Name returns a job's name that ends in what makes it unique.
func (p *Plan) Name(unique string) string {
	name := p.job.Name
	if name == "" && !p.Foreign {
		name = "muster"
	}
	if unique == "" || name == "" {
		return name
	}
	if p.Dialect != nil {
		name = name[:min(len(name), p.Dialect.NameMax()-len(unique)-1)]
	}
	return name + "-" + unique // a dot is no character of a name for every PBS
}

// Names are what a submission refers to.
type Names struct {
	Job      string
	JoinFile string
	JoinText string // the join string itself, for scripts that carry it
	Muster   string
	Dir      string // where the job's output goes unless the config says
	Port     string // of the dispatcher, for a tunnel
}

// Client returns who gives the plan's orders.
func (p *Plan) Client(run hpc.Runner, user string) *hpc.Client {
	return &hpc.Client{Dialect: p.Dialect, Run: run, User: user, Command: p.command}
}

// Render makes the i-th submission.
func (p *Plan) Render(i int, n Names) (*Submission, error) {
	s := &Submission{Launcher: p.Launcher, Scheduler: p.Dialect.Name, Workers: elements(p.Arrays[i])}
	var err error
	if p.bare {
		if s.Argv = p.command; len(s.Argv) == 0 {
			s.Argv = []string{p.Dialect.Submit}
		}
		s.Script, err = hpc.MiraiScript(p.job.Options, p.foreign)
		return s, err
	}
	j := p.job
	j.Name, j.Body = n.Job, p.foreign
	j.Array = p.Arrays[i]
	if j.Output == "" && !p.Foreign {
		j.Output = p.Dialect.Outputs(n.Dir, p.Arrays[i] != nil)
	}
	if !p.Foreign {
		j.Body = p.body(n)
	}
	cmd, err := p.Dialect.Render(j, p.command)
	s.Argv, s.Script = cmd.Argv, cmd.Stdin
	return s, err
}

// body is what a job runs: a worker, in the shell's place so that signals
// reach it.
func (p *Plan) body(n Names) string {
	file := n.JoinFile
	if p.JoinInScript {
		file = "-"
	}
	line := "exec " + shell.Join(p.worker(n.Muster, file))
	if p.JoinInScript {
		line += " <<'JOIN'\n" + n.JoinText + "\nJOIN"
	}
	return line
}

// worker is the command line of one of the plan's workers.
func (p *Plan) worker(muster, joinFile string, more ...string) []string {
	argv := append(slices.Clone(p.Before), muster, "worker", "--join-file", joinFile)
	if p.Slots > 0 {
		argv = append(argv, "--slots", strconv.Itoa(p.Slots))
	}
	if p.walltime > 0 {
		argv = append(argv, "--walltime", p.walltime.String())
	}
	if p.estimate > 0 {
		argv = append(argv, "--estimate", p.estimate.String())
	}
	if p.dir != "" {
		argv = append(argv, "--cd", p.dir)
	}
	return append(append(argv, p.options.Args()...), more...)
}

// Placeholders are names for a plan that is only shown.
func (p *Plan) Placeholders(muster string) Names {
	if p.Muster != "" {
		muster = p.Muster
	}
	return Names{Job: p.Name(""), JoinFile: "JOIN_FILE", JoinText: "JOIN_STRING", Muster: muster, Dir: filepath.Join("RUN_DIR", p.Name("")), Port: cmp.Or(p.Port, portText)}
}

// Relayed reports whether the plan's workers reach the dispatcher by way of a
// machine behind SSH, so that nobody has to reach this one.
func (p *Plan) Relayed() bool { return p.Via != nil || p.Tunnel }

// Remote reports whether the plan logs in to another machine.
func (p *Plan) Remote() bool { return p.Via != nil || len(p.Hosts) > 0 && !p.Foreign }

// Walltime is how long the plan's workers live, 0 if there is no limit.
func (p *Plan) Walltime() time.Duration { return p.walltime }
