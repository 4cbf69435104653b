package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// jsonTable reads a JSON value a line: an object's members are columns by
// name, an array's elements by number, anything else is one value. The first
// line decides; blank lines do not count.
func jsonTable(name string, f io.Reader) (*table, error) {
	l := newLineReader(name, f)
	var t *table
	read := func() ([]string, error) {
		for {
			line, err := l.next()
			if err != nil {
				return nil, err
			}
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			v, err := parseValue(line)
			if err == nil && t == nil {
				t = &table{columns: v.names, width: len(v.values)}
				if v.kind == '[' {
					t.columns = nil
				}
			}
			var row []string
			if err == nil {
				row, err = v.fit(t)
			}
			if err != nil {
				return nil, at(name, l.n, "%w", err)
			}
			return row, nil
		}
	}
	first, err := read()
	if err != nil && err != io.EOF {
		return nil, err
	}
	if t == nil {
		return &table{width: 1, next: func() ([]string, error) { return nil, io.EOF }}, nil
	}
	t.next = func() ([]string, error) {
		if row := first; row != nil {
			first = nil
			return row, nil
		}
		return read()
	}
	return t, nil
}

// lineValue is one line's value.
type lineValue struct {
	kind   byte     // '{', '[' or 0 for a scalar
	names  []string // of an object's members
	values []string
}

func parseValue(line []byte) (v lineValue, err error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	switch line[0] {
	case '{', '[':
		v.kind = line[0]
		dec.Token()
		for err == nil && dec.More() {
			err = v.member(dec)
		}
		if err == nil {
			_, err = dec.Token()
		}
	default:
		var raw json.RawMessage
		if err = dec.Decode(&raw); err == nil {
			err = v.add(raw)
		}
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return v, errors.New("the JSON value does not end on its line")
	}
	if err != nil {
		return v, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return v, errors.New("there is more than one JSON value on the line")
	}
	return v, nil
}

func (v *lineValue) member(dec *json.Decoder) error {
	if v.kind == '{' {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		name := key.(string)
		if slices.Contains(v.names, name) {
			return fmt.Errorf("%q is there twice", name)
		}
		v.names = append(v.names, name)
	}
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return err
	}
	return v.add(raw)
}

// add takes a string for what it says, null for nothing, and all else for its
// own text.
func (v *lineValue) add(raw json.RawMessage) error {
	s := string(raw)
	switch raw[0] {
	case '"':
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		if strings.IndexByte(s, 0) >= 0 {
			return errors.New(`a NUL character (\u0000) cannot be part of an input`)
		}
	case 'n':
		s = ""
	case '{', '[':
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			return err
		}
		s = b.String()
	}
	v.values = append(v.values, s)
	return nil
}

// fit puts the values into the order of the first line's.
func (v *lineValue) fit(t *table) ([]string, error) {
	if v.kind != '{' || t.columns == nil {
		if len(v.values) != t.width || t.columns != nil || v.kind == '{' {
			return nil, fmt.Errorf("%s here, but the first line has %s", v.describe(), t.describe())
		}
		return v.values, nil
	}
	if slices.Equal(v.names, t.columns) {
		return v.values, nil
	}
	row := make([]string, t.width)
	for i, c := range t.columns {
		j := slices.Index(v.names, c)
		if j < 0 {
			return nil, fmt.Errorf("there is no %q here, but in the first line", c)
		}
		row[i] = v.values[j]
	}
	for _, n := range v.names {
		if !slices.Contains(t.columns, n) {
			return nil, fmt.Errorf("there is %q here, but not in the first line", n)
		}
	}
	return row, nil
}

func (v *lineValue) describe() string {
	switch v.kind {
	case '{':
		return "an object"
	case '[':
		return "an array of " + values(len(v.values))
	}
	return "a single value"
}

func (t *table) describe() string {
	if t.columns != nil {
		return "an object"
	}
	return values(t.width)
}
