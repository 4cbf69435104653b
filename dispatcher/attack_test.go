package dispatcher_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/spool"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

// siege is a live dispatcher behind a TCP port and a socket, with workers that work.
type siege struct {
	t      *testing.T
	d      *dispatcher.Dispatcher
	pool   *dispatcher.Pool
	id     *mtls.Identity
	launch *mtls.Launch
	tcp    string
	unix   string
	log    *lockedBuffer
	n      atomic.Int64 // workers so far
}

// lockedBuffer is a log that many write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSiege(t *testing.T) *siege {
	id, err := mtls.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &siege{t: t, id: id, log: &lockedBuffer{}, launch: mtls.NewLaunch("siege", mtls.Terms{Uses: 1000})}
	s.d = dispatcher.New(dispatcher.Options{Identity: id, Spool: spool.Open(t.TempDir()), Log: hclog.New(&hclog.LoggerOptions{Output: s.log})})
	if s.pool, err = s.d.NewPool("siege", dispatcher.PoolOptions{LostRetries: 1}); err != nil {
		t.Fatal(err)
	}
	s.pool.AddLaunch(s.launch, dispatcher.LaunchOptions{Lease: time.Minute})
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		if network == "tcp" {
			s.tcp = l.Addr().String()
		} else {
			s.unix = address
		}
		served := make(chan error)
		go func() { served <- s.d.Serve(l) }()
		t.Cleanup(func() {
			l.Close()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.d.Close(ctx)
	})
	return s
}

func (s *siege) dial(network string) net.Conn {
	address := s.tcp
	if network == "unix" {
		address = s.unix
	}
	c, err := net.Dial(network, address)
	if err != nil {
		s.t.Error(err)
		c, _ = net.Pipe()
	}
	return c
}

func (s *siege) hello() *wire.Hello {
	return &wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Launch: s.launch.ID(),
		Element: fmt.Sprint("w", s.n.Add(1)), Host: "host", Slots: 2, Build: "test", Lease: true}
}

// say says a hello on a connection, whose handshake it does, with proof as its proof,
// and returns the answer.
func (s *siege) say(raw net.Conn, h *wire.Hello, proof func(*mtls.Conn) []byte) (*mtls.Conn, *wire.Welcome, error) {
	conn, err := mtls.Client(context.Background(), raw, s.id.Pin())
	if err != nil {
		return nil, nil, err
	}
	h.Proof = proof(conn)
	if err := wire.WriteHello(conn, h); err != nil {
		return nil, nil, err
	}
	w := &wire.Welcome{}
	return conn, w, wire.ReadHello(conn, w)
}

// knows proves a token.
func (s *siege) knows(token mtls.Token, h *wire.Hello) func(*mtls.Conn) []byte {
	return func(c *mtls.Conn) []byte {
		proof, err := mtls.Proof(c, token, h.ProofContext())
		if err != nil {
			s.t.Error(err)
		}
		return proof
	}
}

// works joins a worker that ends each task as soon as it has it, until its session ends.
// It dials again when it is hung up on, as workers do.
func (s *siege) works(network string) {
	var raw net.Conn
	var conn *mtls.Conn
	_, before, _ := s.pool.Workers()
	for try := 1; ; try++ {
		raw = s.dial(network)
		h := s.hello()
		var w *wire.Welcome
		var err error
		if conn, w, err = s.say(raw, h, s.knows(s.launch.Token(), h)); err == nil && w.Refused == "" {
			break
		}
		raw.Close()
		if try == 100 {
			s.t.Errorf("a worker was not let in: %v %+v", err, w)
			return
		}
	}
	// It is welcomed before it counts.
	for _, now, changed := s.pool.Workers(); now == before; _, now, changed = s.pool.Workers() {
		<-changed
	}
	go func() {
		defer raw.Close()
		in, out := wire.NewReader(conn), wire.NewWriter(conn)
		out.Retain()
		for {
			m, err := in.Read()
			if err != nil {
				return
			}
			switch m := m.(type) {
			case *wire.Assign:
				out.Send(&wire.Started{Ref: m.Ref, Slot: 1}, &wire.Result{Ref: m.Ref, Slot: 1, Stdout: []byte(m.Spec.Argv[0])})
			case *wire.Ping:
				out.Send(&wire.Pong{Seq: m.Seq})
			case *wire.Ack:
				out.Acked(m.Received)
			case *wire.Goodbye:
				return
			}
			if ack := in.Ack(); ack != nil {
				out.Send(ack)
			}
		}
	}()
}

// during keeps work in flight while an attack goes on, some more after it, and checks
// that all of it ends as it should and that nobody has joined who should not.
func (s *siege) during(attack func()) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		attack()
	}()
	_, before, _ := s.pool.Workers()
	for again := true; again; {
		select {
		case <-over:
			again = false
		default:
		}
		f, err := s.pool.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
		const n = 200
		for range n {
			if err := f.Add(context.Background(), task.Spec{Argv: []string{"a"}, Dir: "/"}); err != nil {
				s.t.Fatal(err)
			}
		}
		f.Seal()
		<-f.Done()
		if st := f.Status(); st.Resolved != n || st.Failed != 0 {
			s.t.Errorf("of %d tasks %d ended, and %d failed", n, st.Resolved, st.Failed)
		}
		s.d.Forget(f)
	}
	if _, now, _ := s.pool.Workers(); now != before {
		s.t.Errorf("%d joined", now-before)
	}
}

// refused says a hello and expects a refusal.
func (s *siege) refused(h *wire.Hello, proof func(*mtls.Conn) []byte, want string) {
	raw := s.dial("tcp")
	defer raw.Close()
	_, w, err := s.say(raw, h, proof)
	if err != nil || !strings.Contains(w.Refused, want) {
		s.t.Errorf("answer %+v, %v; want a refusal with %q", w, err, want)
	}
}

// hangsUp says something and expects that nothing comes back but an alert of TLS, and
// then the end.
func (s *siege) hangsUp(raw net.Conn, says []byte) {
	defer raw.Close()
	raw.Write(says)
	raw.SetReadDeadline(time.Now().Add(2 * dispatcher.HelloTimeout))
	b, err := io.ReadAll(raw)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		s.t.Error("it was not hung up on")
	}
	if len(b) > 0 && b[0] != 21 {
		s.t.Errorf("it got %q", b)
	}
}

// launches makes a launch of other terms.
func (s *siege) launches(id string, t mtls.Terms) *mtls.Launch {
	l := mtls.NewLaunch(id, t)
	s.pool.AddLaunch(l, dispatcher.LaunchOptions{})
	return l
}

// TestAttacks attacks a live dispatcher, with work in flight that all ends.
func TestAttacks(t *testing.T) {
	s := newSiege(t)
	s.works("tcp")
	s.works("unix")
	for _, a := range []struct {
		name   string
		attack func()
	}{
		{"wrong token", func() {
			for range 50 {
				h := s.hello()
				s.refused(h, s.knows(mtls.NewToken(), h), "its join token is wrong")
			}
		}},
		{"no proof", func() {
			s.refused(s.hello(), func(*mtls.Conn) []byte { return nil }, "its join token is wrong")
		}},
		{"replayed proof", func() {
			h := s.hello()
			other, err := mtls.Client(context.Background(), s.dial("tcp"), s.id.Pin())
			if err != nil {
				t.Error(err)
				return
			}
			defer other.Close()
			heard := s.knows(s.launch.Token(), h)(other)
			s.refused(h, func(*mtls.Conn) []byte { return heard }, "its join token is wrong")
		}},
		{"a proof of another name", func() {
			h, other := s.hello(), s.hello()
			s.refused(h, s.knows(s.launch.Token(), other), "its join token is wrong")
		}},
		{"expired", func() {
			l := s.launches("expired", mtls.Terms{Uses: 9, Until: time.Now().Add(-time.Nanosecond)})
			h := s.hello()
			h.Launch = l.ID()
			s.refused(h, s.knows(l.Token(), h), "has expired")
		}},
		{"used up", func() {
			l := s.launches("used", mtls.Terms{Uses: 1})
			if err := l.Admit("somebody", 0, time.Now()); err != nil {
				t.Error(err)
			}
			h := s.hello()
			h.Launch = l.ID()
			s.refused(h, s.knows(l.Token(), h), "as many workers as it may")
		}},
		{"revoked", func() {
			l := s.launches("revoked", mtls.Terms{Uses: 9})
			s.pool.RemoveLaunch(l)
			h := s.hello()
			h.Launch = l.ID()
			s.refused(h, s.knows(l.Token(), h), "not known here")
		}},
		{"a relay that terminates TLS", s.relayed},
		{"TLS 1.2", func() {
			c := tls.Client(s.dial("tcp"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
			defer c.Close()
			if err := c.Handshake(); err == nil || !strings.Contains(err.Error(), "protocol version") {
				t.Errorf("a handshake of TLS 1.2: %v", err)
			}
		}},
		{"plain text", func() {
			for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-x\r\n", "muster\x00\x01\x00\x00\x00\x00", strings.Repeat("\x00", 1<<16)} {
				s.hangsUp(s.dial("tcp"), []byte(text))
			}
		}},
		{"a hello of 4 GiB", func() { s.lies(append([]byte("muster\x00\x01"), 0xff, 0xff, 0xff, 0xff)) }},
		{"a record of TLS that never ends", func() {
			s.hangsUp(s.dial("tcp"), append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 1<<17)...))
		}},
		{"slowloris", s.slowloris},
	} {
		t.Run(a.name, func(t *testing.T) {
			s.t = t
			s.during(a.attack)
		})
	}
	s.t = t
	if log := s.log.String(); len(log) > 64<<10 {
		t.Errorf("%d bytes of log: %.1000s", len(log), log)
	}
}

// relayed has a worker that is careless about the pin dial a relay, which terminates TLS
// and passes on what the worker says.
func (s *siege) relayed() {
	other, err := mtls.LoadOrCreate(s.t.TempDir())
	if err != nil {
		s.t.Error(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Error(err)
		return
	}
	defer l.Close()
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conn, err := mtls.Server(context.Background(), raw, other)
			if err != nil {
				raw.Close()
				continue
			}
			on, err := mtls.Client(context.Background(), s.dial("tcp"), s.id.Pin())
			if err != nil {
				s.t.Error(err)
				return
			}
			go io.Copy(on, conn)
			io.Copy(conn, on)
			conn.Close()
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			s.t.Error(err)
		}
		return c
	}
	raw := dial()
	if _, err := mtls.Client(context.Background(), raw, s.id.Pin()); err == nil || !strings.Contains(err.Error(), "something else listens there") {
		s.t.Errorf("a worker says to a relay: %v", err)
	}
	raw.Close()
	raw = dial()
	defer raw.Close()
	conn, err := mtls.Client(context.Background(), raw, other.Pin())
	if err != nil {
		s.t.Error(err)
		return
	}
	h := s.hello()
	h.Proof = s.knows(s.launch.Token(), h)(conn)
	w := &wire.Welcome{}
	if err := wire.WriteHello(conn, h); err != nil {
		s.t.Error(err)
	}
	if err := wire.ReadHello(conn, w); err != nil || !strings.Contains(w.Refused, "its join token is wrong") {
		s.t.Errorf("through a relay: %+v, %v", w, err)
	}
}

// lies says the beginning of something large on many connections at once, inside TLS:
// memory is taken for what comes only, and all are hung up on at once.
func (s *siege) lies(head []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 50 {
		raw := s.dial("tcp")
		conn, err := mtls.Client(context.Background(), raw, s.id.Pin())
		if err != nil {
			s.t.Error(err)
			return
		}
		conn.Write(head)
		if b, err := io.ReadAll(conn); len(b) > 0 {
			s.t.Errorf("it got %q, %v", b, err)
		}
		raw.Close()
	}
	runtime.ReadMemStats(&after)
	if after.HeapSys > before.HeapSys+256<<20 {
		s.t.Errorf("the heap grew from %d MiB to %d MiB", before.HeapSys>>20, after.HeapSys>>20)
	}
}

// slowloris says one byte at a time on many connections.
func (s *siege) slowloris() {
	var conns []net.Conn
	for range 600 {
		conns = append(conns, s.dial("tcp"), s.dial("unix"))
	}
	for i := range 20 {
		for _, c := range conns {
			c.Write([]byte{[]byte{22, 3, 1, 1, 0}[min(i, 4)]})
		}
	}
	for _, c := range conns {
		c.Close()
	}
}

// TestHalfOpenConnections: 10,000 of them, or half as many as files may be open, keep
// nobody out and cost what the places of one listener do.
func TestHalfOpenConnections(t *testing.T) {
	s := newSiege(t)
	s.works("tcp")
	s.works("unix")
	n := 10_000
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if most := int(min(l.Cur, 1<<20)) - 2000; most < n {
		n = max(most, int(l.Cur)/4)
		t.Logf("%d connections: no more than %d files may be open", n, l.Cur)
	}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	var joined time.Duration
	s.during(func() {
		for i := range n {
			c := s.dial("tcp")
			if i%2 == 0 {
				c.Write([]byte{22, 3, 1, 2, 0, 1})
			}
			conns = append(conns, c)
		}
	})
	began := time.Now()
	s.works("tcp")
	s.works("unix")
	joined = time.Since(began)
	s.during(func() {})
	t.Logf("with %d half-open connections two workers joined in %v", n, joined)
}

// TestWorkersThatSayGarbage: each ends its own session, and its tasks are done by others.
func TestWorkersThatSayGarbage(t *testing.T) {
	frame := func(typ wire.Type, body ...byte) []byte {
		return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+2)), byte(typ), 1), body...)
	}
	always := func(b []byte) func(task.Ref) []byte { return func(task.Ref) []byte { return b } }
	for name, garbage := range map[string]func(task.Ref) []byte{
		"a frame of 4 GiB":      always([]byte{0xff, 0xff, 0xff, 0xff, 3, 1}),
		"a frame of nothing":    always([]byte{0, 0, 0, 0, 3, 1}),
		"an unknown frame":      always(frame(200)),
		"a field cut off":       always(frame(wire.TypeResult, 8<<3|2, 100, 'x')),
		"noise":                 always(bytes.Repeat([]byte("noise"), 10_000)),
		"too much acknowledged": always(frame(wire.TypeAck, 1<<3, 0x7f)),
		"a chunk of 20 MB": func(ref task.Ref) []byte {
			var b bytes.Buffer
			wire.NewWriter(&b).Send(&wire.Output{Ref: ref, Stream: 1, Data: make([]byte, 20_000_000)})
			return b.Bytes()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSiege(t)
			h := s.hello()
			raw := s.dial("tcp")
			defer raw.Close()
			conn, w, err := s.say(raw, h, s.knows(s.launch.Token(), h))
			if err != nil || w.Refused != "" {
				t.Fatalf("%v %+v", err, w)
			}
			f, err := s.pool.Submit(context.Background(), task.Spec{Argv: []string{"a"}, Dir: "/"}, dispatcher.FutureOptions{})
			if err != nil {
				t.Fatal(err)
			}
			in := wire.NewReader(conn)
			var given *wire.Assign
			for given == nil {
				m, err := in.Read()
				if err != nil {
					t.Fatal(err)
				}
				given, _ = m.(*wire.Assign)
			}
			s.works("tcp")
			conn.Write(garbage(given.Ref))
			<-f.Done()
			if done, _, _ := f.Result(0); !done.OK() || done.Attempt != 2 {
				t.Errorf("the task: %+v", done)
			}
			if n, ever, _ := s.pool.Workers(); n != 1 || ever != 2 {
				t.Errorf("%d sessions of %d are left", n, ever)
			}
		})
	}
}
