package dispatcher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
	"muster/worker"
)

const lease = 10 * time.Minute

// leased runs f in a bubble whose launch has a lease.
func leased(t *testing.T, f func(t *testing.T, w *world), with ...func(*options, *dispatcher.RunOptions)) {
	scratch := t.TempDir()
	bubble(t, func(t *testing.T, w *world) {
		w.scratch = scratch
		w.launch = mtls.NewLaunch("leased", mtls.Terms{Uses: 1000})
		w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{Lease: lease})
		f(t, w)
		for _, end := range w.ends {
			end()
		}
		time.Sleep(3 * time.Second) // functions that were told to stop are watched for 2 s
	}, with...)
}

// crew is a real worker whose connections the test can break.
type crew struct {
	w     *world
	fault func(c *memConn) // done to each new connection; nil for nothing
	end   context.CancelFunc
	drain chan string
	gone  chan error // what Run returned

	mu     sync.Mutex     // guards all below
	runs   map[string]int // by input
	down   bool           // dials fail
	conns  []*memConn
	relay  bool // whether a relay is in the way
	cable  chan struct{}
	dials  int
	rejoin error
	gates  map[string]chan struct{}
}

// relayed puts a relay into the way of a crew's first connection.
func relayed(_ *worker.Options, c *crew) { c.relay = true }

// crew starts a worker with functions:
//
//	print   prints its input n times
//	wait    does so when open has been called with its input
func (w *world) crew(slots int, change ...func(*worker.Options, *crew)) *crew {
	c := &crew{w: w, drain: make(chan string, 1), gone: make(chan error, 1), gates: map[string]chan struct{}{}, runs: map[string]int{}}
	w.n++
	o := worker.Options{Join: mtls.Join{Addrs: []string{"tcp:there:1"}, Pin: w.id.Pin(), Launch: w.launch.ID(), Token: w.launch.Token()},
		Element: fmt.Sprintf("w%d", w.n), Slots: slots, Scratch: w.scratch, Log: hclog.NewNullLogger(), Build: "test", Drain: c.drain, Dial: c.dial,
		Keep: func(int) bool { return true }, AutoExit: worker.ExitNow,
		Functions: map[string]worker.Function{
			"print": func(_ context.Context, in []byte) ([]byte, *task.ErrorValue) { return c.print(in), nil },
			"wait": func(ctx context.Context, in []byte) ([]byte, *task.ErrorValue) {
				select {
				case <-c.gate(string(in)):
				case <-ctx.Done():
					return nil, task.Cancelled("")
				}
				return c.print(in), nil
			}}}
	for _, f := range change {
		f(&o, c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.end = cancel
	w.ends = append(w.ends, cancel)
	go func() {
		_, err := worker.Run(ctx, o)
		c.gone <- err
	}()
	synctest.Wait()
	return c
}

func (c *crew) dial(context.Context, string, string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dials++
	if c.down {
		return nil, errors.New("no route to host")
	}
	conn := c.w.l.dial()
	if c.fault != nil {
		c.fault(conn)
	}
	c.conns = append(c.conns, conn)
	if c.relay {
		c.relay, c.cable = false, make(chan struct{})
		return relay(conn, c.cable), nil
	}
	return conn, nil
}

// relay returns the near end of a way to conn on which, when cable is closed,
// nothing travels any more, not even the end of a connection.
func relay(conn *memConn, cable <-chan struct{}) net.Conn {
	near, far := pipe()
	for _, c := range [][2]net.Conn{{far, conn}, {conn, far}} {
		go func() {
			_, err := io.Copy(c[0], c[1])
			select {
			case <-cable:
			default:
				if err == nil {
					c[0].Close()
				}
			}
		}()
	}
	go func() {
		<-cable
		far.in.lose()
		far.out.lose()
		conn.in.lose()
		conn.out.lose()
	}()
	return near
}

func (c *crew) print(in []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[string(in)]++
	return printed(string(in))
}

// printed is what a function prints that is given "NAME SIZE".
func printed(in string) []byte {
	name, size := "", 0
	fmt.Sscan(in, &name, &size)
	out := bytes.Repeat([]byte(name+"."), size/(len(name)+1)+1)[:size]
	for i := 0; i < len(out); i += 1000 {
		out[i] = byte('a' + i/1000%26)
	}
	return out
}

// ran returns how often a function has been called to its end with an input.
func (c *crew) ran(in string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[in]
}

func (c *crew) gate(in string) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gates[in] == nil {
		c.gates[in] = make(chan struct{})
	}
	return c.gates[in]
}

func (c *crew) open(in string) { close(c.gate(in)) }

func (c *crew) setDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// last is the connection that the worker has.
func (c *crew) last() *memConn {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns[len(c.conns)-1]
}

// cut breaks the connection, and lets no other come about before mend.
func (c *crew) cut() {
	c.setDown(true)
	c.last().Close()
	synctest.Wait()
}

// mend lets the worker dial again, and waits as long as that may take.
func (c *crew) mend() {
	c.setDown(false)
	time.Sleep(15 * time.Second)
	synctest.Wait()
}

// left reports whether the worker has ended.
func (c *crew) left() bool {
	synctest.Wait()
	return len(c.gone) > 0
}

// call submits a function's call.
func (w *world) call(name, in string) *dispatcher.Future {
	w.t.Helper()
	f, err := w.d.Submit(context.Background(), task.Spec{Argv: []string{name}, Func: name, Input: []byte(in)}, dispatcher.FutureOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return f
}

// came checks that the future's task has run well, in that attempt if it is not
// 0, and printed all.
func (w *world) came(f *dispatcher.Future, in string, attempt int) {
	w.t.Helper()
	synctest.Wait()
	done, _, _ := f.Result(0)
	if done == nil {
		w.t.Fatalf("%q has not come: %+v", in, f.Status())
	}
	if done.Err != nil || attempt > 0 && done.Attempt != attempt {
		w.t.Fatalf("%q came to %v in attempt %d, want %d", in, done.Err, done.Attempt, attempt)
	}
	var got []byte
	if done.Output != nil {
		r, err := done.Output.Reader(1)
		if err != nil {
			w.t.Fatal(err)
		}
		got, _ = io.ReadAll(r)
		r.Close()
	}
	if !bytes.Equal(got, printed(in)) {
		w.t.Fatalf("%q printed %d bytes that are not the %d it should have", in, len(got), len(printed(in)))
	}
	w.door.Forget(f)
}

func (w *world) pending(f *dispatcher.Future) {
	w.t.Helper()
	synctest.Wait()
	if done, _, _ := f.Result(0); done != nil {
		w.t.Fatalf("it has come already: %v", done.Err)
	}
}

func (w *world) state(i int) string {
	synctest.Wait()
	return w.d.Status().Workers[i].State
}

func TestTaskOutlivesItsConnection(t *testing.T) {
	for _, c := range []struct {
		name string
		size int
		lost func(c *crew)
		// during happens while the worker is away.
		during func(c *crew, in string)
	}{
		{"it ends later", 100, (*crew).cut, func(*crew, string) {}},
		{"it ends while the worker is away", 100, (*crew).cut, (*crew).open},
		{"it prints much while the worker is away", 10 << 20, (*crew).cut, (*crew).open},
		{"nobody notices for a while", 1 << 20, func(c *crew) { c.setDown(true); c.last().partition() }, (*crew).open},
	} {
		t.Run(c.name, func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				k := w.crew(1)
				in := fmt.Sprintf("x %d", c.size)
				f := w.call("wait", in)
				next := w.call("print", "next 10")
				c.lost(k)
				c.during(k, in)
				time.Sleep(time.Minute)
				w.pending(f)
				if s := w.state(0); s != "away" {
					t.Errorf("the worker is %s", s)
				}
				if n, _, _ := w.d.Workers(); n != 1 || w.d.Info().Connections != 0 {
					t.Errorf("%d workers, %+v", n, w.d.Info())
				}
				k.mend()
				if s := w.state(0); s == "away" || w.d.Info().Connections != 1 {
					t.Errorf("the worker is %s: %+v", s, w.d.Info())
				}
				select {
				case <-k.gate(in):
				default:
					w.pending(f)
					k.open(in)
				}
				w.came(f, in, 1)
				w.came(next, "next 10", 1)
				if k.ran(in) != 1 {
					t.Errorf("it ran %d times", k.ran(in))
				}
			})
		})
	}
}

// TestBrokenAgainAndAgain: whatever byte of it each connection breaks at, each
// task is done once and all that it printed is there.
func TestBrokenAgainAndAgain(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				r, faults := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8))
				k := w.crew(2)
				k.mu.Lock()
				k.fault = func(c *memConn) {
					h, n := c.out, 2500+faults.IntN(1<<(8+faults.IntN(9)))
					if faults.IntN(3) == 0 {
						h, n = c.in, 1500+faults.IntN(3000)
					}
					h.after(n, func() {
						if n%3 == 0 {
							c.partition()
							return
						}
						c.Close()
					})
				}
				k.mu.Unlock()
				k.last().Close()
				futures := map[string]*dispatcher.Future{}
				for i := range 100 {
					in := fmt.Sprintf("t%d %d", i, r.IntN(1<<(4+r.IntN(16))))
					futures[in] = w.call("print", in)
				}
				for in, f := range futures {
					select {
					case <-f.Done():
					case <-time.After(12 * time.Hour):
						t.Fatalf("%q has not come; %+v", in, w.d.Status())
					}
					w.came(f, in, 0)
					if k.ran(in) != 1 {
						t.Errorf("%q ran %d times", in, k.ran(in))
					}
				}
				if k.dials < 5 {
					t.Errorf("only %d connections were needed", k.dials)
				}
				if n, ever, _ := w.d.Workers(); n != 1 || ever != 1 {
					t.Errorf("%d workers of %d ever", n, ever)
				}
			})
		})
	}
}

func TestLeaseIsOver(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		k := w.crew(1)
		f := w.call("wait", "x 5")
		k.cut()
		time.Sleep(lease - 10*time.Second)
		w.pending(f)
		other := w.crew(1)
		w.pending(f)
		if k.left() {
			t.Error("it left before its time")
		}
		time.Sleep(15 * time.Second)
		other.open("x 5")
		w.came(f, "x 5", 2)
		if !k.left() {
			t.Fatal("the worker is still there")
		}
		if err := <-k.gone; err == nil || !strings.Contains(err.Error(), "out of reach for more than 10m0s") {
			t.Errorf("it left with %v", err)
		}
	})
}

func TestBackTooLate(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		m := w.mate(nil)
		w.submit("a")
		m.start(m.assigned())
		m.raw.Close()
		time.Sleep(lease + time.Second)
		h := *m.h
		if _, welcome, err := w.resume(m, &h, m.key); err != nil || welcome.Later || !strings.Contains(welcome.Refused, "session is over") {
			t.Errorf("%v %+v", err, welcome)
		}
		if a := w.worker(1).assigned(); a.Attempt != 2 {
			t.Errorf("its task came back as %+v", a)
		}
	})
}

// TestNothingNewWhileAway: others do what there is to do.
func TestNothingNewWhileAway(t *testing.T) {
	for _, robin := range []bool{false, true} {
		t.Run(fmt.Sprint(robin), func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				m, other := w.mate(nil), w.worker(1)
				m.raw.Close()
				synctest.Wait()
				w.submit("a", "b", "c")
				for _, want := range []string{"a", "b"} {
					a := other.assigned()
					if a.Spec.Argv[0] != want {
						t.Errorf("got %v, not %s", a.Spec.Argv, want)
					}
					other.finish(other.start(a), nil)
				}
				other.assigned()
				m = w.mate(m)
				m.quiet()
				w.submit("d")
				if a := m.assigned(); a.Spec.Argv[0] != "d" {
					t.Errorf("back, it got %v", a.Spec.Argv)
				}
			}, func(o *options, _ *dispatcher.RunOptions) { o.RoundRobin = robin })
		})
	}
}

// TestNobodyToldTheWorker that its connection is gone but the silence.
func TestNobodyToldTheWorker(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		k := w.crew(1, relayed)
		f := w.call("wait", "x 300000")
		k.mu.Lock()
		close(k.cable)
		k.mu.Unlock()
		k.open("x 300000")
		time.Sleep(time.Minute)
		w.came(f, "x 300000", 1)
	})
}

// TestBlockedTaskGoesOn: a task that waits for credit when the connection breaks
// does not wait until it is back. The next one in its slot shows that.
func TestBlockedTaskGoesOn(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		k := w.crew(1)
		for i := range 3 { // so that the dispatcher knows how long tasks take
			in := fmt.Sprintf("m%d 1", i)
			f := w.call("wait", in)
			time.Sleep(10 * time.Second)
			k.open(in)
			w.came(f, in, 1)
		}
		f := w.call("wait", "x 9000000")
		next := w.call("print", "next 10")
		time.Sleep(11 * time.Second) // now the next one has been sent ahead
		k.setDown(true)
		k.last().partition()
		k.open("x 9000000")
		time.Sleep(time.Second)
		if k.ran("next 10") != 0 {
			t.Fatal("the first did not wait for its window")
		}
		k.last().Close()
		synctest.Wait()
		if k.ran("next 10") != 1 {
			t.Error("the first still waits")
		}
		k.mend()
		w.came(f, "x 9000000", 1)
		w.came(next, "next 10", 1)
	})
}

// TestBackAmidAnEverywhere: a worker that has still to run it gets no task.
func TestBackAmidAnEverywhere(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		first := w.worker(1)
		if _, err := w.d.Everywhere(task.Spec{Argv: []string{"export A=1"}}, 1); err != nil {
			t.Fatal(err)
		}
		first.finish(first.start(first.assigned()), nil)
		synctest.Wait()
		m := w.mate(nil)
		a := m.start(m.assigned())
		synctest.Wait()
		m.raw.Close()
		synctest.Wait()
		w.submit("a", "b")
		first.assigned()
		m = w.mate(m)
		m.quiet()
		m.finish(a, nil)
		if b := m.assigned(); b.Spec.Argv[0] != "b" {
			t.Errorf("got %v", b.Spec)
		}
	})
}

// TestEndedWorkerIsNotWaitedFor, whether its connection breaks first or its
// scheduler says first that it has ended.
func TestEndedWorkerIsNotWaitedFor(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				m, other := w.mate(nil), w.worker(1)
				w.submit("a", "b")
				if m.start(m.assigned()).Attempt != 1 {
					t.Fatal("not the first attempt")
				}
				b := other.start(other.assigned())
				w.d.Gone(w.launch, "nobody's")
				if first {
					w.d.Gone(w.launch, m.h.Element)
					other.quiet()
				}
				m.raw.Close()
				synctest.Wait()
				if !first {
					other.quiet()
					w.d.Gone(w.launch, m.h.Element)
				}
				other.finish(b, nil)
				if a := other.assigned(); a.Attempt != 2 {
					t.Errorf("got %+v", a)
				}
			})
		})
	}
}

// TestNowhereToKeepOutput: a task that prints more than its window waits for the
// dispatcher then, and nothing is lost.
func TestNowhereToKeepOutput(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		w.scratch = "/nowhere"
		var log bytes.Buffer
		k := w.crew(2, func(o *worker.Options, _ *crew) {
			o.Log = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn})
		})
		in := []string{"x 9000000", "y 8000000"}
		f, g := w.call("wait", in[0]), w.call("wait", in[1])
		k.cut()
		k.open(in[0])
		k.open(in[1])
		time.Sleep(time.Minute)
		if k.ran(in[0]) != 1 {
			t.Error("the function did not run")
		}
		k.mend()
		w.came(f, in[0], 1)
		w.came(g, in[1], 1)
		k.end()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := strings.Count(log.String(), "cannot be kept here"); n != 1 {
			t.Errorf("it was said %d times:\n%s", n, &log)
		}
	})
}

func TestCancelWhileAway(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		k := w.crew(1)
		f := w.call("wait", "x 5")
		k.cut()
		f.Cancel(task.Cancelled("enough"))
		synctest.Wait()
		done, _, _ := f.Result(0)
		if done == nil || done.Err == nil || done.Err.Kind != task.KindCancelled {
			t.Fatalf("it came to %+v", done)
		}
		next := w.call("print", "y 5")
		time.Sleep(time.Minute)
		w.pending(next)
		k.mend() // and hears of it: the slot is free for the next
		w.came(next, "y 5", 1)
		if k.ran("x 5") != 0 {
			t.Error("the cancelled task ran to its end")
		}
	})
}

// TestCancelledBeforeTheBreak: nobody waits for a worker that is away.
func TestCancelledBeforeTheBreak(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		p := w.mate(nil)
		f := w.call("f", "")
		p.start(p.assigned())
		synctest.Wait()
		f.Cancel(task.Cancelled(""))
		w.pending(f)
		p.raw.Close()
		synctest.Wait()
		if done, _, _ := f.Result(0); done == nil || done.Err.Kind != task.KindCancelled {
			t.Errorf("it came to %+v", done)
		}
	})
}

// TestCancelledWithABacklog: what a task printed while the worker was away and
// nobody wants any more does not keep the worker from anything.
func TestCancelledWithABacklog(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		k := w.crew(1)
		f := w.call("wait", "x 10000000")
		k.cut()
		k.open("x 10000000")
		time.Sleep(time.Second)
		f.Cancel(task.Cancelled(""))
		k.mend()
		w.came(w.call("print", "y 5"), "y 5", 1)
		k.drain <- "SIGTERM"
		time.Sleep(time.Second)
		if !k.left() || <-k.gone != nil {
			t.Error("the worker does not leave")
		}
	})
}

func TestCloseWhileAway(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		k := w.crew(1)
		f := w.call("wait", "x 5")
		k.cut()
		began := time.Now()
		if err := w.door.Close(context.Background()); err != nil || time.Since(began) > 0 {
			t.Errorf("it took %v: %v", time.Since(began), err)
		}
		if done, _, _ := f.Result(0); done == nil || done.Err == nil || done.Err.Kind != task.KindReset {
			t.Errorf("it came to %+v", done)
		}
		k.end()
		<-k.gone
	})
}

func TestResetWhileAway(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		k := w.crew(1)
		w.call("wait", "x 5")
		k.cut()
		began := time.Now()
		w.d.Reset(context.Background())
		if time.Since(began) > 0 {
			t.Errorf("it took %v", time.Since(began))
		}
		k.mend()
		if !k.left() {
			t.Fatal("the worker is still there")
		}
		if err := <-k.gone; !errors.Is(err, worker.ErrRefused) {
			t.Errorf("it left with %v", err)
		}
	})
}

func TestRetiredWhileAway(t *testing.T) {
	leased(t, func(t *testing.T, w *world) {
		k := w.crew(1)
		f := w.call("wait", "x 5")
		k.cut()
		if n := w.d.Retire(1); n != 1 {
			t.Fatalf("%d were told", n)
		}
		k.mend()
		k.open("x 5")
		w.came(f, "x 5", 1)
		if !k.left() || <-k.gone != nil {
			t.Error("it did not leave in order")
		}
		if s := w.d.Status(); len(s.Workers) != 0 {
			t.Errorf("%+v", s.Workers)
		}
	})
}

// TestEverywhereWaitsForTheLease, and no longer.
func TestEverywhereWaitsForTheLease(t *testing.T) {
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprint(back), func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				k, other := w.mate(nil), w.mate(nil)
				k.raw.Close()
				synctest.Wait()
				f, err := w.d.Everywhere(task.Spec{Argv: []string{"export A=1"}}, 1)
				if err != nil {
					t.Fatal(err)
				}
				a := other.assigned()
				other.finish(other.start(a), nil)
				w.submit("later")
				other.quiet()
				if back {
					k = w.mate(k)
					a := k.assigned()
					if !a.Spec.Everywhere {
						t.Fatalf("it was given %+v first", a.Spec)
					}
					k.quiet()
					k.finish(k.start(a), nil)
				} else {
					time.Sleep(lease + time.Second)
				}
				synctest.Wait()
				if s := f.Status(); s.State != "resolved" || s.Failed != 0 {
					t.Fatalf("%+v", s)
				}
				got := other.next()
				if back && got == nil {
					got = k.next()
				}
				if a, ok := got.(*wire.Assign); !ok || a.Spec.Argv[0] != "later" {
					t.Errorf("then there was %+v", got)
				}
			})
		})
	}
}

func TestLeavesWhileAway(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(o *worker.Options, c *crew)
		do     func(k *crew)
		want   string
	}{
		{"its walltime is over", func(o *worker.Options, _ *crew) { o.Walltime = 2 * time.Minute }, func(*crew) { time.Sleep(2 * time.Minute) }, ""},
		{"it is stopped", nil, func(k *crew) { k.end() }, "context canceled"},
		{"its join file is gone", nil, func(k *crew) {
			k.mu.Lock()
			k.rejoin = fmt.Errorf("open join: %w", fs.ErrNotExist)
			k.mu.Unlock()
			time.Sleep(15 * time.Second)
		}, "taken back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				k := w.crew(1, func(o *worker.Options, k *crew) {
					join := o.Join
					o.Rejoin = func() (mtls.Join, error) {
						k.mu.Lock()
						defer k.mu.Unlock()
						return join, k.rejoin
					}
					if c.change != nil {
						c.change(o, k)
					}
				})
				w.call("wait", "x 5")
				k.cut()
				c.do(k)
				time.Sleep(time.Second)
				if !k.left() {
					t.Fatal("it is still there")
				}
				err := <-k.gone
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("it left with %v", err)
				}
			})
		})
	}
}

// TestDrainWhileAway: what runs is finished and delivered before the worker leaves.
func TestDrainWhileAway(t *testing.T) {
	for name, c := range map[string]struct{ busy, back bool }{
		"nothing to deliver":       {},
		"back in time":             {busy: true, back: true},
		"back when it is too late": {busy: true},
	} {
		t.Run(name, func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				k := w.crew(1)
				var f *dispatcher.Future
				if c.busy {
					f = w.call("wait", "x 500000")
				}
				time.Sleep(6 * time.Second) // a heartbeat, which acknowledges what there was
				k.cut()
				k.drain <- "SIGTERM"
				time.Sleep(time.Second)
				if k.left() == c.busy {
					t.Fatalf("it left: %v", !c.busy)
				}
				if !c.busy {
					return
				}
				k.open("x 500000")
				time.Sleep(time.Minute)
				if k.left() {
					t.Fatal("it left before it had told what it did")
				}
				if c.back {
					k.mend()
					w.came(f, "x 500000", 1)
				}
				time.Sleep(lease)
				if !k.left() {
					t.Fatal("it is still there")
				}
				if err := <-k.gone; err != nil {
					t.Errorf("it left with %v", err)
				}
			})
		})
	}
}

// TestAutoExitAfterTheLease: tasks are finished if that is asked for, and a
// worker that waits for a dispatcher joins it anew.
func TestAutoExitAfterTheLease(t *testing.T) {
	t.Run("finish", func(t *testing.T) {
		leased(t, func(t *testing.T, w *world) {
			k := w.crew(1, func(o *worker.Options, _ *crew) { o.AutoExit = worker.ExitFinish })
			w.call("wait", "x 9000000")
			k.cut()
			time.Sleep(lease + time.Second)
			if k.left() {
				t.Fatal("it did not finish")
			}
			k.open("x 9000000")
			if !k.left() {
				t.Fatal("it is still there")
			}
			<-k.gone
		})
	})
	t.Run("never", func(t *testing.T) {
		leased(t, func(t *testing.T, w *world) {
			k := w.crew(1, func(o *worker.Options, _ *crew) { o.AutoExit = worker.ExitNever })
			f := w.call("wait", "x 5")
			k.cut()
			time.Sleep(lease + time.Minute)
			k.mend()
			k.open("x 5")
			w.came(f, "x 5", 2)
			if n, ever, _ := w.d.Workers(); n != 1 || ever != 2 {
				t.Errorf("%d workers of %d ever", n, ever)
			}
			k.end()
			<-k.gone
		})
	})
}

// TestHeldWhileAway: a task that was killed just before its worker went away was
// lost with it if that does not come back.
func TestHeldWhileAway(t *testing.T) {
	for back, want := range map[bool]string{true: "1:signal.1", false: ""} {
		t.Run(fmt.Sprint(back), func(t *testing.T) {
			leased(t, func(t *testing.T, w *world) {
				p := w.mate(nil)
				w.submit("a")
				p.finish(p.start(p.assigned()), killed)
				synctest.Wait()
				p.raw.Close()
				time.Sleep(time.Minute)
				w.expect("")
				if back {
					w.mate(p)
				} else {
					time.Sleep(lease)
				}
				time.Sleep(dispatcher.DefaultHold)
				w.expect(want)
			})
		})
	}
}
