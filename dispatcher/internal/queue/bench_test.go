package queue_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

func BenchmarkPushAssignFinish(b *testing.B) {
	for _, workers := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			q := queue.New[uint64](0, false)
			for range workers {
				q.Join(8)
			}
			b.ReportAllocs()
			for b.Loop() {
				q.Push(1)
				a, ok := q.Next(start, admitAll)
				if !ok || !q.Started(a.Ref, start) {
					b.Fatal("a task that may be sent was not")
				}
				q.Finished(a.Ref, time.Millisecond, start)
			}
		})
	}
}

// Every slot is busy, so that each task is sent ahead of the one it follows.
func BenchmarkSentAhead(b *testing.B) {
	const workers = 10_000
	q := queue.New[uint64](0, false)
	for range workers {
		q.Join(1)
	}
	var sent [workers + 1][]queue.Ref // by epoch: what runs, what waits
	next := func() {
		q.Push(1)
		a, ok := q.Next(start, admitAll)
		if !ok {
			b.Fatal("a task that may be sent was not")
		}
		sent[a.Epoch] = append(sent[a.Epoch], a.Ref)
		q.Started(a.Ref, start)
	}
	finish := func(epoch int) {
		refs := sent[epoch]
		if _, ok := q.Finished(refs[0], time.Millisecond, start); !ok {
			b.Fatal("a result was refused")
		}
		sent[epoch] = append(refs[:0], refs[1:]...)
		if len(sent[epoch]) > 0 {
			q.Started(sent[epoch][0], start)
		}
	}
	for range workers {
		next()
	}
	for i := range 3 {
		finish(i + 1)
		next()
	}
	for range workers {
		next()
	}
	for i := 0; b.Loop(); i++ {
		finish(i%workers + 1)
		next()
	}
}

func BenchmarkCancelAMillionQueued(b *testing.B) {
	const million = 1_000_000
	q := queue.New[uint64](0, false)
	var first, last task.ID
	for b.Loop() {
		if first == last {
			b.StopTimer()
			for range million {
				last = q.Push(1)
			}
			first = last - million
			b.StartTimer()
		}
		first++
		if _, removed, _, _ := q.Cancel(first); !removed {
			b.Fatal("a queued task was not removed")
		}
	}
}

func BenchmarkQueuedMemory(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(queuedBytes(1_000_000), "B/queued-task")
	}
}

// queuedBytes is what one of n queued tasks costs, its payload of 8 bytes
// included.
func queuedBytes(n int) float64 {
	before := heapInUse()
	q := queue.New[uint64](0, false)
	for range n {
		q.Push(1)
	}
	after := heapInUse()
	runtime.KeepAlive(q)
	return float64(after-before) / float64(n)
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestQueuedTaskIsSmall(t *testing.T) {
	if got := queuedBytes(200_000); got > 250+8 || got < 8 {
		t.Errorf("a queued task takes %.0f bytes with its payload of 8, want at most 258", got)
	}
}

// Long-lived tasks keep no more than their own neighbourhood.
func TestMemoryIsGivenBack(t *testing.T) {
	const n, every = 400_000, 40_000
	before := heapInUse()
	q := queue.New[uint64](0, false)
	q.Join(n / every)
	running := 0
	for range n {
		id := q.Push(1)
		if id%every == 0 {
			if _, ok := q.Next(start, func(got task.ID, _ uint64, _ uint32) bool { return got == id }); !ok {
				t.Fatalf("task %d was not assigned", id)
			}
			running++
			continue
		}
		q.Cancel(id)
	}
	if got := heapInUse() - before; got > 1<<20 {
		t.Errorf("%d tasks of %d keep %d bytes", running, n, got)
	}
	if c := q.Counts(); c.Assigned != running || c.Queued != 0 {
		t.Errorf("counts are %+v, want %d assigned", c, running)
	}
}
