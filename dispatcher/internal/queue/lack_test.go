package queue_test

import (
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

// lacks lets a worker give an attempt back for want of something that the task
// needs: the directory /a or the program p.
func (b *bench) lacks(r queue.Ref, kind task.LackKind, news bool) {
	b.Helper()
	n := queue.Needs{}
	switch kind {
	case task.LackDirectory:
		n.Directory = "/a"
	case task.LackProgram:
		n.Program = "p"
	case task.LackShare:
		n.Shares = "s"
	}
	got, ok := b.Lacking(r, n, task.Lack{Kind: kind, Message: "it is not there"}, b.now)
	if !ok || got != news {
		b.Fatalf("the lack of %+v: news %v, %v, want news %v", r, got, ok, news)
	}
}

// One sick worker beside a healthy one costs no task anything, and is tried a few
// times only.
func TestOneSickWorkerAmongFourHundredTasks(t *testing.T) {
	for _, kind := range []task.LackKind{task.LackDirectory, task.LackProgram, task.LackShare, task.LackScratch, task.LackProcess} {
		both(t, 0, func(b *bench) {
			sick, well := b.join(2), b.join(2)
			for range 400 {
				b.Push(0, 1, queue.Needs{Directory: "/a", Program: "p", Shares: "s"})
			}
			tried, finished := 0, 0
			for finished < 400 {
				d, ok := b.Next(b.now, admitAll)
				switch {
				case !ok || d.Verdict != queue.Send:
					b.Fatalf("%+v, %v after %d tasks", d, ok, finished)
				case d.Epoch == sick:
					tried++
					b.Lacking(d.Ref, queue.Needs{Directory: "/a", Program: "p", Shares: "s"}, task.Lack{Kind: kind}, b.now)
				case d.Epoch == well:
					b.now = b.now.Add(100 * time.Millisecond)
					b.Started(d.Ref, b.now)
					b.finish(d.Ref, 100*time.Millisecond)
					finished++
				}
			}
			if tried < 1 || tried > 5 {
				b.Errorf("the sick worker was tried %d times in %v", tried, b.now.Sub(start))
			}
		})
	}
}

// One mistyped directory among a map's tasks makes no worker sick for the others.
func TestMistypedDirectoryWithholdsNothingElse(t *testing.T) {
	both(t, 0, func(b *bench) {
		x := b.join(1)
		mistyped := b.needing("/a")
		b.lacks(b.sendTo(x, mistyped), task.LackDirectory, true)
		for range 10 {
			b.finish(b.sendTo(x, b.needing("/b")), time.Second)
			b.push(1)
			b.finish(b.sendTo(x, task.ID(b.last())), time.Second)
		}
		b.state(mistyped, task.Queued)
		failed := b.untilFail(func(d queue.Decision[uint64]) { b.lacks(d.Ref, task.LackDirectory, false) })
		if failed.Task != mistyped || failed.Epoch != 0 || failed.Lack.Message == "" || b.now.Sub(start) != queue.Patience {
			b.Errorf("%+v failed after %v", failed, b.now.Sub(start))
		}
		b.gone(mistyped)
		if l := b.Lacks(x); len(l) != 0 {
			b.Errorf("the worker lacks %v, which nobody needs any more", l)
		}
	})
}

// last returns the id of the task that was pushed last.
func (b *bench) last() (last task.ID) {
	for id := task.ID(1); id < 10_000; id++ {
		if _, ok := b.State(id); ok {
			last = id
		}
	}
	return last
}

func TestProbesAreTwiceAsFarApartEachTime(t *testing.T) {
	both(t, 0, func(b *bench) {
		b.Expect(true)
		x := b.join(3)
		for range 3 {
			b.needing("/a")
		}
		b.lacks(b.sendTo(x, 1), task.LackDirectory, true)
		for _, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
			want *= time.Second
			b.nothingNext()
			at, ok := b.Wake(b.now)
			if !ok || at.Sub(b.now) != want {
				b.Fatalf("wake is in %v, %v, want %v", at.Sub(b.now), ok, want)
			}
			if l := b.Lacks(x); len(l) != 1 || !l[0].Since.Equal(start) || !l[0].Probe.Equal(at) || l[0].Message == "" {
				b.Fatalf("lacks are %+v", l)
			}
			b.now = at
			probe := b.sendTo(x, 1)
			b.nothingNext() // one at a time
			b.now = b.now.Add(time.Second)
			b.lacks(probe, task.LackDirectory, false)
		}
		b.now = b.now.Add(queue.LastProbe)
		b.Started(b.sendTo(x, 1), b.now)
		b.sendTo(x, 2)
		b.sendTo(x, 3)
		if l := b.Lacks(x); len(l) != 0 {
			b.Errorf("lacks are %+v", l)
		}
	})
}

// Nothing is known after a probe that was cancelled, or handed back, before it
// began: the next task is the probe.
func TestProbeThatDoesNotBegin(t *testing.T) {
	for _, end := range []func(*bench, queue.Ref){
		func(b *bench, r queue.Ref) { b.Returned(r, b.now); b.Cancel(r.Task) },
		func(b *bench, r queue.Ref) { b.Cancel(r.Task); b.Finished(r, 0, b.now) },
		func(b *bench, r queue.Ref) { b.Cancel(r.Task); b.Lost(r, b.now) },
	} {
		for _, kind := range []task.LackKind{task.LackDirectory, task.LackScratch} {
			both(t, 0, func(b *bench) {
				b.Expect(true)
				x := b.join(3)
				b.needing("/a")
				b.needing("/a")
				b.needing("/a")
				b.lacks(b.sendTo(x, 1), kind, true)
				b.now = b.now.Add(queue.FirstProbe)
				end(b, b.sendTo(x, 1))
				if l := b.Lacks(x); len(l) != 1 {
					b.Errorf("lacks are %v", l)
				}
				b.lacks(b.sendTo(x, 2), kind, false)
				b.nothingNext()
			})
		}
	}
}

func TestScratchIsEverything(t *testing.T) {
	both(t, 0, func(b *bench) {
		b.Expect(true)
		x := b.join(4)
		b.push(4)
		b.lacks(b.sendTo(x, 1), task.LackScratch, true)
		b.nothingNext()
		if n := b.Counts().FreeSlots; n != 0 {
			b.Errorf("%d slots are free where nothing can run", n)
		}
		b.now = b.now.Add(queue.FirstProbe)
		probe := b.sendTo(x, 1)
		b.nothingNext()
		b.Started(probe, b.now)
		for id := task.ID(2); id <= 4; id++ {
			b.sendTo(x, id)
		}
	})
}

// What all lack is the task's fault after a while, unless others are expected; a
// missing program at once.
func TestWhatAllLackIsTheTasksFault(t *testing.T) {
	for _, test := range []struct {
		kind task.LackKind
		want time.Duration
	}{{task.LackDirectory, queue.Patience}, {task.LackScratch, queue.Patience}, {task.LackProgram, 0}, {task.LackShare, 0}} {
		both(t, 0, func(b *bench) {
			b.Expect(true)
			b.join(1)
			b.join(1)
			b.Push(9, 1, queue.Needs{Directory: "/a"})
			answer := func(d queue.Decision[uint64]) {
				n := queue.Needs{Directory: "/a", Program: "p", Shares: "s"} // as it turns out
				b.Lacking(d.Ref, n, task.Lack{Kind: test.kind, Code: 126}, b.now)
			}
			for range 10 {
				for d, ok := b.Next(b.now, admitAll); ok; d, ok = b.Next(b.now, admitAll) {
					if d.Verdict == queue.Fail {
						b.Fatal("a task failed although others are expected")
					}
					answer(d)
				}
				b.now, _ = b.Wake(b.now)
			}
			b.Expect(false)
			since := b.now
			failed := b.untilFail(answer)
			if failed.Task != 1 || failed.Payload != 9 || failed.Lack.Code != 126 || b.now.Sub(since) != test.want {
				b.Errorf("%+v failed after %v, want %v", failed, b.now.Sub(since), test.want)
			}
			b.gone(1)
		})
	}
}

// A worker that has been given what it lacked of shares takes what needs that at once.
func TestGainedSharesAreNoLack(t *testing.T) {
	both(t, 0, func(b *bench) {
		x := b.join(1)
		b.Expect(true)
		id := b.Push(0, 1, queue.Needs{Shares: "s"})
		d, _ := b.Next(b.now, admitAll)
		b.lacks(d.Ref, task.LackShare, true)
		if d, ok := b.Next(b.now, admitAll); ok {
			b.Fatalf("%+v was decided of what the worker lacks", d)
		}
		b.Gained(x, "other")
		b.Gained(x+100, "s")
		if len(b.Lacks(x)) != 1 {
			b.Fatal("what it lacks is forgotten for another share, or of another worker")
		}
		b.Gained(x, "s")
		if b.Sick() {
			b.Error("it lacks something still")
		}
		b.sendTo(x, id)
	})
}

// A task that fails is asked about like one that begins: nothing overtakes it.
func TestFailureWaitsToBeAdmitted(t *testing.T) {
	both(t, 0, func(b *bench) {
		x := b.join(1)
		id := b.Push(0, 1, queue.Needs{Program: "p"})
		b.push(1)
		b.lacks(b.sendTo(x, id), task.LackProgram, true)
		if d, ok := b.Next(b.now, func(asked task.ID, _ uint64, _ uint32) bool { return asked != id }); ok {
			b.Fatalf("next is %+v", d)
		}
		b.state(id, task.Queued)
		if d, ok := b.Next(b.now, admitAll); !ok || d.Verdict != queue.Fail || d.Task != id || d.Attempt != 1 {
			b.Fatalf("next is %+v, %v", d, ok)
		}
		b.sendTo(x, 2)
	})
}

// Who is away may come back and have it; who leaves will not.
func TestHopeOfAWorkerThatIsAway(t *testing.T) {
	b := newBench(t, 0)
	x, y := b.join(1), b.join(1)
	b.Set(y, queue.Away)
	id := b.needing("/a")
	b.lacks(b.sendTo(x, id), task.LackDirectory, true)
	b.nothingNext()
	b.Set(y, queue.Gone)
	since := b.now
	b.untilFail(func(d queue.Decision[uint64]) { b.lacks(d.Ref, task.LackDirectory, false) })
	if got := b.now.Sub(since); got != queue.Patience {
		t.Errorf("the task failed after %v", got)
	}
}

// A worker that comes in the meantime begins the wait anew, even if it goes again
// while the task is elsewhere as a probe.
func TestPatienceBeginsAnewWithAnotherWorker(t *testing.T) {
	b := newBench(t, 0)
	x := b.join(1)
	id := b.needing("/a")
	b.lacks(b.sendTo(x, id), task.LackDirectory, true)
	b.nothingNext()
	b.now = b.now.Add(30 * time.Second)
	probe := b.sendTo(x, id)
	b.Leave(b.join(1))
	b.lacks(probe, task.LackDirectory, false)
	since := b.now
	b.untilFail(func(d queue.Decision[uint64]) { b.lacks(d.Ref, task.LackDirectory, false) })
	if got := b.now.Sub(since); got != queue.Patience {
		t.Errorf("the task failed after %v more", got)
	}
}

// What never began costs no try, whoever handed it back, however often.
func TestLackCostsNoTry(t *testing.T) {
	both(t, 0, func(b *bench) {
		b.Expect(true)
		x := b.join(1)
		id := b.needing("/a")
		b.lacks(b.sendTo(x, id), task.LackDirectory, true)
		for range 5 {
			b.now = b.now.Add(queue.LastProbe)
			b.lacks(b.sendTo(x, id), task.LackDirectory, false)
		}
		b.now = b.now.Add(queue.LastProbe)
		r := b.sendTo(x, id)
		b.Started(r, b.now) // its process was about to be started
		b.lacks(r, task.LackDirectory, true)
		b.now = b.now.Add(queue.LastProbe)
		r = b.sendTo(x, id)
		b.Started(r, b.now)
		if givenUp, _ := b.Lost(r, b.now); !givenUp {
			b.Error("the first try that counts was not the last")
		}
	})
}

// A lack of what was not needed cannot be told from a worker that can run nothing.
func TestLackOfWhatWasNotNeeded(t *testing.T) {
	b := newBench(t, 0)
	b.Expect(true)
	x := b.join(1)
	b.push(1)
	b.Lacking(b.sendTo(x, 1), queue.Needs{}, task.Lack{Kind: task.LackDirectory}, b.now)
	b.nothingNext()
}
