package config

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// ExecPolicy says what becomes of exec() in expressions.
type ExecPolicy uint8

const (
	// Run runs the program.
	Run ExecPolicy = iota
	// Leave runs nothing, and a setting that depends on its output stays unset:
	// Evaluation.Unknown tells which.
	Leave
	// Placeholder runs nothing, and strings that depend on its output are the
	// text "[output of PROGRAM]". Other settings stay unset, as with Leave.
	Placeholder
)

// Options say how expressions are evaluated.
type Options struct {
	// Context ends programs of exec(); they run to their end if nil.
	Context context.Context
	// Getenv looks a variable up; os.LookupEnv if nil.
	Getenv func(string) (string, bool)
	Exec   ExecPolicy
	// ExecTime is how long a program of exec() may take; 0 is a minute.
	ExecTime time.Duration
	// Stderr gets what programs of exec() say there, made safe to print, as they
	// say it; nobody if nil. The end of it is in the error of one that fails.
	Stderr io.Writer
	// Redact puts Redacted in the place of strings that come from env(), file()
	// and exec(), and of secret settings. An array, and one of the few words that a
	// setting may have, stay.
	Redact bool
}

// Redacted stands for what may be a secret where a plan is only shown.
const Redacted = "[redacted]"

// StandsIn reports whether a string is not a setting's own value: it is Redacted,
// or stands for the output of a program that was not run.
func StandsIn(s string) bool {
	return s == Redacted || strings.HasPrefix(s, outputOf) && strings.HasSuffix(s, "]")
}

const outputOf = "[output of "

// Evaluation evaluates the expressions of a file, each at most once; one that
// speaks of the worker once for each Worker. It is for one goroutine.
type Evaluation struct {
	f         *File
	opts      Options
	functions map[string]function.Function
	done      map[evaluated]*outcome
	unknown   map[*attribute]string   // the program that was not run
	ran       map[ran]result          // programs of exec()
	taken     map[*attribute][]string // what env(), file() and exec() gave
	// Of the expression that is being evaluated:
	current *attribute
	read    []string    // what env(), file() and exec() gave it
	calls   map[ran]int // how often it has called exec() with the same words
}

// evaluated names an expression, and the worker if it speaks of one.
type evaluated struct {
	a      *attribute
	worker string
}

// outcome is what an expression gave.
type outcome struct {
	val   cty.Value
	text  string // of the file that a TextFile names
	wrong []Diagnostic
}

// Evaluate begins an evaluation.
func (f *File) Evaluate(opts Options) *Evaluation {
	if opts.Context == nil {
		opts.Context = context.Background()
	}
	if opts.Getenv == nil {
		opts.Getenv = os.LookupEnv
	}
	opts.ExecTime = cmp.Or(opts.ExecTime, time.Minute)
	e := &Evaluation{f: f, opts: opts, functions: pureFunctions(), done: map[evaluated]*outcome{}, unknown: map[*attribute]string{}, ran: map[ran]result{}, taken: map[*attribute][]string{}}
	for _, fn := range functions {
		if fn.build != nil {
			e.functions[fn.Name] = fn.build(e)
		}
	}
	return e
}

// Launcher fills a struct of the launcher's kind, given by pointer, with all
// settings that do not speak of the worker; those that do keep their default.
func (e *Evaluation) Launcher(l *Launcher, settings any) error {
	return e.fill(&l.Block, settings, nil)
}

// LauncherFor fills a struct of the launcher's kind with all settings.
func (e *Evaluation) LauncherFor(l *Launcher, w Worker, settings any) error {
	return e.fill(&l.Block, settings, &w)
}

// Profile fills the struct of a profile's settings.
func (e *Evaluation) Profile(p *Profile, settings any) error {
	return e.fill(&p.Block, settings, nil)
}

// Env returns a variable of the environment in which the command was typed, or Redacted;
// empty without one.
func (e *Evaluation) Env(name string) string {
	text, _ := e.opts.Getenv(name)
	if text != "" && e.opts.Redact {
		return Redacted
	}
	return text
}

// Unknown returns the program whose output a setting depends on that was not run,
// if it was evaluated and there is one.
func (e *Evaluation) Unknown(b *Block, setting string) (program string, unknown bool) {
	program, unknown = e.unknown[b.attrs[setting]]
	return program, unknown
}

// fill gives every setting its value, or else its default. Without a worker it
// leaves those out that speak of one.
func (e *Evaluation) fill(b *Block, settings any, w *Worker) error {
	v := reflect.ValueOf(settings).Elem()
	switch {
	case b.typ == nil:
		return fmt.Errorf("the launcher %q has no settings", Local)
	case v.Type() != b.typ:
		return fmt.Errorf("the settings of the block in line %d of %s are no %T", b.Range.Start.Line, e.f.Path, settings)
	}
	var wrong []Diagnostic
	for _, f := range b.fields {
		if f.Type == blockType {
			continue
		}
		if err := f.reset(v); err != nil {
			return fmt.Errorf("the default of %s: %w", f.Name, err)
		}
		a := b.attrs[f.Name]
		if a == nil || len(a.worker) > 0 && w == nil {
			continue
		}
		if f.names() {
			a.name(v.FieldByIndex(f.index))
			continue
		}
		got, bad := e.value(a, w)
		if got != nil {
			v.FieldByIndex(f.index).Set(reflect.ValueOf(got))
		}
		wrong = append(wrong, bad...)
	}
	return e.f.Errors(wrong)
}

// reset gives a setting its default.
func (f *Field) reset(v reflect.Value) error {
	v.FieldByIndex(f.index).SetZero()
	if f.Default == "" {
		return nil
	}
	return f.set(v, []string{f.Default})
}

// name gives a setting the launchers that it names.
func (a *attribute) name(v reflect.Value) {
	switch to := v.Addr().Interface().(type) {
	case *Reference:
		to.Launcher = a.refs[0]
	case *References:
		to.Launchers = append(to.Launchers, a.refs...)
	}
}

// value returns a setting's value, nil if it is not known or wrong.
func (e *Evaluation) value(a *attribute, w *Worker) (any, []Diagnostic) {
	if a.field.formula() {
		return e.formula(a, w)
	}
	out := e.evaluate(a, w)
	if len(out.wrong) > 0 {
		return nil, out.wrong
	}
	got, err := reading{redact: e.opts.Redact, placeholders: e.opts.Exec == Placeholder}.value(a.field, out.val)
	if unknown, ok := err.(unknownError); ok {
		e.unknown[a] = unknown.program
		return nil, nil
	}
	if err != nil {
		return nil, []Diagnostic{a.mistake(err)}
	}
	if file, ok := got.(TextFile); ok {
		file.Text = out.text
		if StandsIn(file.Path) {
			file.Text = file.Path
		}
		got = file
	}
	return got, nil
}

// evaluate evaluates a setting's expression, unless that has been done.
func (e *Evaluation) evaluate(a *attribute, w *Worker) *outcome {
	key := evaluated{a: a}
	if len(a.worker) > 0 && w != nil {
		key.worker = fmt.Sprintf("%#v", *w)
	}
	if out := e.done[key]; out != nil {
		return out
	}
	out := &outcome{}
	e.done[key] = out
	val, diags := a.expr.Value(e.begin(a, w))
	e.take(a)
	e.f.hidden.add(a.expr.Range(), append(e.read, secretTexts(val)...))
	if diags.HasErrors() {
		out.wrong = a.mistakes(diags)
		return out
	}
	out.val = val
	if a.field.typ != reflect.TypeFor[TextFile]() {
		return out
	}
	// The text is read here, so that it is read once.
	got, err := reading{}.value(a.field, val)
	if err != nil {
		return out // value says so
	}
	if out.text, err = e.f.text(got.(TextFile).Path); err != nil {
		out.wrong = []Diagnostic{a.mistake(err)}
	}
	return out
}

// take keeps what the expression that is being evaluated has taken from outside.
func (e *Evaluation) take(a *attribute) {
	for _, text := range e.read {
		if !slices.Contains(e.taken[a], text) {
			e.taken[a] = append(e.taken[a], text)
		}
	}
}

// Taken is what env(), file() and exec() have given settings of a block so far: secrets.
func (e *Evaluation) Taken(b *Block, settings ...string) (texts []string) {
	for _, s := range settings {
		texts = append(texts, e.taken[b.attrs[s]]...)
	}
	return texts
}

// begin begins to evaluate a setting's expression, or parts of it.
func (e *Evaluation) begin(a *attribute, w *Worker) *hcl.EvalContext {
	e.read, e.current, e.calls = nil, a, map[ran]int{}
	ctx := &hcl.EvalContext{Functions: e.functions}
	if len(a.worker) > 0 && w != nil {
		ctx.Variables = map[string]cty.Value{"worker": w.value()}
	}
	return ctx
}

// text reads a file that is named in a config, from the config's folder.
func (f *File) text(path string) (string, error) {
	return readText(f.within(path))
}

// within is where a path leads that is written in the config.
func (f *File) within(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(f.dir, path)
}
