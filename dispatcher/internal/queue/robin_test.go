package queue_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

func all(task.ID, uint64, uint32) bool { return true }

// take takes all that may be sent now.
func take(q *queue.Queue[uint64]) (list []queue.Assignment[uint64]) {
	for {
		a, ok := q.Next(start, all)
		if !ok {
			return list
		}
		list = append(list, a)
	}
}

func TestRoundRobinBindsAtPush(t *testing.T) {
	q := queue.New[uint64](1, true)
	a, b := q.Join(1), q.Join(1)
	for i := range uint64(6) {
		q.Push(i)
	}
	first := take(q)
	if len(first) != 2 || first[0].Epoch != a || first[1].Epoch != b {
		t.Fatalf("first: %+v", first)
	}
	q.Finished(first[0].Ref, 0, start)
	q.Finished(take(q)[0].Ref, 0, start) // task 3, a's
	got := take(q)
	if len(got) != 1 || got[0].Task != 5 || got[0].Epoch != a {
		t.Fatalf("a's turn: %+v", got)
	}
	// b runs task 2 for ever; tasks 4 and 6 wait for it although a is free.
	q.Finished(got[0].Ref, 0, start)
	if got := take(q); got != nil {
		t.Fatalf("a took what is b's: %+v", got)
	}
	if _, ok := q.Wake(start); ok {
		t.Error("the owner would wake up for nothing")
	}
	// Cancelling one of b's, and b's end, which gives its tasks to a.
	if _, removed, _, found := q.Cancel(4); !removed || !found {
		t.Fatal("4 was not found")
	}
	requeued, _ := q.Leave(b, start)
	if !slices.Equal(requeued, []task.ID{2}) {
		t.Fatalf("requeued %v", requeued)
	}
	for _, want := range []task.ID{2, 6} {
		got := take(q)
		if len(got) != 1 || got[0].Task != want || got[0].Epoch != a {
			t.Fatalf("want %d: %+v", want, got)
		}
		q.Finished(got[0].Ref, 0, start)
	}
}

func TestRoundRobinWithoutWorkers(t *testing.T) {
	q := queue.New[uint64](0, true)
	q.Push(1)
	q.Push(2)
	a := q.Join(1)
	if got := take(q); len(got) != 1 || got[0].Task != 1 || got[0].Epoch != a {
		t.Fatalf("%+v", got)
	}
	b := q.Join(1)
	if got := take(q); len(got) != 1 || got[0].Task != 2 || got[0].Epoch != b {
		t.Fatalf("%+v", got)
	}
}

func TestPause(t *testing.T) {
	for _, robin := range []bool{false, true} {
		q := queue.New[uint64](0, robin)
		a := q.Join(2)
		q.Pause(a)
		q.Push(1)
		if got := take(q); got != nil {
			t.Fatalf("a paused worker took %+v", got)
		}
		q.Resume(a)
		q.Push(2)
		if got := take(q); len(got) != 2 || got[0].Epoch != a {
			t.Fatalf("robin %v: %+v", robin, got)
		}
	}
}

// TestPauseOfABusyWorker: it keeps what it has, is sent nothing, and is then
// where it was.
func TestPauseOfABusyWorker(t *testing.T) {
	for _, robin := range []bool{false, true} {
		q := queue.New[uint64](0, robin)
		a := q.Join(2)
		for range 5 {
			q.Push(0)
		}
		got := take(q)
		if len(got) != 2 {
			t.Fatalf("robin %v: %+v", robin, got)
		}
		now := time.Unix(100, 0)
		q.Started(got[0].Ref, now)
		q.Pause(a)
		if _, ok := q.Finished(got[0].Ref, time.Second, now); !ok {
			t.Fatal("a paused worker's result was not taken")
		}
		if more := take(q); more != nil {
			t.Fatalf("a paused worker took %+v", more)
		}
		b := q.Join(1)
		if other := take(q); len(other) != 1 || other[0].Epoch != b || other[0].Task != 3 {
			t.Fatalf("robin %v: the other took %+v", robin, other)
		}
		q.Resume(a)
		if more := take(q); len(more) != 1 || more[0].Epoch != a {
			t.Fatalf("robin %v: then it took %+v", robin, more)
		}
		if n := q.Counts().FreeSlots; n != 0 {
			t.Errorf("%d slots are free", n)
		}
	}
}

// TestRoundRobinChaos does anything in any order and checks that each task
// ends once, on a worker that it was bound to or inherited by.
func TestRoundRobinChaos(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		q := queue.New[uint64](1, true)
		var epochs []uint64
		running := map[task.ID]queue.Ref{}
		pushed, ended := 0, map[task.ID]int{}
		for range 400 {
			switch r.IntN(9) {
			case 0, 1, 2:
				q.Push(0)
				pushed++
			case 3:
				epochs = append(epochs, q.Join(1+r.IntN(3)))
			case 4:
				if len(epochs) > 0 {
					i := r.IntN(len(epochs))
					_, givenUp := q.Leave(epochs[i], start)
					for _, id := range givenUp {
						ended[id]++
					}
					for id, ref := range running {
						if ref.Epoch == epochs[i] {
							delete(running, id)
						}
					}
					epochs = slices.Delete(epochs, i, i+1)
				}
			case 5:
				if pushed > 0 {
					id := task.ID(1 + r.IntN(pushed))
					if _, removed, _, found := q.Cancel(id); found && removed {
						ended[id]++
					}
				}
			case 6:
				if len(epochs) > 0 && r.IntN(4) == 0 {
					q.Drain(epochs[r.IntN(len(epochs))])
				}
			default:
				for _, ref := range running {
					if _, ok := q.Finished(ref, 0, start); ok {
						ended[ref.Task]++
						delete(running, ref.Task)
					}
					break
				}
			}
			for _, a := range take(q) {
				if _, twice := running[a.Task]; twice || ended[a.Task] > 0 {
					t.Fatalf("seed %d: task %d assigned again", seed, a.Task)
				}
				running[a.Task] = a.Ref
			}
			if c := q.Counts(); c.Queued+len(running)+len(ended) != pushed {
				t.Fatalf("seed %d: %+v, %d running, %d ended, %d pushed", seed, c, len(running), len(ended), pushed)
			}
		}
		q.Join(1000)
		for {
			for _, a := range take(q) {
				running[a.Task] = a.Ref
			}
			if len(running) == 0 {
				break
			}
			for id, ref := range running {
				if _, ok := q.Finished(ref, 0, start); !ok {
					t.Fatalf("seed %d: task %d is stale", seed, id)
				}
				ended[id]++
				delete(running, id)
			}
			clear(running)
		}
		for id, n := range ended {
			if n != 1 {
				t.Fatalf("seed %d: task %d ended %d times", seed, id, n)
			}
		}
		if c := q.Counts(); c.Queued > 0 || len(ended) != pushed {
			t.Fatalf("seed %d: %d of %d ended, %+v", seed, len(ended), pushed, c)
		}
	}
}
