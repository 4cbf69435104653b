package dispatcher_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/spool"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

// world is a dispatcher in a bubble of time, and what dials it.
type world struct {
	t      *testing.T
	id     *mtls.Identity
	door   *dispatcher.Dispatcher
	d      *dispatcher.Pool
	b      *run
	l      *listener
	launch *mtls.Launch
	n      int // peers so far
	spool  string

	scratch string               // of workers
	ends    []context.CancelFunc // of workers that are real
}

// options is what a test may change.
type options struct {
	dispatcher.Options
	dispatcher.PoolOptions
}

// run is a run and a cursor of its results, as they resolve.
type run struct {
	*dispatcher.Run
	cursor *dispatcher.Cursor
}

func newRun(t *testing.T, p *dispatcher.Pool, opt dispatcher.RunOptions) *run {
	t.Helper()
	r, err := p.NewRun(opt)
	if err != nil {
		t.Fatal(err)
	}
	return &run{r, r.Results(dispatcher.AsResolved)}
}

// Take returns what has resolved since the last call, and whether that is all.
func (r *run) Take() (done []*dispatcher.Done, over bool) {
	for {
		d, err := r.cursor.Poll()
		if d == nil {
			return done, err == io.EOF
		}
		done = append(done, d)
	}
}

// bubble runs f in a bubble with a dispatcher that listens.
func bubble(t *testing.T, f func(t *testing.T, w *world), with ...func(*options, *dispatcher.RunOptions)) {
	id, err := mtls.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		opt := options{dispatcher.Options{Identity: id, Spool: spool.Open(dir), Log: hclog.NewNullLogger()}, dispatcher.PoolOptions{LostRetries: 2}}
		batch := dispatcher.RunOptions{Render: func(row []string, index int) task.Spec {
			return task.Spec{Argv: row, Index: index}
		}}
		for _, change := range with {
			change(&opt, &batch)
		}
		door := dispatcher.New(opt.Options)
		pool, err := door.NewPool("default", opt.PoolOptions)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, spool: dir, id: id, door: door, d: pool, l: newListener(), launch: mtls.NewLaunch("test", mtls.Terms{Uses: 1000})}
		w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{})
		w.b = newRun(t, pool, batch)
		served := make(chan error)
		go func() { served <- w.door.Serve(w.l) }()
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			w.door.Close(ctx)
			w.l.Close()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		}()
		f(t, w)
	})
}

// peer is the far end of a worker's connection.
type peer struct {
	*wire.Writer
	t    *testing.T
	raw  *memConn
	conn *mtls.Conn
	in   chan wire.Message
	mute atomic.Bool // pings are not answered
	deaf atomic.Bool // nothing is acknowledged
	gone chan struct{}

	asked    atomic.Uint64 // the number of the last ping
	received atomic.Uint64 // frames that count for a lease
	acked    atomic.Uint64 // of ours
}

// hello makes the first words of a worker with one slot that has a name of its own.
func (w *world) hello() *wire.Hello {
	w.n++
	return &wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Launch: w.launch.ID(),
		Element: fmt.Sprintf("w%d", w.n), Host: "host", Pid: 1, Slots: 1, Build: "test"}
}

// greet says hello with a proof of token and returns the answer.
func (w *world) greet(raw *memConn, h *wire.Hello, token mtls.Token) (*mtls.Conn, *wire.Welcome, error) {
	conn, err := mtls.Client(context.Background(), raw, w.id.Pin())
	if err != nil {
		return nil, nil, err
	}
	if h.Proof, err = mtls.Proof(conn, token, h.ProofContext()); err != nil {
		return nil, nil, err
	}
	if err := wire.WriteHello(conn, h); err != nil {
		return nil, nil, err
	}
	welcome := &wire.Welcome{}
	return conn, welcome, wire.ReadHello(conn, welcome)
}

// worker joins a worker with so many slots.
func (w *world) worker(slots uint32) *peer {
	w.t.Helper()
	h := w.hello()
	h.Slots = slots
	raw := w.l.dial()
	conn, welcome, err := w.greet(raw, h, w.launch.Token())
	if err != nil || welcome.Refused != "" {
		w.t.Fatalf("the worker was not admitted: %v %+v", err, welcome)
	}
	p := newPeer(w.t, raw, conn, make(chan wire.Message, 10_000), 0)
	synctest.Wait()
	return p
}

// newPeer goes on where received frames had come, into in.
func newPeer(t *testing.T, raw *memConn, conn *mtls.Conn, in chan wire.Message, received uint64) *peer {
	p := &peer{Writer: wire.NewWriter(conn), t: t, raw: raw, conn: conn, in: in, gone: make(chan struct{})}
	p.received.Store(received)
	go p.read()
	return p
}

// read queues what the dispatcher says, answers pings, and hangs up when told.
func (p *peer) read() {
	defer close(p.gone)
	defer p.raw.Close()
	r := wire.NewReader(p.conn)
	for {
		m, err := r.Read()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *wire.Ping:
			p.asked.Store(m.Seq)
			if !p.mute.Load() {
				p.Send(&wire.Pong{Seq: m.Seq})
			}
			if !p.deaf.Load() {
				p.Send(&wire.Ack{Received: p.received.Load()})
			}
		case *wire.Goodbye:
			return
		case *wire.Ack:
			p.acked.Store(m.Received)
		default:
			p.received.Add(1)
			p.in <- m
		}
	}
}

// next returns what the dispatcher has said and the test not looked at, nil if
// nothing.
func (p *peer) next() wire.Message {
	synctest.Wait()
	select {
	case m := <-p.in:
		return m
	default:
		return nil
	}
}

// assigned returns the task that the peer has been sent.
func (p *peer) assigned() *wire.Assign {
	p.t.Helper()
	m := p.next()
	a, ok := m.(*wire.Assign)
	if !ok {
		p.t.Fatalf("got %#v, not a task", m)
	}
	return a
}

// quiet checks that the peer has been sent nothing.
func (p *peer) quiet() {
	p.t.Helper()
	if m := p.next(); m != nil {
		p.t.Fatalf("got %#v, and nothing was due", m)
	}
}

func (p *peer) start(a *wire.Assign) *wire.Assign {
	p.Send(&wire.Started{Ref: a.Ref})
	return a
}

// finish reports the end of a task, err nil if it went well.
func (p *peer) finish(a *wire.Assign, err *task.ErrorValue) {
	p.Send(&wire.Result{Ref: a.Ref, Started: time.Now(), Elapsed: time.Second, Err: err,
		Stdout: []byte(a.Spec.Argv[0])})
}

// left reports whether the connection has ended.
func (p *peer) left() bool {
	synctest.Wait()
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

func (w *world) submit(rows ...string) {
	var list [][]string
	for _, r := range rows {
		list = append(list, []string{r})
	}
	w.b.Submit(list)
}

// results returns what has resolved since the last call, as index:kind.attempt.
func (w *world) results() string {
	synctest.Wait()
	done, _ := w.b.Take()
	var list []string
	for _, r := range done {
		kind := "ok"
		if r.Err != nil {
			kind = r.Err.Kind.String()
		}
		list = append(list, fmt.Sprintf("%d:%s.%d", r.Index, kind, r.Attempt))
		r.Release()
	}
	return strings.Join(list, " ")
}

func (w *world) expect(want string) {
	w.t.Helper()
	if got := w.results(); got != want {
		w.t.Fatalf("results %q, want %q", got, want)
	}
}

func (w *world) connected() int {
	synctest.Wait()
	n, _, _ := w.d.Workers()
	return n
}

var killed = &task.ErrorValue{Kind: task.KindSignal, Code: 143, Signal: "SIGTERM", Message: "killed by SIGTERM"}
var failed = &task.ErrorValue{Kind: task.KindExit, Code: 1, Message: "exit status 1"}

func TestFirstInFirstOut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.submit("a", "b", "c")
		p := w.worker(1)
		for i, want := range []string{"a", "b", "c"} {
			a := p.assigned()
			if a.Spec.Argv[0] != want || a.Spec.Index != i+1 || a.Attempt != 1 {
				t.Fatalf("task %d is %+v", i+1, a)
			}
			p.quiet() // one slot, one task
			p.start(a)
			p.finish(a, nil)
			w.expect(fmt.Sprintf("%d:ok.1", i+1))
		}
		w.b.Seal()
		if _, over := w.b.Take(); !over {
			t.Error("the batch is not over")
		}
	})
}

func TestTwoWorkersShare(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, q := w.worker(2), w.worker(1)
		w.submit("a", "b", "c", "d")
		got := []string{p.assigned().Spec.Argv[0], p.assigned().Spec.Argv[0], q.assigned().Spec.Argv[0]}
		slices.Sort(got)
		if !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("three slots got %v", got)
		}
		p.quiet()
		q.quiet()
	})
}

func TestRefusals(t *testing.T) {
	token := func(w *world) mtls.Token { return w.launch.Token() }
	for _, c := range []struct {
		name   string
		change func(w *world, h *wire.Hello)
		token  func(w *world) mtls.Token
		want   string
	}{
		{"wrong token", nil, func(*world) mtls.Token { return mtls.NewToken() }, "its join token is wrong"},
		{"unknown launch", func(_ *world, h *wire.Hello) { h.Launch = "else" }, token, "not known here"},
		{"no slots", func(_ *world, h *wire.Hello) { h.Slots = 0 }, token, "1 to 4096 slots, not 0"},
		{"too many slots", func(_ *world, h *wire.Hello) { h.Slots = 5000 }, token, "not 5000"},
		{"no name", func(_ *world, h *wire.Hello) { h.Element = "" }, token, "name"},
		{"a name that colours", func(_ *world, h *wire.Hello) { h.Element = "a\x1b[31m" }, token, "printable"},
		{"a name that turns round", func(_ *world, h *wire.Hello) { h.Element = "a\u202eb" }, token, "printable"},
		{"a name without end", func(_ *world, h *wire.Hello) { h.Element = strings.Repeat("a", 201) }, token, "200 bytes"},
		{"restarted for ever", func(_ *world, h *wire.Hello) { h.Restart = 10_001 }, token, "restart number"},
		{"too new", func(_ *world, h *wire.Hello) { h.Version, h.MinVersion = 99, 99 }, token, "version mismatch"},
		{"too old", func(_ *world, h *wire.Hello) { h.Version, h.MinVersion = 0, 0 }, token, "version mismatch"},
		{"revoked", func(w *world, _ *wire.Hello) { w.launch.Revoke() }, token, "its launch has ended"},
		{"expired", func(w *world, h *wire.Hello) {
			w.launch = mtls.NewLaunch("short", mtls.Terms{Uses: 1, Until: time.Now().Add(time.Hour)})
			h.Launch = "short"
			w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{})
			time.Sleep(time.Hour + time.Second)
		}, token, "has expired"},
		{"spent", func(w *world, h *wire.Hello) {
			w.launch = mtls.NewLaunch("one", mtls.Terms{Uses: 1})
			w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{})
			w.worker(1)
			h.Launch = "one"
		}, token, "as many workers as it may"},
		{"twice the same", func(w *world, h *wire.Hello) {
			w.n--
			w.worker(1)
		}, token, "same identity"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				h := w.hello()
				if c.change != nil {
					c.change(w, h)
				}
				before := w.connected()
				raw := w.l.dial()
				_, welcome, err := w.greet(raw, h, c.token(w))
				if err == nil && welcome.Later != (c.name == "twice the same") {
					t.Errorf("to try again later is said: %v", welcome.Later)
				}
				if err != nil || !strings.Contains(welcome.Refused, c.want) {
					t.Errorf("answer %+v, %v; want a refusal with %q", welcome, err, c.want)
				}
				if n := w.connected(); n != before {
					t.Errorf("%d workers, there were %d", n, before)
				}
				raw.Close()
			})
		})
	}
}

// TestHigherRestartReplaces: of one identity there is one session, that of the highest
// restart number, whether the one before it is connected, away or unknown to be dead.
func TestHigherRestartReplaces(t *testing.T) {
	for _, launch := range []string{"test", "leased"} {
		t.Run(launch, func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				if launch == "test" {
					w.launch = mtls.NewLaunch("one", mtls.Terms{Uses: 1})
					w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{})
				}
				w.submit("a")
				var last *peer
				for restart := range uint32(6) {
					h := w.hello()
					h.Element, h.Restart, h.Lease = "e", restart, true
					raw := w.l.dial()
					conn, welcome, err := w.greet(raw, h, w.launch.Token())
					if err != nil || welcome.Refused != "" {
						t.Fatalf("restart %d: %v %+v", restart, err, welcome)
					}
					if last != nil && !last.left() {
						t.Errorf("restart %d: the one before it is still there", restart)
					}
					last = newPeer(t, raw, conn, make(chan wire.Message, 10), 0)
					if n := w.connected(); n != 1 {
						t.Errorf("restart %d: %d sessions", restart, n)
					}
					if restart < 3 { // with the retries there are
						a := last.start(last.assigned())
						if a.Attempt != restart+1 {
							t.Errorf("restart %d: attempt %d", restart, a.Attempt)
						}
						synctest.Wait()
						if restart == 2 {
							last.finish(a, nil)
						}
					}
					if restart == 4 {
						last.raw.Close() // and away, with a lease
						synctest.Wait()
					}
				}
				w.expect("1:ok.3")
				h := w.hello()
				h.Element, h.Restart = "e", 4
				if _, welcome, err := w.greet(w.l.dial(), h, w.launch.Token()); err != nil || !strings.Contains(welcome.Refused, "same identity") {
					t.Errorf("a lower restart: %v %+v", err, welcome)
				}
			})
		})
	}
}

// TestOneIdentityComesTooOften: whoever has a token cannot have the dispatcher write and
// forget sessions without end.
func TestOneIdentityComesTooOften(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		refused := 0
		for range 100 {
			h := w.hello()
			h.Element = "e"
			raw := w.l.dial()
			_, welcome, err := w.greet(raw, h, w.launch.Token())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(welcome.Refused, "too often") && welcome.Later {
				refused++
			}
			raw.Close()
			synctest.Wait()
		}
		if refused != 40 {
			t.Errorf("%d of 100 were refused", refused)
		}
		w.worker(1)
	})
}

func TestStrangersAreHungUpOn(t *testing.T) {
	for name, say := range map[string]func(w *world, raw *memConn){
		"plain text": func(_ *world, raw *memConn) { io.WriteString(raw, "GET / HTTP/1.0\r\n\r\n") },
		"nothing":    func(*world, *memConn) {},
		"a byte a second": func(_ *world, raw *memConn) {
			for _, b := range append([]byte{22, 3, 1, 1, 0}, make([]byte, 256)...) {
				if _, err := raw.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
		"TLS, then nothing": func(w *world, raw *memConn) { mtls.Client(context.Background(), raw, w.id.Pin()) },
		"TLS, then noise": func(w *world, raw *memConn) {
			c, err := mtls.Client(context.Background(), raw, w.id.Pin())
			if err != nil {
				t.Error(err)
				return
			}
			c.Write([]byte(strings.Repeat("noise", 10_000)))
		},
		"half a hello": func(w *world, raw *memConn) {
			c, err := mtls.Client(context.Background(), raw, w.id.Pin())
			if err != nil {
				t.Error(err)
				return
			}
			c.Write([]byte("muster\x00\x01\x00\x00\x01\x00abc"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				raw := w.l.dial()
				began := time.Now()
				say(w, raw)
				io.Copy(io.Discard, raw) // until the dispatcher hangs up
				if took := time.Since(began); took > dispatcher.HelloTimeout+time.Second {
					t.Errorf("it took %s to hang up", took)
				}
				if n := w.connected(); n != 0 {
					t.Errorf("%d workers", n)
				}
			})
		})
	}
}

// TestCrowdAtTheDoor: a peer that opens connections and says nothing keeps
// nobody out for longer than one may take to say hello.
func TestCrowdAtTheDoor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var crowd []*memConn
		for range 1500 {
			crowd = append(crowd, w.l.dial())
		}
		synctest.Wait()
		turnedAway := 0
		for _, c := range crowd {
			c.in.mu.Lock()
			if c.in.closed {
				turnedAway++
			}
			c.in.mu.Unlock()
		}
		if turnedAway < 1500-1024 {
			t.Errorf("%d of 1500 were turned away", turnedAway)
		}
		time.Sleep(dispatcher.HelloTimeout)
		synctest.Wait()
		w.worker(1)
	})
}

func TestSilentWorkerIsLost(t *testing.T) {
	for name, hush := range map[string]func(p *peer){
		"does not answer": func(p *peer) { p.mute.Store(true) },
		"partition":       func(p *peer) { p.raw.partition() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p, q := w.worker(1), w.worker(1)
				w.submit("a", "b")
				p.start(p.assigned())
				q.start(q.assigned())
				time.Sleep(time.Hour)
				if n := w.connected(); n != 2 {
					t.Fatalf("%d workers after an hour of heartbeats", n)
				}
				hush(p)
				time.Sleep(4 * dispatcher.DefaultHeartbeat)
				if n := w.connected(); n != 2 {
					t.Fatalf("%d workers: it was given up too early", n)
				}
				time.Sleep(2 * dispatcher.DefaultHeartbeat)
				if n := w.connected(); n != 1 {
					t.Fatalf("%d workers after the silence", n)
				}
				r := w.worker(1)
				if a := r.assigned(); a.Attempt != 2 || a.Spec.Argv[0] != "a" {
					t.Errorf("the lost task came back as %+v", a)
				}
				p.raw.Close()
			})
		})
	}
}

// TestWorkerThatDoesNotRead must not hold anybody else up.
func TestWorkerThatDoesNotRead(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		h := w.hello()
		h.Slots = 4000
		raw := w.l.dial()
		if _, welcome, err := w.greet(raw, h, w.launch.Token()); err != nil || welcome.Refused != "" {
			t.Fatal(err, welcome)
		}
		long := strings.Repeat("x", 1000)
		w.submit(slices.Repeat([]string{long}, 4000)...) // much more than the connection holds
		q := w.worker(1)
		w.submit("b")
		a := q.assigned()
		q.start(a)
		q.finish(a, nil)
		w.expect("4001:ok.1")
		time.Sleep(6 * dispatcher.DefaultHeartbeat)
		if n := w.connected(); n != 1 {
			t.Errorf("%d workers", n)
		}
		raw.Close()
	})
}

func TestLostTaskIsTriedAgainAndGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.submit("a")
		for attempt := uint32(1); attempt <= 3; attempt++ {
			p := w.worker(1)
			a := p.start(p.assigned())
			if a.Attempt != attempt {
				t.Fatalf("attempt %d is %+v", attempt, a)
			}
			p.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: []byte("half a line")})
			w.expect("")
			p.raw.Close()
		}
		synctest.Wait()
		done, _ := w.b.Take()
		if len(done) != 1 || done[0].Err == nil || done[0].Err.Kind != task.KindReset ||
			!strings.Contains(done[0].Err.Evidence, "attempt 3") || done[0].Err.Code != 19 {
			t.Fatalf("resolved to %+v", done)
		}
		if n := done[0].Output.Bytes(1); n != int64(len("half a line")) {
			t.Errorf("%d bytes of output, want those of the last attempt", n)
		}
		done[0].Release()
	})
}

// TestFailingTaskIsTriedAgain as often as it may fail, by whatever it dies of, and not
// after the run was stopped.
func TestFailingTaskIsTriedAgain(t *testing.T) {
	for name, why := range map[string]*task.ErrorValue{"exit": failed, "killed": killed, "timeout": task.Timeout("")} {
		for _, stop := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", stop), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					p := w.worker(1)
					w.submit("a")
					try := func() {
						t.Helper()
						a := p.start(p.assigned())
						if a.Attempt == 2 && stop {
							w.b.Stop()
						}
						p.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: fmt.Appendf(nil, "try %d ", a.Attempt)})
						p.finish(a, why)
						time.Sleep(10 * time.Second) // who killed it is known then
					}
					try()
					w.expect("")
					if try(); stop {
						w.expect("1:" + why.Kind.String() + ".2")
						return
					}
					try()
					synctest.Wait()
					done, _ := w.b.Take()
					if len(done) != 1 || done[0].Attempt != 3 || done[0].Err == nil || done[0].Err.Kind != why.Kind {
						t.Fatalf("resolved to %+v", done)
					}
					if text, err := done[0].Output.Tail(1, 100); string(text) != "try 3 a" || err != nil {
						t.Errorf("the output is %q, %v", text, err)
					}
					done[0].Release()
				}, func(o *options, _ *dispatcher.RunOptions) { o.Tries, o.LostRetries = 3, 0 })
			})
		}
	}
}

// TestDelay: tasks start so far apart, those that are tried again too.
func TestDelay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(3)
		w.submit("a", "b", "c")
		p.finish(p.start(p.assigned()), failed)
		for range 3 {
			time.Sleep(time.Second - time.Millisecond)
			p.quiet()
			time.Sleep(time.Millisecond)
			p.start(p.assigned())
		}
		p.quiet()
	}, func(o *options, _ *dispatcher.RunOptions) { o.Tries, o.Delay = 2, time.Second })
}

// TestLive: what tasks print is told as it comes, and that of a try which came to nothing
// is handed over.
func TestLive(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		w.submit("a")
		told := func(want string, over bool) {
			t.Helper()
			synctest.Wait()
			list := w.b.TakePrinted()
			if len(list) != 1 || list[0].Index != 1 || list[0].Slot != 1 || list[0].Over != over || list[0].Row[0] != "a" {
				t.Fatalf("printed %+v", list)
			}
			text := make([]byte, 100)
			n, err := list[0].Output.ReadAt(1, text, 0)
			if string(text[:n]) != want || err != nil {
				t.Errorf("printed %q, %v", text[:n], err)
			}
			if over {
				list[0].Output.Close()
			}
		}
		for try := range 2 {
			a := p.assigned()
			if !a.Spec.Live {
				t.Error("the worker does not know")
			}
			p.Send(&wire.Started{Ref: a.Ref, Slot: 1})
			p.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: []byte("x")})
			told("x", false)
			select {
			case <-w.b.Printing():
			default:
				t.Error("nobody is woken")
			}
			p.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: []byte("y")})
			p.finish(a, failed)
			if try == 0 {
				told("xya", true)
			} else {
				told("xya", false)
			}
		}
		w.expect("1:exit.2")
	}, func(o *options, b *dispatcher.RunOptions) { o.Tries, b.Live = 2, true })
}

// TestWalltime: a worker whose job is at its end hands back what runs.
func TestWalltime(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.submit("a")
		for range 3 {
			p := w.worker(1)
			p.start(p.assigned())
			p.Send(&wire.Goodbye{Code: wire.LeftWalltime, Text: "walltime"})
			if !p.left() {
				t.Fatal("it was not hung up on")
			}
		}
		w.expect("1:walltime.3")
	})
}

// TestWhatALostAttemptSays changes nothing.
func TestWhatALostAttemptSays(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		w.submit("a")
		old := p.start(p.assigned())
		p.Send(&wire.Lost{Ref: old.Ref, Reason: "its slot died"})
		again := p.assigned()
		if again.Attempt != 2 {
			t.Fatalf("got %+v", again)
		}
		p.start(again)
		p.Send(&wire.Output{Ref: old.Ref, Stream: 1, Data: []byte("stale")})
		p.finish(old, failed)
		p.Send(&wire.Lost{Ref: old.Ref})
		p.Send(&wire.Returned{Ref: again.Ref}) // it has started: this cannot be
		w.expect("")
		p.finish(again, nil)
		p.finish(again, failed) // a second time
		w.expect("1:ok.2")
	})
}

func TestWhoKilledIt(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(w *world, p *peer)
		want string
	}{
		{"nobody owned up", func(w *world, p *peer) {
			time.Sleep(dispatcher.DefaultHold - time.Second)
			w.expect("")
			time.Sleep(time.Second)
		}, "1:signal.1"},
		{"the worker was signalled too", func(w *world, p *peer) {
			time.Sleep(2 * time.Second)
			p.Send(&wire.Drain{Reason: "SIGTERM"})
			time.Sleep(time.Hour)
			q := w.worker(1)
			q.finish(q.start(q.assigned()), nil)
		}, "1:ok.2"},
		{"the worker was lost", func(w *world, p *peer) {
			time.Sleep(2 * time.Second)
			p.raw.Close()
			time.Sleep(time.Hour)
			q := w.worker(1)
			q.finish(q.start(q.assigned()), nil)
		}, "1:ok.2"},
		{"it was cancelled meanwhile", func(w *world, p *peer) {
			time.Sleep(2 * time.Second)
			w.b.Cancel(task.Cancelled(""))
		}, "1:signal.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p := w.worker(1)
				w.submit("a")
				p.finish(p.start(p.assigned()), killed)
				w.expect("")
				c.then(w, p)
				w.expect(c.want)
			})
		})
	}
}

// TestDrainingWorker was signalled before its task died.
func TestDrainingWorker(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(2)
		w.submit("a", "b")
		a, b := p.start(p.assigned()), p.assigned()
		p.Send(&wire.Drain{Reason: "SIGTERM"})
		m, ok := p.next().(*wire.Recall)
		if !ok || m.Ref != b.Ref {
			t.Fatalf("the task that had not started was not asked back: %+v", m)
		}
		p.Send(&wire.Returned{Ref: b.Ref})
		w.submit("c")
		p.quiet()
		p.finish(a, killed)
		w.expect("")
		q := w.worker(3)
		var got []string
		for range 3 {
			n := q.assigned()
			got = append(got, fmt.Sprintf("%s.%d", n.Spec.Argv[0], n.Attempt))
			q.finish(q.start(n), nil)
		}
		slices.Sort(got)
		if !slices.Equal(got, []string{"a.2", "b.2", "c.1"}) {
			t.Errorf("the next worker got %v", got)
		}
	})
}

func TestStopHandsBackWhatHasNotStarted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(2)
		w.submit("a", "b", "c", "d")
		a, b := p.start(p.assigned()), p.assigned()
		synctest.Wait()
		w.b.Stop()
		if m, ok := p.next().(*wire.Recall); !ok || m.Ref != b.Ref {
			t.Fatalf("the task that had not started was not asked back")
		}
		p.Send(&wire.Returned{Ref: b.Ref})
		p.finish(a, nil)
		w.expect("1:ok.1")
		p.quiet()
		if n := w.b.Dropped(); n != 3 {
			t.Errorf("%d dropped, want 3", n)
		}
		w.submit("e")
		if _, over := w.b.Take(); !over || w.b.Dropped() != 4 {
			t.Errorf("over %v, %d dropped", over, w.b.Dropped())
		}
	})
}

func TestStopOnFailure(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, q := w.worker(1), w.worker(1)
		w.submit("a", "b", "c")
		a, b := p.start(p.assigned()), q.start(q.assigned())
		if !a.OnlyAfterSuccess {
			t.Error("the worker does not know that a failure ends it all")
		}
		synctest.Wait()
		p.finish(a, failed)
		m, ok := q.next().(*wire.Cancel)
		if !ok || m.Ref != b.Ref || m.Err.Kind != task.KindCancelled {
			t.Fatalf("got %#v, not a cancel", m)
		}
		q.finish(b, m.Err)
		w.expect("1:exit.1 2:cancelled.1")
		if w.b.Dropped() != 1 {
			t.Errorf("%d dropped", w.b.Dropped())
		}
	}, func(_ *options, b *dispatcher.RunOptions) { b.Halt = dispatcher.Halt{Count: 1, Now: true} })
}

// TestCancelledTaskMayHaveEnded: a task that ended well before the cancel
// arrived has ended well.
func TestCancelledTaskMayHaveEnded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		w.submit("a")
		a := p.start(p.assigned())
		synctest.Wait()
		w.b.Cancel(task.Cancelled(""))
		p.finish(a, nil)
		w.expect("1:ok.1")
	})
}

func TestCancelledTaskOfALostWorkerIsNotTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		w.submit("a")
		p.start(p.assigned())
		synctest.Wait()
		w.b.Cancel(task.Cancelled(""))
		p.raw.Close()
		w.expect("1:cancelled.1")
		w.worker(1).quiet()
	})
}

func TestBrokenFrames(t *testing.T) {
	for name, bytes := range map[string]string{
		"too long":         "\xff\xff\xff\xff\x03\x00",
		"too short":        "\x00\x00\x00\x01\x03\x00",
		"unknown required": "\x00\x00\x00\x02\xf0\x01",
		"bad fields":       "\x00\x00\x00\x04\x03\x00\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p := w.worker(1)
				w.submit("a")
				p.start(p.assigned())
				io.WriteString(p.conn, bytes)
				if !p.left() {
					t.Error("it was not hung up on")
				}
				if a := w.worker(1).assigned(); a.Attempt != 2 {
					t.Errorf("its task came back as %+v", a)
				}
			})
		})
	}
	t.Run("unknown, optional", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			p := w.worker(1)
			io.WriteString(p.conn, "\x00\x00\x00\x02\xf0\x00")
			w.submit("a")
			p.finish(p.start(p.assigned()), nil)
			w.expect("1:ok.1")
		})
	})
}

func TestCommandTooLong(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.worker(1)
		w.submit(strings.Repeat("x", wire.MaxSpec+1))
		w.expect("1:spawn.1")
	})
}

// TestCreditGrows: a task that writes much is given more and more room, up to
// the window's limit.
func TestCreditGrows(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		w.submit("a")
		a := p.start(p.assigned())
		chunk := make([]byte, wire.MaxChunk)
		window, sent := int(a.Window), 0
		for sent < 32<<20 {
			for window >= len(chunk) {
				p.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: chunk})
				window -= len(chunk)
				sent += len(chunk)
			}
			m, ok := p.next().(*wire.Credit)
			if !ok {
				t.Fatalf("no credit after %d bytes", sent)
			}
			window += int(m.Bytes)
		}
		if window > wire.MaxWindow {
			t.Errorf("a window of %d bytes", window)
		}
		p.finish(a, nil)
		synctest.Wait()
		done, _ := w.b.Take()
		if n := done[0].Output.Bytes(1); n != int64(sent+1) {
			t.Errorf("%d bytes kept, %d sent", n, sent+1)
		}
		done[0].Release()
	})
}

// TestFullBacklog: nothing new starts while more output waits for its reader
// than may.
func TestFullBacklog(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		w.submit("a", "b", "c", "d", "e")
		chunk := make([]byte, wire.MaxChunk)
		for range 4 { // of 64 MiB each, and one byte more in all than may wait
			a := p.start(p.assigned())
			for range 64 << 20 / len(chunk) {
				p.Send(&wire.Output{Ref: a.Ref, Stream: 2, Data: chunk})
			}
			p.finish(a, nil)
			for m := p.next(); m != nil; m = p.next() {
				if next, ok := m.(*wire.Assign); ok {
					p.in <- next // for the next round
					break
				}
			}
		}
		p.quiet()
		done, _ := w.b.Take()
		if len(done) != 4 {
			t.Fatalf("%d results", len(done))
		}
		for _, r := range done {
			r.Release()
		}
		p.finish(p.start(p.assigned()), nil)
		w.expect("5:ok.1")
	})
}

func TestCloseHangsUpOnWhoStays(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		raw := w.l.dial()
		if _, _, err := w.greet(raw, w.hello(), w.launch.Token()); err != nil {
			t.Fatal(err)
		}
		w.worker(1)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		began := time.Now()
		if err := w.door.Close(ctx); err == nil || time.Since(began) != 10*time.Second {
			t.Errorf("Close: %v after %s", err, time.Since(began))
		}
	})
}

// TestFaultyNetwork: whatever is cut, truncated or swallowed at whichever
// byte, every task resolves exactly once, to what it wrote.
func TestFaultyNetwork(t *testing.T) {
	rounds := uint64(60)
	if testing.Short() {
		rounds = 10
	}
	for seed := range rounds {
		bubble(t, func(t *testing.T, w *world) { faulty(t, w, rand.New(rand.NewPCG(seed, 0))) },
			func(o *options, _ *dispatcher.RunOptions) { o.LostRetries = 10_000 })
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func faulty(t *testing.T, w *world, r *rand.Rand) {
	const tasks = 40
	var rows []string
	for i := range tasks {
		rows = append(rows, fmt.Sprintf("task %d", i+1))
	}
	w.submit(rows...)
	w.b.Seal()
	stop := make(chan struct{})
	ended := make(chan struct{})
	for n := range 3 {
		seed := r.Uint64()
		go func() {
			flakyWorker(w, fmt.Sprintf("flaky%d", n), rand.New(rand.NewPCG(seed, 0)), stop)
			ended <- struct{}{}
		}()
	}
	seen := map[int]bool{}
	for {
		d, err := w.b.cursor.Next(context.Background())
		if err != nil {
			break
		}
		if seen[d.Index] || d.Err != nil {
			t.Errorf("task %d resolved to %v; before: %v", d.Index, d.Err, seen[d.Index])
		}
		seen[d.Index] = true
		out, err := d.Output.Reader(1)
		if err != nil {
			t.Error(err)
			continue
		}
		text, _ := io.ReadAll(out)
		out.Close()
		if want := strings.Repeat(rows[d.Index-1], 3); string(text) != want {
			t.Errorf("task %d wrote %q", d.Index, text)
		}
		d.Release()
	}
	if len(seen) != tasks {
		t.Errorf("%d of %d tasks resolved", len(seen), tasks)
	}
	close(stop)
	for range 3 {
		<-ended
	}
}

// flakyWorker works over one connection after another, each of which breaks in
// its own way after some bytes.
func flakyWorker(w *world, element string, r *rand.Rand, stop chan struct{}) {
	for restart := uint32(0); ; restart++ {
		select {
		case <-stop:
			return
		default:
		}
		raw := w.l.dial()
		delay := time.Duration(r.IntN(30)) * time.Second
		faults := []func(){
			func() { raw.Close() },
			raw.partition,
			func() { time.AfterFunc(delay, func() { raw.Close() }) },
		}
		raw.out.after(r.IntN(6000), faults[r.IntN(len(faults))])
		raw.in.after(r.IntN(6000), faults[r.IntN(2)])
		h := &wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Launch: w.launch.ID(),
			Element: element, Restart: restart, Host: "host", Pid: 1, Slots: 2, Build: "test"}
		raw.SetDeadline(time.Now().Add(time.Minute))
		if conn, welcome, err := w.greet(raw, h, w.launch.Token()); err == nil && welcome.Refused == "" {
			work(newPeer(w.t, raw, conn, make(chan wire.Message, 10_000), 0), stop)
		}
		raw.Close()
	}
}

// work does what it is told until the connection ends or nobody says anything
// for a minute.
func work(p *peer, stop chan struct{}) {
	for {
		select {
		case <-p.gone:
			return
		case <-stop:
			p.raw.Close()
			<-p.gone
			return
		case <-time.After(time.Minute):
			p.raw.Close()
			<-p.gone
			return
		case m := <-p.in:
			switch m := m.(type) {
			case *wire.Assign:
				text := []byte(m.Spec.Argv[0])
				time.Sleep(time.Second)
				p.Send(&wire.Started{Ref: m.Ref}, &wire.Output{Ref: m.Ref, Stream: 1, Data: text})
				p.Send(&wire.Output{Ref: m.Ref, Stream: 1, Data: text})
				p.Send(&wire.Result{Ref: m.Ref, Started: time.Now(), Elapsed: time.Second, Stdout: text})
			case *wire.Recall:
				// Already done by now: nothing is handed back.
			}
		}
	}
}
