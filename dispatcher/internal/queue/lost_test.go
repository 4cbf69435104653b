package queue_test

import (
	"slices"
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

func TestLostTaskGoesToAnotherWorker(t *testing.T) {
	both(t, 5, func(b *bench) {
		x := b.join(1)
		b.push(1)
		r := b.sendTo(x, 1)
		b.Lost(r, b.now)
		r = b.sendTo(x, 1) // the only one
		y := b.join(1)
		b.Lost(r, b.now)
		r = b.sendTo(y, 1)
		b.Returned(r, b.now) // x is avoided still
		r = b.sendTo(y, 1)
		b.Lost(r, b.now)
		b.sendTo(x, 1)
	})
}

func TestLostTaskWaitsForAnotherWorkerThatIsBusy(t *testing.T) {
	b := newBench(t, 5)
	x, y := b.join(1), b.join(1)
	b.push(2)
	r := b.sendTo(x, 1)
	busy := b.sendTo(y, 2)
	b.Lost(r, b.now)
	b.nothingNext()
	b.finish(busy, time.Second)
	b.Lost(b.sendTo(y, 1), b.now)
	b.Set(x, queue.Away)
	b.sendTo(y, 1) // nobody else takes tasks
}

// What stood behind others cannot have begun and loses no try; those that may
// have begun do.
func TestWhatNeverBeganCostsNoTry(t *testing.T) {
	b := ahead(t, 0)
	epoch := b.send2()
	requeued, givenUp := b.Leave(epoch)
	if !slices.Equal(requeued, []task.ID{5}) || !slices.Equal(givenUp, []task.ID{4}) {
		t.Errorf("requeued %v, gave up %v", requeued, givenUp)
	}
}

// send2 returns the epoch of the worker that runs task 4.
func (b *bench) send2() uint64 {
	r, _ := b.Holder(4)
	return r.Epoch
}

// lostTogether makes a queue in which tasks 1 to 3 were lost together once, with
// one retry.
func lostTogether(t *testing.T, robin bool) *bench {
	b := with(t, queue.Options{LostRetries: 1, RoundRobin: robin})
	x := b.join(3)
	b.push(3)
	for id := range task.ID(3) {
		b.run(id + 1)
	}
	if requeued, _ := b.Leave(x); len(requeued) != 3 {
		t.Fatalf("requeued %v", requeued)
	}
	return b
}

func TestTasksLostInCompanyHaveTheirLastTryAlone(t *testing.T) {
	for _, robin := range []bool{false, true} {
		b := lostTogether(t, robin)
		x := b.join(3)
		b.push(1)
		r := b.sendTo(x, 1)
		b.nothingNext() // though two slots are free
		if n := b.Counts().FreeSlots; n != 0 {
			t.Errorf("%d slots are free beside a task that runs alone", n)
		}
		b.finish(r, time.Second)
		b.Started(b.sendTo(x, 2), b.now)
		if _, givenUp := b.Leave(x); !slices.Equal(givenUp, []task.ID{2}) {
			t.Errorf("gave up %v, want the culprit", givenUp)
		}
		y := b.join(3)
		b.finish(b.sendTo(y, 3), time.Second)
		b.sendTo(y, 4)
		b.nothingNext()
	}
}

func TestWorkerIsReservedForATaskThatRunsAlone(t *testing.T) {
	b := newBench(t, 1)
	x, y := b.join(2), b.join(2)
	b.push(4)
	b.run(1)
	two := b.sendTo(y, 2)
	b.run(3)
	four := b.sendTo(y, 4)
	b.Leave(x) // which had 1 and 3
	b.push(3)
	b.nothingNext() // y takes nothing until it is empty
	b.finish(two, time.Second)
	b.nothingNext()
	z := b.join(1)
	one := b.sendTo(z, 1) // which is empty
	b.finish(four, time.Second)
	three := b.sendTo(y, 3)
	b.nothingNext()
	b.finish(one, time.Second)
	b.finish(b.sendTo(z, 5), time.Second)
	b.finish(three, time.Second)
	b.send(6)
	b.send(7)
}

func TestReservationEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(b *bench, reserved uint64)
	}{
		{"with the cancel of the task", func(b *bench, _ uint64) { b.Cancel(1); b.Cancel(3) }},
		{"when the queued are dropped", func(b *bench, _ uint64) {
			for range b.DropQueued() {
			}
			b.push(1)
		}},
	} {
		b := newBench(t, 1)
		x, y := b.join(2), b.join(2)
		b.push(4)
		b.run(1)
		b.sendTo(y, 2)
		b.run(3)
		four := b.sendTo(y, 4)
		b.Leave(x)
		b.push(1)
		b.nothingNext()
		b.finish(four, time.Second)
		b.nothingNext()
		test.end(b, y)
		if d, ok := b.Next(b.now, admitAll); !ok || d.Epoch != y {
			t.Errorf("%s: next is %+v, %v", test.name, d, ok)
		}
	}
}

// Another takes its place when the worker that is reserved goes away.
func TestReservationMovesOn(t *testing.T) {
	for _, away := range []func(b *bench, epoch uint64){
		func(b *bench, epoch uint64) { b.Set(epoch, queue.Away) },
		func(b *bench, epoch uint64) { b.Leave(epoch) },
	} {
		b := newBench(t, 1)
		x, y, z := b.join(2), b.join(1), b.join(1)
		b.push(3)
		b.sendTo(x, 1)
		two, three := b.sendTo(y, 2), b.sendTo(z, 3)
		b.push(1)
		b.sendTo(x, 4)
		b.Leave(x)
		b.nothingNext() // y or z is reserved for task 1
		b.push(2)
		away(b, y)
		b.nothingNext()
		b.finish(three, time.Second)
		if d, ok := b.Next(b.now, admitAll); !ok || d.Epoch != z || d.Task != 1 {
			t.Errorf("next is %+v, %v, want task 1 on %d instead of %+v", d, ok, z, two)
		}
	}
}
