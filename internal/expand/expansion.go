package expand

import (
	"strconv"
	"strings"

	"muster/internal/shell"
)

// expansion is what one row makes of a template.
type expansion struct {
	shell bool
	row   []string
	index int
	slot  string
}

// word appends what becomes of a word.
func (e expansion) word(words []string, w word) []string {
	switch w.many {
	case Repeat:
		for _, v := range e.row {
			words = append(words, e.join(w.parts, []string{v}))
		}
		return words
	case Split:
		return e.split(words, w.parts)
	}
	if len(w.parts) == 1 && w.parts[0].what == literal {
		return append(words, w.parts[0].text)
	}
	if e.nothing(w.parts) {
		return words
	}
	return append(words, e.join(w.parts, e.row))
}

// nothing reports whether parts stand for values that the row does not have, and for
// nothing else.
func (e expansion) nothing(parts []part) bool {
	for _, p := range parts {
		if p.what != value {
			return false
		}
		if _, ok := e.value(p); ok || p.isAll() && len(e.row) > 0 {
			return false
		}
	}
	return len(parts) > 0
}

// join makes one word, with blanks between all values.
func (e expansion) join(parts []part, all []string) string {
	var b strings.Builder
	for _, p := range parts {
		if !p.isAll() {
			b.WriteString(e.single(p))
			continue
		}
		for i, v := range all {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(e.quote(p.form.of(v)))
		}
	}
	return b.String()
}

// split makes a word of each value, which share what else the word has.
func (e expansion) split(words []string, parts []part) []string {
	var b strings.Builder
	for _, p := range parts {
		if !p.isAll() {
			b.WriteString(e.single(p))
			continue
		}
		for i, v := range e.row {
			if i > 0 {
				words = append(words, b.String())
				b.Reset()
			}
			b.WriteString(e.quote(p.form.of(v)))
		}
	}
	return append(words, b.String())
}

// single is what a part stands for that does not stand for all values.
func (e expansion) single(p part) string {
	switch p.what {
	case taskNumber:
		return strconv.Itoa(e.index)
	case slotNumber:
		return e.slot
	case value:
		if v, ok := e.value(p); ok {
			return e.quote(p.form.of(v))
		}
		return ""
	}
	return p.text
}

// value is the value of the row that a part stands for, if the row has that many.
func (e expansion) value(p part) (string, bool) {
	i := p.column
	if i < 0 && i != allColumns {
		i += len(e.row)
	}
	if i < 0 || i >= len(e.row) {
		return "", false
	}
	return e.row[i], true
}

func (e expansion) quote(v string) string {
	if e.shell {
		return shell.Quote(v)
	}
	return v
}
