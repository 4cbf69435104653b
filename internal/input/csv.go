package input

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// csvTable reads CSV as RFC 4180 has it: a quoted field may hold commas,
// quotes and newlines, and every row has as many fields as the first.
func csvTable(name string, f io.Reader, noHeader bool) (*table, error) {
	b := bufio.NewReaderSize(f, 256<<10)
	if start, _ := b.Peek(len(bom)); string(start) == bom {
		b.Discard(len(bom))
	}
	r := csv.NewReader(b)
	read := func() ([]string, error) {
		row, err := r.Read()
		var bad *csv.ParseError
		switch {
		case errors.As(err, &bad) && errors.Is(err, csv.ErrFieldCount):
			line, _ := r.FieldPos(0)
			return nil, at(name, line, "%s here, but %d in the first row", values(len(row)), r.FieldsPerRecord)
		case errors.As(err, &bad):
			return nil, fmt.Errorf("%s:%d:%d: %w", name, bad.Line, bad.Column, bad.Err)
		case err != nil:
			return nil, err
		}
		for i, v := range row {
			if strings.IndexByte(v, 0) >= 0 {
				line, column := r.FieldPos(i)
				return nil, fmt.Errorf("%s:%d:%d: a NUL byte cannot be part of an input", name, line, column)
			}
		}
		return row, nil
	}
	return headed(name, noHeader, ";\t|", read, func([]string, int) error { return nil })
}

func values(n int) string {
	if n == 1 {
		return "1 value"
	}
	return fmt.Sprintf("%d values", n)
}
