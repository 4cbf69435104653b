package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// A session with a lease goes on over another connection when its own has
// broken. For that each direction numbers its frames, from 1 at the session's
// start and over all of its connections. The numbers do not travel: both sides
// count. Ping, Pong and Ack are about a connection and not counted; every other
// frame is, those of a type that the peer does not know too. A sender keeps
// each counted frame until an Ack says that it has come. Hello and Welcome of
// another connection say how far each side has got, and each sends the rest
// again, in order, before anything new: every frame arrives once.
//
// What a sender keeps is bounded by what the protocol lets it send. A worker's
// output is bounded by its tasks' windows, MaxWindow each, the rest by the number of
// tasks that a worker has, and what has come without having been acknowledged by
// ackBytes and a frame. A
// dispatcher hangs up on a worker that answers pings and acknowledges nothing,
// and on one that is further behind than that: see Writer.Bound.

// MaxLease bounds what a dispatcher may grant.
const MaxLease = 30 * 24 * time.Hour

// How much may come before it is acknowledged; a heartbeat acknowledges less.
const (
	ackFrames = 256
	ackBytes  = 256 << 10
)

// counted reports whether frames of a type have a number.
func (t Type) counted() bool { return t != TypePing && t != TypePong && t != TypeAck }

// count is what a Reader knows of the frames that have come.
type count struct {
	frames, acked uint64 // since the session's start
	bytes         int    // since the last Ack
	beat          bool   // the last frame was a heartbeat's
}

func (c *count) frame(t Type, size int) {
	c.beat = t == TypePing || t == TypePong
	if t.counted() {
		c.frames++
		c.bytes += size
	}
}

// Received returns how many counted frames have come since the session's start.
func (r *Reader) Received() uint64 { return r.count.frames }

// Ack returns what the peer is due to be told after the last frame, nil if
// nothing. A frame must have been dealt with before it is acknowledged.
func (r *Reader) Ack() *Ack {
	c := &r.count
	n := c.frames - c.acked
	if n == 0 || !c.beat && n < ackFrames && c.bytes < ackBytes {
		return nil
	}
	c.acked, c.bytes = c.frames, 0
	return &Ack{Received: c.frames}
}

// Continue reads on from another connection of the same session. What had come
// of a frame that the last one broke off is forgotten: it is sent again.
func (r *Reader) Continue(conn io.Reader) { r.r, r.begin, r.end = conn, 0, 0 }

// retained is what a Writer keeps for another connection.
type retained struct {
	sent, acked uint64 // frames since the session's start
	frames      []byte // acked+1 to sent
}

// Retain makes the Writer keep every counted frame until the peer has
// acknowledged it. It is called before the first Send. From then on a write that
// fails is no error of Send: frames gather until Attach.
func (w *Writer) Retain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = &retained{}
}

// keep notes the frame at buf[start:]. Under mu.
func (w *Writer) keep(start int) {
	if Type(w.buf[start+4]).counted() {
		w.kept.sent++
		w.kept.frames = append(w.kept.frames, w.buf[start:]...)
	}
	if w.w == nil {
		w.buf = nil // nothing gathers without a connection
		w.frames--
	}
}

// backlog is how far a peer is, or may be, behind.
type backlog struct{ frames, bytes int }

func (b backlog) exceeds(most backlog) bool { return b.frames > most.frames || b.bytes > most.bytes }

// Bound makes the Writer of a dispatcher fail with ErrBehind, for good, when the
// worker is further behind than one that may have so many tasks, of so many bytes
// in all, and that keeps to the protocol: in frames and bytes that have not been
// written or, after Retain, not been acknowledged.
//
// A worker acknowledges ackFrames or ackBytes before it says anything of what
// comes after them, and it is sent a task only for one that it has ended. So it can
// be behind by these, by its tasks and the frame that was one too many, and by a
// few small frames about each task: credit for the windows that it has filled, a
// recall, a cancel. Pings come on top, one a heartbeat; the bounds leave room for
// them.
func (w *Writer) Bound(tasks, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.most = backlog{4*ackFrames + 8*tasks, bytes}
}

// overrun ends the Writer if the peer is too far behind. Under mu.
func (w *Writer) overrun() bool {
	if w.most == (backlog{}) {
		return false
	}
	over := backlog{w.frames, len(w.buf)}.exceeds(w.most)
	if k := w.kept; k != nil {
		over = over || backlog{int(k.sent - k.acked), len(k.frames)}.exceeds(w.most)
	}
	if over {
		w.err, w.buf, w.frames = ErrBehind, nil, 0
		if w.kept != nil {
			w.kept.frames = nil
		}
	}
	return over
}

// Behind reports whether the Writer has failed with ErrBehind: nobody can go on
// with its session.
func (w *Writer) Behind() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err == ErrBehind
}

// Acked says that the peer has n frames, and forgets them. That it has less
// than it had, or more than were sent, is an error and changes nothing; so is
// ErrBehind.
func (w *Writer) Acked(n uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	k := w.kept
	if n < k.acked || n > k.sent {
		return fmt.Errorf("the peer says that it has %d frames; it had %d, and %d were sent", n, k.acked, k.sent)
	}
	at := 0
	for ; k.acked < n; k.acked++ {
		at += 4 + int(binary.BigEndian.Uint32(k.frames[at:]))
	}
	if k.frames = k.frames[at:]; len(k.frames) == 0 {
		k.frames = nil
	}
	return nil
}

// Progress returns how many frames have been sent and how many of those the
// peer has acknowledged.
func (w *Writer) Progress() (sent, acked uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept.sent, w.kept.acked
}

// Pending returns how many frames are kept.
func (w *Writer) Pending() uint64 {
	sent, acked := w.Progress()
	return sent - acked
}

// Detach ends writing to a connection that the caller has closed, for which it
// waits. What is sent from now on is kept only.
func (w *Writer) Detach() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.w, w.buf, w.frames = nil, nil, 0
	for w.writing {
		w.cond.Wait()
	}
	w.w, w.buf, w.frames = nil, nil, 0
}

// Attach makes another connection the one that is written to, after Detach and
// after Acked with what the peer has: what is kept is due to be written to it
// first. It does not wait for that; a Writer without a goroutine does it with
// the next Flush or Send.
func (w *Writer) Attach(conn io.Writer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.w, w.buf = conn, append([]byte(nil), w.kept.frames...)
	w.frames = int(w.kept.sent - w.kept.acked)
	if w.async {
		w.flush()
	}
}
