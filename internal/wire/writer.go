package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"
)

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
