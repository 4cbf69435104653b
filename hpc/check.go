package hpc

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// check finds the mistakes in j: what the scheduler would refuse, or take and do wrong.
func (d *Dialect) check(j *Job) (bad []error) {
	for _, f := range checkNames(j) {
		bad = append(bad, f)
	}
	for _, find := range []func(*Job) *FieldError{d.checkName, d.checkShell, d.checkArray, checkText} {
		if f := find(j); f != nil {
			bad = append(bad, f)
		}
	}
	return bad
}

func mistake(field, hint, format string, args ...any) *FieldError {
	return &FieldError{field, 0, fmt.Sprintf(format, args...), hint}
}

// maxValue bounds what one directive says, in bytes: qsub of Torque reads 4095 of a line.
const maxValue = 4000

// checkNames finds what no directive can have as a value.
func checkNames(j *Job) (bad []*FieldError) {
	for _, s := range []struct{ field, text string }{{"name", j.Name}, {"queue", j.Queue}, {"account", j.Account},
		{"output", j.Output}, {"shell", j.Shell}, {"parallel_environment", j.PE}, {"workdir", j.Workdir}} {
		if strings.ContainsAny(s.text, "\n\r\x00") {
			bad = append(bad, mistake(s.field, "", "it has a line break or a NUL byte"))
		}
		if len(s.text) > maxValue {
			bad = append(bad, mistake(s.field, "", "it has %d bytes, and %d are the most that a line of a script has room for", len(s.text), maxValue))
		}
	}
	for _, s := range []struct{ field, text string }{{"queue", j.Queue}, {"parallel_environment", j.PE}} {
		if strings.ContainsAny(s.text, " \t\"'#") {
			bad = append(bad, mistake(s.field, "", "%q has blanks, quotes or a #", s.text))
		}
	}
	return bad
}

func (d *Dialect) checkName(j *Job) *FieldError {
	switch why := d.nameRule(j.Name); {
	case j.Name == "":
	case len(j.Name) > d.nameMax:
		return mistake("name", "", "%q: a %s job's name has at most %d characters", j.Name, d.title, d.nameMax)
	case why != "":
		return mistake("name", "", "%q: %s", j.Name, why)
	}
	return nil
}

func (d *Dialect) checkShell(j *Job) *FieldError {
	if !strings.HasPrefix(j.Shell, "/") {
		return mistake("shell", "", "%q is no absolute path", j.Shell)
	}
	return nil
}

func (d *Dialect) checkArray(j *Job) *FieldError {
	a := j.Array
	switch {
	case a == nil:
	case len(a.Spans) == 0:
		return mistake("options", "", "-tc is there and no array")
	case len(a.Spans) > 1 && !d.lists:
		return mistake("array", "one range, such as 1-20:2", "%s has no lists in arrays", d.Name)
	case !d.firstZero && slices.ContainsFunc(a.Spans, func(s Span) bool { return s.First == 0 }):
		return mistake("array", "", "%s counts array elements from 1", d.Name)
	}
	return nil
}

// checkText finds mistakes in the lines of shell.
func checkText(j *Job) *FieldError {
	for _, s := range append(slices.Clone(j.Setup), j.Body) {
		if strings.ContainsRune(s, '\r') {
			return mistake("setup", "save the text with Unix line ends", "a line ends in CR LF")
		}
		if strings.ContainsRune(s, 0) {
			return mistake("setup", "", "a line has a NUL byte")
		}
	}
	return nil
}

// Warnings are what may go wrong with j on some clusters.
func (d *Dialect) Warnings(j Job) []*FieldError {
	shell := j.Shell
	if shell == "" {
		shell = "/bin/sh"
	}
	words := strings.Fields(shell)
	if len(words) == 0 || path.Base(words[0]) != "sh" {
		return nil
	}
	for _, s := range j.Setup {
		for line := range strings.Lines(s) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "module" {
				return []*FieldError{mistake("setup", `set shell = "/bin/bash -l"`,
					"`module` is a function of a login shell: %s has it only where that is bash and the job gets your environment", shell)}
			}
		}
	}
	return nil
}
