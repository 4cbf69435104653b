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
// output is bounded by its tasks' windows (MaxWindow each, and a worker has at
// most two tasks a slot), the rest by the number of tasks that a worker has, and
// what has come without having been acknowledged by ackBytes and a frame. A
// dispatcher hangs up on a worker that answers pings and acknowledges nothing.

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
func (r *Reader) Continue(conn io.Reader) { r.r.Reset(conn) }

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
		w.buf = w.buf[:start]
	}
}

// Acked says that the peer has n frames, and forgets them. That it has less
// than it had, or more than were sent, is an error and changes nothing.
func (w *Writer) Acked(n uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
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
	w.w, w.buf = nil, nil
	for w.writing {
		w.cond.Wait()
	}
	w.w, w.buf = nil, nil
}

// Attach makes another connection the one that is written to, after Detach and
// after Acked with what the peer has: what is kept is due to be written to it
// first. It does not wait for that; a Writer without a goroutine does it with
// the next Flush or Send.
func (w *Writer) Attach(conn io.Writer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.w, w.buf = conn, append([]byte(nil), w.kept.frames...)
	w.cond.Broadcast()
}
