package config

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Scope is what expressions see.
type Scope struct {
	// Command, Argv, URL, JoinFile and Index describe the worker to launch.
	Command  string
	Argv     []string
	URL      string
	JoinFile string
	Index    int
	Getenv   func(string) (string, bool)
	// Exec lets exec() run programs. Without it their output is a placeholder.
	Exec bool
	// Redact puts Redacted in the place of strings that come from env(),
	// file() and exec().
	Redact bool
}

// Redacted stands for what may be a secret where a plan is only shown.
const Redacted = "[redacted]"

const (
	secret   = "secret" // the mark of values that come from outside
	execTime = time.Minute
)

func (f *File) context(s Scope) *hcl.EvalContext {
	var argv []cty.Value
	for _, w := range s.Argv {
		argv = append(argv, cty.StringVal(w))
	}
	list := cty.ListValEmpty(cty.String)
	if len(argv) > 0 {
		list = cty.ListVal(argv)
	}
	return &hcl.EvalContext{
		Variables: map[string]cty.Value{"worker": cty.ObjectVal(map[string]cty.Value{
			"command": cty.StringVal(s.Command), "argv": list, "url": cty.StringVal(s.URL),
			"join_file": cty.StringVal(s.JoinFile), "index": cty.NumberIntVal(int64(s.Index)),
		})},
		Functions: map[string]function.Function{
			"env": stringFunc("name", func(name string) (string, error) {
				v, ok := s.Getenv(name)
				if !ok {
					return "", fmt.Errorf("the environment variable %s is not set", name)
				}
				return v, nil
			}, true),
			"file":     stringFunc("path", f.file, true),
			"exec":     execFunc(s.Exec, filepath.Dir(f.Path)),
			"host_url": urlFunc(hostURLs, localOptions, hostOptions), "local_url": urlFunc(localURLs, localOptions),
			"jsonencode": stdlib.JSONEncodeFunc, "join": stdlib.JoinFunc, "format": stdlib.FormatFunc, "concat": stdlib.ConcatFunc,
			"lower": stdlib.LowerFunc, "upper": stdlib.UpperFunc, "trimspace": stdlib.TrimSpaceFunc, "replace": stdlib.ReplaceFunc,
		},
	}
}

func (f *File) file(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(f.Path), path)
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.Size() > maxFile {
		return "", fmt.Errorf("%s has %d bytes, more than %d", path, st.Size(), maxFile)
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

func stringFunc(param string, f func(string) (string, error), marked bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: param, Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text, err := f(args[0].AsString())
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			if marked {
				return cty.StringVal(text).Mark(secret), nil
			}
			return cty.StringVal(text), nil
		},
	})
}

// execFunc runs a credential helper: a list of words, no shell. Its output
// counts less the last line break.
func execFunc(allowed bool, dir string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "argv", Type: cty.List(cty.String)}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			var argv []string
			for _, v := range args[0].AsValueSlice() {
				argv = append(argv, v.AsString())
			}
			if len(argv) == 0 {
				return cty.UnknownVal(cty.String), fmt.Errorf("exec() needs a program")
			}
			if !allowed {
				return cty.StringVal("[output of " + argv[0] + "]").Mark(secret), nil
			}
			ctx, cancel := context.WithTimeout(context.Background(), execTime)
			defer cancel()
			cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
			cmd.Dir, cmd.Stderr = dir, os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return cty.UnknownVal(cty.String), fmt.Errorf("exec %s: %w", argv[0], err)
			}
			return cty.StringVal(strings.TrimSuffix(string(out), "\n")).Mark(secret), nil
		},
	})
}

// values evaluates settings of one block.
type values struct {
	f     *File
	b     *block
	known map[string]setting
	scope Scope
	ctx   *hcl.EvalContext
	diags []Diagnostic
}

func (f *File) values(b *block, known map[string]setting, s Scope) *values {
	return &values{f: f, b: b, known: known, scope: s, ctx: f.context(s)}
}

// get returns a setting's value, nil if it is not there or is a mistake, which
// is noted.
func (v *values) get(name string) any {
	a := v.b.attrs[name]
	if a == nil || a.Expr == nil {
		return nil
	}
	val, diags := a.Expr.Value(v.ctx)
	if diags.HasErrors() {
		v.diags = append(v.diags, translate(diags)...)
		return nil
	}
	val, marks := val.UnmarkDeep()
	got, err := v.known[name].convert(val)
	if err != nil {
		v.diags = append(v.diags, Diagnostic{a.Expr.Range(), name + ": " + err.Error(), ""})
		return nil
	}
	if _, ok := marks[secret]; ok && v.scope.Redact {
		switch list := got.(type) {
		case string:
			return Redacted
		case []string:
			for i := range list {
				list[i] = Redacted
			}
		case cty.Value:
			return cty.StringVal(Redacted)
		}
	}
	return got
}

func get[T any](v *values, name string) (t T) {
	if got, ok := v.get(name).(T); ok {
		return got
	}
	return t
}

// oneOf notes a text that is none of those that it may be.
func (v *values) oneOf(name, value string, known ...string) {
	if value != "" && !slices.Contains(known, value) {
		hint := near(value, known)
		if hint == "" {
			hint = "it is " + strings.Join(known, ", ")
		}
		v.diags = append(v.diags, Diagnostic{v.b.Where(name), fmt.Sprintf("%s is %q", name, value), hint})
	}
}

// later notes every setting that is there and that this version cannot do
// anything with.
func (v *values) later() {
	var found []string
	for name := range v.b.attrs {
		if s, ok := v.known[name]; !ok || s.later {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	for _, name := range found {
		v.diags = append(v.diags, Diagnostic{v.b.attrs[name].NameRange, fmt.Sprintf("%s is not implemented yet", name), "take the line out for now"})
	}
}

// Cluster is what a cluster launcher says.
type Cluster struct {
	Scheduler, Name, Queue, Account, Output, PE, Shell, Workdir, Options string
	Command, Setup                                                       []string
	Array                                                                string
	Walltime, Poll                                                       time.Duration
	CPUs, GPUs, Slots                                                    int
	Memory                                                               int64
	Muster, WorkerCommand, Join                                          string
	Bare                                                                 bool
	OptionsFrom                                                          string // the file that options were read from, if any
}

// Cluster evaluates a cluster launcher.
func (f *File) Cluster(l *Launcher, s Scope) (*Cluster, error) {
	if l.Kind != "cluster" {
		return nil, f.fail(l.Range, "", "launchers of kind %s are not implemented yet", l.Kind)
	}
	v := f.values(&l.block, launcherSettings["cluster"], s)
	c := &Cluster{Scheduler: get[string](v, "scheduler"), Command: strings.Fields(get[string](v, "command")),
		Array: get[string](v, "array"), Walltime: get[time.Duration](v, "walltime"), CPUs: get[int](v, "cpus"),
		Memory: get[int64](v, "memory"), GPUs: get[int](v, "gpus"), Queue: get[string](v, "queue"),
		Account: get[string](v, "account"), Name: get[string](v, "name"), Output: get[string](v, "output"),
		PE: get[string](v, "parallel_environment"), Shell: get[string](v, "shell"), Workdir: get[string](v, "workdir"),
		Setup: get[[]string](v, "setup"), Options: get[string](v, "options"), Muster: get[string](v, "muster"),
		WorkerCommand: get[string](v, "worker_command"), Bare: get[bool](v, "bare"), Join: get[string](v, "join"),
		Slots: get[int](v, "slots"), Poll: get[time.Duration](v, "poll")}
	if file := get[string](v, "options_file"); file != "" && len(v.diags) == 0 {
		if l.Has("options") {
			v.diags = append(v.diags, Diagnostic{l.Where("options_file"), "there are options and options_file", "keep one of them"})
		}
		text, err := f.file(file)
		if err != nil {
			v.diags = append(v.diags, Diagnostic{l.Where("options_file"), err.Error(), ""})
		}
		c.Options, c.OptionsFrom = text, file
	}
	if c.Scheduler == "" && len(v.diags) == 0 {
		v.diags = append(v.diags, Diagnostic{l.Range, "it does not say which scheduler", `scheduler = "slurm", "pbs", "torque", "sge" or "lsf"`})
	}
	if j := c.Join; j != "" && j != "file" && j != "script" {
		v.diags = append(v.diags, Diagnostic{l.Where("join"), fmt.Sprintf("join is %q", j), `"file" names a file that all nodes see, "script" puts the secret into the script itself`})
	}
	v.later()
	return c, f.errors(v.diags)
}

// DefaultReattach is how long a worker may be cut off from its dispatcher
// before its tasks are given to others, unless a profile says otherwise.
const DefaultReattach = 10 * time.Minute

// Settings is what a profile says.
type Settings struct {
	URLs       []string
	Workers    int // -1 if it does not say
	Memory     int64
	Scheduling string        // fifo, round-robin, or empty
	Reattach   time.Duration // how long a worker whose connection broke is waited for; 0 is not at all
	Everywhere []string
	Sync       bool
	Slots      int
	Walltime   time.Duration
	IdleTime   time.Duration
	MaxTasks   int
	NoCleanup  bool
	AutoExit   string // now, finish, never, or empty
	Output     string // collect, discard, echo, or empty
	AsyncDial  bool
}

// Settings evaluates a profile.
func (f *File) Settings(p *Profile, s Scope) (*Settings, error) {
	v := f.values(&p.block, profileSettings, s)
	set := &Settings{Workers: -1, Reattach: DefaultReattach}
	if p.Has("reattach") {
		set.Reattach = get[time.Duration](v, "reattach")
	}
	if p.Has("workers") {
		set.Workers = get[int](v, "workers")
	}
	if url, ok := v.get("url").(cty.Value); ok {
		set.URLs = v.urls(url, p.Where("url"))
	}
	set.Memory, set.Scheduling = get[int64](v, "memory"), get[string](v, "scheduling")
	set.Everywhere, set.Sync = get[[]string](v, "everywhere"), get[bool](v, "sync")
	v.oneOf("scheduling", set.Scheduling, "fifo", "round-robin")
	v.later()
	diags := v.diags
	if p.Worker != nil {
		w := f.values(p.Worker, profileBlocks["worker"], s)
		set.Slots, set.Walltime = get[int](w, "slots"), get[time.Duration](w, "walltime")
		set.IdleTime, set.MaxTasks = get[time.Duration](w, "idletime"), get[int](w, "maxtasks")
		set.NoCleanup = p.Worker.Has("cleanup") && !get[bool](w, "cleanup")
		set.AutoExit, set.Output, set.AsyncDial = get[string](w, "autoexit"), get[string](w, "output"), get[bool](w, "asyncdial")
		w.oneOf("autoexit", set.AutoExit, "now", "finish", "never")
		w.oneOf("output", set.Output, "collect", "discard", "echo")
		w.later()
		diags = append(diags, w.diags...)
	}
	return set, f.errors(diags)
}

func (v *values) urls(val cty.Value, at hcl.Range) []string {
	list := []cty.Value{val}
	if t := val.Type(); t.IsListType() || t.IsTupleType() {
		list = val.AsValueSlice()
	}
	var urls []string
	for _, u := range list {
		if u.IsNull() || u.Type() != cty.String {
			v.diags = append(v.diags, Diagnostic{at, "url: it is a string, or a list of strings", ""})
			return nil
		}
		urls = append(urls, u.AsString())
	}
	return urls
}

// Shown returns the settings of a launcher as they are understood.
func (f *File) Shown(l *Launcher, s Scope) (map[string]any, error) {
	v := f.values(&l.block, launcherSettings[l.Kind], s)
	shown := v.all()
	if l.Via != nil {
		shown["via"] = l.Via.Kind + "." + l.Via.Name
	}
	return shown, f.errors(v.diags)
}

// ShownProfile returns the settings of a profile as they are understood.
func (f *File) ShownProfile(p *Profile, s Scope) (map[string]any, error) {
	v := f.values(&p.block, profileSettings, s)
	shown, diags := v.all(), v.diags
	var launchers []string
	for _, l := range p.Launchers {
		if l == nil {
			launchers = append(launchers, "local")
			continue
		}
		launchers = append(launchers, l.Kind+"."+l.Name)
	}
	shown["launcher"] = launchers
	if p.Worker != nil {
		w := f.values(p.Worker, profileBlocks["worker"], s)
		for name, value := range w.all() {
			shown["worker."+name] = value
		}
		diags = append(diags, w.diags...)
	}
	return shown, f.errors(diags)
}

// all evaluates everything that a person may read.
func (v *values) all() map[string]any {
	shown := map[string]any{}
	for name, a := range v.b.attrs {
		if a.Expr == nil || v.known[name].kind == reference {
			continue
		}
		switch got := v.get(name).(type) {
		case nil:
		case time.Duration:
			shown[name] = got.String()
		case cty.Value:
			shown[name] = plain(got)
		default:
			shown[name] = got
		}
	}
	return shown
}

// plain writes a value of any type.
func plain(v cty.Value) string {
	if b, err := ctyjson.Marshal(v, v.Type()); err == nil {
		return string(b)
	}
	return v.Type().FriendlyName()
}
