package queue_test

import (
	"slices"
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

func newRobin(t *testing.T, retries int) *bench {
	return with(t, queue.Options{LostRetries: retries, RoundRobin: true})
}

func TestRoundRobinBindsAtPush(t *testing.T) {
	b := newRobin(t, 1)
	x, y := b.join(1), b.join(1)
	b.push(6)
	first := b.sendTo(x, 1)
	b.Started(b.sendTo(y, 2), b.now)
	b.nothingNext()
	b.finish(first, 0)
	b.finish(b.sendTo(x, 3), 0)
	b.finish(b.sendTo(x, 5), 0)
	// y runs task 2 for ever; tasks 4 and 6 wait for it although x is free.
	b.nothingNext()
	if at, ok := b.Wake(b.now); ok {
		t.Errorf("wake is %v, for nothing", at)
	}
	// Task 4 is cancelled, and y ends, which gives its tasks to x.
	if _, removed, _, found := b.Cancel(4); !removed || !found {
		t.Fatal("4 was not found")
	}
	if requeued, _ := b.Leave(y); !slices.Equal(requeued, []task.ID{2}) {
		t.Fatalf("requeued %v", requeued)
	}
	for _, want := range []task.ID{2, 6} {
		b.finish(b.sendTo(x, want), 0)
	}
}

func TestRoundRobinWithoutWorkers(t *testing.T) {
	b := newRobin(t, 0)
	b.push(2)
	b.sendTo(b.join(1), 1)
	b.sendTo(b.join(1), 2)
}

// Tasks that came before any worker did are not overtaken by those that came
// later and are bound.
func TestRoundRobinDoesNotOvertakeWhatIsNotBound(t *testing.T) {
	b := newRobin(t, 0)
	b.push(3)
	x := b.join(1)
	b.push(2)
	for id := range task.ID(5) {
		b.finish(b.sendTo(x, id+1), 0)
	}
}

func TestRoundRobinGivesTurnsToWorkersThatComeBack(t *testing.T) {
	b := newRobin(t, 0)
	x, y := b.join(1), b.join(1)
	b.Set(x, queue.Away)
	b.push(1)
	b.finish(b.sendTo(y, 1), 0)
	b.Clear(x, queue.Away)
	b.push(2)
	got := []uint64{b.send(2).Epoch, b.send(3).Epoch}
	slices.Sort(got)
	if !slices.Equal(got, []uint64{x, y}) {
		t.Errorf("tasks went to workers %v", got)
	}
}

// What is bound to workers that are busy moves when they go away, while others
// have tasks that they may begin.
func TestRoundRobinMovesWhatIsBound(t *testing.T) {
	b := newRobin(t, 0)
	var epochs []uint64
	for range 5 {
		epochs = append(epochs, b.join(1))
	}
	b.push(20)
	for _, epoch := range epochs[:4] {
		b.Set(epoch, queue.Away)
	}
	for id := range task.ID(20) {
		b.finish(b.sendTo(epochs[4], id+1), 0)
	}
}

// A worker that lacks something is probed though tasks that need it are bound to
// others.
func TestRoundRobinProbesAWorkerThatLacksSomething(t *testing.T) {
	b := newRobin(t, 0)
	x, y := b.join(2), b.join(2)
	id := b.needing("/a")
	r := b.sendTo(x, id)
	b.lacks(r, task.LackDirectory, true)
	b.sendTo(y, id)
	b.sendTo(y, b.needing("/a"))
	b.now = b.now.Add(queue.FirstProbe - 1)
	probe := b.needing("/a")
	b.nothingNext()
	b.now = b.now.Add(1)
	b.nothingNext() // it is bound to y and may not begin there
	b.finish(queue.Ref{Task: id, Attempt: 2, Epoch: y}, 0)
	r = b.sendTo(x, probe)
	b.Started(r, b.now)
	if l := b.Lacks(x); len(l) != 0 {
		t.Errorf("worker x lacks %v after a task began that needs it", l)
	}
}

func TestRoundRobinDropsWhatIsQueuedAroundABarrier(t *testing.T) {
	b := newRobin(t, 0)
	x, y := b.join(1), b.join(1)
	b.push(4)
	b.send(1)
	b.send(2)
	b.PushBarrier(0, queue.Needs{}, 0)
	b.push(4)
	n := 0
	for range b.DropQueued() {
		n++
	}
	if n != 6 || b.Counts().Queued != 0 {
		t.Errorf("%d tasks were dropped, %+v", n, b.Counts())
	}
	b.nothingNext()
	b.Leave(x)
	b.Leave(y)
	if _, _, ok := b.Passed(); !ok {
		t.Error("the barrier did not pass")
	}
}

// Tasks of a worker that left come before a barrier that they were pushed before,
// and so do those that were bound to it.
func TestBarrierWaitsForTasksOfAWorkerThatLeft(t *testing.T) {
	both(t, 1, func(b *bench) {
		x, y := b.join(1), b.join(1)
		b.push(4)
		b.sendTo(x, 1)
		two := b.sendTo(y, 2)
		barrier := b.PushBarrier(7, queue.Needs{}, 1)
		b.push(2)
		b.Leave(x)
		b.finish(two, time.Second)
		for _, id := range []task.ID{1, 3, 4} {
			b.finish(b.sendTo(y, id), time.Second)
		}
		b.syncs(y, barrier)
		b.passes(barrier)
		b.finish(b.sendTo(y, 6), time.Second)
		b.sendTo(y, 7)
	})
}
