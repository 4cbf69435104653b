package queue_test

import (
	"slices"
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

func TestFirstInFirstOutAcrossWorkers(t *testing.T) {
	b := newBench(t, 0)
	first, second := b.join(2), b.join(2)
	b.push(5)
	var epochs []uint64
	for id := range task.ID(4) {
		a := b.send(id + 1)
		epochs = append(epochs, a.Epoch)
		if a.Payload != uint64(id) || a.Attempt != 1 {
			t.Errorf("task %d has payload %d, attempt %d", a.Task, a.Payload, a.Attempt)
		}
	}
	if !slices.Equal(epochs, []uint64{first, second, first, second}) {
		t.Errorf("tasks went to workers %v, want them spread", epochs)
	}
	b.nothingNext()
	if got, want := b.Counts(), (queue.Counts{Queued: 1, Assigned: 4, Workers: 2}); got != want {
		t.Errorf("counts are %+v, want %+v", got, want)
	}
}

// An idle pool does not wear out one worker.
func TestEquallyBusyWorkersTakeTurns(t *testing.T) {
	b := newBench(t, 0)
	want := []uint64{b.join(1), b.join(1), b.join(1)}
	var got []uint64
	for id := range task.ID(6) {
		b.push(1)
		a := b.run(id + 1)
		got = append(got, a.Epoch)
		b.finish(a.Ref, time.Hour)
	}
	for _, epoch := range want {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(e uint64) bool { return e != epoch })); n != 2 {
			t.Errorf("worker %d got %d of 6 tasks: %v", epoch, n, got)
		}
	}
}

func TestNothingOvertakesAHeadThatMayNotStart(t *testing.T) {
	b := newBench(t, 0)
	b.join(2)
	b.push(2)
	asked := 0
	_, ok := b.Next(b.now, func(id task.ID, payload uint64, attempt uint32) bool {
		asked++
		if id != 1 || attempt != 1 || payload != 0 {
			t.Errorf("admit was asked about task %d, attempt %d, payload %d", id, attempt, payload)
		}
		return false
	})
	if ok || asked != 1 {
		t.Errorf("next sent something (%v) after %d refusals", ok, asked)
	}
	if at, ok := b.Wake(b.now); ok {
		t.Errorf("wake is %v, but only the caller knows when the head may start", at)
	}
	b.send(1)
}

func TestStaleRefsChangeNothing(t *testing.T) {
	b := newBench(t, 1)
	old := b.join(1)
	b.push(1)
	first := b.run(1).Ref
	b.Leave(old)
	b.join(1)
	second := b.run(1).Ref
	if second.Attempt != 2 || second.Epoch <= old {
		t.Fatalf("the second attempt is %+v", second)
	}
	wrongAttempt, wrongTask := second, second
	wrongAttempt.Attempt, wrongTask.Task = 1, 2
	before := b.Counts()
	for _, r := range []queue.Ref{first, wrongAttempt, wrongTask, {}} {
		_, finished := b.Finished(r, 0, b.now)
		_, released := b.Release(r)
		_, lost := b.Lost(r, b.now)
		if finished || released || lost || b.Hold(r, 0, b.now) || b.Started(r, b.now) || b.Returned(r, b.now) {
			t.Errorf("the stale ref %+v was taken", r)
		}
	}
	if b.Started(second, b.now) || b.Returned(second, b.now) {
		t.Error("a running task started again or came back unstarted")
	}
	if got := b.Counts(); got != before {
		t.Errorf("counts went from %+v to %+v", before, got)
	}
}

func TestLeaveRequeuesInOrderOrGivesUp(t *testing.T) {
	b := newBench(t, 1)
	epoch := b.join(1)
	b.push(4)
	held := b.run(1).Ref
	b.Hold(held, time.Second, b.now)
	b.run(2)
	requeued, givenUp := b.Leave(epoch)
	if !slices.Equal(requeued, []task.ID{1, 2}) || givenUp != nil {
		t.Fatalf("leave requeued %v, gave up %v", requeued, givenUp)
	}
	epoch = b.join(3)
	for id := range task.ID(3) {
		b.send(id + 1)
	}
	b.Cancel(3)
	requeued, givenUp = b.Leave(epoch)
	if requeued != nil || !slices.Equal(givenUp, []task.ID{1, 2, 3}) {
		t.Fatalf("the second leave requeued %v, gave up %v", requeued, givenUp)
	}
	b.gone(2)
	next := b.join(1)
	b.send(4)
	b.Leave(next)
	if requeued, givenUp = b.Leave(epoch); requeued != nil || givenUp != nil {
		t.Errorf("a worker left twice and had %v, %v", requeued, givenUp)
	}
}

func TestCancelledTaskIsNotTriedAgain(t *testing.T) {
	b := newBench(t, 9)
	epoch := b.join(2)
	b.push(2)
	b.run(1)
	r := b.run(2).Ref
	b.Cancel(1)
	b.Cancel(2)
	if givenUp, ok := b.Lost(r, b.now); !givenUp || !ok {
		t.Errorf("the lost one was given up: %v, %v", givenUp, ok)
	}
	if _, givenUp := b.Leave(epoch); !slices.Equal(givenUp, []task.ID{1}) {
		t.Errorf("leave gave up %v", givenUp)
	}
}

func TestLostIsTriedAgainUntilRetriesAreUsedUp(t *testing.T) {
	b := newBench(t, 2)
	b.join(1)
	b.push(2)
	for try := range 3 {
		givenUp, ok := b.Lost(b.run(1).Ref, b.now)
		if !ok || givenUp != (try == 2) {
			t.Fatalf("after try %d the task was given up: %v, %v", try+1, givenUp, ok)
		}
	}
	b.send(2)
}

// TestFailedIsTriedAgain: tries that fail are counted, those that are lost apart.
func TestFailedIsTriedAgain(t *testing.T) {
	for _, held := range []bool{false, true} {
		b := with(t, queue.Options{Tries: 3, LostRetries: 1})
		b.join(1)
		b.push(2)
		fail := func() bool {
			t.Helper()
			r := b.run(1).Ref
			if held && !b.Hold(r, time.Second, b.now) {
				t.Fatal("it could not be held")
			}
			if again := b.Retry(r, time.Second, b.now); !again {
				return false
			}
			b.state(1, task.Queued)
			if b.Retry(r, time.Second, b.now) {
				t.Error("a ref that is stale is tried again")
			}
			return true
		}
		if !fail() {
			t.Error("it is not tried again")
		}
		if givenUp, _ := b.Lost(b.run(1).Ref, b.now); givenUp {
			t.Error("a task that has failed may not be lost once")
		}
		if !fail() || fail() {
			t.Error("it is not tried three times")
		}
	}
}

// TestFailedGoesElsewhere where there is somebody else, and alone stays there.
func TestFailedGoesElsewhere(t *testing.T) {
	b := with(t, queue.Options{Tries: 10})
	first, second := b.join(1), b.join(1)
	b.push(1)
	r := b.sendTo(first, 1)
	for _, epoch := range []uint64{second, first, second} {
		if !b.Retry(r, time.Second, b.now) {
			t.Fatal("it is not tried again")
		}
		r = b.sendTo(epoch, 1)
	}
	b.Leave(first)
	if !b.Retry(r, time.Second, b.now) {
		t.Fatal("it is not tried again")
	}
	r = b.sendTo(second, 1)
	b.Cancel(1)
	if b.Retry(r, time.Second, b.now) {
		t.Error("what is being cancelled is tried again")
	}
}

func TestReturnedDoesNotCountAsATry(t *testing.T) {
	b := newBench(t, 0)
	b.join(1)
	b.push(2)
	for range 3 {
		if a := b.send(1); !b.Returned(a.Ref, b.now) {
			t.Fatal("an unstarted task could not be given back")
		}
		b.state(1, task.Queued)
	}
	a := b.run(1)
	if a.Attempt != 4 {
		t.Errorf("the attempt is %d, want 4: refs must differ", a.Attempt)
	}
	if givenUp, _ := b.Lost(a.Ref, b.now); !givenUp {
		t.Error("the first try that counts was not the last")
	}
}

func TestHeld(t *testing.T) {
	b := newBench(t, 1)
	epoch := b.join(1)
	b.push(5)
	var refs [5]queue.Ref
	for i := range refs {
		refs[i] = b.run(task.ID(i + 1)).Ref
		if !b.Hold(refs[i], time.Hour, b.now) || b.Hold(refs[i], time.Hour, b.now) {
			t.Fatal("a task is to be held once")
		}
		b.state(refs[i].Task, task.Held)
	}
	if _, ok := b.Finished(refs[0], 0, b.now); ok {
		t.Error("a held task finished")
	}
	if p, ok := b.Release(refs[0]); !ok || p != 0 {
		t.Errorf("release gave %d, %v", p, ok)
	}
	if _, removed, _, found := b.Cancel(2); !removed || !found {
		t.Error("a held task was not cancelled at once")
	}
	if givenUp, ok := b.Lost(refs[2], b.now); givenUp || !ok {
		t.Error("a held task could not be lost alone")
	}
	if requeued, givenUp := b.LoseHeld(epoch); !slices.Equal(requeued, []task.ID{4, 5}) || givenUp != nil {
		t.Errorf("lost held tasks: requeued %v, gave up %v", requeued, givenUp)
	}
	if got, want := b.Counts(), (queue.Counts{Queued: 3, Workers: 1, FreeSlots: 1}); got != want {
		t.Errorf("counts are %+v, want %+v", got, want)
	}
	b.send(3)
}

func TestWorkerThatHasAReasonTakesNothingNew(t *testing.T) {
	for _, r := range []queue.Reasons{queue.Away, queue.Signalled, queue.Retired, queue.Gone} {
		both(t, 0, func(b *bench) {
			epoch := b.join(2)
			b.push(3)
			running := b.run(1).Ref
			b.Set(epoch, r)
			b.nothingNext()
			if c := b.Counts(); c.FreeSlots != 0 || c.Workers != 1 {
				b.Errorf("counts are %+v", c)
			}
			b.finish(running, time.Second)
			b.nothingNext()
			if at, ok := b.Wake(b.now); ok {
				b.Errorf("wake is %v, for a worker that takes nothing", at)
			}
			other := b.join(1)
			b.sendTo(other, 2)
			b.Set(epoch, queue.Retired)
			b.Clear(epoch, r)
			if r != queue.Retired {
				b.nothingNext()
			}
			b.Clear(epoch, queue.Retired)
			b.sendTo(epoch, 3)
		})
	}
}

func TestCancel(t *testing.T) {
	b := newBench(t, 0)
	b.join(1)
	b.push(3)
	running := b.run(1)
	if p, removed, r, found := b.Cancel(2); p != 1 || !removed || !found || r != (queue.Ref{}) {
		t.Errorf("cancel of a queued task: %d, %v, %+v, %v", p, removed, r, found)
	}
	if _, removed, r, found := b.Cancel(1); removed || !found || r != running.Ref || !b.Cancelling(1) {
		t.Errorf("cancel of a running task: %v, %+v, %v", removed, r, found)
	}
	b.finish(running.Ref, time.Second)
	for _, id := range []task.ID{0, 1, 2, 4} {
		if _, _, _, found := b.Cancel(id); found || b.Cancelling(id) {
			t.Errorf("cancel found task %d", id)
		}
	}
	b.send(3)
}

func TestReturnedWhileBeingCancelled(t *testing.T) {
	b := newBench(t, 0)
	b.join(1)
	b.push(1)
	r := b.send(1).Ref
	b.Cancel(1)
	b.Returned(r, b.now)
	if !b.Cancelling(1) {
		t.Fatal("the cancel was forgotten")
	}
	if _, removed, _, _ := b.Cancel(1); !removed {
		t.Fatal("the second cancel did not remove the task")
	}
	b.nothingNext()
}

func TestDropQueued(t *testing.T) {
	b := newBench(t, 1)
	b.join(2)
	b.push(4)
	b.run(1)
	b.Lost(b.run(2).Ref, b.now)
	var ids []task.ID
	for id, p := range b.DropQueued() {
		if p != uint64(id-1) {
			t.Errorf("task %d has payload %d", id, p)
		}
		ids = append(ids, id)
	}
	if !slices.Equal(ids, []task.ID{2, 3, 4}) {
		t.Errorf("dropped %v", ids)
	}
	b.state(1, task.Running)
	b.push(1)
	b.send(5)
}
