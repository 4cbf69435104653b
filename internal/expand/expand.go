// Package expand makes a task's words from a template and a row of input, with
// the placeholders that users of GNU parallel know.
package expand

import (
	"fmt"
	"strconv"
	"strings"

	"muster/internal/shell"
)

// Options says what placeholders there are.
type Options struct {
	// Replace stands for {}; empty means {} itself.
	Replace string
	// Columns are the names of a row's values; nil if they have none. An empty
	// one cannot be named.
	Columns []string
	// Width is how many values each row has.
	Width int
	// Shell makes the words one text for /bin/sh, with the values quoted.
	Shell bool
}

// Template is a compiled command. It is safe for concurrent use.
type Template struct {
	words [][]part
	shell bool
}

// part is literal text or a placeholder.
type part struct {
	text   string
	what   what
	column int // index of the value; allColumns for all, joined by spaces
	form   form
}

type what uint8

const (
	literal what = iota
	value
	taskNumber
	slotNumber
)

const allColumns = -1

// Compile prepares a command. With no placeholder in any word, each value of
// the row is appended as a word of its own. A placeholder for a value that no
// row has is an error; other braces are text.
func Compile(argv []string, o Options) (*Template, error) {
	t := &Template{shell: o.Shell}
	if o.Shell {
		argv = []string{strings.Join(argv, " ")}
	}
	found := false
	for _, w := range argv {
		parts, placeholders, err := parse(w, o)
		if err != nil {
			return nil, err
		}
		found = found || placeholders
		t.words = append(t.words, parts)
	}
	if !found {
		t.append(o.Width)
	}
	return t, nil
}

func (t *Template) append(width int) {
	if t.shell {
		t.words[0] = append(t.words[0], part{text: " "}, part{what: value, column: allColumns})
		return
	}
	for i := range width {
		t.words = append(t.words, []part{{what: value, column: i}})
	}
}

// CompileName prepares a text of which a row makes one word, and which need
// not hold a placeholder.
func CompileName(text string, o Options) (*Template, error) {
	parts, _, err := parse(text, o)
	return &Template{words: [][]part{parts}}, err
}

// parse takes a word apart, from left to right and once.
func parse(w string, o Options) (parts []part, found bool, err error) {
	all := o.Replace
	if all == "" {
		all = "{}"
	}
	text := 0 // where the literal text begins
	add := func(at, length int, p part) {
		if at > text {
			parts = append(parts, part{text: w[text:at]})
		}
		parts = append(parts, p)
		text, found = at+length, true
	}
	for i := 0; i < len(w); {
		if strings.HasPrefix(w[i:], all) {
			add(i, len(all), part{what: value, column: allColumns})
			i = text
			continue
		}
		end := strings.IndexByte(w[i:], '}')
		if w[i] != '{' || end < 0 {
			i++
			continue
		}
		p, ok, err := o.lookup(w[i+1 : i+end])
		if err != nil {
			return nil, false, err
		}
		if !ok {
			i++
			continue
		}
		add(i, end+1, p)
		i = text
	}
	if text < len(w) {
		parts = append(parts, part{text: w[text:]})
	}
	return parts, found, nil
}

// lookup understands what stands between braces. A column's name comes before
// anything else that it may look like.
func (o Options) lookup(s string) (part, bool, error) {
	if i := o.named(s); i >= 0 {
		return part{what: value, column: i}, true, nil
	}
	switch s {
	case "#":
		return part{what: taskNumber}, true, nil
	case "%":
		return part{what: slotNumber}, true, nil
	}
	base, f := splitForm(s)
	if i := o.named(base); i >= 0 {
		return part{what: value, column: i, form: f}, true, nil
	}
	if base == "" {
		return part{what: value, column: allColumns, form: f}, f != asIs, nil
	}
	digits := strings.TrimPrefix(base, "-")
	if digits == "" || digits[0] < '1' || digits[0] > '9' || strings.Trim(digits, "0123456789") != "" {
		return part{}, false, nil
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n > o.Width {
		return part{}, false, fmt.Errorf("placeholder {%s}: there is no value %s: each input has %s", s, base, o.describe())
	}
	n--
	if base != digits {
		n = o.Width - 1 - n
	}
	return part{what: value, column: n, form: f}, true, nil
}

func (o Options) named(s string) int {
	for i, c := range o.Columns {
		if c == s && s != "" {
			return i
		}
	}
	return -1
}

func (o Options) describe() string {
	if o.Width == 1 {
		return "one value"
	}
	var names []string
	for _, c := range o.Columns {
		if c != "" {
			names = append(names, c)
		}
	}
	if len(names) == 0 {
		return fmt.Sprintf("%d values", o.Width)
	}
	return fmt.Sprintf("%d values (%s)", o.Width, strings.Join(names, ", "))
}

// Expand makes the words of a task: the index-th row, from 1, with slot in place
// of {%}. A text for a shell comes as the words of the shell's command line.
func (t *Template) Expand(row []string, index int, slot string) []string {
	words := make([]string, 0, len(t.words)+2)
	if t.shell {
		words = append(words, "/bin/sh", "-c")
	}
	for _, parts := range t.words {
		words = append(words, t.word(parts, row, index, slot))
	}
	return words
}

// Program returns the first word of the command, if that is the same whatever
// the row.
func (t *Template) Program() (name string, ok bool) {
	if t.shell {
		return "/bin/sh", true
	}
	first := t.words[0]
	if len(first) != 1 || first[0].what != literal {
		return "", len(first) == 0
	}
	return first[0].text, true
}

func (t *Template) word(parts []part, row []string, index int, slot string) string {
	if len(parts) == 1 && parts[0].what == literal {
		return parts[0].text
	}
	var b strings.Builder
	for _, p := range parts {
		switch {
		case p.what == literal:
			b.WriteString(p.text)
		case p.what == taskNumber:
			b.WriteString(strconv.Itoa(index))
		case p.what == slotNumber:
			b.WriteString(slot)
		case p.column != allColumns:
			b.WriteString(t.value(row[p.column], p.form))
		default:
			for i, v := range row {
				if i > 0 {
					b.WriteByte(' ')
				}
				b.WriteString(t.value(v, p.form))
			}
		}
	}
	return b.String()
}

func (t *Template) value(v string, f form) string {
	v = f.of(v)
	if t.shell {
		return shell.Quote(v)
	}
	return v
}
