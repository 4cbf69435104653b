package queue_test

import (
	"slices"
	"testing"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

// gated makes a queue for 100 bytes in which a task of 100 is queued.
func gated(t *testing.T) *bench {
	b := with(t, queue.Options{Memory: 100})
	if !b.Open() {
		t.Fatal("the gate of an empty queue is closed")
	}
	b.Push(0, 100, queue.Needs{})
	if b.Open() {
		t.Fatal("the gate is open although the limit is reached")
	}
	return b
}

func (b *bench) grants(want ...queue.Place) {
	b.Helper()
	if got := b.Grants(); !slices.Equal(got, want) {
		b.Fatalf("granted %v, want %v", got, want)
	}
}

func TestGateGrantsInOrder(t *testing.T) {
	b := gated(t)
	first, second, third := b.Wait(60), b.Wait(60), b.Wait(1)
	b.grants()
	b.Cancel(1)
	b.grants(first, second) // a task enters whole
	b.grants()
	if b.Open() {
		t.Error("the gate is open although somebody waits")
	}
	b.Quit(first)
	b.Push(0, 60, queue.Needs{})
	b.grants()
	b.Quit(second)
	b.Push(0, 60, queue.Needs{})
	b.grants()
	b.Cancel(2)
	b.grants(third)
	b.Quit(third)
	if used, peak := b.Bytes(); used != 60 || peak != 120 || !b.Open() {
		t.Errorf("%d bytes are queued, %d at most, open %v", used, peak, b.Open())
	}
}

func TestGatePassesOnTheRoomOfOneWhoQuits(t *testing.T) {
	b := gated(t)
	first, second, third, fourth := b.Wait(100), b.Wait(100), b.Wait(100), b.Wait(1)
	b.Quit(second) // from the middle of the line
	b.Cancel(1)
	b.grants(first)
	b.Quit(first) // whoever was granted the room goes away
	b.Quit(first)
	b.grants(third)
	b.Quit(third)
	b.grants(fourth)
	b.Quit(fourth)
	if used, _ := b.Bytes(); used != 0 || !b.Open() {
		t.Errorf("%d bytes are queued, open: %v", used, b.Open())
	}
}

func TestGateWithoutALimitIsOpen(t *testing.T) {
	b := newBench(t, 0)
	b.Push(0, 1<<40, queue.Needs{})
	if !b.Open() {
		t.Error("the gate is closed")
	}
	p := b.Wait(5)
	b.grants(p)
}

// Whatever takes tasks out of the queue, and back into it, the bytes are those
// of what is queued.
func TestBytesAreThoseOfWhatIsQueued(t *testing.T) {
	both(t, 1, func(b *bench) {
		used := func(want int64) {
			b.Helper()
			if got, _ := b.Bytes(); got != want {
				b.Fatalf("%d bytes are queued, want %d", got, want)
			}
		}
		epoch := b.join(4)
		for range 5 {
			b.Push(0, 10, queue.Needs{})
		}
		used(50)
		lost, returned, held := b.send(1).Ref, b.send(2).Ref, b.send(3).Ref
		used(20)
		b.Lost(lost, b.now)
		used(30)
		b.Returned(returned, b.now)
		used(40)
		b.Hold(held, 1, b.now)
		used(40)
		b.Leave(epoch)
		used(50)
		// A cancel while others are cancelled, as owners do.
		for id := range b.DropQueued() {
			b.Cancel(task.ID(6) - id)
			b.Cancel(id)
		}
		used(0)
	})
}
