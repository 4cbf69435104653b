package relay_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	"muster/ssh/relay"
)

// script is a near side that says what it was given, whatever it is told, and
// then goes.
type script struct{ io.Reader }

func (script) Write(p []byte) (int, error) { return len(p), nil }
func (script) Close() error                { return nil }

// hello is a greeting of this version.
func hello() []byte {
	b := append([]byte("muster-relay"), make([]byte, 52)...)
	binary.BigEndian.PutUint32(b[12:], relay.Version)
	return b
}

// frame is one of yamux's: version, type, flags, stream, length (its spec.md).
func frame(kind byte, flags uint16, stream, length uint32, body string) []byte {
	b := []byte{0, kind}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	b = binary.BigEndian.AppendUint32(b, length)
	return append(b, body...)
}

// asking is a stream with one request.
func asking(stream uint32, size uint32, header string) []byte {
	body := string(binary.BigEndian.AppendUint32(nil, size)) + header
	return append(frame(1, 1, stream, 0, ""), frame(0, 0, stream, uint32(len(body)), body)...)
}

// FuzzServe says anything to the far side, greeting or not: it ends, without a
// panic and without taking memory for what was only announced. Operations that
// would change this machine are left out.
func FuzzServe(f *testing.F) {
	whole := func(h string) []byte { return asking(1, uint32(len(h)), h) }
	f.Add(false, []byte("Last login: yesterday\n"))
	f.Add(true, []byte{})
	f.Add(true, whole(`{"Op":"hello"}`))
	f.Add(true, whole(`{"Op":"alive","Args":[{"Pid":1,"Start":"1"}]}`))
	f.Add(true, whole(`{"Op":"tail","Args":{"Path":"L2V0Yy9ob3N0bmFtZQ==","N":99}}`))
	f.Add(true, whole(`{"Op":"stat","Args":"Lw==","Bulk":-1}`))
	f.Add(true, whole(`{"Op":"listen","Args":{"Host":"127.0.0.1"}}`))
	f.Add(true, append(whole(`{"Op":"hello"}`), frame(0, 0, 1, 8, "\x00\x00\x00\x02abcd")...))
	f.Add(true, asking(1, 1<<32-1, "{"))
	f.Add(true, frame(0, 1, 1, 1<<31, ""))
	f.Add(true, frame(2, 1, 0, 0, ""))
	f.Add(true, frame(3, 0, 0, 1, ""))
	f.Fuzz(func(t *testing.T, greets bool, says []byte) {
		for _, op := range []string{`"run"`, `"start"`, `"signal"`, `"write"`, `"remove"`, `\u`} {
			if bytes.Contains(says, []byte(op)) {
				t.Skip()
			}
		}
		if greets {
			says = append(hello(), says...)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		relay.Serve(t.Context(), script{bytes.NewReader(says)}, relay.ServeOptions{})
		runtime.ReadMemStats(&after)
		// yamux takes a frame's announced length at once, up to the window.
		if took, may := after.TotalAlloc-before.TotalAlloc, uint64(8<<20+1024*len(says)); took > may {
			t.Errorf("%d bytes made it take %d", len(says), took)
		}
	})
}

// FuzzConnect says anything to the near side.
func FuzzConnect(f *testing.F) {
	f.Add([]byte("bash: muster: command not found\n"))
	f.Add(hello())
	f.Add(append(hello(), frame(0, 2, 1, 10, "\x00\x00\x00\x06{\"x\":}")...))
	f.Add(append(hello(), asking(2, 30, `{"Listener":1,"Peer":"[::1]:1"}`)...))
	f.Fuzz(func(t *testing.T, says []byte) {
		c, err := relay.Connect(t.Context(), script{bytes.NewReader(says)}, relay.Options{})
		if err == nil {
			c.Close()
		}
	})
}
