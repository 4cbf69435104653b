// Package hpc speaks to cluster schedulers: it renders a job or job array as a
// batch script for Slurm, PBS Pro, Torque, Grid Engine or LSF, submits it,
// asks after all jobs in one query, and cancels them.
//
// A dialect is a table of what one scheduler wants and says; everything else
// is the same for all. Rendering is pure: the same job makes the same bytes.
package hpc

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Job is a batch job, or an array of equal ones, that runs Body once in each.
// Zero values are left to the scheduler.
type Job struct {
	Name     string
	Array    *Array        // nil is a plain job
	Walltime time.Duration // after which the scheduler ends the job
	Warn     time.Duration // how long before that it is to send a signal, where it can
	CPUs     int
	Memory   int64 // bytes, of the whole job on its node
	GPUs     int
	Queue    string
	Account  string
	Output   string // file for stdout and stderr both, in the scheduler's own pattern
	PE       string // Grid Engine's parallel environment for more than one CPU
	Shell    string // what follows #!
	Workdir  string // absolute
	Setup    []string
	Options  string // raw directives and lines, put in as they are, less leading blanks
	Body     string // one or more lines of shell
}

// FieldError is a mistake in one field of a Job. Line is that of Options, from
// 1, or 0.
type FieldError struct {
	Field string
	Line  int
	Msg   string
	Hint  string
}

func (e *FieldError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s, line %d: %s", e.Field, e.Line, e.Msg)
	}
	return e.Field + ": " + e.Msg
}

// Span is First to Last by Step.
type Span struct{ First, Last, Step int }

// Array says which elements a job array has, and how many may run at once.
type Array struct {
	Spans    []Span
	Throttle int // 0 is no limit
}

// ParseArray reads Slurm's notation: 1-20:2%4, or a list such as 1,3,7-9.
func ParseArray(s string) (*Array, error) {
	bad := fmt.Errorf("%q is no array: it is written 1-100, 1-100:2 for every second, 1,3,7 for a list, and %%20 after it lets 20 run at once", s)
	list, throttle, throttled := strings.Cut(s, "%")
	a := &Array{}
	var err error
	if throttled {
		if a.Throttle, err = strconv.Atoi(throttle); err != nil || a.Throttle < 1 {
			return nil, bad
		}
	}
	for _, part := range strings.Split(list, ",") {
		sp := Span{Step: 1}
		span, step, stepped := strings.Cut(part, ":")
		first, last, ranged := strings.Cut(span, "-")
		if sp.First, err = strconv.Atoi(first); err != nil {
			return nil, bad
		}
		sp.Last = sp.First
		if ranged {
			if sp.Last, err = strconv.Atoi(last); err != nil {
				return nil, bad
			}
		}
		if stepped {
			if sp.Step, err = strconv.Atoi(step); err != nil || !ranged {
				return nil, bad
			}
		}
		if sp.First < 0 || sp.Last < sp.First || sp.Step < 1 || sp.Last > maxIndex {
			return nil, bad
		}
		a.Spans = append(a.Spans, sp)
	}
	return a, nil
}

const maxIndex = 1 << 30

// Count returns how many elements there are.
func (a *Array) Count() int {
	n := 0
	for _, s := range a.Spans {
		n += (s.Last-s.First)/s.Step + 1
	}
	return n
}

// Last returns the largest index.
func (a *Array) Last() int {
	return slices.MaxFunc(a.Spans, func(x, y Span) int { return cmp.Compare(x.Last, y.Last) }).Last
}

// Sized returns an array of n elements with the step and throttle of a, which
// may be nil.
func (a *Array) Sized(n int) *Array {
	sized := &Array{Spans: []Span{{First: 1, Step: 1}}}
	if a != nil {
		sized.Throttle = a.Throttle
		if len(a.Spans) == 1 {
			sized.Spans[0].First, sized.Spans[0].Step = a.Spans[0].First, a.Spans[0].Step
		}
	}
	s := &sized.Spans[0]
	s.Last = s.First + (n-1)*s.Step
	return sized
}

// spans writes the elements as Slurm does.
func (a *Array) spans() string {
	var parts []string
	for _, s := range a.Spans {
		text := strconv.Itoa(s.First)
		if s.Last > s.First {
			text += "-" + strconv.Itoa(s.Last)
			if s.Step > 1 {
				text += ":" + strconv.Itoa(s.Step)
			}
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ",")
}

func (a *Array) throttle() string {
	if a.Throttle == 0 {
		return ""
	}
	return "%" + strconv.Itoa(a.Throttle)
}

// String writes the array as ParseArray reads it.
func (a *Array) String() string { return a.spans() + a.throttle() }

// Dialect is one scheduler's language.
type Dialect struct {
	// Name is what configs call it.
	Name string
	// Submit is the command that takes a script on its standard input.
	Submit string
	// terse are the options that make it print nothing but the id.
	terse      []string
	directive  string // starts a line for the scheduler
	lists      bool   // arrays may be lists
	ofOne      bool   // arrays of one element are accepted
	firstZero  bool   // arrays may begin at 0
	nameRule   func(string) string
	directives func(j *Job) []directive
	arrayKey   string // the option that says array
	option     func(words []string) []string
	parseID    func(out string) string
	list       func(user string, ids []string) []string
	parseList  func(o Output) ([]Element, error)
	// fates are commands that tell how elements ended, nil where the list does.
	fates      func(ids []string) [][]string
	parseFates func(out string) []Element
	cancel     func(id string) []string
	cancelSome func(id string, spans []Span) [][]string
	outputs    string // a file name for each element, in the pattern of output
	limits     []string
	version    string // the option with which the command that submits says which it is
	limit      func(out string) int
	indexVar   string
}

// directive is a generated line; keys are the options it sets, by which a
// user's own line that sets one of them replaces it, and field is the setting
// it comes from.
type directive struct {
	field string
	keys  []string
	text  string
}

// Dialects are all that there are, by name.
var Dialects = map[string]*Dialect{
	"slurm": slurm, "pbs": pbsPro, "torque": torque, "sge": gridEngine, "lsf": lsf,
}

// Names lists the dialects.
func Names() []string { return []string{"slurm", "pbs", "torque", "sge", "lsf"} }

// Outputs returns the pattern of a file in dir for each element's output.
func (d *Dialect) Outputs(dir string, array bool) string {
	if !array {
		return filepath.Join(dir, "out")
	}
	return filepath.Join(dir, d.outputs)
}

// NameMax is how long a job's name may be here.
func (d *Dialect) NameMax() int {
	if d == torque {
		return 15
	}
	return 64
}

// Expand lists the indices of a, in order.
func (a *Array) Expand() []int {
	var list []int
	for _, s := range a.Spans {
		for i := s.First; i <= s.Last; i += s.Step {
			list = append(list, i)
		}
	}
	return list
}

// Split cuts a into arrays whose largest index is at most limit.
func (a *Array) Split(limit int) []*Array {
	if limit <= 0 || a.Last() <= limit {
		return []*Array{a}
	}
	var parts []*Array
	for left := a.Count(); left > 0; {
		// Indices begin anew in each part: a limit is one on the index.
		part := a.Sized(1)
		s := &part.Spans[0]
		n := min(left, (limit-s.First)/s.Step+1)
		if n < 1 {
			return []*Array{a}
		}
		s.Last = s.First + (n-1)*s.Step
		parts = append(parts, part)
		left -= n
	}
	return parts
}

// hms writes a duration as H:MM:SS, rounded up to whole seconds.
func hms(d time.Duration) string {
	s := int((d + time.Second - 1) / time.Second)
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// mebi rounds bytes up to whole MiB, what schedulers call MB.
func mebi(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }
