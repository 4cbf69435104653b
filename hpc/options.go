package hpc

import (
	"errors"
	"fmt"
	"strings"
)

// role is what an option of a scheduler sets.
type role string

// The roles that options have for muster. An option without one is passed on.
const (
	setsArray    role = "array"
	setsThrottle role = "throttle" // of the array
	setsName     role = "name"
	setsTime     role = "time"
	setsWarning  role = "warning" // the signal before the time is over
	setsCPUs     role = "cpus"
	setsSpread   role = "spread" // of CPUs over nodes
	setsMemory   role = "memory"
	setsReserve  role = "reserve" // memory that the scheduler keeps free for the job
	setsGPUs     role = "gpus"
	setsQueue    role = "queue"
	setsAccount  role = "account"
	setsOutput   role = "output"
	setsJoin     role = "join" // of stderr with stdout
	setsShell    role = "shell"
)

// setting is one thing that an option sets, under the name by which a person
// knows it.
type setting struct {
	key  string
	role role
}

// option is one option of a line, with its value.
type option struct {
	key, value string
	sets       []setting
	start, end int    // in the line
	left       string // what of its word belongs to other options
}

func (o option) has(r role) bool {
	for _, s := range o.sets {
		if s.role == r {
			return true
		}
	}
	return false
}

// arity is how many values an option takes.
type arity uint8

const (
	noValue arity = iota
	oneValue
	attachedValue // if it has one, that is part of the option's word
)

// grammar is how a scheduler reads its lines in a script.
type grammar struct {
	directive string // begins such a line
	quoting   quoting
	// letters are the options of one letter as getopt(3) writes them: a colon after
	// a letter takes a value, two take one that is attached. Empty for a scheduler
	// whose options are words.
	letters string
	// long are the options that begin with two dashes.
	long map[string]arity
	// names are the long options that letters are short for.
	names map[byte]string
	// operands reports whether options may follow a word that is none.
	operands bool
	// values is how many values each option takes that is a word of its own. Those
	// that it lacks take all up to the next option.
	values map[string]int
	// sets says what an option sets.
	sets func(key, value string) []setting
}

// line is a line of a job's raw options.
type line struct {
	number    int    // in the options, from 1
	directive bool   // it is the scheduler's, and not the shell's
	text      string // less leading blanks and, of a directive, its prefix
	options   []option
}

func (l line) String(g *grammar) string {
	if l.directive {
		return g.directive + l.text
	}
	return l.text
}

// parse takes raw options apart. Its error is made of FieldErrors.
func (d *Dialect) parse(options string) ([]line, error) {
	var list []line
	var mistakes []error
	shellLine := 0
	if strings.Trim(options, "\n \t") == "" {
		return nil, nil
	}
	for i, raw := range strings.Split(strings.TrimRight(options, "\n"), "\n") {
		bad := func(hint, format string, args ...any) {
			mistakes = append(mistakes, &FieldError{"options", i + 1, fmt.Sprintf(format, args...), hint})
		}
		raw = strings.TrimLeft(raw, " \t")
		switch {
		case strings.ContainsRune(raw, '\r'):
			bad("save the text with Unix line ends", "the line ends in CR LF, which schedulers do not take")
			return nil, errors.Join(mistakes...) // as all lines do
		case strings.ContainsRune(raw, 0):
			bad("", "the line has a NUL byte, which schedulers do not take")
			continue
		case strings.HasPrefix(raw, "#!"):
			bad(`set shell = "`+strings.TrimSpace(raw[2:])+`"`, "a #! line belongs at the top of the script, which muster writes")
			continue
		}
		rest, ours := d.grammar.cutDirective(raw)
		if !ours {
			if other := d.foreign(raw); other != "" {
				bad("", "%s is a line for another scheduler; this launcher's is %s, whose lines begin with %s", other, d.Name, d.grammar.directive)
			}
			if raw != "" && raw[0] != '#' && shellLine == 0 {
				shellLine = i + 1
			}
			list = append(list, line{number: i + 1, text: raw})
			continue
		}
		if shellLine > 0 {
			bad("put it before", "the scheduler stops reading %s lines at the first line of shell, which is line %d", d.grammar.directive, shellLine)
		}
		opts, err := d.grammar.options(rest)
		if err != nil {
			bad("", "%v", err)
		}
		list = append(list, line{number: i + 1, directive: true, text: rest, options: opts})
	}
	return list, errors.Join(mistakes...)
}

// cutDirective returns what follows the prefix of a line for the scheduler.
func (g *grammar) cutDirective(raw string) (string, bool) {
	rest, ok := strings.CutPrefix(raw, g.directive)
	// Grid Engine alone takes an option right after its prefix.
	return rest, ok && (rest == "" || blank(rest[0]) || rest[0] == '-')
}

// prefixes begin lines for the schedulers.
var prefixes = []string{"#SBATCH", "#PBS", "#$", "#BSUB"}

// foreign returns the prefix of a line that is for another scheduler.
func (d *Dialect) foreign(raw string) string {
	for _, p := range prefixes {
		g := grammar{directive: p}
		if rest, ok := g.cutDirective(raw); ok && rest != "" && p != d.grammar.directive {
			return p
		}
	}
	return ""
}

// options reads the options of a line, less its prefix.
func (g *grammar) options(text string) ([]option, error) {
	words, err := g.quoting.words(text)
	if err != nil {
		return nil, err
	}
	read := g.wordOptions
	if g.letters != "" {
		read = g.getopt
	}
	list := read(words)
	for i := range list {
		list[i].sets = g.sets(list[i].key, list[i].value)
	}
	return list, nil
}

// wordOptions reads options that are words, such as -tc 4.
func (g *grammar) wordOptions(words []word) []option {
	var list []option
	for i := 0; i < len(words); i++ {
		w := words[i]
		if len(w.text) < 2 || w.text[0] != '-' {
			continue
		}
		o := option{key: w.text, start: w.start, end: w.end}
		n, known := g.values[w.text]
		var values []string
		for i+1 < len(words) && (known && len(values) < n || !known && !strings.HasPrefix(words[i+1].text, "-")) {
			i++
			values = append(values, words[i].text)
			o.end = words[i].end
		}
		o.value = strings.Join(values, " ")
		list = append(list, o)
	}
	return list
}

// getopt reads options as getopt_long(3) does.
func (g *grammar) getopt(words []word) []option {
	var list []option
	for i := 0; i < len(words); i++ {
		w := words[i]
		value := func(o *option) { // the next word
			if i+1 < len(words) {
				i++
				o.value, o.end = words[i].text, words[i].end
			}
		}
		switch {
		case w.text == "--":
			return list
		case strings.HasPrefix(w.text, "--") && g.long != nil:
			name, attached, has := strings.Cut(w.text, "=")
			name, kind, known := g.longOption(name)
			o := option{key: name, value: attached, start: w.start, end: w.end}
			// A word that is no option belongs to one that is not known here.
			if !has && (kind == oneValue || !known && i+1 < len(words) && !strings.HasPrefix(words[i+1].text, "-")) {
				value(&o)
			}
			list = append(list, o)
		case len(w.text) > 1 && w.text[0] == '-':
			list = append(list, g.bundle(w, value)...)
		case !g.operands:
			return list
		}
	}
	return list
}

// longOption completes an option of which only the beginning is given, as far as
// only one begins so.
func (g *grammar) longOption(name string) (full string, kind arity, known bool) {
	if kind, known = g.long[name]; known {
		return name, kind, true
	}
	for n, k := range g.long {
		if strings.HasPrefix(n, name) {
			if known {
				return name, noValue, false
			}
			full, kind, known = n, k, true
		}
	}
	if !known {
		full = name
	}
	return full, kind, known
}

// bundle reads a word of one-letter options, the last of which may have a value,
// in the same word or as the next.
func (g *grammar) bundle(w word, next func(*option)) []option {
	var list []option
	for k := 1; k < len(w.text); k++ {
		if w.text[k] == ':' || !strings.Contains(g.letters, w.text[k:k+1]) {
			break // getopt refuses the word
		}
		o := option{key: "-" + w.text[k:k+1], start: w.at[k], end: w.at[k] + 1}
		if name := g.names[w.text[k]]; name != "" {
			o.key = name
		}
		if k == 1 {
			o.start = w.start
		} else if w.quoted {
			o.start, o.left = w.start, w.text[:k] // not to leave a part of its quotes
		}
		if k == len(w.text)-1 {
			o.end = w.end
		}
		kind := g.letter(w.text[k])
		if kind != noValue {
			o.value, o.end = w.text[k+1:], w.end
		}
		if kind == oneValue && o.value == "" {
			next(&o)
		}
		list = append(list, o)
		if kind != noValue {
			break
		}
	}
	return list
}

func (g *grammar) letter(b byte) arity {
	i := strings.IndexByte(g.letters, b)
	switch {
	case strings.HasPrefix(g.letters[i+1:], "::"):
		return attachedValue
	case strings.HasPrefix(g.letters[i+1:], ":"):
		return oneValue
	}
	return noValue
}
