package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/internal/wire"
	"muster/task"
)

// put submits a task called name and returns its future.
func (w *world) put(name string, opt ...dispatcher.FutureOptions) *dispatcher.Future {
	w.t.Helper()
	f, err := w.d.Submit(context.Background(), task.Spec{Argv: []string{name}}, append(opt, dispatcher.FutureOptions{})[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// value is what a future's i-th task resolved to: its output, or its error's
// code and message; unresolved if it is that.
func value(f *dispatcher.Future, i int) string {
	synctest.Wait()
	done, _, _ := f.Result(i)
	switch {
	case done == nil:
		return "unresolved"
	case done.Err != nil:
		return fmt.Sprintf("%d | %s", done.Err.Code, done.Err.Message)
	}
	r, err := done.Output.Reader(1)
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	text, _ := io.ReadAll(r)
	return string(text)
}

func (w *world) is(f *dispatcher.Future, i int, want string) {
	w.t.Helper()
	if got := value(f, i); got != want {
		w.t.Fatalf("future %d is %q, want %q", f.ID(), got, want)
	}
}

// work runs the next task to its end.
func (p *peer) work() *wire.Assign {
	p.t.Helper()
	a := p.start(p.assigned())
	p.finish(a, nil)
	return a
}

func TestFutureResolvesOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f := w.put("a")
		w.is(f, 0, "unresolved")
		waited := make(chan struct{})
		go func() {
			<-f.Done()
			close(waited)
		}()
		p := w.worker(1)
		a := p.work()
		<-waited
		w.is(f, 0, "a")
		p.finish(a, failed) // a second result of the same attempt
		w.is(f, 0, "a")
		if f.Cancel(task.Cancelled("")) {
			t.Error("a resolved future was cancelled")
		}
		if s := f.Status(); s.State != "resolved" || s.Resolved != 1 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
		w.door.Forget(f)
		if w.door.Future(f.ID()) != nil || len(w.door.Futures()) != 0 {
			t.Error("it is remembered")
		}
		if i := w.d.Info(); i.Completed != 1 || i.Connections != 1 || i.Cumulative != 1 {
			t.Errorf("%+v", i)
		}
	})
}

func TestRace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		if i, err := dispatcher.Race(context.Background(), nil); i != -1 || err != nil {
			t.Errorf("no futures: %d, %v", i, err)
		}
		a, b := w.put("a"), w.put("b")
		won := make(chan int)
		go func() {
			i, _ := dispatcher.Race(context.Background(), []*dispatcher.Future{a, b})
			won <- i
		}()
		p := w.worker(2)
		first, second := p.start(p.assigned()), p.start(p.assigned())
		p.finish(second, nil)
		if i := <-won; i != 1 {
			t.Errorf("%d won", i)
		}
		p.finish(first, nil)
		w.is(a, 0, "a")
		if i, _ := dispatcher.Race(context.Background(), []*dispatcher.Future{a, b}); i != 0 {
			t.Errorf("of two that are resolved %d won", i)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := dispatcher.Race(ctx, []*dispatcher.Future{w.put("c")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a race that nobody won: %v", err)
		}
	})
}

func TestCancelTimeoutAndReset(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		running, queued := w.put("running"), w.put("queued")
		late := w.put("late", dispatcher.FutureOptions{Timeout: time.Minute})
		lost := w.put("lost")
		a := p.start(p.assigned())
		if !queued.Cancel(task.Cancelled("")) || queued.Cancel(task.Cancelled("")) {
			t.Error("cancelling a queued one is not found once")
		}
		w.is(queued, 0, "20 | Operation canceled")
		time.Sleep(61 * time.Second)
		w.is(late, 0, "5 | Timed out")
		if !running.Cancel(task.Cancelled("")) {
			t.Error("the running one was not found")
		}
		c, ok := p.next().(*wire.Cancel)
		if !ok {
			t.Fatal("the worker was not told")
		}
		w.is(running, 0, "unresolved")
		p.finish(a, c.Err)
		w.is(running, 0, "20 | Operation canceled")
		p.start(p.assigned())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.d.Reset(ctx)
		w.is(lost, 0, "19 | Connection reset")
		if _, err := w.d.Submit(context.Background(), task.Spec{Argv: []string{"x"}}, dispatcher.FutureOptions{}); !errors.Is(err, dispatcher.ErrClosed) {
			t.Errorf("a reset profile answers %v", err)
		}
	})
}

func TestTimeoutOfARunningTask(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		f := w.put("a", dispatcher.FutureOptions{Timeout: time.Second})
		a := p.start(p.assigned())
		time.Sleep(2 * time.Second)
		c, ok := p.next().(*wire.Cancel)
		if !ok || c.Err.Code != task.CodeTimeout {
			t.Fatalf("the worker was told %+v", c)
		}
		p.finish(a, killed)
		w.is(f, 0, "5 | Timed out")
	})
}

func TestMap(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f, err := w.d.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{StopOnFailure: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			if err := f.Add(context.Background(), task.Spec{Argv: []string{name}, Name: name}); err != nil {
				t.Fatal(err)
			}
		}
		if s := f.Status(); s.State != "queued" || s.Total != 4 {
			t.Errorf("%+v", s)
		}
		p := w.worker(2)
		a, b := p.start(p.assigned()), p.start(p.assigned())
		p.finish(a, nil)
		w.is(f, 0, "a")
		if s := f.Status(); s.State != "running" || s.Resolved != 1 {
			t.Errorf("%+v", s)
		}
		c := p.start(p.assigned())
		f.Seal()
		p.finish(b, failed)
		w.is(f, 1, "1 | exit status 1")
		w.is(f, 3, "20 | Operation canceled")
		if m, ok := p.next().(*wire.Cancel); !ok {
			t.Errorf("what ran was told %#v", m)
		}
		p.finish(c, task.Cancelled(""))
		<-f.Done()
		done, _, _ := f.Result(1)
		if done.Name != "b" || done.Index != 2 || f.Status().Failed != 3 {
			t.Errorf("%+v", done.Result)
		}
	})
}

// TestGate: the gate is before the task, whose own size does not matter; those
// who wait enter in their order, and one that must not wait is told.
func TestGate(t *testing.T) {
	big := strings.Repeat("x", 1000)
	bubble(t, func(t *testing.T, w *world) {
		submit := func(ctx context.Context, try bool) (*dispatcher.Future, error) {
			return w.d.Submit(ctx, task.Spec{Argv: []string{big}}, dispatcher.FutureOptions{Try: try})
		}
		first, err := submit(context.Background(), true) // one task may overshoot
		if err != nil {
			t.Fatal(err)
		}
		if _, err := submit(context.Background(), true); !errors.Is(err, dispatcher.ErrFull) {
			t.Fatalf("beyond the cap: %v", err)
		}
		entered := make(chan int, 3)
		for i := range 3 {
			go func() {
				if _, err := submit(context.Background(), false); err != nil {
					t.Error(err)
				}
				entered <- i
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := submit(ctx, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting in vain: %v", err)
		}
		s := w.d.Status().Memory
		if s.Used < 1000 || s.Peak != s.Used || s.Capacity == nil || *s.Capacity != 500 {
			t.Errorf("%+v", s)
		}
		p := w.worker(1)
		a := p.start(p.assigned()) // the queue is empty for a moment, and one enters
		for want := range 3 {
			if got := <-entered; got != want {
				t.Errorf("%d entered, want %d", got, want)
			}
			synctest.Wait()
			select {
			case i := <-entered:
				t.Fatalf("%d entered a full queue", i)
			default:
			}
			p.finish(a, nil)
			a = p.start(p.assigned())
		}
		p.finish(a, nil)
		w.is(first, 0, big)
		synctest.Wait()
		if s := w.d.Status().Memory; s.Used != 0 {
			t.Errorf("an empty queue holds %d bytes", s.Used)
		}
		if len(w.door.Futures()) != 4 {
			t.Errorf("%d futures", len(w.door.Futures()))
		}
	}, func(o *options, _ *dispatcher.RunOptions) { o.Memory = 500 })
}

func TestCancelledTasksLeaveTheGate(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f := w.put(strings.Repeat("x", 100))
		entered := make(chan error)
		go func() {
			_, err := w.d.Submit(context.Background(), task.Spec{Argv: []string{"y"}}, dispatcher.FutureOptions{})
			entered <- err
		}()
		synctest.Wait()
		f.Cancel(task.Cancelled(""))
		if err := <-entered; err != nil {
			t.Error(err)
		}
	}, func(o *options, _ *dispatcher.RunOptions) { o.Memory = 50 })
}

func (w *world) everywhere(name string, min int) *dispatcher.Future {
	w.t.Helper()
	f, err := w.d.Everywhere(task.Spec{Argv: []string{name}}, min)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// TestEverywhere is a synchronisation point: after what was submitted before it
// has ended on a worker, and before anything that was submitted later starts.
func TestEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, q := w.worker(1), w.worker(2)
		w.put("a")
		w.put("b")
		a, b := p.start(p.assigned()), q.start(q.assigned())
		f := w.everywhere("setup", 1)
		after := w.put("after")
		p.quiet()
		q.quiet() // has a free slot, and waits all the same
		p.finish(a, nil)
		e := p.assigned()
		if !e.Spec.Everywhere || e.Spec.Argv[0] != "setup" {
			t.Fatalf("%+v", e)
		}
		p.start(e)
		p.finish(e, nil)
		p.quiet()
		q.quiet()
		w.is(f, 0, "setup")
		w.is(f, 1, "unresolved")
		q.finish(b, nil)
		e = q.start(q.assigned())
		if s := f.Status(); s.State != "running" || s.Total != 2 {
			t.Errorf("%+v", s)
		}
		q.finish(e, nil)
		<-f.Done()
		done, _, _ := f.Result(1)
		if done.Name != "w2@host" {
			t.Errorf("the second result is of %q", done.Name)
		}
		n := p.next()
		if n == nil {
			n = q.next()
		}
		if x, ok := n.(*wire.Assign); !ok || x.Spec.Argv[0] != "after" {
			t.Errorf("then came %#v", n)
		}
		w.is(after, 0, "unresolved")
		// Who joins later runs it first.
		late := w.worker(1)
		w.put("x")
		w.put("y")
		w.put("z")
		e = late.start(late.assigned())
		if !e.Spec.Everywhere {
			t.Fatalf("a late worker got %+v", e.Spec)
		}
		late.quiet()
		late.finish(e, failed) // which it is logged for, and no more
		if x := late.assigned(); x.Spec.Everywhere {
			t.Errorf("then %+v", x.Spec)
		}
	})
}

func TestEverywhereWaitsForEnough(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f := w.everywhere("setup", 2)
		second := w.everywhere("more", 1)
		after := w.put("after")
		p := w.worker(1)
		p.work()
		p.quiet()
		if s := f.Status(); s.State != "running" || s.Resolved != 1 || s.Total != 2 {
			t.Errorf("%+v", s)
		}
		q := w.worker(1)
		if a := q.work(); a.Spec.Argv[0] != "setup" {
			t.Errorf("%+v", a.Spec)
		}
		<-f.Done()
		p.work()
		q.work()
		<-second.Done()
		for value(after, 0) == "unresolved" {
			for _, x := range []*peer{p, q} {
				if a, ok := x.next().(*wire.Assign); ok {
					x.finish(x.start(a), nil)
				}
			}
		}
	})
}

func TestEverywhereAndALostWorker(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, q := w.worker(1), w.worker(1)
		f := w.everywhere("setup", 1)
		w.put("after")
		p.work()
		q.start(q.assigned())
		q.raw.Close()
		w.is(f, 1, "19 | Connection reset")
		<-f.Done()
		if a := p.assigned(); a.Spec.Argv[0] != "after" {
			t.Errorf("%+v", a.Spec)
		}
	})
}

func TestCancelEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, q := w.worker(1), w.worker(1)
		w.put("a")
		a := p.start(p.assigned())
		f := w.everywhere("setup", 1)
		waiting := w.everywhere("never", 1)
		after := w.put("after")
		e := q.start(q.assigned())
		if !waiting.Cancel(task.Cancelled("")) || !f.Cancel(task.Cancelled("")) {
			t.Error("not found")
		}
		<-waiting.Done()
		<-f.Done()
		w.is(f, 0, "20 | Operation canceled")
		if _, ok := q.next().(*wire.Cancel); !ok {
			t.Error("the worker was not told")
		}
		q.finish(e, killed)
		p.finish(a, nil)
		for value(after, 0) == "unresolved" {
			for _, x := range []*peer{p, q} {
				if a, ok := x.next().(*wire.Assign); ok {
					if a.Spec.Everywhere {
						t.Error("a cancelled everywhere was run")
					}
					x.finish(x.start(a), nil)
				}
			}
		}
		if a := w.worker(1); a.next() != nil {
			t.Error("a late worker replays what was cancelled")
		}
	})
}

func TestRoundRobin(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, q := w.worker(1), w.worker(1)
		for _, name := range []string{"p1", "q1", "p2", "q2"} {
			w.put(name)
		}
		long := p.start(p.assigned())
		for _, want := range []string{"q1", "q2"} {
			if a := q.work(); a.Spec.Argv[0] != want {
				t.Errorf("q got %s, want %s", a.Spec.Argv[0], want)
			}
		}
		q.quiet() // p2 is p's, although p is busy
		f := w.everywhere("setup", 1)
		p.finish(long, nil)
		if a := p.work(); a.Spec.Argv[0] != "p2" {
			t.Errorf("p got %s", a.Spec.Argv[0])
		}
		p.work()
		q.work()
		<-f.Done()
		if s := w.d.Status(); s.Scheduling != "round-robin" {
			t.Errorf("%+v", s)
		}
	}, func(o *options, _ *dispatcher.RunOptions) { o.RoundRobin = true })
}

func TestRetire(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		busy := w.worker(1)
		w.put("a")
		a := busy.start(busy.assigned())
		idle := w.worker(1)
		if n := w.d.Retire(1); n != 1 {
			t.Fatalf("%d told", n)
		}
		if m, ok := idle.next().(*wire.Drain); !ok {
			t.Fatalf("the idle one was told %#v", m)
		}
		busy.quiet()
		if n := w.d.Retire(-1); n != 1 {
			t.Errorf("%d more told", n)
		}
		f := w.put("b")
		busy.next()
		busy.finish(a, nil)
		busy.quiet() // takes nothing new
		for _, s := range w.d.Status().Workers {
			if s.State != "draining" {
				t.Errorf("%+v", s)
			}
		}
		w.worker(1).work()
		w.is(f, 0, "b")
	})
}

// TestProfilesAreIndependent: workers of one take no tasks of another, and the
// ids of futures are one sequence.
func TestProfilesAreIndependent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		gpu, err := w.door.NewPool("gpu", dispatcher.PoolOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.door.NewPool("gpu", dispatcher.PoolOptions{}); !errors.Is(err, dispatcher.ErrExists) {
			t.Errorf("a second gpu: %v", err)
		}
		a := w.put("a")
		f, err := gpu.Submit(context.Background(), task.Spec{Argv: []string{"g"}}, dispatcher.FutureOptions{})
		if err != nil || f.ID() != a.ID()+1 {
			t.Fatalf("%v, %v", f.ID(), err)
		}
		w.worker(4).work()
		w.is(a, 0, "a")
		w.is(f, 0, "unresolved")
		gpu.Reset(context.Background())
		w.is(f, 0, "19 | Connection reset")
		if w.door.Pool("gpu") != nil || w.door.Pool("default") == nil {
			t.Error("the wrong profile is gone")
		}
	})
}

// TestGoodbyeReturnsWhatNeverStarted: it is nobody's loss, and no try of it.
func TestGoodbyeReturnsWhatNeverStarted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		f := w.put("a")
		p.assigned()
		p.Send(&wire.Goodbye{Code: wire.LeftIdle, Text: wire.LeftText(wire.LeftIdle)})
		synctest.Wait()
		w.worker(1).work()
		w.is(f, 0, "a")
		if s := w.d.Status(); s.Left["idletime limit reached"] != 1 {
			t.Errorf("%+v", s)
		}
	}, func(o *options, _ *dispatcher.RunOptions) { o.LostRetries = 0 })
}

// TestFuturesOverAFaultyNetwork: connections that drop, truncate and delay
// lose and double no future, in either schedule, with everywheres among them.
func TestFuturesOverAFaultyNetwork(t *testing.T) {
	for seed := range uint64(12) {
		bubble(t, func(t *testing.T, w *world) {
			r := rand.New(rand.NewPCG(seed, 7))
			stop := make(chan struct{})
			ended := make(chan struct{})
			for n := range 3 {
				s := r.Uint64()
				go func() {
					flakyWorker(w, fmt.Sprintf("flaky%d", n), rand.New(rand.NewPCG(s, 0)), stop)
					ended <- struct{}{}
				}()
			}
			var list []*dispatcher.Future
			for i := range 30 {
				list = append(list, w.put(fmt.Sprintf("task %d", i)))
				if i%10 == 5 {
					w.everywhere("setup", 1)
				}
			}
			for i, f := range list {
				<-f.Done()
				if got := value(f, 0); got != strings.Repeat(fmt.Sprintf("task %d", i), 3) {
					t.Errorf("seed %d: task %d is %q", seed, i, got)
				}
			}
			close(stop)
			for range 3 {
				<-ended
			}
			ids := map[dispatcher.ID]bool{}
			for _, f := range list {
				ids[f.ID()] = true
			}
			if len(ids) != len(list) || !slices.IsSortedFunc(list, func(a, b *dispatcher.Future) int { return int(a.ID()) - int(b.ID()) }) {
				t.Error("ids are not one ascending sequence")
			}
		}, func(o *options, _ *dispatcher.RunOptions) {
			o.LostRetries = 10_000
			o.RoundRobin = seed%2 == 1
		})
	}
}
