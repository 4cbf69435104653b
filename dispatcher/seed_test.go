package dispatcher_test

import (
	"context"
	"testing"
	"testing/synctest"

	"muster/dispatcher"
	"muster/internal/wire"
	"muster/rng"
	"muster/task"
)

// seeded gives the pool a seed.
func seeded(o *options, _ *dispatcher.RunOptions) { o.Streams = rng.Seeded(7) }

// stream is what the i-th result of a future says of its random numbers.
func stream(f *dispatcher.Future, i int) rng.Stream {
	synctest.Wait()
	done, _, _ := f.Result(i)
	if done == nil {
		return rng.Stream{}
	}
	return done.Stream
}

// TestTasksAreNumbered: a task has its number from its submission, whatever is before
// it, and keeps it when it is tried again. An everywhere has none, nor what has a seed
// of its own.
func TestTasksAreNumbered(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cancelled, first := w.put("cancelled"), w.put("first")
		own := w.put("own", dispatcher.FutureOptions{Streams: rng.Seeded(-3)})
		w.everywhere("e", 1)
		many, err := w.d.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := many.Add(context.Background(), task.Spec{Argv: []string{"many"}}); err != nil {
				t.Fatal(err)
			}
		}
		many.Seal()
		cancelled.Cancel(task.Cancelled(""))

		seed := rng.Seeded(7)
		lost := w.worker(1)
		if a := lost.start(lost.assigned()); a.Spec.Stream != seed.Of(2) {
			t.Errorf("the second task has %v, want %v", a.Spec.Stream, seed.Of(2))
		}
		lost.raw.Close()
		if w.connected() != 0 { // and what it had is queued again
			t.Fatal("the lost worker counts")
		}
		p := w.worker(1)
		for i, want := range []rng.Stream{seed.Of(2), rng.Seeded(-3).Of(1), {}, seed.Of(3), seed.Of(4)} {
			if a := p.work(); a.Spec.Stream != want {
				t.Errorf("assignment %d, %v, has %v, want %v", i, a.Spec.Argv, a.Spec.Stream, want)
			}
		}
		for i, got := range []rng.Stream{stream(cancelled, 0), stream(first, 0), stream(many, 0), stream(many, 1)} {
			if got != seed.Of(uint64(i+1)) {
				t.Errorf("the result of task %d says %v", i+1, got)
			}
		}
		if got := stream(own, 0); got != rng.Seeded(-3).Of(1) {
			t.Errorf("the result of a task with its own seed says %v", got)
		}
	}, seeded)
}

// TestRowsAreNumbered as the tasks that they become.
func TestRowsAreNumbered(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.submit("a", "b")
		w.submit("c")
		p, q := w.worker(1), w.worker(2)
		for _, a := range []*wire.Assign{p.assigned(), q.assigned(), q.assigned()} {
			if want := rng.Seeded(7).Of(uint64(a.Spec.Index)); a.Spec.Stream != want {
				t.Errorf("row %d has %v, want %v", a.Spec.Index, a.Spec.Stream, want)
			}
		}
	}, seeded)
}

// TestWorkersSayStreams of tasks that have no seed; with one, what they say is not asked.
func TestWorkersSayStreams(t *testing.T) {
	said := rng.Seed(99)
	answer := func(w *world) rng.Stream {
		f, p := w.put("a"), w.worker(1)
		a := p.start(p.assigned())
		p.Send(&wire.Result{Ref: a.Ref, Slot: 1, Stream: said})
		return stream(f, 0)
	}
	bubble(t, func(t *testing.T, w *world) {
		if got := answer(w); got != said {
			t.Errorf("without a seed: %v", got)
		}
	})
	bubble(t, func(t *testing.T, w *world) {
		if got := answer(w); got != rng.Seeded(7).Of(1) {
			t.Errorf("with a seed: %v", got)
		}
	}, seeded)
}
