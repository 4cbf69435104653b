package hpc

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Dialect is one scheduler's language: a table of what it is told, what it says,
// and what it cannot do. Nothing outside of a dialect's own file asks which one it
// is.
type Dialect struct {
	// Name is what configs call it.
	Name string
	// Submit is the command that takes a job.
	Submit string
	title  string   // what its makers call it
	terse  []string // options with which it prints nothing but the id

	// What a job is told in.
	grammar       grammar
	lists         bool // arrays may be lists
	ofOne         bool // arrays of one element are accepted
	firstZero     bool // arrays may begin at 0
	throttleApart bool // how many elements run at once is an option of its own
	nameMax       int  // bytes of a job's name
	// nameRule says what is wrong with a name.
	nameRule func(name string) string
	// quote writes a value as one word of a directive, or says why it cannot be one.
	quote func(value string) (word, why string)
	// directives are the lines that are made of a job's settings.
	directives func(j *Job, l *list)
	// compose makes a submission of a rendered job.
	compose func(argv []string, j *Job, p parts) (Command, error)
	// outputs is a file's name for each element, in the pattern of an output.
	outputs string
	// literal writes a folder so that nothing in it is taken for a pattern.
	literal func(dir string) string
	// shows says how others can read the scripts of jobs; empty where they cannot.
	shows string
	// delivers says that it copies what a job prints to its file when the job has
	// ended, and lists the job until it has.
	delivers bool

	// What it says.
	parseID func(line string) string // the id in a line that submission prints
	jobID   *regexp.Regexp           // what an id looks like
	list    func(user string, ids []string) []query
	fates   func(ids []string) []query // how elements ended, nil where list tells
	find    func(user, name string, command []string) search
	// sent is what a command lacks that says where a job goes; nil where nothing else
	// says it.
	sent   func(command []string, options []line, getenv func(string) string) []string
	limits []string // a command that prints its limits
	limit  func(out string) int
	// limited is in every good answer of limits, whether there is a limit or not.
	limited string
	// version is the option with which the command that submits says which it is, and
	// ends with one of versionCodes.
	version      string
	versionCodes []int
	advice       []advice
	reasons      map[string]string // why a job waits, in plain words

	// What ends jobs.
	cancel     func(id string) []string
	cancelSome func(id string, spans []Span) [][]string
	gone       []string // says that there is nothing to cancel

	// What a job is called, and what it finds in its environment.
	element     func(job string, index int, array bool) string
	inside      func(getenv func(string) string) (Identity, bool)
	index       string // the variable with an array element's index
	environment environment

	// probes ask whether it would take a job and run it.
	probes func(c *Client, j *Job) []probe
}

// advice is what to do about a refusal that has certain words, in lower case.
type advice struct{ said, todo string }

// Dialects are all that there are, by name.
var Dialects = map[string]*Dialect{
	"slurm": slurm, "pbs": pbsPro, "torque": torque, "sge": gridEngine, "lsf": lsf,
}

// Names lists the dialects.
func Names() []string { return []string{"slurm", "pbs", "torque", "sge", "lsf"} }

// Outputs returns the pattern of a file in dir for each element's output.
func (d *Dialect) Outputs(dir string, array bool) string {
	dir = d.literal(dir)
	if !array {
		return filepath.Join(dir, "out")
	}
	return filepath.Join(dir, d.outputs)
}

// IndexPattern stands for an element's index in the name of an output; empty where there
// is none.
func (d *Dialect) IndexPattern() string {
	pattern, _ := strings.CutSuffix(d.outputs, ".out")
	if pattern == d.outputs {
		return ""
	}
	return pattern
}

// NameMax is how many bytes a job's name may have here.
func (d *Dialect) NameMax() int { return d.nameMax }

// Unique makes a name of a job unique by an ending, and cuts the name to the bytes that
// it may have here.
func (d *Dialect) Unique(name, ending string) string {
	room := max(d.nameMax-len(ending), 0)
	if len(name) > room {
		for room > 0 && !utf8.RuneStart(name[room]) {
			room--
		}
		name = name[:room]
	}
	return name + ending
}

// IndexVariable is the variable in which an array's element finds its index.
func (d *Dialect) IndexVariable() string { return d.index }

// ShowsScripts says how other users can read the scripts of jobs, empty if they cannot:
// no secret may be in one.
func (d *Dialect) ShowsScripts() string { return d.shows }

// DeliversAtEnd reports whether the scheduler copies what a job prints to its file when
// the job has ended, and lists the job until it has: the file's folder has to be there
// until then.
func (d *Dialect) DeliversAtEnd() bool { return d.delivers }

// Submitted returns a as it is submitted: nil, which is a plain job, for an array
// that this scheduler would refuse because it has one element.
func (d *Dialect) Submitted(a *Array) *Array {
	if a != nil && !d.ofOne && len(a.Spans) > 0 && a.Count() == 1 {
		return nil
	}
	return a
}

// Sent returns the command by which a job with these raw options is submitted, as Find
// needs it: with where the job goes, if the options or the environment say so.
func (d *Dialect) Sent(command []string, options string, env []string) []string {
	if d.sent == nil {
		return command
	}
	_, lines, err := d.normal(Job{Options: options})
	if err != nil {
		return command // nothing is submitted then
	}
	words := d.sent(command, lines, func(name string) string {
		for _, kv := range env {
			if value, is := strings.CutPrefix(kv, name+"="); is {
				return value
			}
		}
		return ""
	})
	if len(words) > 0 && len(command) == 0 {
		command = []string{d.Submit}
	}
	return append(slices.Clone(command), words...)
}

// Prints returns the file into which raw options send what a job prints, as they write
// it; empty if they do not say.
func (d *Dialect) Prints(options string) (file string) {
	lines, err := d.parse(options)
	if err != nil {
		return "" // nothing is submitted then
	}
	for _, l := range lines {
		for _, o := range l.options {
			if o.has(setsOutput) {
				file = o.value // of two the last counts
			}
		}
	}
	return file
}

// Remembers reports whether the scheduler tells how elements have ended that it no
// longer lists.
func (d *Dialect) Remembers() bool { return d.fates != nil }

// Explain returns the scheduler's reason, with what it means where that helps.
func (d *Dialect) Explain(reason string) string {
	if text := d.reasons[reason]; text != "" {
		return reason + ": " + text
	}
	return reason
}

// Element returns the name of an element as Inside would give it.
func (d *Dialect) Element(job string, index int, array bool) string {
	return d.element(job, index, array)
}
