package worker

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"muster/internal/wire"
)

// far is a dispatcher's end of a link that can be cut, as far as flows know it:
// it counts windows, and gives credit as it likes.
type far struct {
	t      *testing.T
	in     *wire.Reader
	stream bytes.Buffer // what was written and not read
	window int
	got    [2]bytes.Buffer
	result *wire.Result
}

// uplink makes one that writes to f and has nothing but flows.
func (f *far) uplink(dir string) *uplink {
	f.in = wire.NewReader(&f.stream)
	u := &uplink{o: &Options{Scratch: dir}, log: hclog.NewNullLogger(), lease: 1, out: wire.NewWriter(&f.stream),
		flows: map[wire.Ref]*flow{}, settled: func() {}}
	u.out.Retain()
	return u
}

// read takes what has come.
func (f *far) read() {
	f.t.Helper()
	for {
		m, err := f.in.Read()
		if err == io.EOF {
			return
		}
		switch m := m.(type) {
		case *wire.Output:
			if f.window -= len(m.Data); f.window < 0 || f.result != nil {
				f.t.Fatalf("%d bytes beyond the window, or after the result", -f.window)
			}
			f.got[m.Stream-1].Write(m.Data)
		case *wire.Result:
			f.result = m
		default:
			f.t.Fatalf("got %#v, %v", m, err)
		}
	}
}

// TestFlow: whatever the link does, a task is never given more credit than its
// output can be kept for, the dispatcher's window is kept, and all that the task
// printed comes in order, with the result behind it.
func TestFlow(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 5))
		f := &far{t: t, window: wire.MinWindow}
		dir := t.TempDir()
		if seed%3 == 0 {
			dir = "/nowhere" // nothing can be kept but in memory
		}
		u := f.uplink(dir)
		fl := &flow{ref: wire.Ref{Task: 1}, allowed: wire.MinWindow}
		window, used, sent := wire.MinWindow, 0, [2]int{}
		for range 200 {
			switch r.IntN(6) {
			case 0:
				u.away.Store(true)
				window += fl.grant(u)
			case 1:
				u.away.Store(false)
				if r.IntN(2) == 0 { // else the slot is quicker
					fl.resume(u)
				}
			case 2:
				f.read()
				if n := wire.MinWindow - f.window; !u.away.Load() && n > 0 {
					f.window += n
					used += n
					window += fl.credit(u, n)
				}
			default:
				n, stream := 1+r.IntN(wire.MaxChunk), r.IntN(2)
				if n > window {
					continue // the slot waits
				}
				window += fl.output(u, &wire.Output{Ref: fl.ref, Stream: uint8(stream + 1), Data: pattern(sent[stream], n)}) - n
				sent[stream] += n
			}
			if sum := fl.allowed - fl.backlog.left + fl.debt; sum != window {
				t.Fatalf("seed %d: the slot may send %d bytes, and %d add up", seed, window, sum)
			}
			if seed%3 == 0 && fl.backlog.left > 2*wire.MinWindow {
				t.Fatalf("seed %d: %d bytes in memory", seed, fl.backlog.left)
			}
		}
		fl.finish(u, &wire.Result{Ref: fl.ref, Stdout: []byte("the end")})
		u.away.Store(false)
		fl.resume(u)
		for range 10_000 {
			u.out.Flush()
			if f.read(); f.result != nil {
				break
			}
			n := wire.MinWindow - f.window
			f.window += n
			fl.credit(u, n)
		}
		if f.result == nil || string(f.result.Stdout) != "the end" || !fl.ended() {
			t.Fatalf("seed %d: the result has not come; %d bytes are left", seed, fl.backlog.left)
		}
		for i, n := range sent {
			if !bytes.Equal(f.got[i].Bytes(), pattern(0, n)) {
				t.Errorf("seed %d: of %d bytes of stream %d, %d came, or others", seed, n, i+1, f.got[i].Len())
			}
		}
		if n := u.held.Load(); n != 0 {
			t.Errorf("seed %d: %d bytes count as waiting", seed, n)
		}
	}
}

func pattern(from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((from + i) * 7 >> 4)
	}
	return b
}

// TestBacklogIsBounded: beyond what a worker keeps a task waits.
func TestBacklogIsBounded(t *testing.T) {
	f := &far{t: t, window: wire.MinWindow}
	u := f.uplink(t.TempDir())
	u.away.Store(true)
	u.held.Store(maxBacklog - 2*wire.MaxChunk)
	fl := &flow{ref: wire.Ref{Task: 1}, allowed: wire.MinWindow}
	chunk, credit := pattern(0, wire.MaxChunk), 0
	for range 3 {
		credit += fl.output(u, &wire.Output{Ref: fl.ref, Stream: 1, Data: chunk})
	}
	if credit != 2*wire.MaxChunk {
		t.Errorf("a credit of %d bytes, want that of two chunks", credit)
	}
	fl.drop(u)
	if n := u.held.Load(); n != maxBacklog-2*wire.MaxChunk {
		t.Errorf("%d bytes count as waiting", n)
	}
}

// TestDamagedBacklog: output that cannot be read back does not look whole.
func TestDamagedBacklog(t *testing.T) {
	f := &far{t: t, window: wire.MinWindow}
	u := f.uplink(t.TempDir())
	u.away.Store(true)
	fl := &flow{ref: wire.Ref{Task: 1}, allowed: wire.MinWindow}
	fl.output(u, &wire.Output{Ref: fl.ref, Stream: 1, Data: pattern(0, 1000)})
	fl.finish(u, &wire.Result{Ref: fl.ref})
	fl.backlog.file.Truncate(10)
	u.away.Store(false)
	fl.resume(u)
	u.out.Flush()
	f.read()
	if f.result == nil || f.result.Err == nil || !strings.Contains(f.result.Err.Message, "could not be kept") {
		t.Errorf("it came to %+v", f.result)
	}
}
