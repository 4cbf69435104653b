package input

import (
	"bufio"
	"bytes"
	"io"
	"strings"
)

// lineReader reads lines of up to MaxRow bytes.
type lineReader struct {
	name string
	r    *bufio.Reader
	n    int // of the line read last, from 1
	long []byte
}

func newLineReader(name string, f io.Reader) *lineReader {
	return &lineReader{name: name, r: bufio.NewReaderSize(f, 256<<10)}
}

// next returns a line without its newline, valid until the next call.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		l.long = append(l.long[:0], line...)
		for err == bufio.ErrBufferFull && len(l.long) <= MaxRow {
			line, err = l.r.ReadSlice('\n')
			l.long = append(l.long, line...)
		}
		line = l.long
	}
	l.n++
	switch {
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err != nil && err != io.EOF && err != bufio.ErrBufferFull:
		return nil, at(l.name, l.n, "read inputs: %w", err)
	case len(line) > MaxRow:
		return nil, at(l.name, l.n, "the line is longer than %d MiB", MaxRow>>20)
	}
	if i := bytes.IndexByte(line, 0); i >= 0 {
		return nil, at(l.name, l.n, "a NUL byte, at column %d, cannot be part of an input", i+1)
	}
	return bytes.TrimSuffix(line, []byte{'\n'}), nil
}

// linesTable makes a row of each line, empty ones too.
func linesTable(name string, f io.Reader) *table {
	l := newLineReader(name, f)
	var slab []string // one allocation for the slices of many rows
	return &table{width: 1, next: func() ([]string, error) {
		line, err := l.next()
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

const bom = "\ufeff"

// tsvTable splits lines at tabs. There is no quoting, as in the format that
// IANA registered as text/tab-separated-values.
func tsvTable(name string, f io.Reader, noHeader bool) (*table, error) {
	l := newLineReader(name, f)
	read := func() ([]string, error) {
		line, err := l.next()
		if err != nil {
			return nil, err
		}
		text := strings.TrimSuffix(string(line), "\r")
		if l.n == 1 {
			text = strings.TrimPrefix(text, bom)
		}
		return strings.Split(text, "\t"), nil
	}
	return headed(name, noHeader, read, func(row []string, width int) error {
		if len(row) != width {
			return at(name, l.n, "%s here, but %d in the first row", values(len(row)), width)
		}
		return nil
	})
}

// headed takes a table's first row for its header, or only its width from it.
func headed(name string, noHeader bool, read func() ([]string, error), check func(row []string, width int) error) (*table, error) {
	first, err := read()
	if err == io.EOF && noHeader {
		return &table{width: 1, next: func() ([]string, error) { return nil, io.EOF }}, nil
	}
	if err == io.EOF {
		return nil, at(name, 1, "it is empty: its first row should name the columns; --no-header says that there is none")
	}
	if err != nil {
		return nil, err
	}
	t := &table{width: len(first)}
	if !noHeader {
		t.columns, first = first, nil
		if err := checkNames(name, t.columns); err != nil {
			return nil, err
		}
	}
	t.next = func() ([]string, error) {
		if row := first; row != nil {
			first = nil
			return row, nil
		}
		row, err := read()
		if err == nil {
			err = check(row, t.width)
		}
		if err != nil {
			return nil, err
		}
		return row, nil
	}
	return t, nil
}
