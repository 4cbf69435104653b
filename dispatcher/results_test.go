package dispatcher_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/internal/wire"
	"muster/task"
)

// TestCancelEndsTheWaitAtTheGate: whoever waits to add to a future is told at once
// when that is cancelled, and a future whose time is up has timed out.
func TestCancelEndsTheWaitAtTheGate(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put(strings.Repeat("x", 100)) // fills the queue
		began := time.Now()
		f := w.put("late", dispatcher.FutureOptions{Timeout: time.Minute})
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it waited for %v", took)
		}
		w.is(f, 0, "5 | Timed out")

		m, err := w.d.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{})
		if err != nil {
			t.Fatal(err)
		}
		added := make(chan error)
		add := func(ctx context.Context) {
			go func() { added <- m.Add(ctx, task.Spec{Argv: []string{"y"}}) }()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(context.Background())
		add(ctx)
		cancel()
		if err := <-added; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that went away: %v", err)
		}
		add(context.Background())
		if !m.Cancel(task.Cancelled("")) {
			t.Error("it was not found")
		}
		if err := <-added; err != nil {
			t.Error(err)
		}
		add(context.Background()) // there is nothing left to wait for
		if err := <-added; err != nil {
			t.Error(err)
		}
		m.Seal()
		<-m.Done()
		w.is(m, 0, "20 | Operation canceled")
		w.is(m, 1, "20 | Operation canceled")
	}, func(o *options, _ *dispatcher.RunOptions) { o.Memory = 50 })
}

func TestEverywhereOnAClosedPool(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.d.Reset(context.Background())
		if _, err := w.d.Everywhere(task.Spec{Argv: []string{"x"}}, 1); !errors.Is(err, dispatcher.ErrClosed) {
			t.Errorf("a reset profile answers %v", err)
		}
		if _, err := w.d.NewRun(dispatcher.RunOptions{}); !errors.Is(err, dispatcher.ErrClosed) {
			t.Errorf("a reset profile answers a run %v", err)
		}
		if list := w.door.Futures(); len(list) != 0 {
			t.Errorf("%d futures stay", len(list))
		}
	})
}

// TestResetEndsARun whose results somebody waits for.
func TestResetEndsARun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		w.submit("a", "b")
		p.start(p.assigned())
		w.d.Reset(context.Background())
		synctest.Wait()
		if done, over := w.b.Take(); !over || len(done)+w.b.Dropped() != 2 {
			t.Errorf("over %v, %d resolved, %d dropped", over, len(done), w.b.Dropped())
		}
	})
}

// TestFullInOrder: a run whose reader waits for the first task starts nothing new
// when too much waits behind that, goes on when it has ended, and retries pass.
func TestFullInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		inOrder := w.b.Results(dispatcher.ByIndex)
		defer inOrder.Close()
		p, q := w.worker(1), w.worker(1)
		w.submit("slow", "b", "c", "d", "e", "f", "g")
		p.start(p.assigned())
		chunk := make([]byte, wire.MaxChunk)
		ended := 0
		for ; ; ended++ {
			a := next(q)
			if a == nil {
				break
			}
			q.start(a)
			for range 64 << 20 / len(chunk) {
				q.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: chunk})
			}
			q.finish(a, nil)
		}
		if ended != 4 {
			t.Errorf("%d tasks ended before nothing new was started", ended)
		}
		if d, err := inOrder.Poll(); d != nil || err != nil {
			t.Errorf("before the first has ended: %v, %v", d, err)
		}
		p.raw.Close() // it is tried again, full or not
		again := next(q)
		if again == nil || again.Attempt != 2 {
			t.Fatalf("the retry is %+v", again)
		}
		q.finish(q.start(again), nil)
		if next(q) != nil {
			t.Error("started before anything was released")
		}
		for want := 1; want <= 5; want++ {
			d, err := inOrder.Next(context.Background())
			if err != nil || d.Index != want {
				t.Fatalf("%v, %v; want %d", d, err, want)
			}
			d.Release()
		}
		if a := next(q); a == nil || a.Spec.Argv[0] != "f" {
			t.Errorf("then came %+v", a)
		}
	})
}

// next returns the next task that the peer was sent, nil if there is none.
func next(p *peer) *wire.Assign {
	for m := p.next(); m != nil; m = p.next() {
		if a, ok := m.(*wire.Assign); ok {
			return a
		}
	}
	return nil
}

// TestTriesThrownAwayDoNotCount: what tries that were lost have printed fills no
// bound, so that small results stay in memory.
func TestTriesThrownAwayDoNotCount(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for range 20 {
			p := w.worker(1)
			f := w.put("a")
			a := p.start(p.assigned())
			p.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: make([]byte, 60_000)})
			p.finish(a, killed) // held
			synctest.Wait()
			p.Send(&wire.Drain{Reason: "SIGTERM"}) // lost with its worker, after all
			synctest.Wait()
			p.raw.Close()
			synctest.Wait()
			f.Cancel(task.Cancelled(""))
			w.door.Forget(f)
		}
		f := w.put("small")
		w.worker(1).work()
		<-f.Done()
		done, _, _ := f.Result(0)
		if n := done.Output.Memory(); n != 5 {
			t.Errorf("%d bytes of the small one are in memory", n)
		}
	}, func(o *options, _ *dispatcher.RunOptions) { o.Keep, o.LostRetries = 100_000, 1 })
}

// TestCollectorsAtOnce: of a future that one of them forgets, each gets all.
func TestCollectorsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.worker(1)
		f := w.put("a")
		a := p.start(p.assigned())
		chunk := bytes.Repeat([]byte("0123456789abcdef"), wire.MaxChunk/16)
		for range 140 { // 9 MB
			p.Send(&wire.Output{Ref: a.Ref, Stream: 1, Data: chunk})
			synctest.Wait()
		}
		p.finish(a, nil)
		<-f.Done()
		sizes := make(chan int64)
		forgotten := make(chan struct{})
		for i := range 4 {
			c := f.Results(dispatcher.AsResolved)
			go func() {
				defer c.Close()
				if i > 1 {
					<-forgotten // these have not even begun
				}
				done, err := c.Next(context.Background())
				if err != nil {
					t.Error(err)
					sizes <- 0
					return
				}
				r, err := done.Output.Reader(1)
				if err != nil {
					t.Error(err)
					sizes <- 0
					return
				}
				defer r.Close()
				head, _ := io.CopyN(io.Discard, r, 1000)
				if i == 0 {
					w.door.Forget(f)
					close(forgotten)
				}
				<-forgotten
				rest, err := io.Copy(io.Discard, r)
				if err != nil {
					t.Error(err)
				}
				sizes <- head + rest
			}()
		}
		for range 4 {
			if n := <-sizes; n != 140*int64(len(chunk))+1 {
				t.Errorf("a collector got %d bytes", n)
			}
		}
		synctest.Wait()
		if entries, err := os.ReadDir(w.spool); err != nil || len(entries) > 0 {
			t.Errorf("%d files are left, %v", len(entries), err)
		}
	})
}
