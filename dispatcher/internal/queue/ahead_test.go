package queue_test

import (
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

func TestSentAheadWithinTwoRoundTripsOfTheEnd(t *testing.T) {
	b := newBench(t, 0)
	b.teach(10 * time.Second)
	epoch := b.join(1)
	b.RTT(epoch, 100*time.Millisecond)
	b.RTT(epoch, 300*time.Millisecond)
	b.push(3)
	b.run(4)
	b.nothingNext()
	at, ok := b.Wake(b.now)
	if want := start.Add(9800 * time.Millisecond); !ok || !at.Equal(want) {
		t.Fatalf("wake is %v, %v, want %v", at, ok, want)
	}
	b.now = at.Add(-1)
	b.nothingNext()
	b.now = at
	a := b.send(5)
	if !a.Ahead || a.Epoch != epoch {
		t.Errorf("the task was sent as %+v", a)
	}
	b.nothingNext() // task 6 would begin a median later
}

// Short tasks are sent as one backlog for all slots, so that one wake-up does
// for many.
func TestShortTasksAreSentAheadAsOneBacklog(t *testing.T) {
	b := newBench(t, 0)
	b.teach(time.Millisecond)
	b.join(2)
	b.push(40)
	b.run(4)
	b.run(5)
	n := 0
	for {
		d, ok := b.Next(b.now, admitAll)
		if !ok {
			break
		}
		if !d.Ahead || d.Task != task.ID(6+n) {
			t.Fatalf("task %d was sent as %+v", 6+n, d)
		}
		n++
	}
	if n < 8 || n > 12 { // five milliseconds of two slots
		t.Errorf("%d tasks were sent ahead", n)
	}
}

func TestLimitsOfSendingAhead(t *testing.T) {
	for _, test := range []struct {
		slots      int
		size       int64
		want, most int
	}{
		{1, 1, queue.MaxAheadPerSlot, queue.MaxAheadPerSlot},
		{100, 1, queue.MaxAhead, queue.MaxAhead},
		{2, queue.MaxAheadBytes / 4, 2, 4},
	} {
		b := newBench(t, 0)
		b.teach(time.Nanosecond)
		b.join(test.slots)
		for range test.slots + 2*queue.MaxAhead {
			b.Push(0, test.size, queue.Needs{})
		}
		for i := range test.slots {
			b.run(task.ID(4 + i))
		}
		n := 0
		for _, ok := b.Next(b.now, admitAll); ok; _, ok = b.Next(b.now, admitAll) {
			n++
		}
		if n < test.want || n > test.most {
			t.Errorf("%d tasks of %d bytes were sent ahead for %d slots, want %d to %d", n, test.size, test.slots, test.want, test.most)
		}
	}
}

func TestNotSentAhead(t *testing.T) {
	for _, test := range []struct {
		name  string
		setup func(*bench)
	}{
		{"without three results", func(b *bench) {
			epoch := b.join(1)
			b.push(2)
			b.finish(b.run(1).Ref, time.Second)
			b.finish(b.run(2).Ref, time.Second)
			b.Leave(epoch)
			b.join(1)
			b.push(2)
			b.run(3)
		}},
		{"while the one before has not started", func(b *bench) {
			b.teach(time.Second)
			b.join(1)
			b.push(2)
			b.send(4)
		}},
		{"when the one before is late", func(b *bench) {
			b.teach(time.Second)
			b.join(1)
			b.push(2)
			b.run(4)
			b.now = b.now.Add(time.Second)
		}},
		{"to a worker that drains", func(b *bench) {
			b.teach(time.Second)
			epoch := b.join(1)
			b.push(2)
			b.run(4)
			b.Set(epoch, queue.Retired)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, 0)
			test.setup(b)
			b.now = b.now.Add(time.Second)
			b.nothingNext()
		})
	}
}

// ahead makes a queue where task 4 runs since start, 5 was sent ahead, and
// the median is a second.
func ahead(t *testing.T, retries int) *bench {
	b := newBench(t, retries)
	b.teach(time.Second)
	b.join(1)
	b.push(2)
	b.run(4)
	b.now = start.Add(time.Second)
	if a := b.send(5); !a.Ahead {
		t.Fatal("the task was not sent ahead")
	}
	return b
}

func TestRecalledWhenItIsLateToBegin(t *testing.T) {
	b := ahead(t, 0)
	b.runs(b.join(1), 6) // whose end nobody can tell, but that it takes tasks
	b.recalls()
	at, ok := b.Wake(b.now)
	if want := start.Add(2 * time.Second); !ok || !at.Equal(want) {
		t.Fatalf("wake is %v, %v, want %v", at, ok, want)
	}
	b.now = at.Add(-1)
	b.recalls()
	b.now = at
	r := b.Recalls(b.now)
	if len(r) != 1 || r[0].Task != 5 {
		t.Fatalf("recalls are %v, want task 5", r)
	}
	b.recalls()
	if !b.Returned(r[0], b.now) {
		t.Fatal("the task could not be given back")
	}
	b.state(5, task.Queued)
}

// Nobody else could have it.
func TestNotRecalledWithoutAnotherWorker(t *testing.T) {
	b := ahead(t, 0)
	b.now = start.Add(3 * time.Second)
	b.recalls()
	if at, ok := b.Wake(b.now); !ok || !at.After(b.now) {
		t.Errorf("wake is %v, %v, want another look later", at, ok)
	}
}

// runs pushes a task, which has to get the id, and lets it start on a worker.
func (b *bench) runs(epoch uint64, id task.ID) queue.Ref {
	b.Helper()
	b.push(1)
	r := b.sendTo(epoch, id)
	b.Started(r, b.now)
	return r
}

func TestRecalledWhenASlotIsFree(t *testing.T) {
	b := ahead(t, 0)
	b.runs(b.join(1), 6)
	b.recalls()
	free := b.join(1)
	r := b.Recalls(b.now)
	if len(r) != 1 || r[0].Task != 5 {
		t.Fatalf("recalls are %v, want task 5", r)
	}
	b.Returned(r[0], b.now)
	b.sendTo(free, 5)
}

// A worker whose connection broke cannot answer: it is not asked, and what it was
// asked stands in nobody's way.
func TestWorkerThatIsAwayIsAskedNothing(t *testing.T) {
	b, first := twoAhead(t)
	b.recalls(6)
	b.Set(first, queue.Away)
	b.recalls(7)
	b.join(1)
	b.recalls()
	b.Clear(first, queue.Away)
	b.recalls(6)
}

// A free slot that the head of the queue may not have is still a free slot.
func TestRecalledWhenTheHeadIsRefused(t *testing.T) {
	b := ahead(t, 0)
	b.push(1)
	b.join(1)
	b.Next(b.now, func(task.ID, uint64, uint32) bool { return false })
	b.recalls(5)
}

// twoAhead makes a queue where task 6 waits behind 4, 7 behind 5, which
// started later, and one slot is free.
func twoAhead(t *testing.T) (b *bench, first uint64) {
	b = newBench(t, 0)
	b.teach(time.Second)
	first = b.join(1)
	b.push(2)
	b.run(4)
	b.now = start.Add(time.Millisecond)
	b.join(1)
	b.run(5)
	b.now = start.Add(time.Second)
	b.push(2)
	b.send(6)
	b.send(7)
	b.join(1)
	return b, first
}

func TestOneRecallForEachFreeSlot(t *testing.T) {
	b, _ := twoAhead(t)
	b.recalls(6) // which waits behind the longest running one
	b.recalls()
}

func TestRecalledOnceWhateverElseHappensToItsSlot(t *testing.T) {
	b, first := twoAhead(t)
	b.recalls(6)
	b.join(1)
	b.recalls(7)
	b.join(1)
	b.RTT(first, time.Minute)
	b.Cancel(4)
	b.recalls()
}

// Task 6 will not take the free slot any more, so that 7 may.
func TestCancelledWhileRecalled(t *testing.T) {
	b, _ := twoAhead(t)
	b.recalls(6)
	b.Cancel(6)
	b.recalls(7)
}

func TestTaskSentAheadFollows(t *testing.T) {
	b := ahead(t, 0)
	_, _, five, _ := b.Cancel(5)
	_, _, four, _ := b.Cancel(4)
	b.join(1)
	b.recalls() // a cancelled task has no use for the free slot
	b.finish(four, time.Second)
	if !b.Started(five, b.now) {
		t.Error("the task sent ahead could not follow")
	}
	b.finish(five, time.Second)
	if c := b.Counts(); c.FreeSlots != 2 || c.Running+c.Assigned != 0 {
		t.Errorf("counts are %+v", c)
	}
}

func TestTaskSentAheadEndsFirst(t *testing.T) {
	b := ahead(t, 0)
	_, _, five, _ := b.Cancel(5)
	b.finish(five, 0)
	b.state(4, task.Running)
	b.push(1)
	if a := b.send(6); !a.Ahead {
		t.Errorf("task 6 was sent as %+v", a)
	}
}

func TestMedianIsOfTheLastSixteen(t *testing.T) {
	b := newBench(t, 0)
	epoch := b.join(1)
	id := task.ID(1)
	for i := range 30 {
		b.push(1)
		elapsed := time.Hour
		if i >= 30-16 {
			elapsed = time.Duration(1+i%2*2) * time.Second // eight of 1 s, eight of 3 s
		}
		b.finish(b.run(id).Ref, elapsed)
		id++
	}
	b.push(2)
	b.run(id)
	b.RTT(epoch, 0)
	b.nothingNext()
	if at, _ := b.Wake(b.now); !at.Equal(start.Add(1995 * time.Millisecond)) {
		t.Errorf("wake is %v after the start, want the median of 2 s less 5 ms", at.Sub(start))
	}
}

// On a slow link a task waits for word of the one before it longer than it takes to
// run: what is sent behind that is not asked back in the same breath.
func TestNotRecalledBeforeItCanBeKnownToHaveBegun(t *testing.T) {
	b := newBench(t, 0)
	b.teach(time.Millisecond)
	slow := b.join(2)
	b.RTT(slow, 60*time.Millisecond)
	b.push(2)
	b.run(4)
	b.sendTo(slow, 5)
	b.Cancel(5) // so that it is not asked back itself
	b.push(1)
	b.runs(b.join(1), 6)
	b.push(1)
	b.now = start.Add(130 * time.Millisecond)
	if a := b.send(7); !a.Ahead || a.Epoch != slow {
		t.Fatalf("the task was sent as %+v", a)
	}
	b.recalls()
	b.now = b.now.Add(120 * time.Millisecond)
	b.recalls(7)
}
