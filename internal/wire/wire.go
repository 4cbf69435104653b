// Package wire is the protocol between dispatcher and worker, and between a
// worker and its slots: the hello that comes first, the frames that follow,
// and a reader and a writer for them.
//
// A connection opens with one hello each way. The client speaks first:
//
//	offset  size  field
//	0       8     magic "muster\x00\x01"
//	8       4     length of the rest, big-endian, at most 4 KiB
//	12      n     Hello (client) or Welcome (server), protobuf wire format
//
// After that both sides send frames:
//
//	offset  size  field
//	0       4     length of the rest, big-endian, at most 20 MiB
//	4       1     type (see Type)
//	5       1     flags; bit 0: required, a peer that does not know the type must hang up
//	6       n     fields in protobuf wire format; bulk bytes (task output) are the last field,
//	              so that they are copied once and never looked at
//
// Unknown fields and unknown frames without the required flag are skipped:
// workers that waited for days in a scheduler's queue are older than their
// dispatcher. A slot and its worker speak frames only, over two pipes.
//
// A session may outlive its connection if both sides can hold a lease: see
// Writer.Retain and Ack.
package wire

import "muster/task"

// Version is the protocol this build speaks; MinVersion the oldest it accepts.
//
// History: 1, the first; 2, the worker chooses the slot of a task, and says which
// with Started; 3, a command may have marks for what is shared, and that of a slot
// differs from them.
const (
	Version    = 3
	MinVersion = 3
)

// Limits on what a peer may send, in bytes.
const (
	MaxHello  = 4 << 10
	MaxFrame  = 20 << 20
	MaxSpec   = 3 << 20  // of a task's command and variables
	MaxInput  = 16 << 20 // of a task's standard input, or a function's argument
	MaxChunk  = 64 << 10 // of output in one frame
	MaxWindow = 4 << 20  // unacknowledged output of one task
	MinWindow = 256 << 10

	MaxShareChunk = 256 << 10 // of a share in one frame
	ShareWindow   = 1 << 20   // of a share that the worker has not said has come
)

const (
	magic        = "muster\x00\x01"
	flagRequired = 1
)

// Type tells frames apart. The numbers never change their meaning.
type Type uint8

// The frames. D is the dispatcher (or a worker, towards its slots), W the
// worker (or a slot, towards its worker).
const (
	TypeAssign   Type = 1  // D→W  run this task, after those that came before it
	TypeStarted  Type = 2  // W→D  it runs
	TypeOutput   Type = 3  // W→D  a chunk of its output, within its window
	TypeCredit   Type = 4  // D→W  its window grows by so many bytes
	TypeResult   Type = 5  // W→D  it ended
	TypeCancel   Type = 6  // D→W  stop it; it resolves to this error value
	TypeRecall   Type = 7  // D→W  hand it back if it has not started
	TypeReturned Type = 8  // W→D  handed back, never started
	TypeLost     Type = 9  // W→D  its slot died; the worker lives
	TypePing     Type = 10 // both answer at once with a Pong of the same number
	TypePong     Type = 11
	TypeDrain    Type = 12 // W→D  assign nothing more; D→W finish what runs, then leave
	TypeGoodbye  Type = 13 // both this connection ends in order
	TypeState    Type = 14 // D→W  (a worker to its slots) later tasks run with this environment, in this directory
	TypeAck      Type = 15 // both so many frames have come, since the session began
	TypeShare    Type = 16 // D→W  a piece of what tasks share, for a copy there
	TypeShared   Type = 17 // W→D  so much of it has come
	TypeUnshare  Type = 18 // D→W  the copy is wanted no more
)

// Why a worker leaves: Goodbye.Code, with mirai's numbers.
const (
	LeftEnded    = 0
	LeftIdle     = 1
	LeftWalltime = 2
	LeftMaxTasks = 3
)

// LeftText says why a worker left, in mirai's words.
func LeftText(code uint32) string {
	switch code {
	case LeftIdle:
		return "idletime limit reached"
	case LeftWalltime:
		return "walltime limit reached"
	case LeftMaxTasks:
		return "task limit reached"
	}
	return "connection terminated"
}

// Ref names one attempt at one task by one worker session. A frame whose Ref
// is no longer current is dropped.
type Ref = task.Ref

// Message is anything that travels in a frame.
type Message interface {
	frame() (t Type, required bool)
	append(b []byte) []byte
	parse(b []byte) error
}
