package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
)

var writers = map[string]func(io.Writer) *Writer{"direct": NewWriter, "async": NewAsyncWriter}

// cutConn takes n bytes, and then fails.
type cutConn struct {
	bytes.Buffer
	left int
}

var errCut = errors.New("the link is down")

func (c *cutConn) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	c.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errCut
	}
	return n, nil
}

// whole is a connection that takes everything.
func whole() *cutConn { return &cutConn{left: math.MaxInt} }

// drain reads what has come whole, and returns it without what is not counted.
func drain(t *testing.T, r *Reader, conn *cutConn) (got []Message) {
	t.Helper()
	r.Continue(&conn.Buffer)
	for {
		m, err := r.Read()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		if typ, _ := m.frame(); typ.counted() {
			m, _ = NewReader(bytes.NewReader(appendFrame(nil, m))).Read() // its bytes are good until the next Read only
			got = append(got, m)
		}
	}
}

// TestCutAtEveryByte: wherever a connection breaks, the next one brings what is
// missing, once and in order.
func TestCutAtEveryByte(t *testing.T) {
	total := 0
	for _, m := range messages {
		total += len(appendFrame(nil, m))
	}
	var want []Message
	for _, m := range messages {
		if typ, _ := m.frame(); typ.counted() {
			want = append(want, m)
		}
	}
	for name, make := range writers {
		for n := range total + 1 {
			first, second := &cutConn{left: n}, whole()
			w, r := make(first), NewReader(nil)
			w.Retain()
			for _, m := range messages {
				if err := w.Send(m); err != nil {
					t.Fatalf("%s, cut at %d: %v", name, n, err)
				}
			}
			w.settle(first)
			got := drain(t, r, first)
			w.Detach()
			if err := w.Acked(r.Received()); err != nil {
				t.Fatal(err)
			}
			w.Attach(second)
			w.Flush()
			w.Close()
			if got = append(got, drain(t, r, second)...); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, cut at %d: %d frames came, want %d", name, n, len(got), len(want))
			}
		}
	}
}

// settle waits until all that was sent has been written, or conn has failed.
func (w *Writer) settle(conn *cutConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.writing || len(w.buf) > 0 {
		w.cond.Wait()
	}
}

// TestBrokenOften: both directions of a session over many connections, each of
// which breaks somewhere, with acknowledgements under way.
func TestBrokenOften(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 3))
		conn := whole()
		w, in := NewWriter(conn), NewReader(nil)
		w.Retain()
		sent, came := uint64(0), uint64(0)
		for range 30 {
			for range r.IntN(40) {
				sent++
				w.Send(&Output{Ref: ref, Stream: 1, Data: fmt.Appendf(make([]byte, r.IntN(5000)), "%d", sent)}, &Ping{Seq: sent})
			}
			for _, m := range drain(t, in, conn) {
				came++
				if data := m.(*Output).Data; !bytes.HasSuffix(data, fmt.Appendf(nil, "%d", came)) {
					t.Fatalf("seed %d: frame %d is not the one that was due", seed, came)
				}
			}
			if ack := in.Ack(); ack != nil && r.IntN(2) == 0 {
				if err := w.Acked(ack.Received); err != nil {
					t.Fatal(err)
				}
			}
			w.Detach()
			if err := w.Acked(in.Received()); err != nil {
				t.Fatal(err)
			}
			conn = &cutConn{left: r.IntN(100_000)}
			w.Attach(conn)
			w.Flush()
		}
		w.Detach()
		conn = whole()
		w.Attach(conn)
		w.Flush()
		if came += uint64(len(drain(t, in, conn))); came != sent || in.Received() != sent {
			t.Errorf("seed %d: %d of %d frames came", seed, came, sent)
		}
	}
}

func TestImpossibleAcks(t *testing.T) {
	w := NewWriter(io.Discard)
	w.Retain()
	w.Send(&Started{Ref: ref}, &Started{Ref: ref}, &Ping{1}, &Started{Ref: ref})
	for _, c := range []struct {
		n  uint64
		ok bool
	}{{4, false}, {math.MaxUint64, false}, {2, true}, {2, true}, {1, false}, {0, false}, {3, true}, {4, false}} {
		if err := w.Acked(c.n); (err == nil) != c.ok {
			t.Errorf("Acked(%d): %v", c.n, err)
		}
	}
	if n := w.Pending(); n != 0 {
		t.Errorf("%d frames are kept", n)
	}
}

// TestWhatIsKeptIsBounded by what the peer has not acknowledged.
func TestWhatIsKeptIsBounded(t *testing.T) {
	conn := whole()
	w, in := NewWriter(conn), NewReader(nil)
	w.Retain()
	data := make([]byte, MaxChunk)
	for range 200 {
		w.Send(&Output{Ref: ref, Stream: 1, Data: data})
		drain(t, in, conn)
		if ack := in.Ack(); ack != nil {
			if err := w.Acked(ack.Received); err != nil {
				t.Fatal(err)
			}
		}
		if kept := len(w.kept.frames); kept > ackBytes+2*MaxChunk {
			t.Fatalf("%d bytes are kept", kept)
		}
	}
	if c := cap(w.kept.frames); c > 2<<20 {
		t.Errorf("%d bytes are allocated", c)
	}
}

func TestWhenToAcknowledge(t *testing.T) {
	for name, c := range map[string]struct {
		frames []Message
		want   uint64
	}{
		"nothing":                     {nil, 0},
		"a little":                    {[]Message{&Started{Ref: ref}}, 0},
		"a little, and a ping":        {[]Message{&Started{Ref: ref}, &Ping{1}}, 1},
		"a little, and a pong":        {[]Message{&Started{Ref: ref}, &Pong{1}}, 1},
		"a ping":                      {[]Message{&Ping{1}}, 0},
		"an ack":                      {[]Message{&Ack{9}}, 0},
		"many":                        {slicesRepeat(&Started{Ref: ref}, ackFrames), ackFrames},
		"one less":                    {slicesRepeat(&Started{Ref: ref}, ackFrames-1), 0},
		"much":                        {slicesRepeat(&Output{Ref: ref, Stream: 1, Data: make([]byte, MaxChunk)}, 4), 4},
		"much, but not that much yet": {slicesRepeat(&Output{Ref: ref, Stream: 1, Data: make([]byte, MaxChunk)}, 3), 0},
	} {
		t.Run(name, func(t *testing.T) {
			conn := whole()
			w := NewWriter(conn)
			w.Send(c.frames...)
			in := NewReader(nil)
			drain(t, in, conn)
			ack := in.Ack()
			if got := ack; (got != nil) != (c.want > 0) || got != nil && got.Received != c.want {
				t.Errorf("%+v, want %d", got, c.want)
			}
			if again := in.Ack(); ack != nil && again != nil {
				t.Errorf("acknowledged twice: %+v", again)
			}
		})
	}
}

func slicesRepeat(m Message, n int) (list []Message) {
	for range n {
		list = append(list, m)
	}
	return list
}

// TestUnknownFramesCount: a peer that skips a frame and one that sent it agree
// on how many there were.
func TestUnknownFramesCount(t *testing.T) {
	conn := whole()
	conn.Write(frame(200, 0, []byte("from the future")))
	NewWriter(conn).Send(&Started{Ref: ref})
	in := NewReader(nil)
	drain(t, in, conn)
	if n := in.Received(); n != 2 {
		t.Errorf("%d frames", n)
	}
}

// hungConn has nobody at its other end: a write lasts until it is closed.
type hungConn struct{ begun, closed chan struct{} }

func newHungConn() hungConn { return hungConn{make(chan struct{}, 1), make(chan struct{})} }

func (c hungConn) Write([]byte) (int, error) {
	c.begun <- struct{}{}
	<-c.closed
	return 0, errCut
}

// TestAwayWriterNeverWaits: without a connection frames gather, heartbeats do
// not, and Close does not wait.
func TestAwayWriterNeverWaits(t *testing.T) {
	for name, make := range writers {
		t.Run(name, func(t *testing.T) {
			conn := newHungConn()
			w := make(conn)
			w.Retain()
			var sent sync.WaitGroup
			sent.Go(func() { w.Send(&Started{Ref: ref}) })
			<-conn.begun
			close(conn.closed)
			w.Detach()
			sent.Wait()
			for range 10 {
				if err := w.Send(&Started{Ref: ref}, &Ping{1}, &Ack{1}); err != nil {
					t.Fatal(err)
				}
			}
			if n := w.Pending(); n != 11 {
				t.Errorf("%d frames are kept", n)
			}
			if err := w.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := w.Send(&Started{Ref: ref}); err != ErrClosed {
				t.Errorf("Send after Close: %v", err)
			}
		})
	}
}

func TestResumeContextCoversTheCount(t *testing.T) {
	a, b := &Hello{Launch: "l", Element: "e"}, &Hello{Launch: "l", Element: "e", Received: 1}
	if bytes.Equal(a.ResumeContext(), b.ResumeContext()) {
		t.Error("hellos with different counts prove the same")
	}
	if bytes.Equal(a.ResumeContext(), a.ProofContext()) {
		t.Error("a hello that goes on with a session proves what one of a new session does")
	}
}

// BenchmarkSend is with a lease and without.
func BenchmarkSend(b *testing.B) {
	for _, lease := range []bool{false, true} {
		b.Run(fmt.Sprint("lease=", lease), func(b *testing.B) {
			w := NewWriter(io.Discard)
			if lease {
				w.Retain()
			}
			n := uint64(0)
			for b.Loop() {
				w.Send(messages[4])
				if n++; lease && n%ackFrames == 0 {
					w.Acked(n)
				}
			}
		})
	}
}

// gate is a connection on which nothing is written before it is open.
type gate struct {
	came chan struct{} // has one when something is to be
	open chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	select {
	case g.came <- struct{}{}:
	default:
	}
	<-g.open
	return len(p), nil
}

// TestBound: a Writer whose peer takes or acknowledges too little fails for good,
// and forgets what it kept.
func TestBound(t *testing.T) {
	const frames = 4*ackFrames + 16
	for name, c := range map[string]struct {
		lease, link bool
		take        uint64 // frames after which one is taken
		frame       Message
		bytes       int // the bound, if it is to be less
		fits        int // frames that do; 0 for all
	}{
		"written and acknowledged":         {lease: true, link: true, take: 1000, frame: &Recall{ref}},
		"written, without a lease":         {link: true, frame: &Recall{ref}},
		"not acknowledged":                 {lease: true, link: true, frame: &Recall{ref}, fits: frames},
		"not written":                      {frame: &Recall{ref}, fits: frames},
		"not written, with a lease":        {lease: true, frame: &Recall{ref}, fits: frames},
		"answers that are not written":     {frame: &Pong{1}, fits: frames},
		"answers that need no acknowledge": {lease: true, link: true, frame: &Pong{1}},
		"much that is not acknowledged":    {lease: true, link: true, frame: &Output{Ref: ref, Stream: 1, Data: make([]byte, MaxChunk)}, bytes: 10 * MaxChunk, fits: 9},
		"much that is not written":         {frame: &Output{Ref: ref, Stream: 1, Data: make([]byte, MaxChunk)}, bytes: 10 * MaxChunk, fits: 9},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &gate{came: make(chan struct{}, 1), open: make(chan struct{})}
			if c.link {
				close(conn.open)
			}
			w := NewAsyncWriter(conn)
			if c.lease {
				w.Retain()
			}
			if w.Bound(2, 5*MaxFrame); c.bytes > 0 {
				w.most.bytes = c.bytes
			}
			if !c.link { // the goroutine is to have one frame in hand, and no more
				w.Send(&Ping{1})
				<-conn.came
			}
			sent := 0
			for sent < 3*frames && w.Send(c.frame) == nil {
				if sent++; c.take > 0 && uint64(sent)%c.take == 0 {
					w.Acked(uint64(sent))
				}
				if c.link {
					w.settle(nil)
				}
			}
			if sent != c.fits && (c.fits > 0 || sent != 3*frames) || w.Behind() != (c.fits > 0) {
				t.Errorf("%d frames were taken; want %d; behind: %v", sent, c.fits, w.Behind())
			}
			if n := len(w.buf); w.Behind() && (n > 0 || c.lease && (w.kept.frames != nil || w.Acked(1) != ErrBehind)) {
				t.Errorf("%d bytes are left", n)
			}
			if !c.link {
				close(conn.open)
			}
			if err := w.Close(); (err == ErrBehind) != (c.fits > 0) {
				t.Errorf("Close: %v", err)
			}
		})
	}
	if w := NewWriter(nil); w.overrun() {
		t.Error("there is a bound that nobody has set")
	}
}
