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
			q := queue.New[uint64](queue.Options{})
			for range workers {
				q.Join(queue.Amounts{Slots: 8})
			}
			b.ReportAllocs()
			for b.Loop() {
				q.Push(1, 100, queue.Needs{})
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
	q := queue.New[uint64](queue.Options{})
	for range workers {
		q.Join(queue.Amounts{Slots: 1})
	}
	var sent [workers + 1][]queue.Ref // by epoch: what runs, what waits
	next := func() {
		q.Push(1, 100, queue.Needs{})
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

// Half of the workers lack what the tasks need.
func BenchmarkBesideSickWorkers(b *testing.B) {
	const workers = 10_000
	q := queue.New[uint64](queue.Options{})
	needs := queue.Needs{Directory: "/a"}
	for range workers {
		q.Join(queue.Amounts{Slots: 8})
	}
	q.Push(1, 100, needs)
	for range workers / 2 {
		d, _ := q.Next(start, admitAll)
		q.Lacking(d.Ref, needs, task.Lack{Kind: task.LackDirectory}, start)
	}
	for b.Loop() {
		q.Push(1, 100, needs)
		d, ok := q.Next(start, admitAll)
		if !ok || !q.Started(d.Ref, start) {
			b.Fatal("a task that may be sent was not")
		}
		q.Finished(d.Ref, time.Millisecond, start)
	}
}

// Every worker has tasks behind others, which the one that is free lacks what it
// takes for.
func BenchmarkRecallsBesideASickWorker(b *testing.B) {
	const workers = 1000
	q := queue.New[uint64](queue.Options{})
	needs := queue.Needs{Directory: "/a"}
	push := func() queue.Ref {
		q.Push(1, 100, needs)
		d, ok := q.Next(start, admitAll)
		if !ok {
			b.Fatal("a task that may be sent was not")
		}
		return d.Ref
	}
	q.Join(queue.Amounts{Slots: 8})
	q.Lacking(push(), needs, task.Lack{Kind: task.LackDirectory}, start)
	for range workers {
		q.Join(queue.Amounts{Slots: 1})
	}
	first, _ := q.Next(start, admitAll)
	running := []queue.Ref{first.Ref}
	for range workers - 1 {
		running = append(running, push())
	}
	for i, r := range running {
		q.Started(r, start)
		if i < 3 {
			q.Finished(r, time.Millisecond, start)
			running[i] = push()
			q.Started(running[i], start)
		}
	}
	for range 3 * workers {
		push()
	}
	for b.Loop() {
		q.Finished(running[0], time.Millisecond, start)
		running = append(running[1:], push())
		q.Started(running[len(running)-1], start)
		if refs := q.Recalls(start); len(refs) > 0 {
			b.Fatalf("recalls are %v", refs)
		}
	}
}

func BenchmarkManyDirectories(b *testing.B) {
	q := queue.New[uint64](queue.Options{})
	q.Join(queue.Amounts{Slots: 1})
	needs := make([]queue.Needs, 1000)
	for i := range needs {
		needs[i].Directory = fmt.Sprint("/data/", i)
	}
	for i := range 1_000_000 {
		q.Push(1, 100, needs[i%1000])
	}
	for i := 0; b.Loop(); i++ {
		q.Push(1, 100, needs[i%1000])
		d, ok := q.Next(start, admitAll)
		if !ok {
			b.Fatal("a task that may be sent was not")
		}
		q.Finished(d.Ref, time.Millisecond, start)
	}
}

func BenchmarkBarrier(b *testing.B) {
	const workers = 10_000
	q := queue.New[uint64](queue.Options{})
	for range workers {
		q.Join(queue.Amounts{Slots: 8})
	}
	for b.Loop() {
		q.PushBarrier(1, queue.Needs{}, 0)
		var refs []queue.Ref
		for d, ok := q.Next(start, admitAll); ok; d, ok = q.Next(start, admitAll) {
			refs = append(refs, d.Ref)
		}
		for _, r := range refs {
			q.Synced(r)
			q.Next(start, admitAll)
		}
		if _, _, ok := q.Passed(); !ok || len(refs) != workers {
			b.Fatalf("%d workers ran the barrier, passed %v", len(refs), ok)
		}
	}
}

func BenchmarkCancelAMillionQueued(b *testing.B) {
	const million = 1_000_000
	q := queue.New[uint64](queue.Options{})
	var first, last task.ID
	for b.Loop() {
		if first == last {
			b.StopTimer()
			for range million {
				last = q.Push(1, 100, queue.Needs{})
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
	q := queue.New[uint64](queue.Options{})
	for range n {
		q.Push(1, 100, queue.Needs{})
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
	q := queue.New[uint64](queue.Options{})
	q.Join(queue.Amounts{Slots: n / every})
	running := 0
	for range n {
		id := q.Push(1, 100, queue.Needs{})
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
