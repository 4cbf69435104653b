package hpc

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"muster/internal/shell"
	"muster/templates"
)

// Command is a submission: what is run, with what on its standard input, and the
// files that have to be there before.
type Command struct {
	Argv  []string
	Stdin string
	Files []File
}

// File is one that a submission needs. Path is absolute.
type File struct{ Path, Text string }

// parts are what a job's script is made of.
type parts struct {
	Shell      string   // what follows #!
	Directives []string // generated
	Options    []string // the user's own
	Notes      []string
	Workdir    string // a word of shell
	Setup      []string
	Body       string
}

// directive is a generated line, and what it sets, by which a user's own option
// replaces it.
type directive struct {
	sets []role
	text string
}

// list gathers directives.
type list struct {
	d      *Dialect
	prefix string
	lines  []directive
	bad    []error
}

// add adds a directive that sets r, if when.
func (l *list) add(when bool, r role, format string, args ...any) {
	if when {
		l.lines = append(l.lines, directive{[]role{r}, l.prefix + fmt.Sprintf(format, args...)})
	}
}

// value adds a directive with the value of a field, which may have any characters.
func (l *list) value(field string, r role, option, value string) {
	if value == "" {
		return
	}
	word, why := l.d.quote(value)
	if why != "" {
		l.bad = append(l.bad, mistake(field, "", "%q: %s", value, why))
	}
	l.add(true, r, "%s%s", option, word)
}

// also names what else the last directive sets.
func (l *list) also(when bool, roles ...role) {
	if when {
		last := &l.lines[len(l.lines)-1]
		last.sets = append(last.sets, roles...)
	}
}

// Render makes the submission of j by command, which is the scheduler's own if it
// is empty. An option of the user's that sets what a generated directive sets
// replaces it, and the script says so. Its error is made of FieldErrors.
func (d *Dialect) Render(j Job, command []string) (Command, error) {
	j, options, err := d.normal(j)
	if j.Shell == "" {
		j.Shell = "/bin/sh"
	}
	if j.PE == "" {
		j.PE = "smp"
	}
	bad := append([]error{err}, d.check(&j)...)
	j.Array = d.Submitted(j.Array)
	p := parts{Shell: j.Shell, Setup: j.Setup, Body: strings.TrimRight(j.Body, "\n")}
	if p.Directives, p.Notes, err = d.generate(&j, options); err != nil {
		bad = append(bad, err)
	}
	if err := errors.Join(bad...); err != nil {
		return Command{}, err
	}
	for _, o := range options {
		p.Options = append(p.Options, o.String(&d.grammar))
	}
	if j.Workdir != "" {
		p.Workdir = shell.Quote(j.Workdir)
	}
	return d.compose(d.argv(command), &j, p)
}

// argv is the command line that submits.
func (d *Dialect) argv(command []string) []string {
	argv := slices.Clone(command)
	if len(argv) == 0 {
		argv = []string{d.Submit}
	}
	for _, o := range d.terse {
		if !slices.Contains(argv, o) {
			argv = append(argv, o)
		}
	}
	return argv
}

// generate makes the directives that no option replaces, and notes of the others.
func (d *Dialect) generate(j *Job, options []line) (lines, notes []string, err error) {
	theirs := map[role]string{}
	for _, l := range options {
		for _, o := range l.options {
			for _, s := range o.sets {
				theirs[s.role] = s.key
			}
		}
	}
	l := &list{d: d, prefix: d.grammar.directive + " "}
	if d.directives(j, l); len(l.bad) > 0 {
		return nil, nil, errors.Join(l.bad...)
	}
	for _, g := range l.lines {
		if i := slices.IndexFunc(g.sets, func(r role) bool { return theirs[r] != "" }); i >= 0 {
			notes = append(notes, fmt.Sprintf("options set %s, so %q is left out", theirs[g.sets[i]], g.text))
			continue
		}
		lines = append(lines, g.text)
	}
	return lines, notes, nil
}

// byStdin submits a script on standard input.
func byStdin(argv []string, _ *Job, p parts) (Command, error) {
	text, err := templates.Execute("job.sh", p)
	return Command{Argv: argv, Stdin: text}, err
}

// MiraiScript renders what R mirai's cluster_config makes of options and a
// worker's command, to the byte: blanks at the start of option lines go, and
// nothing else changes.
func MiraiScript(options, body string) (string, error) {
	lines := strings.Split(options, "\n")
	for i := range lines {
		lines[i] = strings.TrimLeft(lines[i], " \t")
	}
	return templates.Execute("mirai-cluster.sh", map[string]string{"Options": strings.Join(lines, "\n"), "Body": body})
}
