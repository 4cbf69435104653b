package hpc

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"muster/internal/shell"
	"muster/templates"
)

// list gathers directives.
type list []directive

func (l *list) add(when bool, field, format string, args ...any) {
	if !when {
		return
	}
	text := fmt.Sprintf(format, args...)
	key := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '=' })[0]
	switch key {
	case "-l":
		key, _, _ = strings.Cut(text, "=")
	case "-R":
		key, _, _ = strings.Cut(strings.ReplaceAll(text, `"`, ""), "[")
	}
	*l = append(*l, directive{field, []string{key}, text})
}

// also names further options that the last directive would contradict.
func (l list) also(keys ...string) {
	if len(l) > 0 {
		l[len(l)-1].keys = append(l[len(l)-1].keys, keys...)
	}
}

func (l list) prefixed(with string) []directive {
	for i := range l {
		l[i].text = with + l[i].text
	}
	return l
}

// getoptKeys names the options of a line as getopt_long(3) reads them, short
// ones by the long name that they have in short.
func getoptKeys(words []string, short map[string]string) []string {
	var keys []string
	for _, w := range words {
		switch {
		case strings.HasPrefix(w, "--"):
			key, _, _ := strings.Cut(w, "=")
			keys = append(keys, key)
		case len(w) > 1 && w[0] == '-':
			key := w[:2]
			if long := short[key]; long != "" {
				key = long
			}
			keys = append(keys, key)
		}
	}
	return keys
}

// Script renders j. Its error is a *FieldError.
func (d *Dialect) Script(j Job) (string, error) {
	if j.Shell == "" {
		j.Shell = "/bin/sh"
	}
	if j.PE == "" {
		j.PE = "smp"
	}
	options, err := d.options(&j)
	if err != nil {
		return "", err
	}
	if err := d.check(&j); err != nil {
		return "", err
	}
	if j.Array != nil && j.Array.Count() == 1 && !d.ofOne {
		j.Array = nil
	}
	theirs := map[string]bool{}
	for _, o := range options {
		for _, k := range o.keys {
			theirs[k] = true
		}
	}
	var lines, notes []string
	for _, g := range d.directives(&j) {
		if i := slices.IndexFunc(g.keys, func(k string) bool { return theirs[k] }); i >= 0 {
			notes = append(notes, fmt.Sprintf("options set %s, so %q is left out", g.keys[i], g.text))
			continue
		}
		lines = append(lines, g.text)
	}
	var raw []string
	for _, o := range options {
		raw = append(raw, o.text)
	}
	setup := j.Setup
	if _, args, _ := strings.Cut(j.Shell, " "); d == gridEngine && slices.Contains(strings.Fields(args), "-l") {
		// -S takes a path and nothing after it, so the shell is no login shell.
		setup = append([]string{"if [ -r /etc/profile ]; then . /etc/profile; fi"}, setup...)
	}
	workdir := ""
	if j.Workdir != "" {
		workdir = shell.Quote(j.Workdir)
	}
	return templates.Execute("job.sh", map[string]any{"Shell": j.Shell, "Directives": lines, "Options": raw,
		"Notes": notes, "Workdir": workdir, "Setup": setup, "Body": strings.TrimRight(j.Body, "\n")})
}

// option is a line of raw options.
type option struct {
	text string
	keys []string
}

var (
	lsfArray   = regexp.MustCompile(`-J\s+"?([^"\[\s]*)\[([^\]]*)\](%[0-9]+)?"?`)
	sgeTc      = regexp.MustCompile(`-tc\s+([0-9]+)\s*`)
	plainArray = map[string]*regexp.Regexp{
		"--array": regexp.MustCompile(`(?:--array(?:=|\s+)|-a\s*)(\S+)\s*`),
		"-J":      regexp.MustCompile(`-J\s*(\S+)\s*`),
		"-t":      regexp.MustCompile(`-t\s*([0-9]\S*)\s*`),
	}
)

// options takes the raw lines apart. An array among them becomes j's.
func (d *Dialect) options(j *Job) ([]option, error) {
	var list []option
	shellLine := 0
	for i, line := range strings.Split(strings.TrimRight(j.Options, "\n \t"), "\n") {
		bad := func(hint, format string, args ...any) error {
			return &FieldError{"options", i + 1, fmt.Sprintf(format, args...), hint}
		}
		if strings.HasSuffix(line, "\r") {
			return nil, bad("save the text with Unix line ends", "the line ends in CR LF, which schedulers do not take")
		}
		line = strings.TrimLeft(line, " \t")
		if strings.HasPrefix(line, "#!") {
			return nil, bad(`set shell = "`+strings.TrimSpace(line[2:])+`"`, "a #! line belongs at the top of the script, which muster writes")
		}
		rest, ours := strings.CutPrefix(line, d.directive)
		switch {
		case line == "" && j.Options == "":
			continue
		case !ours:
			if other := foreign(d, line); other != "" {
				return nil, bad("", "%s is a line for another scheduler; this launcher's is %s, whose lines begin with %s", other, d.Name, d.directive)
			}
			if line != "" && line[0] != '#' && shellLine == 0 {
				shellLine = i + 1
			}
			list = append(list, option{text: line})
			continue
		case shellLine > 0:
			return nil, bad("put it before", "the scheduler stops reading %s lines at the first line of shell, which is line %d", d.directive, shellLine)
		}
		rest, err := d.takeArray(j, rest)
		if err != nil {
			return nil, bad("", "%v", err)
		}
		if strings.TrimSpace(rest) == "" {
			continue
		}
		words := strings.Fields(strings.NewReplacer(`"`, "", `'`, "").Replace(rest))
		list = append(list, option{d.directive + " " + strings.TrimSpace(rest), d.option(words)})
	}
	return list, nil
}

func foreign(d *Dialect, line string) string {
	for _, p := range []string{"#SBATCH", "#PBS", "#$ ", "#BSUB"} {
		if strings.HasPrefix(line, p) && strings.TrimSpace(p) != d.directive {
			return strings.TrimSpace(p)
		}
	}
	return ""
}

// takeArray moves an array out of a line of options into j.
func (d *Dialect) takeArray(j *Job, line string) (string, error) {
	var text string
	if d == lsf {
		m := lsfArray.FindStringSubmatch(line)
		if m == nil {
			return line, nil
		}
		line = strings.Replace(line, m[0], "", 1)
		text = m[2] + m[3]
		if m[1] != "" {
			j.Name = m[1]
		}
	} else {
		if m := sgeTc.FindStringSubmatch(line); m != nil && d == gridEngine {
			line = strings.Replace(line, m[0], "", 1)
			a, err := ParseArray("1%" + m[1])
			if err != nil {
				return "", err
			}
			if j.Array == nil {
				j.Array = &Array{}
			}
			j.Array = &Array{Spans: j.Array.Spans, Throttle: a.Throttle}
		}
		m := plainArray[d.arrayKey].FindStringSubmatch(" " + line)
		if m == nil {
			return line, nil
		}
		line = strings.Replace(line, strings.TrimSpace(m[0]), "", 1)
		text = m[1]
	}
	a, err := ParseArray(text)
	if err != nil {
		return "", err
	}
	if j.Array != nil && a.Throttle == 0 && d == gridEngine {
		a.Throttle = j.Array.Throttle
	}
	j.Array = a
	return line, nil
}

// Normal moves an array out of j's raw options into j.Array. Its error is a
// *FieldError.
func (d *Dialect) Normal(j Job) (Job, error) {
	options, err := d.options(&j)
	var lines []string
	for _, o := range options {
		lines = append(lines, o.text)
	}
	j.Options = strings.Join(lines, "\n")
	return j, err
}

// check finds what the scheduler would refuse, or take and do wrong.
func (d *Dialect) check(j *Job) error {
	field := func(name, hint, format string, args ...any) error {
		return &FieldError{name, 0, fmt.Sprintf(format, args...), hint}
	}
	for name, text := range map[string]string{"name": j.Name, "queue": j.Queue, "account": j.Account,
		"output": j.Output, "shell": j.Shell, "parallel_environment": j.PE} {
		if strings.ContainsAny(text, "\n\r\x00") {
			return field(name, "", "it has a line break")
		}
	}
	for name, text := range map[string]string{"queue": j.Queue, "account": j.Account, "parallel_environment": j.PE} {
		if strings.ContainsAny(text, " \t\"'") {
			return field(name, "", "%q has blanks or quotes", text)
		}
	}
	if msg := d.nameRule(j.Name); msg != "" && j.Name != "" {
		return field("name", "", "%q: %s", j.Name, msg)
	}
	if !strings.HasPrefix(j.Shell, "/") {
		return field("shell", "", "%q is no absolute path", j.Shell)
	}
	if a := j.Array; a != nil {
		switch {
		case len(a.Spans) == 0:
			return field("options", "", "-tc is there and no array")
		case len(a.Spans) > 1 && !d.lists:
			return field("array", "one range, such as 1-20:2", "%s has no lists in arrays", d.Name)
		case slices.ContainsFunc(a.Spans, func(s Span) bool { return s.First == 0 }) && !d.firstZero:
			return field("array", "", "%s counts array elements from 1", d.Name)
		}
	}
	for _, s := range append(slices.Clone(j.Setup), j.Body) {
		if strings.Contains(s, "\r") {
			return field("setup", "save the text with Unix line ends", "a line ends in CR LF")
		}
		for line := range strings.Lines(s) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "module" && strings.HasSuffix(strings.Fields(j.Shell)[0], "/sh") {
				return field("setup", `set shell = "/bin/bash -l"`, "%s has no `module`: it is a function of a login shell", j.Shell)
			}
		}
	}
	return nil
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
