package input

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"strings"
)

// lineReader reads lines of up to MaxRow bytes. A byte order mark at the head of the
// first is no part of it.
type lineReader struct {
	name string
	r    *bufio.Reader
	end  byte // what a line ends with
	n    int  // of the line read last, from 1
	long []byte
}

func newLineReader(name string, f io.Reader) *lineReader {
	return &lineReader{name: name, r: bufio.NewReaderSize(f, 256<<10), end: '\n'}
}

// newNullReader reads what ends with NUL bytes, and is nothing but that.
func newNullReader(name string, f io.Reader) *lineReader {
	l := newLineReader(name, f)
	l.end = 0
	return l
}

// next returns a line without its end, valid until the next call.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice(l.end)
	if err == bufio.ErrBufferFull {
		l.long = append(l.long[:0], line...)
		for err == bufio.ErrBufferFull && len(l.long) <= MaxRow {
			line, err = l.r.ReadSlice(l.end)
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
	if l.end == 0 {
		return bytes.TrimSuffix(line, []byte{0}), nil
	}
	if i := bytes.IndexByte(line, 0); i >= 0 {
		return nil, at(l.name, l.n, "a NUL byte, at column %d, cannot be part of an input", i+1)
	}
	if l.n == 1 && bytes.HasPrefix(line, []byte(bom)) {
		if line = line[len(bom):]; len(line) == 0 {
			return nil, io.EOF // there is nothing but the mark
		}
	}
	return bytes.TrimSuffix(line, []byte{'\n'}), nil
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
		return strings.Split(strings.TrimSuffix(string(line), "\r"), "\t"), nil
	}
	return headed(name, noHeader, ";,|", read, func(row []string, width int) error {
		if len(row) != width {
			return at(name, l.n, "%s here, but %d in the first row", values(len(row)), width)
		}
		return nil
	})
}

// headed takes a table's first row for its header, or only its width from it. Others
// are separators that a header of one column may have been meant to have.
func headed(name string, noHeader bool, others string, read func() ([]string, error), check func(row []string, width int) error) (*table, error) {
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
		if err := cmp.Or(checkNames(name, t.columns), checkSeparator(name, t.columns, others)); err != nil {
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

// checkSeparator refuses a header of one column that another separator would make
// several of: each row would be one value, and no column could be named. Others are the
// separators that the format does not have.
func checkSeparator(name string, columns []string, others string) error {
	if len(columns) != 1 {
		return nil
	}
	i := strings.IndexAny(columns[0], others)
	if i < 0 {
		return nil
	}
	sep := columns[0][i : i+1]
	other := map[string]string{",": "--csv", "\t": "--tsv", ";": "--colsep ';' --header :", "|": `--colsep '\|' --header :`}[sep]
	return at(name, 1, "it has one column, named %q; if %q stands between columns, %s reads it, and if it is one column, --header : does", columns[0], sep, other)
}
