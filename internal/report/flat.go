package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"muster/internal/spool"
)

// showFlat adds an item to the flat list. A task that failed has no value, and is left
// out, and so is a value that does not fit in.
func (w *Writer) showFlat(item *Item) error {
	var err error
	switch {
	case item.Result.Err != nil:
	case w.array == nil:
		err = w.lines(item)
	default:
		w.misfit(w.array.add(item))
	}
	if err != nil {
		return err
	}
	return w.stderr.copy(item.Output, spool.Stderr, w.buffer())
}

// misfit remembers the first value that does not fit into the list, and how many did not.
func (w *Writer) misfit(err error) {
	if err == nil {
		return
	}
	if w.misfits++; w.flatErr == nil {
		w.flatErr = err
	}
}

// notFlat is the error of a list that lacks values.
func (w *Writer) notFlat() error {
	switch w.misfits {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("flat: left out: %w", w.flatErr)
	}
	return fmt.Errorf("flat: %d results are left out; the first: %w", w.misfits, w.flatErr)
}

// lines prints an item's stdout, ended by exactly one newline. One that is
// empty is an empty line, so that lines and inputs stay side by side.
func (w *Writer) lines(item *Item) error {
	newlines := 0
	err := eachPiece(item.Output, spool.Stdout, w.buffer(), func(p []byte) error {
		text := bytes.TrimRight(p, "\n")
		if len(text) == 0 {
			newlines += len(p)
			return nil
		}
		for newlines > 0 {
			n := min(newlines, copyBuffer)
			if err := w.stdout.write(bytes.Repeat([]byte("\n"), n)); err != nil {
				return err
			}
			newlines -= n
		}
		newlines = len(p) - len(text)
		return w.stdout.write(text)
	})
	if err != nil {
		return err
	}
	return w.stdout.write([]byte("\n"))
}

// array collects JSON values of one type. Its memory is what they take up.
type array struct {
	buf  bytes.Buffer
	kind string // of the elements so far; empty if there are none
}

// add appends an item's stdout, which must be one JSON value.
func (a *array) add(item *Item) error {
	name := label(&item.Result)
	r, err := item.Output.Reader(spool.Stdout)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := checkJSON(text); err != nil {
		return fmt.Errorf("%s: its output is not a JSON value: %w", name, err)
	}
	text = bytes.TrimSpace(text)
	kind := jsonType(text[0])
	if a.kind != "" && kind != a.kind {
		return fmt.Errorf("%s: %s, the ones before are %ss", name, kind, a.kind)
	}
	a.buf.WriteByte(a.separator())
	a.kind = kind
	return json.Compact(&a.buf, text)
}

func checkJSON(text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("it is empty")
	}
	if !utf8.Valid(text) {
		return errors.New("it is not UTF-8")
	}
	var value json.RawMessage
	return json.Unmarshal(text, &value)
}

// jsonType tells the type of a valid value by its first byte.
func jsonType(first byte) string {
	switch first {
	case 'n':
		return "null"
	case 't', 'f':
		return "boolean"
	case '"':
		return "string"
	case '[':
		return "array"
	case '{':
		return "object"
	}
	return "number"
}

// separator is what comes before the next element.
func (a *array) separator() byte {
	if a.kind == "" {
		return '['
	}
	return ','
}

// end returns the whole array as one line.
func (a *array) end() []byte {
	if a.kind == "" {
		a.buf.WriteByte('[')
	}
	a.buf.WriteString("]\n")
	return a.buf.Bytes()
}
