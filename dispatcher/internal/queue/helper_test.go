package queue_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

var start = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func admitAll(task.ID, uint64, uint32) bool { return true }

// bench is a queue under test, with shorthands that fail the test.
type bench struct {
	*testing.T
	*queue.Queue[uint64]
	now time.Time
}

func newBench(t *testing.T, retries int) *bench {
	return with(t, queue.Options{LostRetries: retries})
}

func with(t *testing.T, opt queue.Options) *bench {
	return &bench{t, queue.New[uint64](opt), start}
}

// both runs a test with either policy.
func both(t *testing.T, retries int, test func(b *bench)) {
	for _, robin := range []bool{false, true} {
		t.Run(fmt.Sprintf("RoundRobin=%v", robin), func(t *testing.T) {
			test(with(t, queue.Options{LostRetries: retries, RoundRobin: robin}))
		})
	}
}

func (b *bench) join(slots int) (epoch uint64) { return b.Join(queue.Amounts{Slots: slots}) }

// push pushes tasks that need nothing.
func (b *bench) push(n int) {
	for range n {
		b.Push(uint64(b.Counts().Queued), 1, queue.Needs{})
	}
}

// needing pushes a task that needs a directory and returns its id.
func (b *bench) needing(directory string) task.ID {
	return b.Push(0, 1, queue.Needs{Directory: directory})
}

// send takes the next task from the queue, which has to be id.
func (b *bench) send(id task.ID) queue.Decision[uint64] {
	b.Helper()
	a, ok := b.Next(b.now, admitAll)
	if !ok || a.Task != id || a.Verdict != queue.Send {
		b.Fatalf("next is %+v, %v, want task %d", a, ok, id)
	}
	return a
}

// sendTo is send, and the worker has to be that of an epoch.
func (b *bench) sendTo(epoch uint64, id task.ID) queue.Ref {
	b.Helper()
	a := b.send(id)
	if a.Epoch != epoch {
		b.Fatalf("task %d went to worker %d, want %d", id, a.Epoch, epoch)
	}
	return a.Ref
}

// run is send, and the task starts.
func (b *bench) run(id task.ID) queue.Decision[uint64] {
	b.Helper()
	a := b.send(id)
	if a.Ahead || !b.Started(a.Ref, b.now) {
		b.Fatalf("task %d did not start", id)
	}
	return a
}

func (b *bench) nothingNext() {
	b.Helper()
	if a, ok := b.Next(b.now, admitAll); ok {
		b.Fatalf("next is %+v, want nothing", a)
	}
}

func (b *bench) finish(r queue.Ref, elapsed time.Duration) {
	b.Helper()
	if _, ok := b.Finished(r, elapsed, b.now); !ok {
		b.Fatalf("the result of task %d was refused", r.Task)
	}
}

func (b *bench) recalls(want ...task.ID) {
	b.Helper()
	var got []task.ID
	for _, r := range b.Recalls(b.now) {
		got = append(got, r.Task)
	}
	if !slices.Equal(got, want) {
		b.Fatalf("recalls are %v, want %v", got, want)
	}
}

func (b *bench) state(id task.ID, want task.State) {
	b.Helper()
	if got, ok := b.State(id); !ok || got != want {
		b.Fatalf("task %d is %v, %v, want %v", id, got, ok, want)
	}
}

func (b *bench) gone(id task.ID) {
	b.Helper()
	if got, ok := b.State(id); ok {
		b.Fatalf("task %d is %v, want it gone", id, got)
	}
}

// teach gives the queue a median by running tasks 1 to 3 on a worker that
// then leaves.
func (b *bench) teach(median time.Duration) {
	b.Helper()
	epoch := b.join(1)
	for id := range task.ID(3) {
		b.push(1)
		b.finish(b.run(id+1).Ref, median)
	}
	b.Leave(epoch)
}
