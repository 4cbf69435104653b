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

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"muster/task"
)

// Version is the protocol this build speaks; MinVersion the oldest it accepts.
//
// History: 1, the first; 2, the worker chooses the slot of a task, and says which
// with Started.
const (
	Version    = 2
	MinVersion = 2
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

// Reader reads frames. It is not safe for concurrent use.
//
// Its buffer is as large as what comes: a dispatcher has thousands of Readers, most
// of which see a heartbeat now and then.
type Reader struct {
	r     io.Reader
	buf   []byte
	begin int // buf[begin:end] has come and not been looked at
	end   int
	small int // reads in a row that needed less than a quarter of buf
	count count
}

// How large a Reader's buffer is, in bytes, but for a frame that is larger.
const (
	minBuffer = 512
	maxBuffer = 2 * MaxChunk
)

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// More reports whether another frame has come whole, so that Read will not wait.
func (r *Reader) More() bool {
	come := r.buf[r.begin:r.end]
	return len(come) >= 4 && uint64(binary.BigEndian.Uint32(come)) <= uint64(len(come)-4)
}

// MalformedError is an error of Read that is the peer's and not the connection's:
// another connection would bring the same again.
type MalformedError struct{ error }

// Unwrap returns what is wrong.
func (m MalformedError) Unwrap() error { return m.error }

// Read returns the next message. Byte slices in it are valid until the next
// Read. A frame of an unknown type is skipped, or an error if it is required.
func (r *Reader) Read() (Message, error) {
	for {
		t, flags, body, err := r.frame()
		if err != nil {
			return nil, err
		}
		r.count.frame(t, len(body)+6)
		m := newMessage(t)
		if m == nil {
			if flags&flagRequired != 0 {
				return nil, MalformedError{fmt.Errorf("the peer sent a frame of type %d, which this muster (protocol %d) does not know: use the same version on both sides", t, Version)}
			}
			continue
		}
		if err := m.parse(body); err != nil {
			return nil, MalformedError{fmt.Errorf("frame of type %d: %w", t, err)}
		}
		return m, nil
	}
}

func (r *Reader) frame() (Type, byte, []byte, error) {
	if r.begin == r.end {
		r.fit()
	}
	if err := r.fill(6); err != nil {
		return 0, 0, nil, err
	}
	head := r.buf[r.begin:]
	n := binary.BigEndian.Uint32(head)
	if n < 2 || n > MaxFrame {
		return 0, 0, nil, MalformedError{fmt.Errorf("the peer sent a frame of %d bytes; 2 to %d are allowed", n, MaxFrame)}
	}
	if err := r.fill(4 + int(n)); err != nil {
		return 0, 0, nil, err
	}
	f := r.buf[r.begin : r.begin+4+int(n)]
	r.begin += len(f)
	return Type(f[4]), f[5], f[6:], nil
}

// fill reads until n bytes are there. The buffer grows with what comes, not with
// what a peer says will come.
func (r *Reader) fill(n int) error {
	for r.end-r.begin < n {
		r.makeRoom(n)
		m, err := r.r.Read(r.buf[r.end:])
		if r.end += m; m > 0 {
			r.note()
			continue
		}
		if err == io.EOF && r.end > r.begin {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeRoom makes room for n bytes in a row, or as many as are worth it now: a buffer
// that a read has filled is doubled.
func (r *Reader) makeRoom(n int) {
	if r.begin+n <= len(r.buf) {
		return
	}
	if r.end == len(r.buf) && (r.begin == 0 || r.end < maxBuffer) {
		r.resize(max(minBuffer, 2*len(r.buf)))
		return
	}
	r.begin, r.end = 0, copy(r.buf, r.buf[r.begin:r.end])
}

// smallReads is after how many small reads in a row a buffer is made smaller.
const smallReads = 8

// note counts reads that a smaller buffer would have done for.
func (r *Reader) note() {
	r.small++
	if r.end > len(r.buf)/4 {
		r.small = 0
	}
}

// fit gives an empty buffer another size if what came lately filled it, or was
// small.
func (r *Reader) fit() {
	size := len(r.buf)
	switch {
	case size > maxBuffer:
		size = maxBuffer
	case r.end == size && size > 0:
		size = min(2*size, maxBuffer)
	case r.small >= smallReads:
		size = max(size/2, minBuffer)
	}
	r.begin, r.end = 0, 0
	if size != len(r.buf) {
		r.resize(size)
	}
}

// resize gives the buffer another size; what has come stays.
func (r *Reader) resize(size int) {
	b := make([]byte, size)
	r.begin, r.end = 0, copy(b, r.buf[r.begin:r.end])
	r.buf, r.small = b, 0
}

// ErrClosed is what Send returns after Close.
var ErrClosed = errors.New("connection closed")

// ErrBehind is what Send returns once the peer was too far behind: see Bound.
var ErrBehind = errors.New("the peer does not take what it is sent")

// Writer sends frames from any goroutine, those that have gathered meanwhile
// in one call. One that has had nothing to send for a while holds no buffer, and no
// goroutine.
type Writer struct {
	async bool // Send does not write: a goroutine does

	mu      sync.Mutex // guards all below
	cond    sync.Cond  // of all that follows
	w       io.Writer  // nil while there is no connection
	kept    *retained  // nil without a lease
	most    backlog    // how far the peer may be behind; the zero value is no bound
	frames  int        // in buf
	buf     []byte     // nil if nothing has gathered
	writing bool       // by whoever began: others leave it what they have
	running bool       // the goroutine of an async Writer is there
	last    time.Time  // when that last wrote
	err     error
	closed  bool
}

// NewWriter returns a Writer on w. The goroutine that calls Send writes, for
// others too that call it meanwhile, and so may have to wait for the peer.
func NewWriter(w io.Writer) *Writer {
	wr := &Writer{w: w}
	wr.cond.L = &wr.mu
	return wr
}

// NewAsyncWriter returns a Writer whose Send never waits for the peer: a
// goroutine writes. What is not written yet is kept: Bound says how much that may be.
func NewAsyncWriter(w io.Writer) *Writer {
	wr := NewWriter(w)
	wr.async = true
	return wr
}

// buffers are those of Writers that have written what they had.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled bounds the buffers that are kept for others, in bytes.
const maxPooled = 256 << 10

// Send sends messages, in order and in one piece. Their bytes are copied. The
// error is that of a write that failed, of an earlier one too, ErrClosed or
// ErrBehind.
func (w *Writer) Send(msgs ...Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.queue(msgs); err != nil {
		return err
	}
	return w.flush()
}

// Queue is Send, but what it is given may wait for the next Send or Flush.
func (w *Writer) Queue(msgs ...Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue(msgs)
}

// Flush sends what was queued.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

func (w *Writer) queue(msgs []Message) error {
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return ErrClosed
	}
	for _, m := range msgs {
		if w.buf == nil {
			w.buf = (*buffers.Get().(*[]byte))[:0]
		}
		start := len(w.buf)
		w.buf = appendFrame(w.buf, m)
		w.frames++
		if w.kept != nil {
			w.keep(start)
		}
		if w.overrun() {
			return w.err
		}
	}
	return nil
}

func (w *Writer) flush() error {
	switch {
	case w.writing || len(w.buf) == 0 || w.err != nil:
	case !w.async:
		w.writeAll()
	case w.running:
		w.cond.Broadcast()
	default:
		w.running = true
		go w.run()
	}
	return w.err
}

// busy is how soon after a write another one has the goroutine wait for more: that
// is quicker than to start another, and a heartbeat is not worth it.
const busy = time.Second

// run writes until nothing more comes soon.
func (w *Writer) run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.buf) > 0 {
		soon := time.Since(w.last) < busy
		w.writeAll()
		w.last = time.Now()
		for soon && len(w.buf) == 0 && !w.closed && w.err == nil {
			w.cond.Wait()
		}
	}
	w.running = false
	w.cond.Broadcast()
}

// writeAll writes what has gathered, and what gathers meanwhile.
func (w *Writer) writeAll() {
	w.writing = true
	for len(w.buf) > 0 && w.err == nil {
		w.write()
	}
	w.writing = false
	w.cond.Broadcast()
}

// write writes what has gathered, without the lock.
func (w *Writer) write() {
	b, to := w.buf, w.w
	w.buf, w.frames = nil, 0
	w.mu.Unlock()
	_, err := to.Write(b)
	if cap(b) <= maxPooled {
		buffers.Put(&b)
	}
	w.mu.Lock()
	switch {
	case err == nil:
	case w.kept != nil:
		w.w, w.buf, w.frames = nil, nil, 0
	case w.err == nil:
		w.err, w.buf, w.frames = err, nil, 0
	}
}

// Close writes what was queued and waits for that. The owner of the underlying
// connection unblocks a write that hangs by closing it.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.flush()
	w.cond.Broadcast()
	for w.writing || w.running {
		w.cond.Wait()
	}
	return w.err
}

func appendFrame(b []byte, m Message) []byte {
	t, required := m.frame()
	start := len(b)
	var flags byte
	if required {
		flags = flagRequired
	}
	b = append(b, 0, 0, 0, 0, byte(t), flags)
	b = m.append(b)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// WriteHello sends the opening message: *Hello by the client, *Welcome by the
// server.
func WriteHello(w io.Writer, m Message) error {
	b := append([]byte(magic), 0, 0, 0, 0)
	b = m.append(b)
	if n := len(b) - 12; n > MaxHello {
		return fmt.Errorf("hello of %d bytes; at most %d are allowed", n, MaxHello)
	}
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	_, err := w.Write(b)
	return err
}

// ReadHello reads the peer's opening message into m and nothing beyond it.
// The caller sets a deadline on the connection.
func ReadHello(r io.Reader, m Message) error {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("read hello: %w", err)
	}
	if string(head[:8]) != magic {
		return errors.New("the peer does not speak muster's protocol")
	}
	n := binary.BigEndian.Uint32(head[8:])
	if n > MaxHello {
		return fmt.Errorf("the peer's hello has %d bytes; at most %d are allowed", n, MaxHello)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("read hello: %w", err)
	}
	return m.parse(b)
}

func unixNano(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

func fromNano(n uint64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n))
}
