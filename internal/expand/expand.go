// Package expand makes a task's words from a template and a row of input, with
// the placeholders that users of GNU parallel know.
package expand

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Options says what placeholders there are.
type Options struct {
	// Replace stands for {}; empty means {} itself.
	Replace string
	// Columns are the names of a row's values; nil if they have none. An empty
	// one cannot be named.
	Columns []string
	// Width is how many values a row has at most. A placeholder for another is an error.
	Width int
	// Literal are texts that stand for themselves between braces.
	Literal []string
	// Shell is the program for which the words are one text, with the values quoted; empty
	// if they are a command themselves.
	Shell string
	// Many says what a word that holds {} becomes if there are several values.
	Many Many
	// Share returns what stands in a command for the path of a share, {share:NAME},
	// and false if there can be none of the name: then it is text. If Share is nil,
	// all of these are.
	Share func(name string) (mark string, ok bool)
}

// Many is what several values make of a word.
type Many uint8

// With the values x and y, a word such as pre{}post becomes
const (
	Join   Many = iota // one word, "prex ypost"
	Repeat             // a word for each value, prexpost preypost
	Split              // a word for each value, which share the rest: prex ypost
)

// Template is a compiled command. It is safe for concurrent use.
type Template struct {
	words  []word
	shell  string
	quoted bool // a placeholder of the text for the shell stands in quotes
}

// word is a word of the command. In a text for a shell it is a piece of the text, and
// what it becomes is put together with blanks.
type word struct {
	parts []part
	many  Many // Join unless it holds all values
}

// part is literal text or a placeholder.
type part struct {
	text   string
	what   what
	column int // index of the value, negative from the end; allColumns for all
	form   form
}

type what uint8

const (
	literal what = iota
	value
	taskNumber
	slotNumber
)

const allColumns = math.MinInt

var everything = part{what: value, column: allColumns}

// Compile prepares a command. With no placeholder in any word, each value of
// the row is appended as a word of its own. A placeholder for a value that no
// row has is an error; other braces are text.
func Compile(argv []string, o Options) (*Template, error) {
	t := &Template{shell: o.Shell}
	if o.Shell != "" {
		argv = o.pieces(strings.Join(argv, " "))
	}
	found := false
	var q quotes
	for _, w := range argv {
		parts, err := parse(w, o)
		if err != nil {
			return nil, err
		}
		t.quoted = q.around(parts) && o.Shell != "" || t.quoted
		found = found || slices.ContainsFunc(parts, func(p part) bool { return p.what != literal })
		t.words = append(t.words, newWord(parts, o.Many))
	}
	if !found && o.Shell != "" {
		t.words = append(t.words, word{parts: []part{{text: " "}}})
	}
	if !found {
		t.words = append(t.words, word{[]part{everything}, Repeat})
	}
	return t, nil
}

// pieces takes a text for a shell apart at its blanks, where a word of it may become
// several.
func (o Options) pieces(text string) (pieces []string) {
	if o.Many == Join {
		return []string{text}
	}
	for text != "" {
		n := strings.IndexAny(text, blanks)
		if n == 0 {
			n = len(text) - len(strings.TrimLeft(text, blanks))
		}
		if n < 0 {
			n = len(text)
		}
		pieces, text = append(pieces, text[:n]), text[n:]
	}
	return pieces
}

const blanks = " \t\n"

func newWord(parts []part, many Many) word {
	if !slices.ContainsFunc(parts, part.isAll) {
		many = Join
	}
	return word{parts, many}
}

func (p part) isAll() bool { return p.what == value && p.column == allColumns }

// CompileName prepares a text of which a row makes one word, and which need
// not hold a placeholder.
func CompileName(text string, o Options) (*Template, error) {
	parts, err := parse(text, o)
	return &Template{words: []word{{parts: parts}}}, err
}

// parse takes a word apart, from left to right and once.
func parse(w string, o Options) (parts []part, err error) {
	text := 0 // where the literal text begins
	for i := 0; i < len(w); {
		p, length, err := o.placeholder(w, i)
		if err != nil {
			return nil, err
		}
		if length == 0 {
			i++
			continue
		}
		if i > text {
			parts = append(parts, part{text: w[text:i]})
		}
		parts = append(parts, p)
		i += length
		text = i
	}
	if text < len(w) {
		parts = append(parts, part{text: w[text:]})
	}
	return parts, nil
}

// placeholder understands what begins at w[i], if it is a placeholder, and says how long
// that is. A column's name comes before anything else that it may look like.
func (o Options) placeholder(w string, i int) (part, int, error) {
	all := cmp.Or(o.Replace, "{}")
	rest := w[i:]
	end := strings.IndexByte(rest, '}')
	if rest[0] == '{' && end > 0 && slices.Contains(o.Literal, rest[1:end]) {
		return part{}, 0, nil
	}
	if strings.HasPrefix(rest, all) {
		return everything, len(all), nil
	}
	if rest[0] != '{' {
		return part{}, 0, nil
	}
	if p, length := o.column(rest); length > 0 {
		return p, length, nil
	}
	if end < 0 {
		return part{}, 0, nil
	}
	p, ok, err := o.lookup(rest[1:end])
	if err == nil && !ok {
		return part{}, 0, o.unknown(w[:i], rest[1:end])
	}
	return p, end + 1, err
}

// column understands a placeholder of a column's name, whatever that holds. Of several
// names that fit, the longest is meant.
func (o Options) column(rest string) (p part, length int) {
	best := 0
	for i, name := range o.Columns {
		after, ok := strings.CutPrefix(rest[1:], name)
		if name == "" || !ok || len(name) <= best {
			continue
		}
		mark, _, closed := strings.Cut(after, "}")
		if base, f := splitForm(mark); closed && base == "" {
			best, length = len(name), 1+len(name)+len(mark)+1
			p = part{what: value, column: i, form: f}
		}
	}
	return p, length
}

// lookup understands what stands between braces and names no column.
func (o Options) lookup(s string) (part, bool, error) {
	if name, ok := strings.CutPrefix(s, sharePrefix); ok && o.Share != nil {
		mark, ok := o.Share(name)
		return part{text: mark}, ok, nil
	}
	switch s {
	case "#":
		return part{what: taskNumber}, true, nil
	case "%":
		return part{what: slotNumber}, true, nil
	}
	base, f := splitForm(s)
	if base == "" {
		return part{what: value, column: allColumns, form: f}, f != asIs, nil
	}
	digits := strings.TrimPrefix(base, "-")
	if digits == "" || digits[0] < '1' || digits[0] > '9' || strings.Trim(digits, "0123456789") != "" {
		return part{}, false, nil
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n > o.Width {
		return part{}, false, fmt.Errorf("placeholder {%s}: there is no value %s: each input has %s; --literal %s leaves it as it is", s, base, o.describe(), s)
	}
	if base != digits {
		return part{what: value, column: -n, form: f}, true, nil
	}
	return part{what: value, column: n - 1, form: f}, true, nil
}

// sharePrefix begins the placeholder of a share, between braces.
const sharePrefix = "share:"

// Shares returns a word with what stands for shares in the place of their placeholders.
// Other braces are text.
func Shares(w string, share func(name string) (mark string, ok bool)) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(w, "{"+sharePrefix)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, "}")
		mark, ok := "", false
		if closed {
			mark, ok = share(name)
		}
		if !ok {
			mark, after = "{"+sharePrefix, rest
		}
		b.WriteString(mark)
		w = after
	}
}

func (o Options) describe() string {
	switch {
	case o.Width == 1:
		return "one value"
	case o.Width == math.MaxInt:
		return "some values"
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
// of {%}. A text for a shell comes as the words of the shell's command line. A
// placeholder for a value that the row does not have stands for nothing, and a word that
// has only such placeholders is left out.
func (t *Template) Expand(row []string, index int, slot string) []string {
	e := expansion{t.shell != "", row, index, slot}
	words := make([]string, 0, len(t.words)+2)
	if t.shell == "" {
		for _, w := range t.words {
			words = e.word(words, w)
		}
		return words
	}
	var text strings.Builder
	for _, w := range t.words {
		text.WriteString(strings.Join(e.word(nil, w), " "))
	}
	return append(words, t.shell, "-c", text.String())
}

// Size is how many bytes a command has at most, each word with what ends it: a NUL, or a
// blank in a text for a shell. What {} makes of several rows is no larger than what it
// makes of each; {2} may be a value of any of them.
func (t *Template) Size(row []string) (n int) {
	for _, w := range t.Expand(row, math.MaxInt32, "1") {
		n += len(w) + 1
	}
	for _, w := range t.words {
		for _, p := range w.parts {
			if w.many != Join && p.isAll() {
				n += len(row)
			}
		}
	}
	return n
}

// InQuotes reports whether a placeholder for a value stands in quotes in a text for a
// shell. Values are quoted as they are put in: such quotes become part of the value, or
// end where those of the value begin.
func (t *Template) InQuotes() bool { return t.quoted }

// Program returns the first word of the command, if that is the same whatever
// the row.
func (t *Template) Program() (name string, ok bool) {
	if t.shell != "" {
		return t.shell, true
	}
	first := t.words[0].parts
	if len(first) != 1 || first[0].what != literal {
		return "", len(first) == 0
	}
	return first[0].text, true
}
