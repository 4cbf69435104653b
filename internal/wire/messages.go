package wire

import (
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"muster/rng"
	"muster/task"
)

// The field numbers of each message stand in its append method and nowhere
// else. A number once used is never used for something else.

// Assign gives a worker a task. It runs those that it has in the order in which
// they came, each in the first slot that is free.
type Assign struct {
	Ref
	Window uint32 // bytes of output that may be sent before the first Credit
	Spec   task.Spec
	// OnlyAfterSuccess hands the task back if one that began before it has failed.
	OnlyAfterSuccess bool
}

// Started says that the task's process runs, or is about to.
type Started struct {
	Ref
	Slot uint32 // from 1
}

// Output is a chunk of a task's output.
type Output struct {
	Ref
	Stream uint8 // 1 stdout, 2 stderr
	Data   []byte
}

// Credit widens a task's window.
type Credit struct {
	Ref
	Bytes uint32
}

// Result ends an attempt. Stdout and Stderr are what was not sent as Output.
type Result struct {
	Ref
	Slot    uint32
	Started time.Time
	Elapsed time.Duration
	Err     *task.ErrorValue
	Stdout  []byte
	Stderr  []byte
	// Stream is that which the slot gave a task that had none.
	Stream rng.Stream
	// State is what a task of Everywhere left behind; a slot tells its worker.
	State *State
	// Note is what is to be known of a task that succeeded all the same.
	Note string
}

// State is the environment and the directory that later tasks run with. An
// empty Dir leaves each task its own.
type State struct {
	Env []string
	Dir string
}

// Cancel stops a task; it resolves to Err.
type Cancel struct {
	Ref
	Err *task.ErrorValue
}

// Recall asks for a task back. The answer is Returned, or nothing if it has started.
type Recall struct{ Ref }

// Returned hands a task back that never started.
type Returned struct {
	Ref
	// Lack is why this machine could not begin it; nil if it was asked for, or is
	// handed back for a reason that has nothing to do with the task.
	Lack *task.Lack
}

// Lost says that a task's slot died under it.
type Lost struct {
	Ref
	Reason string
}

// Ping asks for a Pong with the same number.
type Ping struct{ Seq uint64 }

// Pong answers a Ping. A slot says with its first, which answers nothing, that it is
// ready.
type Pong struct{ Seq uint64 }

// Ack says how many frames have come since the session began; those need not be
// kept any longer. Acks, Pings and Pongs are not counted themselves. A worker tells a
// slot with one that it knows of a task's failure: what it assigns from then on may
// run, even if only after a success.
type Ack struct{ Received uint64 }

// Share is a piece of what tasks share, of which the worker makes a copy.
type Share struct {
	ID    string
	At    uint64 // how many bytes come before it
	Total uint64
	Data  []byte
}

// Shared says how much of a share has come, and that it is all, or why there is no copy.
type Shared struct {
	ID    string
	Bytes uint64
	Done  bool
	Err   string
}

// Unshare says that a copy is wanted no more.
type Unshare struct{ ID string }

// Drain says that nothing new may be assigned.
type Drain struct{ Reason string }

// Goodbye ends a session in order.
type Goodbye struct {
	Code uint32 // why a worker leaves: 0 ended, 1 idletime, 2 walltime, 3 maxtasks
	Text string
}

var newMessages = [...]func() Message{
	TypeAssign:   func() Message { return &Assign{} },
	TypeStarted:  func() Message { return &Started{} },
	TypeOutput:   func() Message { return &Output{} },
	TypeCredit:   func() Message { return &Credit{} },
	TypeResult:   func() Message { return &Result{} },
	TypeCancel:   func() Message { return &Cancel{} },
	TypeRecall:   func() Message { return &Recall{} },
	TypeReturned: func() Message { return &Returned{} },
	TypeLost:     func() Message { return &Lost{} },
	TypePing:     func() Message { return &Ping{} },
	TypePong:     func() Message { return &Pong{} },
	TypeDrain:    func() Message { return &Drain{} },
	TypeGoodbye:  func() Message { return &Goodbye{} },
	TypeState:    func() Message { return &State{} },
	TypeAck:      func() Message { return &Ack{} },
	TypeShare:    func() Message { return &Share{} },
	TypeShared:   func() Message { return &Shared{} },
	TypeUnshare:  func() Message { return &Unshare{} },
}

func newMessage(t Type) Message {
	if int(t) >= len(newMessages) || newMessages[t] == nil {
		return nil
	}
	return newMessages[t]()
}

func (*Hello) frame() (Type, bool)    { return 0, true }
func (*Welcome) frame() (Type, bool)  { return 0, true }
func (*Assign) frame() (Type, bool)   { return TypeAssign, true }
func (*Started) frame() (Type, bool)  { return TypeStarted, true }
func (*Output) frame() (Type, bool)   { return TypeOutput, true }
func (*Credit) frame() (Type, bool)   { return TypeCredit, true }
func (*Result) frame() (Type, bool)   { return TypeResult, true }
func (*Cancel) frame() (Type, bool)   { return TypeCancel, true }
func (*Recall) frame() (Type, bool)   { return TypeRecall, false }
func (*Returned) frame() (Type, bool) { return TypeReturned, true }
func (*Lost) frame() (Type, bool)     { return TypeLost, true }
func (*Ping) frame() (Type, bool)     { return TypePing, true }
func (*Pong) frame() (Type, bool)     { return TypePong, true }
func (*Drain) frame() (Type, bool)    { return TypeDrain, true }
func (*Goodbye) frame() (Type, bool)  { return TypeGoodbye, true }
func (*State) frame() (Type, bool)    { return TypeState, true }
func (*Ack) frame() (Type, bool)      { return TypeAck, false }
func (*Share) frame() (Type, bool)    { return TypeShare, true }
func (*Shared) frame() (Type, bool)   { return TypeShared, true }
func (*Unshare) frame() (Type, bool)  { return TypeUnshare, true }

func (m *Assign) append(b []byte) []byte {
	b = appendRef(b, m.Ref)
	b = putUint(b, 5, uint64(m.Window))
	b = putString(b, 6, m.Spec.Dir)
	b = putUint(b, 7, uint64(m.Spec.Timeout))
	b = putUint(b, 8, uint64(m.Spec.Index))
	b = putString(b, 9, m.Spec.Name)
	for _, s := range m.Spec.Env {
		b = putElement(b, 10, s)
	}
	for _, s := range m.Spec.Argv {
		b = putElement(b, 11, s)
	}
	b = putBool(b, 12, m.OnlyAfterSuccess)
	b = putBool(b, 13, m.Spec.Everywhere)
	b = putString(b, 14, m.Spec.Func)
	b = putStream(putBytes(b, 15, m.Spec.Input), 16, m.Spec.Stream)
	for _, s := range m.Spec.Shares {
		b = appendShare(b, 17, s)
	}
	return putBool(b, 20, m.Spec.Live)
}

func (m *Assign) parse(b []byte) error {
	var inner error
	err := parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		default:
			refField(&m.Ref, num, v)
		case 5:
			m.Window = clamp32(v)
		case 6:
			m.Spec.Dir = string(s)
		case 7:
			m.Spec.Timeout = time.Duration(min(v, 1<<63-1))
		case 8:
			m.Spec.Index = int(min(v, 1<<63-1))
		case 9:
			m.Spec.Name = string(s)
		case 10:
			m.Spec.Env = append(m.Spec.Env, string(s))
		case 11:
			m.Spec.Argv = append(m.Spec.Argv, string(s))
		case 12:
			m.OnlyAfterSuccess = v != 0
		case 13:
			m.Spec.Everywhere = v != 0
		case 14:
			m.Spec.Func = string(s)
		case 15:
			m.Spec.Input = append([]byte(nil), s...)
		case 16:
			inner = errors.Join(inner, m.Spec.Stream.UnmarshalBinary(s))
		case 17:
			sh, err := parseShare(s)
			inner = errors.Join(inner, err)
			m.Spec.Shares = append(m.Spec.Shares, sh)
		case 20:
			m.Spec.Live = v != 0
		}
	})
	if err = errors.Join(err, inner); err == nil && len(m.Spec.Argv) == 0 {
		err = errors.New("a task without a command")
	}
	return err
}

func (m *Output) append(b []byte) []byte {
	b = appendRef(b, m.Ref)
	b = putUint(b, 4, uint64(m.Stream))
	return putBytes(b, 5, m.Data)
}

func (m *Output) parse(b []byte) error {
	err := parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		default:
			refField(&m.Ref, num, v)
		case 4:
			m.Stream = uint8(min(v, 255))
		case 5:
			m.Data = s
		}
	})
	if err == nil && (m.Stream < 1 || m.Stream > 2 || len(m.Data) > MaxChunk) {
		err = errors.New("output of no known stream, or too much at once")
	}
	return err
}

func (m *Credit) append(b []byte) []byte {
	return putUint(appendRef(b, m.Ref), 4, uint64(m.Bytes))
}

func (m *Credit) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		if num == 4 {
			m.Bytes = clamp32(v)
			return
		}
		refField(&m.Ref, num, v)
	})
}

func (m *Result) append(b []byte) []byte {
	b = appendRef(b, m.Ref)
	b = putUint(b, 4, uint64(m.Slot))
	b = putUint(b, 5, unixNano(m.Started))
	b = putUint(b, 6, uint64(m.Elapsed))
	b = appendErr(b, 7, m.Err)
	b = putBytes(b, 8, m.Stdout)
	b = putBytes(b, 9, m.Stderr)
	if m.State != nil {
		b = protowire.AppendBytes(protowire.AppendTag(b, 10, protowire.BytesType), m.State.append(nil))
	}
	return putStream(putString(b, 11, m.Note), 12, m.Stream)
}

func (m *State) append(b []byte) []byte {
	for _, s := range m.Env {
		b = putElement(b, 1, s)
	}
	return putString(b, 2, m.Dir)
}

func (m *State) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, _ uint64, s []byte) {
		switch num {
		case 1:
			m.Env = append(m.Env, string(s))
		case 2:
			m.Dir = string(s)
		}
	})
}

func (m *Result) parse(b []byte) error {
	var inner, state, stream error
	err := parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		default:
			refField(&m.Ref, num, v)
		case 4:
			m.Slot = clamp32(v)
		case 5:
			m.Started = fromNano(v)
		case 6:
			m.Elapsed = time.Duration(min(v, 1<<63-1))
		case 7:
			m.Err, inner = parseErr(s)
		case 8:
			m.Stdout = s
		case 9:
			m.Stderr = s
		case 10:
			m.State = &State{}
			state = m.State.parse(s)
		case 11:
			m.Note = string(s)
		case 12:
			stream = m.Stream.UnmarshalBinary(s)
		}
	})
	return errors.Join(err, inner, state, stream)
}

func (m *Cancel) append(b []byte) []byte { return appendErr(appendRef(b, m.Ref), 4, m.Err) }

func (m *Cancel) parse(b []byte) error {
	var inner error
	err := parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		if num == 4 {
			m.Err, inner = parseErr(s)
			return
		}
		refField(&m.Ref, num, v)
	})
	if m.Err == nil {
		m.Err = task.Cancelled("")
	}
	return errors.Join(err, inner)
}

func (m *Lost) append(b []byte) []byte { return putString(appendRef(b, m.Ref), 4, m.Reason) }

func (m *Lost) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		if num == 4 {
			m.Reason = string(s)
			return
		}
		refField(&m.Ref, num, v)
	})
}

func (m *Started) append(b []byte) []byte { return putUint(appendRef(b, m.Ref), 4, uint64(m.Slot)) }
func (m *Recall) append(b []byte) []byte  { return appendRef(b, m.Ref) }

func (m *Started) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		if num == 4 {
			m.Slot = clamp32(v)
			return
		}
		refField(&m.Ref, num, v)
	})
}

func (m *Returned) append(b []byte) []byte { return appendLack(appendRef(b, m.Ref), 4, m.Lack) }

func (m *Returned) parse(b []byte) error {
	var inner error
	err := parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		if num == 4 {
			m.Lack, inner = parseLack(s)
			return
		}
		refField(&m.Ref, num, v)
	})
	return errors.Join(err, inner)
}

func (m *Recall) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, v uint64, _ []byte) { refField(&m.Ref, num, v) })
}

func (m *Ack) append(b []byte) []byte  { return putUint(b, 1, m.Received) }
func (m *Ping) append(b []byte) []byte { return putUint(b, 1, m.Seq) }
func (m *Pong) append(b []byte) []byte { return putUint(b, 1, m.Seq) }

func (m *Ack) parse(b []byte) error  { return parseSeq(b, &m.Received) }
func (m *Ping) parse(b []byte) error { return parseSeq(b, &m.Seq) }
func (m *Pong) parse(b []byte) error { return parseSeq(b, &m.Seq) }

func parseSeq(b []byte, seq *uint64) error {
	return parseFields(b, func(num protowire.Number, v uint64, _ []byte) {
		if num == 1 {
			*seq = v
		}
	})
}

func (m *Drain) append(b []byte) []byte { return putString(b, 1, m.Reason) }

func (m *Drain) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, _ uint64, s []byte) {
		if num == 1 {
			m.Reason = string(s)
		}
	})
}

func (m *Goodbye) append(b []byte) []byte {
	return putString(putUint(b, 1, uint64(m.Code)), 2, m.Text)
}

func (m *Goodbye) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		case 1:
			m.Code = clamp32(v)
		case 2:
			m.Text = string(s)
		}
	})
}

func (m *Share) append(b []byte) []byte {
	b = putUint(putUint(putString(b, 1, m.ID), 2, m.At), 3, m.Total)
	return putBytes(b, 4, m.Data)
}

func (m *Share) parse(b []byte) error {
	err := parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		case 1:
			m.ID = string(s)
		case 2:
			m.At = v
		case 3:
			m.Total = v
		case 4:
			m.Data = s
		}
	})
	if err == nil && len(m.Data) > MaxShareChunk {
		err = errors.New("too much of a share at once")
	}
	return err
}

func (m *Shared) append(b []byte) []byte {
	b = putBool(putUint(putString(b, 1, m.ID), 2, m.Bytes), 3, m.Done)
	return putString(b, 4, m.Err)
}

func (m *Shared) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		case 1:
			m.ID = string(s)
		case 2:
			m.Bytes = v
		case 3:
			m.Done = v != 0
		case 4:
			m.Err = string(s)
		}
	})
}

func (m *Unshare) append(b []byte) []byte { return putString(b, 1, m.ID) }

func (m *Unshare) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, _ uint64, s []byte) {
		if num == 1 {
			m.ID = string(s)
		}
	})
}
