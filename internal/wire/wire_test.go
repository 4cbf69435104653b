package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"muster/rng"
	"muster/task"
)

var ref = Ref{Task: 7, Attempt: 2, Epoch: 1 << 40}

// messages has every frame with every field set.
var messages = []Message{
	&Assign{Ref: ref, Window: MinWindow, OnlyAfterSuccess: true, Spec: task.Spec{Live: true, Argv: []string{"a", "", "c d"},
		Dir: "/x", Env: []string{"A=1", "B="}, Timeout: time.Minute, Index: 9, Name: "n", Stream: rng.Seed(1),
		Shares: []task.Share{{Name: "s", Ref: "{}", Needed: true}, {Name: "t"}}}},
	&Started{ref, 2},
	&Output{Ref: ref, Stream: 2, Data: []byte("out\x00put")},
	&Credit{ref, 1 << 20},
	&Result{Ref: ref, Slot: 3, Note: "n", Started: time.Unix(5, 6), Elapsed: time.Second, Stdout: []byte("o"), Stderr: []byte("e"), Stream: rng.Seed(2),
		Err: &task.ErrorValue{Kind: task.KindSignal, Code: 139, Message: "m", Signal: "SIGSEGV", Evidence: "e", Detail: json.RawMessage(`{"a":1}`)}},
	&Cancel{ref, task.Timeout("why")},
	&Recall{ref},
	&Returned{Ref: ref, Lack: &task.Lack{Kind: task.LackDirectory, Code: 126, Message: "m", Evidence: "e"}},
	&Lost{ref, "killed"},
	&Ping{1},
	&Pong{math.MaxUint64},
	&Drain{"SIGTERM"},
	&Goodbye{2, "walltime"},
	&Share{"id", 1 << 33, 1 << 34, []byte("piece")},
	&Shared{"id", 1 << 33, true, "why"},
	&Unshare{"id"},
	&Ack{1 << 33},
}

func TestEveryMessageSurvives(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for _, m := range messages {
		if err := w.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&buf)
	for _, want := range messages {
		got, err := r.Read()
		if err != nil {
			t.Fatalf("%T: %v", want, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("sent %+v, got %+v", want, got)
		}
	}
	if _, err := r.Read(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestZeroFieldsTakeNoRoomAndComeBack(t *testing.T) {
	for _, m := range []Message{&Started{}, &Result{}, &Ping{}, &Drain{}, &Goodbye{}, &Credit{}, &Lost{}} {
		b := appendFrame(nil, m)
		if len(b) != 6 {
			t.Errorf("%T takes %d bytes", m, len(b))
		}
		got, err := NewReader(bytes.NewReader(b)).Read()
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T came back as %+v, %v", m, got, err)
		}
	}
}

// frame makes a frame of any type.
func frame(typ, flags byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)+2))
	return append(append(b, typ, flags), body...)
}

func TestWhatIsUnknownIsSkipped(t *testing.T) {
	body := appendFrame(nil, &Ping{5})[6:]
	body = protowire.AppendTag(body, 99, protowire.VarintType)
	body = protowire.AppendVarint(body, 1)
	body = protowire.AppendTag(body, 100, protowire.Fixed64Type)
	body = protowire.AppendFixed64(body, 1)
	body = protowire.AppendTag(body, 101, protowire.BytesType)
	body = protowire.AppendBytes(body, []byte("new"))
	stream := append(frame(200, 0, []byte("a frame from the future")), frame(byte(TypePing), 1, body)...)
	got, err := NewReader(bytes.NewReader(stream)).Read()
	if p, ok := got.(*Ping); err != nil || !ok || p.Seq != 5 {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = NewReader(bytes.NewReader(frame(200, flagRequired, nil))).Read()
	if err == nil || !strings.Contains(err.Error(), "type 200") {
		t.Errorf("a required frame of an unknown type: %v", err)
	}
}

func TestBadFramesAreRefused(t *testing.T) {
	huge := binary.BigEndian.AppendUint32(nil, MaxFrame+1)
	for name, b := range map[string][]byte{
		"too long":             append(huge, make([]byte, 10)...),
		"too short":            {0, 0, 0, 1, 1, 0},
		"no command":           frame(byte(TypeAssign), 1, nil),
		"a chunk too large":    appendFrame(nil, &Output{Ref: ref, Stream: 1, Data: make([]byte, MaxChunk+1)}),
		"no stream":            appendFrame(nil, &Output{Ref: ref, Data: []byte("x")}),
		"a third stream":       appendFrame(nil, &Output{Ref: ref, Stream: 3, Data: []byte("x")}),
		"a cut-off field":      frame(byte(TypeLost), 1, []byte{4<<3 | 2, 100, 'x'}),
		"a bad field number":   frame(byte(TypePing), 1, []byte{0, 1}),
		"half a random stream": frame(byte(TypeResult), 1, protowire.AppendBytes([]byte{12<<3 | 2}, make([]byte, 12))),
		"no random stream":     frame(byte(TypeResult), 1, protowire.AppendBytes([]byte{12<<3 | 2}, make([]byte, 24))),
		"a bad inner message":  frame(byte(TypeResult), 1, []byte{7<<3 | 2, 1, 0xff}),
	} {
		if m, err := NewReader(bytes.NewReader(b)).Read(); err == nil {
			t.Errorf("%s: read as %+v", name, m)
		}
	}
	whole := appendFrame(nil, messages[0])
	for n := 1; n < len(whole); n++ {
		if _, err := NewReader(bytes.NewReader(whole[:n])).Read(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut off after %d bytes: %v", n, err)
		}
	}
}

func TestHostileNumbersDoNotWrapAround(t *testing.T) {
	body := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 1<<32+1)
	m, err := NewReader(bytes.NewReader(frame(byte(TypeStarted), 1, body))).Read()
	if err != nil || m.(*Started).Attempt != math.MaxUint32 {
		t.Errorf("attempt 2^32+1 read as %+v, %v", m, err)
	}
}

func TestHello(t *testing.T) {
	want := &Hello{Version: 1, MinVersion: 1, Launch: "l", Element: "e", Restart: 2, Proof: []byte{1, 2},
		Host: "h", Pid: 3, Slots: 4, Build: "b", Lease: true, Resume: true, Received: 1 << 40}
	var buf bytes.Buffer
	if err := WriteHello(&buf, want); err != nil {
		t.Fatal(err)
	}
	buf.WriteString("what follows")
	got := &Hello{}
	if err := ReadHello(&buf, got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if buf.String() != "what follows" {
		t.Errorf("the hello took more than its own: %q is left", buf.String())
	}
	welcome := &Welcome{Version: 1, Refused: "no", WorkerID: "w", Heartbeat: time.Second, Lease: time.Hour, Received: 7}
	back := &Welcome{}
	if err := errors.Join(WriteHello(&buf, welcome), ReadHello(bytes.NewReader(buf.Bytes()[12:]), back)); err != nil || *back != *welcome {
		t.Errorf("%+v, %v", back, err)
	}
	if err := WriteHello(io.Discard, &Hello{Host: strings.Repeat("x", MaxHello)}); err == nil {
		t.Error("a hello that nobody reads was sent")
	}
	long := binary.BigEndian.AppendUint32([]byte(magic), MaxHello+1)
	for name, b := range map[string][]byte{"long": long, "foreign": []byte("GET / HTTP/1.1\r\n\r\n"), "short": []byte(magic)} {
		if err := ReadHello(bytes.NewReader(b), &Hello{}); err == nil {
			t.Errorf("a %s hello was read", name)
		}
	}
}

func TestProofContextTellsIdentitiesApart(t *testing.T) {
	a := &Hello{Launch: "a", Element: "b1", Restart: 1}
	for _, b := range []*Hello{{Launch: "ab", Element: "1", Restart: 1}, {Launch: "a", Element: "b", Restart: 11}, {Launch: "a", Element: "b1", Restart: 2}} {
		if bytes.Equal(a.ProofContext(), b.ProofContext()) {
			t.Errorf("%+v and %+v prove the same", a, b)
		}
	}
}

func TestWritersDoNotMixFrames(t *testing.T) {
	for name, make := range map[string]func(io.Writer) *Writer{"direct": NewWriter, "async": NewAsyncWriter} {
		r, w := io.Pipe()
		out := make(w)
		const senders, each = 8, 200
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				for j := range each {
					out.Send(&Result{Ref: Ref{Task: task.ID(i + 1), Attempt: uint32(j)}, Stdout: bytes.Repeat([]byte{byte(i)}, 3000)})
				}
			})
		}
		go func() { wg.Wait(); out.Close(); w.Close() }()
		next := [senders]uint32{}
		in := NewReader(r)
		n := 0
		for m, err := in.Read(); err == nil; m, err = in.Read() {
			res := m.(*Result)
			i := int(res.Task) - 1
			if res.Attempt != next[i] || len(res.Stdout) != 3000 || res.Stdout[2999] != byte(i) {
				t.Fatalf("%s: frame %d of sender %d is out of order or mixed", name, res.Attempt, i)
			}
			next[i]++
			n++
		}
		if n != senders*each {
			t.Errorf("%s: %d frames arrived", name, n)
		}
	}
}

func TestWriterReportsAFailedWrite(t *testing.T) {
	for name, make := range map[string]func(io.Writer) *Writer{"direct": NewWriter, "async": NewAsyncWriter} {
		r, w := io.Pipe()
		r.CloseWithError(errors.New("gone"))
		out := make(w)
		out.Send(&Ping{1})
		if err := out.Close(); err == nil || err.Error() != "gone" {
			t.Errorf("%s: Close: %v", name, err)
		}
		if err := out.Send(&Ping{2}); err == nil {
			t.Errorf("%s: a frame was taken after a failure", name)
		}
	}
	out := NewWriter(io.Discard)
	out.Close()
	if err := out.Send(&Ping{1}); err != ErrClosed {
		t.Errorf("Send after Close: %v", err)
	}
}

func TestQueuedWaitsForTheNextSend(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	w.Queue(&Ping{1})
	if buf.Len() != 0 {
		t.Error("a queued frame was written at once")
	}
	w.Send(&Ping{2})
	r := NewReader(&buf)
	for seq := uint64(1); seq <= 2; seq++ {
		if m, err := r.Read(); err != nil || m.(*Ping).Seq != seq {
			t.Errorf("%+v, %v", m, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, m := range messages {
		f.Add(appendFrame(nil, m))
	}
	f.Add(frame(200, 1, nil))
	f.Add([]byte("\x00\x00\x00\x10\x03\x01\b\a@@@@@\x80\x80\x00 \x02*\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for {
			m, err := r.Read()
			if err != nil {
				return
			}
			frame := appendFrame(nil, m)
			again, err := NewReader(bytes.NewReader(frame)).Read()
			// Compared as frames: bytes of which there are none may be nil or empty.
			if err != nil || !bytes.Equal(appendFrame(nil, again), frame) {
				t.Fatalf("%+v became %+v, %v", m, again, err)
			}
		}
	})
}

func FuzzHello(f *testing.F) {
	var buf bytes.Buffer
	WriteHello(&buf, &Hello{Version: 1, Launch: "l", Proof: []byte{1}})
	f.Add(bytes.Clone(buf.Bytes()))
	buf.Reset()
	WriteHello(&buf, &Hello{Version: 1, Lease: true, Resume: true, Received: 9})
	f.Add(bytes.Clone(buf.Bytes()))
	buf.Reset()
	WriteHello(&buf, &Welcome{Version: 1, Lease: MaxLease, Received: 9})
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []Message{&Hello{}, &Welcome{}} {
			if ReadHello(bytes.NewReader(b), m) != nil {
				continue
			}
			var again bytes.Buffer
			if err := WriteHello(&again, m); err != nil {
				t.Fatalf("%+v was read and cannot be written: %v", m, err)
			}
		}
	})
}

func BenchmarkAssignAndResult(b *testing.B) {
	pair := appendFrame(appendFrame(nil, messages[0]), messages[4])
	b.SetBytes(int64(len(pair)))
	var buf []byte
	in := bytes.NewReader(nil)
	r := NewReader(in)
	for b.Loop() {
		buf = appendFrame(appendFrame(buf[:0], messages[0]), messages[4])
		in.Reset(buf)
		for range 2 {
			if _, err := r.Read(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// TestIdleIsSmall: thousands of sessions that say nothing cost next to nothing,
// also after a large frame each.
func TestIdleIsSmall(t *testing.T) {
	const n, most = 500, 2 << 10 // bytes for a Reader and a Writer
	goroutines := runtime.NumGoroutine()
	before := heap()
	readers, writers := make([]*Reader, n), make([]*Writer, n)
	for i := range n {
		var b bytes.Buffer
		readers[i], writers[i] = NewReader(&b), NewAsyncWriter(&b)
		writers[i].Send(&Result{Stdout: make([]byte, 100<<10)})
		for range 200 {
			writers[i].Send(&Ping{})
		}
		writers[i].Close()
		for range 201 {
			if _, err := readers[i].Read(); err != nil {
				t.Fatal(err)
			}
		}
		for range 200 {
			b.Write(appendFrame(nil, &Ping{}))
			if _, err := readers[i].Read(); err != nil {
				t.Fatal(err)
			}
		}
		readers[i].Continue(nil)
		writers[i].w = nil
	}
	if each := (heap() - before) / n; each > most {
		t.Errorf("a Reader and a Writer that are idle hold %d bytes; at most %d are to be", each, most)
	}
	if now := runtime.NumGoroutine(); now > goroutines+n/10 {
		t.Errorf("there were %d goroutines, and are %d", goroutines, now)
	}
	runtime.KeepAlive(readers)
	runtime.KeepAlive(writers)
}

func heap() int {
	runtime.GC()
	runtime.GC() // pools give what they have to the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestGreatFrames: a peer that says that much comes gets memory for what has come.
func TestGreatFrames(t *testing.T) {
	before := heap()
	var readers []*Reader
	for range 20 {
		r := NewReader(bytes.NewReader([]byte{0, 0xff, 0xff, 0xff, byte(TypeOutput), 0, 1, 2, 3}))
		if _, err := r.Read(); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	if held := heap() - before; held > 1<<20 {
		t.Errorf("20 frames that never came hold %d bytes", held)
	}
	runtime.KeepAlive(readers)
}

// reads counts calls.
type reads struct {
	io.Reader
	n int
}

func (r *reads) Read(p []byte) (int, error) {
	r.n++
	return r.Reader.Read(p)
}

// TestBusyReadsAreLarge: a peer that says much is read in large pieces, however its
// frames lie in them.
func TestBusyReadsAreLarge(t *testing.T) {
	var b []byte
	for i := range 100_000 {
		b = appendFrame(b, &Goodbye{Text: strings.Repeat("x", i%150)})
	}
	from := &reads{Reader: bytes.NewReader(b)}
	r := NewReader(from)
	for i := range 100_000 {
		m, err := r.Read()
		if err != nil || len(m.(*Goodbye).Text) != i%150 {
			t.Fatalf("frame %d: %+v, %v", i, m, err)
		}
	}
	if most := 2*len(b)/maxBuffer + 20; from.n > most {
		t.Errorf("%d bytes took %d reads; at most %d are to do", len(b), from.n, most)
	}

}

// TestMore: a frame that has come only in part is not there yet.
func TestMore(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Send(&Ping{Seq: 1}, &Ping{Seq: 2}, &Output{Stream: 1, Data: make([]byte, 100)})
	b.Truncate(b.Len() - 1)
	r := NewReader(&b)
	for i, want := range []bool{true, false} {
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
		if got := r.More(); got != want {
			t.Errorf("after frame %d: %v", i+1, got)
		}
	}
}
