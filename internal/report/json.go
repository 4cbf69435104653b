package report

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	"muster/internal/spool"
	"muster/rng"
	"muster/task"
)

// jsonTail is the most of a stream that a JSON object carries, in bytes: its
// end, where errors are.
const jsonTail = 1 << 20

// record is what a JSON object says about a result. The order of the fields is
// the order in which they are printed.
type record struct {
	Index       int          `json:"index"`
	Name        string       `json:"name,omitempty"`
	NameBase64  []byte       `json:"name_base64,omitempty"`
	Argv        []string     `json:"argv,omitempty"`
	ArgvBase64  [][]byte     `json:"argv_base64,omitempty"`
	Input       *task.Row    `json:"input,omitempty"`
	InputBase64 *task.Row    `json:"input_base64,omitempty"`
	OK          bool         `json:"ok"`
	Exit        *int         `json:"exit"`
	Error       *recordError `json:"error"`
	Note        string       `json:"note,omitempty"`
	*streams
	StdoutBytes int64      `json:"stdout_bytes"`
	StderrBytes int64      `json:"stderr_bytes"`
	Worker      string     `json:"worker"`
	Slot        int        `json:"slot"`
	Attempt     int        `json:"attempt"`
	Started     *string    `json:"started"`
	Seconds     float64    `json:"seconds"`
	Stream      rng.Stream `json:"stream"`
}

// streams is the part of a record that carries the output.
type streams struct {
	Stdout          *string `json:"stdout,omitempty"`
	StdoutBase64    []byte  `json:"stdout_base64,omitempty"`
	StdoutTruncated bool    `json:"stdout_truncated"`
	StdoutFile      string  `json:"stdout_file,omitempty"`
	Stderr          *string `json:"stderr,omitempty"`
	StderrBase64    []byte  `json:"stderr_base64,omitempty"`
	StderrTruncated bool    `json:"stderr_truncated"`
	StderrFile      string  `json:"stderr_file,omitempty"`
}

type recordError struct {
	Kind     string          `json:"kind"`
	Class    string          `json:"class"`
	Code     int             `json:"code"`
	Message  string          `json:"message"`
	Signal   string          `json:"signal,omitempty"`
	Evidence string          `json:"evidence,omitempty"`
	Detail   json.RawMessage `json:"detail,omitempty"`
}

func newRecord(item *Item) *record {
	r := &item.Result
	rec := &record{
		Index: r.Index, OK: r.OK(), Exit: exitStatus(r.Err), Error: newRecordError(r.Err), Note: r.Note,
		StdoutBytes: item.Output.Bytes(spool.Stdout), StderrBytes: item.Output.Bytes(spool.Stderr),
		Worker: r.Worker, Slot: r.Slot, Attempt: r.Attempt, Seconds: r.Elapsed.Seconds(), Stream: r.Stream,
	}
	if utf8.ValidString(r.Name) {
		rec.Name = r.Name
	} else {
		rec.NameBase64 = []byte(r.Name)
	}
	if allUTF8(r.Argv) {
		rec.Argv = r.Argv
	} else {
		for _, arg := range r.Argv {
			rec.ArgvBase64 = append(rec.ArgvBase64, []byte(arg))
		}
	}
	if item.Row.Values != nil && allUTF8(item.Row.Values) {
		rec.Input = &item.Row
	} else if item.Row.Values != nil {
		coded := item.Row.Base64()
		rec.InputBase64 = &coded
	}
	if !r.Started.IsZero() {
		started := r.Started.Format(time.RFC3339Nano)
		rec.Started = &started
	}
	return rec
}

// exitStatus is the status the command exited with; nil if it did not exit.
func exitStatus(e *task.ErrorValue) *int {
	status := 0
	switch {
	case e == nil:
	case e.Kind == task.KindExit, e.Kind == task.KindError && e.Code > 0:
		status = e.Code
	default:
		return nil
	}
	return &status
}

func newRecordError(e *task.ErrorValue) *recordError {
	if e == nil {
		return nil
	}
	rec := &recordError{Kind: e.Kind.String(), Class: e.Kind.Class().String(), Code: e.Code,
		Message: e.Message, Signal: e.Signal, Evidence: e.Evidence}
	if len(e.Detail) > 0 {
		rec.Detail = bytes.ToValidUTF8(e.Detail, []byte("\uFFFD"))
		if !json.Valid(rec.Detail) {
			rec.Detail, _ = encode(string(e.Detail)) // a string always encodes
		}
	}
	return rec
}

// showJSON prints an item as one object on one line.
func (w *Writer) showJSON(item *Item) error {
	rec := newRecord(item)
	s := &streams{}
	var err error
	s.Stdout, s.StdoutBase64, s.StdoutFile, err = carry(item.Output, spool.Stdout)
	if err != nil {
		return err
	}
	s.Stderr, s.StderrBase64, s.StderrFile, err = carry(item.Output, spool.Stderr)
	if err != nil {
		return err
	}
	s.StdoutTruncated, s.StderrTruncated = s.StdoutFile != "", s.StderrFile != ""
	rec.streams = s
	line, err := encode(rec)
	if err != nil {
		return err
	}
	return w.stdout.write(line)
}

// carry returns the end of a stream, as text if it is text, and where the
// whole of it is kept if that is more.
func carry(o *spool.Output, stream int) (text *string, other []byte, file string, err error) {
	tail, err := o.Tail(stream, jsonTail)
	if err != nil {
		return nil, nil, "", err
	}
	if o.Bytes(stream) > jsonTail {
		if file, err = o.Keep(stream); err != nil {
			return nil, nil, "", err
		}
		tail = wholeRunes(tail)
	}
	if !utf8.Valid(tail) {
		return nil, tail, file, nil
	}
	s := string(tail)
	return &s, nil, file, nil
}

// wholeRunes drops what the cut left of a rune at the start of a tail, if the
// rest is text.
func wholeRunes(tail []byte) []byte {
	for i := range min(len(tail), utf8.UTFMax) {
		if utf8.RuneStart(tail[i]) && utf8.Valid(tail[i:]) {
			return tail[i:]
		}
	}
	return tail
}

func allUTF8(words []string) bool {
	for _, w := range words {
		if !utf8.ValidString(w) {
			return false
		}
	}
	return true
}

// encode returns v as one line of JSON.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return buf.Bytes(), err
}
