package task

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Row is the input that a task was made from.
type Row struct {
	Values []string // nil if the task was made from none
	// Columns are the names of the values; nil if they have none, and short or with empty
	// names if only some have one.
	Columns []string
}

// String tells people which input it was: the value, or the first of those that have
// names.
func (r Row) String() string {
	switch {
	case len(r.Values) == 0:
		return ""
	case len(r.Columns) > 0 && r.Columns[0] != "":
		return r.Columns[0] + "=" + r.Values[0]
	case len(r.Values) == 1 && r.Values[0] == "":
		return `""`
	}
	return strings.Join(r.Values, " ")
}

// Column returns the name of the i-th value, from 0: its number, from 1, where it has
// none.
func (r Row) Column(i int) string {
	if i < len(r.Columns) && r.Columns[i] != "" {
		return r.Columns[i]
	}
	return strconv.Itoa(i + 1)
}

// Base64 returns the row with its values in base64, for JSON, which has no others than
// those in UTF-8.
func (r Row) Base64() Row {
	b := Row{Columns: r.Columns, Values: make([]string, len(r.Values))}
	for i, v := range r.Values {
		b.Values[i] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	return b
}

// FromBase64 undoes Base64.
func (r Row) FromBase64() (Row, error) {
	b := Row{Columns: r.Columns, Values: make([]string, len(r.Values))}
	for i, v := range r.Values {
		text, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			return Row{}, err
		}
		b.Values[i] = string(text)
	}
	return b, nil
}

// MarshalJSON writes a list of the values, or an object if they have names, in their
// order. A name that is not UTF-8 gets replacement characters.
func (r Row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if r.Columns == nil {
		err := enc.Encode(r.Values)
		return b.Bytes(), err
	}
	b.WriteByte('{')
	for i, v := range r.Values {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(r.Column(i)); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(v); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Row) UnmarshalJSON(text []byte) error {
	bad := errors.New(`an input is a list of strings, or an object of them`)
	*r = Row{}
	if json.Unmarshal(text, &r.Values) == nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return bad
	}
	r.Values, r.Columns = []string{}, []string{}
	for dec.More() {
		name, _ := dec.Token()
		value, err := dec.Token()
		text, ok := value.(string)
		if err != nil || !ok {
			return bad
		}
		r.Columns, r.Values = append(r.Columns, name.(string)), append(r.Values, text)
	}
	return nil
}
