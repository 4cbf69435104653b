package input

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
)

// Unlimited is the width of rows of which each may have another, as long as nobody has
// seen them all.
const Unlimited = math.MaxInt

// Trim says which ends of a value lose their blanks.
type Trim uint8

// The ends of a value. TrimDefault is both with a column separator and none without one,
// as GNU parallel has it.
const (
	TrimDefault Trim = iota
	TrimNone
	TrimLeft
	TrimRight
	TrimBoth
)

// ParseTrim reads the words that GNU parallel's --trim takes.
func ParseTrim(s string) (Trim, error) {
	t, ok := map[string]Trim{"": TrimDefault, "n": TrimNone, "l": TrimLeft, "r": TrimRight, "lr": TrimBoth, "rl": TrimBoth}[s]
	if !ok {
		return 0, fmt.Errorf("%q: it is n, l, r or lr: no end, the left, the right or both", s)
	}
	return t, nil
}

// of takes the blanks off a value's ends.
func (t Trim) of(v string) string {
	const blanks = " \t\n\r\f\v"
	if t == TrimLeft || t == TrimBoth {
		v = strings.TrimLeft(v, blanks)
	}
	if t == TrimRight || t == TrimBoth {
		v = strings.TrimRight(v, blanks)
	}
	return v
}

// CompileSeparator reads a regular expression that stands between columns. One that
// matches no text at all would end every column after one letter.
func CompileSeparator(s string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no regular expression: %w", s, err)
	}
	if re.MatchString("") {
		return nil, fmt.Errorf("%q: it matches where there is nothing, too", s)
	}
	return re, nil
}

// items are texts that come one after another: lines, or words.
type items struct {
	name string
	next func() (string, error)
	most int // values that an item has, if all have been seen; Unlimited if not
}

// table makes rows of items: each is one value, or the columns that a separator splits
// it into. The first may name them.
func (o *Options) table(it items) (*table, error) {
	t := &table{width: it.most, next: func() ([]string, error) {
		text, err := it.next()
		if err != nil {
			return nil, err
		}
		return o.split(text), nil
	}}
	if o.ColSep == nil {
		t.width = 1
	}
	if !o.Header {
		return t, nil
	}
	first, err := t.next()
	if err == io.EOF {
		return nil, fmt.Errorf("%s: it is empty: with --header : the first input names the columns", it.name)
	}
	if err != nil {
		return nil, err
	}
	t.columns, t.width = first, max(t.width, len(first))
	return t, checkNames(it.name, first)
}

func (o *Options) split(text string) []string {
	row := []string{text}
	if o.ColSep != nil {
		row = o.ColSep.Split(text, -1)
	}
	for i := range row {
		row[i] = o.trim().of(row[i])
	}
	return row
}

func (o *Options) trim() Trim {
	switch {
	case o.Trim != TrimDefault:
		return o.Trim
	case o.ColSep != nil:
		return TrimBoth
	}
	return TrimNone
}

// plain reports whether an item is a value as it is.
func (o *Options) plain() bool { return o.ColSep == nil && !o.Header && o.trim() == TrimNone }

// keepsReturns reports whether a CR at the end of a line is part of an input.
func (o *Options) keepsReturns() bool {
	return !o.Null && (o.trim() == TrimNone || o.trim() == TrimLeft)
}

// words is the table of :::.
func (o *Options) words(args []string) (*table, error) {
	i, most := 0, 1
	for _, a := range args {
		most = max(most, len(o.split(a)))
	}
	t, err := o.table(items{":::", func() (string, error) {
		if i == len(args) {
			return "", io.EOF
		}
		i++
		return args[i-1], nil
	}, most})
	if err != nil {
		return nil, err
	}
	t.total = len(args) - i
	return t, nil
}

// lines makes a row of each line, empty ones too.
func (o *Options) lines(name string, f io.Reader, r *Reader) (*table, error) {
	l := newLineReader(name, f)
	if o.Null {
		l = newNullReader(name, f)
	}
	next := l.next
	if o.keepsReturns() {
		next = o.lookForReturns(l, r)
	}
	if o.plain() {
		return plainLines(next), nil
	}
	return o.table(items{name, func() (string, error) {
		line, err := next()
		return string(line), err
	}, Unlimited})
}

// plainLines makes one value of each line.
func plainLines(next func() ([]byte, error)) *table {
	var slab []string // one allocation for the slices of many rows
	return &table{width: 1, next: func() ([]string, error) {
		line, err := next()
		if err != nil {
			return nil, err
		}
		if len(slab) == cap(slab) {
			slab = make([]string, 0, 512)
		}
		slab = append(slab, string(line))
		return slab[len(slab)-1 : len(slab) : len(slab)], nil
	}}
}

// sampleLines is how many lines are looked at to tell how a file ends its lines.
const sampleLines = 10

// lookForReturns reads lines, and says once for all sources that the first of them, or
// all there are, end as Windows has it. The CR is part of the input.
func (o *Options) lookForReturns(l *lineReader, r *Reader) func() ([]byte, error) {
	looking := o.Warn != nil
	return func() ([]byte, error) {
		line, err := l.next()
		if !looking {
			return line, err
		}
		switch {
		case err == nil && !strings.HasSuffix(string(line), "\r"):
			looking = false
		case l.n == sampleLines, err == io.EOF && l.n > 1:
			looking = false
			if !r.warned {
				r.warned = true
				o.Warn(fmt.Sprintf("%s: its lines end in CR LF, as on Windows, and the CR is part of each input; --trim r takes it off", l.name))
			}
		}
		return line, err
	}
}
