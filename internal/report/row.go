package report

import (
	"bytes"
	"encoding/base64"
	"strconv"
)

// row is an object with the columns in the order of the input.
type row struct {
	columns, values []string
	base64          bool
}

// column is the name of the i-th value, counted from 0: its number, from 1,
// where it has none.
func column(columns []string, i int) string {
	if i < len(columns) {
		return columns[i]
	}
	return strconv.Itoa(i + 1)
}

// MarshalJSON writes the object; a column's name that is not UTF-8 gets
// replacement characters.
func (r *row) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, value := range r.values {
		if i > 0 {
			buf.WriteByte(',')
		}
		if r.base64 {
			value = base64.StdEncoding.EncodeToString([]byte(value))
		}
		name, err := encode(column(r.columns, i))
		if err != nil {
			return nil, err
		}
		text, err := encode(value)
		if err != nil {
			return nil, err
		}
		buf.Write(bytes.TrimSpace(name))
		buf.WriteByte(':')
		buf.Write(bytes.TrimSpace(text))
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}
