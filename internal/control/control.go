// Package control is the interface by which commands, and programs in any
// language, talk to a dispatcher: HTTP with JSON over a unix socket. The server
// wraps a host, the client is what muster's own commands use; docs/api.md
// describes every call.
package control

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"muster/dispatcher"
	"muster/internal/fleet"
	"muster/internal/host"
	"muster/internal/spool"
	"muster/internal/units"
	"muster/rng"
	"muster/task"
)

// APIVersion is the first element of every path. It grows when a call changes
// its meaning or goes away; what is added leaves it as it is, and whoever reads
// an answer skips what they do not know.
const APIVersion = 1

// Socket is where the dispatcher of a name, or a run, is reached.
func Socket(dir, name string) string { return filepath.Join(dir, name+".ctl.sock") }

// Task is one task as clients write it.
type Task struct {
	Argv    []string       `json:"argv,omitempty"`
	Func    string         `json:"func,omitempty"`
	Env     Env            `json:"env,omitempty"`
	Dir     string         `json:"dir,omitempty"`
	Stdin   *string        `json:"stdin,omitempty"`
	Timeout units.Duration `json:"timeout,omitempty"`
	Name    string         `json:"name,omitempty"`
	// Input is what the task was made from, for whoever reads its result.
	Input *task.Row `json:"input,omitempty"`
	// Shares are the names of what the task needs to read in memory. In argv
	// task.ShareMark stands for the path of one.
	Shares []string `json:"shares,omitempty"`
	// Base64 says that every string of the task is base64, for those that are
	// not UTF-8.
	Base64 bool `json:"base64,omitempty"`
}

// Env is NAME=VALUE entries; in JSON also an object.
type Env []string

// UnmarshalJSON reads a list of NAME=VALUE or an object.
func (e *Env) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if json.Unmarshal(b, &m) == nil {
		for name, value := range m {
			*e = append(*e, name+"="+value)
		}
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return errors.New(`env is {"NAME": "VALUE"} or ["NAME=VALUE"]`)
	}
	*e = list
	return nil
}

// NewTask writes a spec as a task.
func NewTask(s task.Spec) Task {
	t := Task{Argv: s.Argv, Func: s.Func, Env: s.Env, Dir: s.Dir, Timeout: units.Duration(s.Timeout), Name: s.Name}
	if s.Row.Values != nil {
		t.Input = &s.Row
	}
	if s.Input != nil {
		text := string(s.Input)
		t.Stdin = &text
	}
	for _, sh := range s.Shares {
		if sh.Needed {
			t.Shares = append(t.Shares, sh.Name)
		}
	}
	if !t.utf8() {
		t.Base64 = true
		t.each(func(s *string) error {
			*s = base64.StdEncoding.EncodeToString([]byte(*s))
			return nil
		})
	}
	return t
}

// each calls f with every string, in lists that are the task's own.
func (t *Task) each(f func(*string) error) error {
	t.Argv, t.Env = append([]string{}, t.Argv...), append(Env{}, t.Env...)
	all := []*string{&t.Dir, &t.Name}
	for i := range t.Argv {
		all = append(all, &t.Argv[i])
	}
	for i := range t.Env {
		all = append(all, &t.Env[i])
	}
	if t.Input != nil {
		t.Input = &task.Row{Values: slices.Clone(t.Input.Values), Columns: t.Input.Columns}
		for i := range t.Input.Values {
			all = append(all, &t.Input.Values[i])
		}
	}
	if t.Stdin != nil {
		text := *t.Stdin
		t.Stdin = &text
		all = append(all, t.Stdin)
	}
	for _, s := range all {
		if err := f(s); err != nil {
			return err
		}
	}
	return nil
}

func (t *Task) utf8() bool {
	ok := utf8.ValidString(t.Dir) && utf8.ValidString(t.Name) && (t.Stdin == nil || utf8.ValidString(*t.Stdin))
	for _, list := range [][]string{t.Argv, t.Env, t.row().Values} {
		for _, s := range list {
			ok = ok && utf8.ValidString(s)
		}
	}
	return ok
}

func (t *Task) row() task.Row {
	if t.Input == nil {
		return task.Row{}
	}
	return *t.Input
}

// Spec checks the task and returns it as an executor takes it.
func (t Task) Spec() (task.Spec, error) {
	if t.Base64 {
		err := t.each(func(s *string) error {
			b, err := base64.StdEncoding.DecodeString(*s)
			*s = string(b)
			return err
		})
		if err != nil {
			return task.Spec{}, fmt.Errorf("the task says base64 and is not: %w", err)
		}
	}
	if len(t.Argv) == 0 && t.Func == "" {
		return task.Spec{}, errors.New(`a task needs a command: "argv": ["PROGRAM", "ARGUMENT", ...]`)
	}
	if len(t.Argv) == 0 {
		t.Argv = []string{t.Func}
	}
	unmarked, err := t.unmarked()
	if err != nil {
		return task.Spec{}, err
	}
	for _, list := range [][]string{unmarked, t.Env, {t.Dir, t.Name}} {
		for _, s := range list {
			if strings.ContainsRune(s, 0) {
				return task.Spec{}, errors.New("a string of the task holds a NUL, which no command can be given")
			}
		}
	}
	for _, kv := range t.Env {
		if i := strings.IndexByte(kv, '='); i < 1 {
			return task.Spec{}, fmt.Errorf("env: %q is not NAME=VALUE", kv)
		}
	}
	if t.Dir != "" && !filepath.IsAbs(t.Dir) {
		return task.Spec{}, fmt.Errorf("dir: %q is not absolute", t.Dir)
	}
	if t.Dir == "" {
		t.Dir = "/"
	}
	s := task.Spec{Argv: t.Argv, Func: t.Func, Env: t.Env, Dir: t.Dir, Timeout: time.Duration(t.Timeout), Name: t.Name, Row: t.row()}
	if t.Stdin != nil {
		s.Input = []byte(*t.Stdin)
	}
	return s, nil
}

// unmarked returns the command without the marks of the task's shares, whose names it
// checks.
func (t *Task) unmarked() ([]string, error) {
	var marks []string
	for _, name := range t.Shares {
		if !task.ValidShare(name) {
			return nil, fmt.Errorf("shares: %q %w", name, host.ErrShareName)
		}
		marks = append(marks, task.ShareMark(name), "")
	}
	words := slices.Clone(t.Argv)
	for i, w := range words {
		words[i] = strings.NewReplacer(marks...).Replace(w)
	}
	return words, nil
}

// Result is what one task resolved to.
type Result struct {
	Index   int         `json:"index"` // from 1
	Name    string      `json:"name,omitempty"`
	Argv    []string    `json:"argv"`
	Input   *task.Row   `json:"input,omitempty"`
	OK      bool        `json:"ok"`
	Error   *ErrorValue `json:"error"`
	Note    string      `json:"note,omitempty"` // what is to be known of one that succeeded all the same
	Task    task.ID     `json:"task"`
	Attempt int         `json:"attempt"`
	Worker  string      `json:"worker"`
	Slot    int         `json:"slot"`
	Started *time.Time  `json:"started"`
	Seconds float64     `json:"seconds"`
	Stream  rng.Stream  `json:"stream"` // of its random numbers; null if nobody knows
	Stdout  Stream      `json:"stdout"`
	Stderr  Stream      `json:"stderr"`
	Base64  bool        `json:"base64,omitempty"` // name, argv and input are base64
}

// Stream is one output of a task: the text, or base64 of what is not UTF-8, or
// neither if it is longer than 64 KiB and is to be asked for by itself.
type Stream struct {
	Bytes  int64   `json:"bytes"`
	Text   *string `json:"text,omitempty"`
	Base64 []byte  `json:"base64,omitempty"`
}

// maxInline is how much of a stream goes with a result, in bytes.
const maxInline = 64 << 10

// ErrorValue is what a task that did not succeed resolved to.
type ErrorValue struct {
	Kind     string          `json:"kind"`
	Class    string          `json:"class"` // error, interrupt or neither
	Code     int             `json:"code"`
	Message  string          `json:"message"`
	Signal   string          `json:"signal,omitempty"`
	Evidence string          `json:"evidence,omitempty"`
	Detail   json.RawMessage `json:"detail,omitempty"`
}

// NewErrorValue writes an error value for JSON.
func NewErrorValue(e *task.ErrorValue) *ErrorValue {
	if e == nil {
		return nil
	}
	v := &ErrorValue{Kind: e.Kind.String(), Class: e.Kind.Class().String(), Code: e.Code, Message: e.Message, Signal: e.Signal, Evidence: e.Evidence}
	if json.Valid(e.Detail) && utf8.Valid(e.Detail) {
		v.Detail = e.Detail
	}
	return v
}

// Value returns the error value as the rest of muster has it.
func (e *ErrorValue) Value() *task.ErrorValue {
	if e == nil {
		return nil
	}
	return &task.ErrorValue{Kind: task.ParseKind(e.Kind), Code: e.Code, Message: e.Message, Signal: e.Signal, Evidence: e.Evidence, Detail: e.Detail}
}

// Result is the result as the rest of muster has it, without its output.
func (r *Result) Result() task.Result {
	t := task.Result{ID: r.Task, Index: r.Index, Name: r.Name, Argv: r.Argv, Attempt: r.Attempt, Worker: r.Worker, Slot: r.Slot,
		Elapsed: time.Duration(r.Seconds * float64(time.Second)), Stream: r.Stream, Err: r.Error.Value(), Note: r.Note}
	if r.Started != nil {
		t.Started = *r.Started
	}
	if r.Base64 {
		name, _ := base64.StdEncoding.DecodeString(t.Name)
		t.Name, t.Argv = string(name), nil
		for _, a := range r.Argv {
			b, _ := base64.StdEncoding.DecodeString(a)
			t.Argv = append(t.Argv, string(b))
		}
	}
	return t
}

// Row is the input that the task was made from.
func (r *Result) Row() task.Row {
	switch {
	case r.Input == nil:
		return task.Row{}
	case r.Base64:
		row, _ := r.Input.FromBase64()
		return row
	}
	return *r.Input
}

// newResult writes a result for JSON. It fails if the output cannot be read.
func newResult(d *dispatcher.Done) (*Result, error) {
	stdout, err := newStream(d, spool.Stdout)
	if err != nil {
		return nil, err
	}
	stderr, err := newStream(d, spool.Stderr)
	if err != nil {
		return nil, err
	}
	t := NewTask(task.Spec{Argv: d.Argv, Name: d.Name, Row: d.Row})
	r := &Result{Index: d.Index, Name: t.Name, Argv: t.Argv, Input: t.Input, Base64: t.Base64, OK: d.OK(), Error: NewErrorValue(d.Err), Note: d.Note, Task: d.ID, Attempt: d.Attempt,
		Worker: d.Worker, Slot: d.Slot, Seconds: d.Elapsed.Seconds(), Stream: d.Stream, Stdout: stdout, Stderr: stderr}
	if !d.Started.IsZero() {
		r.Started = &d.Started
	}
	return r, nil
}

// isApart reports whether the stream did not come with its result.
func (s *Stream) isApart() bool { return s.Text == nil && s.Base64 == nil && s.Bytes > 0 }

func newStream(d *dispatcher.Done, n int) (Stream, error) {
	s := Stream{Bytes: d.Output.Bytes(n)}
	if s.Bytes > maxInline {
		return s, nil
	}
	b, err := d.Output.Tail(n, s.Bytes)
	switch {
	case err != nil:
		return s, err
	case utf8.Valid(b):
		text := string(b)
		s.Text = &text
	default:
		s.Base64 = b
	}
	return s, nil
}

// Status is the full picture of a dispatcher.
type Status struct {
	API      int                       `json:"api"`
	Version  string                    `json:"version"`
	Name     string                    `json:"name"`
	Kind     string                    `json:"kind"`   // up, run or ephemeral
	Socket   string                    `json:"socket"` // where this interface is
	Run      string                    `json:"run"`    // the folder in the state directory
	Pid      int                       `json:"pid"`
	Started  time.Time                 `json:"started"`
	URLs     []host.Candidate          `json:"urls"`
	Profiles []ProfileStatus           `json:"profiles"`
	Log      string                    `json:"log,omitempty"` // the file into which the dispatcher writes what it says
	Futures  []dispatcher.FutureStatus `json:"futures"`
	Jobs     []string                  `json:"jobs"`     // their ids
	Standing []fleet.JobStanding       `json:"standing"` // how they stand
}

// ProfileStatus is one profile of a dispatcher.
type ProfileStatus struct {
	dispatcher.PoolStatus
	Sync bool `json:"sync,omitempty"`
	// Expected is how many workers may yet join that were started or asked for.
	Expected int             `json:"expected"`
	Reasons  []Reason        `json:"reasons,omitempty"`
	Shares   host.SharesInfo `json:"shares"`
}

// Error is a refusal: what the server says and why.
type Error struct {
	Status  int    `json:"-"`
	Code    string `json:"code"` // unknown, exists, full, closed, bad, failed
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// ErrUnreachable says that nobody listens on the socket.
var ErrUnreachable = errors.New("no dispatcher is running")
