package queue_test

import (
	"slices"
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

// syncs lets a worker run a barrier, which has to be the next thing to do.
func (b *bench) syncs(epoch uint64, barrier task.ID) {
	b.Helper()
	if r := b.syncing(epoch, barrier); !b.Synced(r) || b.Synced(r) {
		b.Fatalf("%+v was not taken once", r)
	}
}

func (b *bench) syncing(epoch uint64, barrier task.ID) queue.Ref {
	b.Helper()
	d, ok := b.Next(b.now, admitAll)
	if !ok || d.Verdict != queue.Sync || d.Task != barrier || d.Epoch != epoch {
		b.Fatalf("next is %+v, %v, want barrier %d on worker %d", d, ok, barrier, epoch)
	}
	return d.Ref
}

func (b *bench) passes(barrier task.ID) {
	b.Helper()
	if id, _, ok := b.Passed(); !ok || id != barrier {
		b.Fatalf("barrier %d passed, %v, want %d", id, ok, barrier)
	}
}

func (b *bench) passesNot() {
	b.Helper()
	if id, _, ok := b.Passed(); ok {
		b.Fatalf("barrier %d passed", id)
	}
}

func TestBarrierRunsOnEveryWorkerBeforeLaterTasks(t *testing.T) {
	both(t, 0, func(b *bench) {
		x, y := b.join(2), b.join(1)
		b.push(2)
		one, two := b.send(1), b.send(2)
		barrier := b.PushBarrier(7, queue.Needs{}, 0)
		b.push(2)
		b.nothingNext()
		if !b.Opened(barrier) {
			b.Error("the barrier is not open though nothing before it is queued")
		}
		b.finish(one.Ref, 0)
		b.syncs(one.Epoch, barrier)
		b.nothingNext()
		b.passesNot()
		b.finish(two.Ref, 0)
		b.syncs(x+y-one.Epoch, barrier)
		b.passes(barrier)
		b.passesNot()
		b.send(4)
		b.send(5)
	})
}

func TestBarrierDoesNotOpenBeforeTasksThatAreQueued(t *testing.T) {
	both(t, 0, func(b *bench) {
		b.join(1)
		b.push(2)
		b.send(1)
		barrier := b.PushBarrier(7, queue.Needs{}, 0)
		b.nothingNext()
		b.passesNot()
		if b.Opened(barrier) {
			b.Error("the barrier is open")
		}
		b.Cancel(2)
		b.nothingNext()
		if !b.Opened(barrier) {
			b.Error("the barrier did not open when the last task before it was cancelled")
		}
	})
}

// A task that is tried again passes a barrier that is open already.
func TestRetryPassesAnOpenBarrier(t *testing.T) {
	both(t, 1, func(b *bench) {
		x, y := b.join(1), b.join(1)
		b.push(2)
		b.send(1)
		two := b.send(2)
		barrier := b.PushBarrier(7, queue.Needs{}, 0)
		b.push(1)
		b.nothingNext()
		b.Leave(x)
		b.finish(two.Ref, 0)
		b.finish(b.sendTo(y, 1), 0)
		b.syncs(y, barrier)
		b.passes(barrier)
		b.sendTo(y, 4)
	})
}

func TestLateJoinerCatchesUpBeforeItsFirstTask(t *testing.T) {
	both(t, 0, func(b *bench) {
		x := b.join(1)
		first, second := b.PushBarrier(1, queue.Needs{}, 0), b.PushBarrier(2, queue.Needs{}, 0)
		for _, barrier := range []task.ID{first, second} {
			b.syncs(x, barrier)
			b.passes(barrier)
		}
		b.push(2)
		b.sendTo(x, 3)
		late := b.join(1)
		if n := b.Counts().FreeSlots; n != 0 {
			b.Errorf("%d slots are free on a worker that has to catch up", n)
		}
		b.syncs(late, first)
		b.syncs(late, second)
		b.passesNot()
		b.push(1)
		if d, ok := b.Next(b.now, admitAll); !ok || d.Epoch != late {
			b.Errorf("next is %+v, %v, want a task on worker %d", d, ok, late)
		}
	})
}

func TestBarrierWaitsForAtLeastSoMany(t *testing.T) {
	both(t, 0, func(b *bench) {
		barrier := b.PushBarrier(1, queue.Needs{}, 2)
		b.push(1)
		b.syncs(b.join(1), barrier)
		b.nothingNext()
		b.passesNot()
		b.syncs(b.join(1), barrier)
		b.passes(barrier)
		b.send(2)
	})
}

func TestBarrierWithoutWorkers(t *testing.T) {
	b := newBench(t, 0)
	first, second := b.PushBarrier(1, queue.Needs{}, 0), b.PushBarrier(2, queue.Needs{}, 0)
	b.passes(first)
	b.passes(second)
	x := b.join(1)
	b.syncs(x, first)
	b.syncs(x, second)
}

func TestWhomABarrierWaitsFor(t *testing.T) {
	for _, test := range []struct {
		reason queue.Reasons
		waits  bool
	}{{queue.Away, true}, {queue.Signalled, false}, {queue.Retired, false}, {queue.Gone, false}} {
		b := newBench(t, 0)
		x, y := b.join(1), b.join(1)
		b.Set(y, test.reason)
		barrier := b.PushBarrier(1, queue.Needs{}, 0)
		b.syncs(x, barrier)
		b.nothingNext()
		if _, _, passed := b.Passed(); passed == test.waits {
			t.Errorf("with reasons %b the barrier passed: %v", test.reason, passed)
		}
		b.Clear(y, test.reason)
		b.syncs(y, barrier)
	}
}

func TestBarrierPassesWhenTheLastOneLeaves(t *testing.T) {
	b := newBench(t, 0)
	x, y := b.join(1), b.join(1)
	barrier := b.PushBarrier(1, queue.Needs{}, 0)
	b.syncs(x, barrier)
	r := b.syncing(y, barrier)
	b.passesNot()
	b.Leave(y)
	b.passes(barrier)
	if b.Synced(r) {
		t.Error("who has left ran the barrier")
	}
}

func TestWithdraw(t *testing.T) {
	both(t, 0, func(b *bench) {
		x, y := b.join(1), b.join(1)
		first, second := b.PushBarrier(1, queue.Needs{}, 0), b.PushBarrier(2, queue.Needs{}, 0)
		b.push(1)
		b.syncs(x, first)
		r := b.syncing(y, first)
		running, ok := b.Withdraw(first)
		if !ok || !slices.Equal(running, []queue.Ref{r}) {
			b.Fatalf("withdraw: %v, %v", running, ok)
		}
		b.syncs(x, second)
		b.nothingNext()
		b.passesNot()
		// Withdrawing the next moves nobody who still runs the first.
		if running, ok := b.Withdraw(second); !ok || running != nil {
			b.Fatalf("withdraw: %v, %v", running, ok)
		}
		if !b.Synced(r) {
			b.Error("the answer of who ran what was withdrawn is refused")
		}
		late := b.join(1)
		b.nothingNextBut(3)
		b.passesNot()
		if c := b.Counts(); c.Workers != 3 || late == 0 {
			b.Errorf("counts are %+v", c)
		}
		if _, again := b.Withdraw(first); again {
			b.Error("a barrier was withdrawn twice")
		}
	})
}

// nothingNextBut is send, and there is nothing after it.
func (b *bench) nothingNextBut(id task.ID) {
	b.Helper()
	b.send(id)
	b.nothingNext()
}

// Who gives a barrier back that was withdrawn does not get it again.
func TestWithdrawnBarrierIsNotSentAgain(t *testing.T) {
	b := newBench(t, 0)
	r := b.syncing(b.join(1), b.PushBarrier(1, queue.Needs{}, 0))
	b.Withdraw(r.Task)
	if !b.Returned(r, b.now) {
		t.Fatal("the barrier could not be given back")
	}
	b.nothingNext()
}

func TestBarrierPassesOverWorkersThatLackWhatItNeeds(t *testing.T) {
	both(t, 0, func(b *bench) {
		x, y := b.join(1), b.join(1)
		n := queue.Needs{Directory: "/a"}
		barrier, after := b.PushBarrier(1, n, 0), b.PushBarrier(2, queue.Needs{}, 0)
		b.lacks(b.syncing(x, barrier), task.LackDirectory, true)
		b.syncs(y, barrier)
		b.passes(barrier)
		b.syncs(y, after)
		b.passes(after) // x cannot come to it
		b.push(2)
		b.finish(b.sendTo(y, 3), 0)
		b.finish(b.sendTo(y, 4), 0)
		at, ok := b.Wake(b.now)
		if !ok || !at.Equal(b.now.Add(queue.FirstProbe)) {
			b.Fatalf("wake is %v, %v", at, ok)
		}
		b.now = at
		r := b.syncing(x, barrier)
		b.Started(r, b.now)
		b.Synced(r)
		b.syncs(x, after)
		if l := b.Lacks(x); len(l) != 0 {
			b.Errorf("worker x lacks %v", l)
		}
		b.push(2)
		if b.send(5).Epoch == b.send(6).Epoch {
			b.Error("the worker that is well again takes nothing")
		}
	})
}

func TestBarrierThatNobodyCanRunFails(t *testing.T) {
	b := newBench(t, 0)
	x := b.join(1)
	barrier := b.PushBarrier(1, queue.Needs{Directory: "/a"}, 0)
	b.push(1)
	b.lacks(b.syncing(x, barrier), task.LackDirectory, true)
	failed := b.untilFail(func(d queue.Decision[uint64]) { b.lacks(d.Ref, task.LackDirectory, false) })
	if failed.Task != barrier || failed.Payload != 1 || b.now.Sub(start) != queue.Patience {
		t.Fatalf("%+v failed after %v", failed, b.now.Sub(start))
	}
	b.passesNot()
	b.sendTo(x, 2)
}

// untilFail lets time pass until something fails, and answers for all else.
func (b *bench) untilFail(answer func(queue.Decision[uint64])) queue.Decision[uint64] {
	b.Helper()
	for range 100 {
		for d, ok := b.Next(b.now, admitAll); ok; d, ok = b.Next(b.now, admitAll) {
			if d.Verdict == queue.Fail {
				return d
			}
			answer(d)
		}
		at, ok := b.Wake(b.now)
		if !ok || at.Sub(b.now) > time.Hour {
			b.Fatalf("nothing fails, wake is %v, %v", at, ok)
		}
		b.now = at
	}
	b.Fatal("nothing fails for ever")
	return queue.Decision[uint64]{}
}
