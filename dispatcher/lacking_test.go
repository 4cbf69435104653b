package dispatcher_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

func saying(s *said) func(*options, *dispatcher.RunOptions) {
	return func(o *options, _ *dispatcher.RunOptions) { o.Say = s.say }
}

var noDirectory = &task.Lack{Kind: task.LackDirectory, Code: 126,
	Message: "cannot enter the working directory /scratch/u: no such file or directory"}

// works has a peer run each task for so long, but hand those back for which
// lacks says what it lacks. It returns how many it was given.
func (p *peer) works(d time.Duration, lacks func(*wire.Assign) *task.Lack) (given func() int) {
	var mu sync.Mutex
	n := 0
	go func() {
		for {
			select {
			case m := <-p.in:
				a, ok := m.(*wire.Assign)
				if !ok {
					continue
				}
				mu.Lock()
				n++
				mu.Unlock()
				if l := lacks(a); l != nil {
					p.Send(&wire.Returned{Ref: a.Ref, Lack: l})
					continue
				}
				p.start(a)
				time.Sleep(d)
				p.finish(a, nil)
			case <-p.gone:
				return
			}
		}
	}()
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func healthy(*wire.Assign) *task.Lack { return nil }

func lacking(l *task.Lack) func(*wire.Assign) *task.Lack {
	return func(*wire.Assign) *task.Lack { return l }
}

// collect waits for n results and counts those that failed.
func (w *world) collect(n int, within time.Duration) (failed []string) {
	w.t.Helper()
	for deadline := time.Now().Add(within); n > 0; {
		for _, r := range strings.Fields(w.results()) {
			if n--; !strings.Contains(r, ":ok.") {
				failed = append(failed, r)
			}
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d results have not come within %v", n, within)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return failed
}

func rows(n int, text string) (list []string) {
	for range n {
		list = append(list, text)
	}
	return list
}

func TestASickWorkerEatsNoTasks(t *testing.T) {
	for name, l := range map[string]*task.Lack{
		"directory": noDirectory,
		"program":   {Kind: task.LackProgram, Code: 127, Message: `program "sim" not found`},
		"scratch":   {Kind: task.LackScratch, Code: 126, Message: "prepare a task: no space left on device"},
		"process":   {Kind: task.LackProcess, Code: 126, Message: "cannot start a process: resource temporarily unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			var s said
			bubble(t, func(t *testing.T, w *world) {
				sick := w.worker(2).works(0, lacking(l))
				w.worker(1).works(100*time.Millisecond, healthy)
				w.submit(rows(400, "x")...)
				if failed := w.collect(400, time.Hour); len(failed) > 0 {
					t.Errorf("%d failed: %v", len(failed), failed)
				}
				if n := sick(); n > 8 {
					t.Errorf("the sick worker was given %d of 400 tasks", n)
				}
				if text := s.text(); strings.Count(text, "host: "+l.Message) != 1 || !strings.Contains(text, "sent elsewhere") {
					t.Errorf("the user was told %q", text)
				}
			}, saying(&s), func(_ *options, b *dispatcher.RunOptions) {
				b.Common = task.Spec{Dir: "/scratch/u", Argv: []string{"sim"}}
				b.Render = func(row []string, index int) task.Spec {
					return task.Spec{Argv: []string{"sim"}, Dir: "/scratch/u", Index: index}
				}
			})
		})
	}
}

func TestOneMistypedDirectoryMakesNobodySick(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		lacks := func(a *wire.Assign) *task.Lack {
			if a.Spec.Dir == "/typo" {
				return noDirectory
			}
			return nil
		}
		a, b := w.worker(1).works(100*time.Millisecond, lacks), w.worker(1).works(100*time.Millisecond, lacks)
		w.submit("/data", "/typo", "/data", "/data", "/data", "/data", "/data", "/data", "/data", "/data")
		began := time.Now()
		if failed := w.collect(9, 5*time.Second); len(failed) > 0 {
			t.Errorf("%v failed", failed)
		}
		if a() < 3 || b() < 3 {
			t.Errorf("the workers were given %d and %d tasks", a(), b())
		}
		if failed := w.collect(1, 2*time.Minute); len(failed) != 1 || !strings.HasPrefix(failed[0], "2:spawn.") {
			t.Errorf("the mistyped one: %v", failed)
		}
		if d := time.Since(began); d < time.Minute || d > 70*time.Second {
			t.Errorf("it was given up after %v", d)
		}
	}, func(_ *options, b *dispatcher.RunOptions) {
		b.Render = func(row []string, index int) task.Spec {
			return task.Spec{Argv: []string{"sim"}, Dir: row[0], Index: index}
		}
	})
}

func TestAMissingProgramIsTheTasksFaultAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.worker(4).works(0, lacking(&task.Lack{Kind: task.LackProgram, Code: 127, Message: `program "x" not found`}))
		w.submit(rows(20, "x")...)
		if failed := w.collect(20, time.Second); len(failed) != 20 || !strings.Contains(failed[0], ":spawn.") {
			t.Errorf("results %v", failed)
		}
	})
}

func TestNobodyIsBlamedWhileWorkersAreExpected(t *testing.T) {
	var s said
	bubble(t, func(t *testing.T, w *world) {
		more := 1
		w.launch = mtls.NewLaunch("more", mtls.Terms{Uses: 10})
		w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{Expected: func() int { return more }})
		w.worker(1).works(0, lacking(noDirectory))
		w.submit("x")
		time.Sleep(10 * time.Minute)
		w.expect("")
		if !strings.Contains(s.text(), "1 task waiting for a worker that can") {
			t.Errorf("the user was told %q", s.text())
		}
		w.worker(1).works(0, healthy)
		if failed := w.collect(1, time.Second); len(failed) > 0 {
			t.Errorf("%v failed", failed)
		}
	}, saying(&s))
}

// A worker that was asked for a moment ago is expected, though what all lack was a task's
// fault before.
func TestALaunchIsExpectedAtOnce(t *testing.T) {
	noProgram := &task.Lack{Kind: task.LackProgram, Code: 127, Message: `program "p" not found`}
	bubble(t, func(t *testing.T, w *world) {
		w.worker(1).works(0, lacking(noProgram))
		w.submit("p")
		if failed := w.collect(1, time.Second); len(failed) != 1 {
			t.Fatalf("results %v", failed)
		}
		more := 1
		w.launch = mtls.NewLaunch("more", mtls.Terms{Uses: 10})
		w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{Expected: func() int { return more }})
		w.submit("p")
		time.Sleep(5 * time.Second)
		w.expect("")
		more = 0
		w.worker(1).works(0, healthy)
		if failed := w.collect(1, time.Second); len(failed) > 0 {
			t.Errorf("%v failed", failed)
		}
	})
}

func TestFateOfALostWorker(t *testing.T) {
	for _, c := range []struct {
		name    string
		retries int
		fate    dispatcher.Fate
		takes   time.Duration
		want    string
	}{
		{"preempted", 0, dispatcher.Fate{Kind: task.KindPreempted, Text: "job 7 was preempted"}, 5 * time.Second, "1:preempted.1"},
		{"walltime", 0, dispatcher.Fate{Kind: task.KindWalltime, Text: "job 7 reached its limit"}, 5 * time.Second, "1:walltime.1"},
		{"cancelled", 0, dispatcher.Fate{Kind: task.KindReset, Text: "job 7 was cancelled"}, time.Second, "1:reset.1"},
		{"nobody knows", 0, dispatcher.Fate{}, time.Second, "1:reset.1"},
		{"no answer", 0, dispatcher.Fate{Kind: task.KindPreempted}, time.Hour, "1:reset.1"},
		{"tried again", 1, dispatcher.Fate{Kind: task.KindPreempted, Text: "job 7 was preempted"}, 5 * time.Second, "1:ok.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				var lost []string
				w.launch = mtls.NewLaunch("asked", mtls.Terms{Uses: 10})
				w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{
					Lost: func(element string, _ int, why error) { lost = append(lost, element+": "+why.Error()) },
					Fate: func(ctx context.Context, element string) dispatcher.Fate {
						if element != "w1" {
							t.Errorf("asked about %s", element)
						}
						select {
						case <-time.After(c.takes):
						case <-ctx.Done():
						}
						if ctx.Err() != nil {
							return dispatcher.Fate{}
						}
						return c.fate
					}})
				w.submit("a")
				p := w.worker(1)
				p.start(p.assigned())
				p.raw.Close()
				time.Sleep(min(c.takes, 30*time.Second) - time.Millisecond)
				w.expect("")
				time.Sleep(2 * time.Millisecond)
				if c.retries > 0 {
					w.worker(1).works(0, healthy)
				}
				w.expect(c.want)
				if len(lost) != 1 || !strings.HasPrefix(lost[0], "w1: ") {
					t.Errorf("told of %v", lost)
				}
			}, func(o *options, _ *dispatcher.RunOptions) { o.LostRetries = c.retries })
		})
	}
}

// A scheduler ends a job by SIGTERM, so that its worker takes leave in order: why it
// did is told by the scheduler all the same.
func TestFateOfASignalledWorker(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.launch = mtls.NewLaunch("asked", mtls.Terms{Uses: 10})
		w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{Fate: func(ctx context.Context, _ string) dispatcher.Fate {
			time.Sleep(5 * time.Second)
			return dispatcher.Fate{Kind: task.KindPreempted, Text: "job 7 waits again"}
		}})
		w.submit("a", "b")
		p := w.worker(2)
		a, b := p.start(p.assigned()), p.start(p.assigned())
		p.finish(a, killed)
		p.Send(&wire.Drain{Reason: "SIGTERM"})
		p.finish(b, killed)
		p.Send(&wire.Goodbye{})
		w.expect("")
		time.Sleep(6 * time.Second)
		if got := w.results(); got != "1:preempted.1 2:preempted.1" && got != "2:preempted.1 1:preempted.1" {
			t.Errorf("results %q", got)
		}
	}, func(o *options, _ *dispatcher.RunOptions) { o.LostRetries = 0 })
}

// A worker that is lost hears nothing: another is told to leave.
func TestLostWorkerIsNotToldToLeave(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.launch = mtls.NewLaunch("asked", mtls.Terms{Uses: 10})
		w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{
			Fate: func(ctx context.Context, _ string) dispatcher.Fate { <-ctx.Done(); return dispatcher.Fate{} }})
		w.submit("a", "b")
		p, q := w.worker(1), w.worker(1)
		p.start(p.assigned())
		q.start(q.assigned())
		p.raw.Close()
		synctest.Wait()
		if n := w.d.Retire(1); n != 1 {
			t.Errorf("told %d workers", n)
		}
		if m, ok := q.next().(*wire.Drain); !ok {
			t.Errorf("the worker that lives was told %#v", m)
		}
		if n := w.d.Retire(-1); n != 0 {
			t.Errorf("told %d more", n)
		}
	})
}

func TestInnocentTasksAreTriedAloneBeforeTheyAreGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.submit("good", "good", "poison", "good")
		for range 40 {
			p := w.worker(4)
			var mine []*wire.Assign
			for a, ok := p.next().(*wire.Assign); ok; a, ok = p.next().(*wire.Assign) {
				mine = append(mine, p.start(a))
			}
			poisoned := false
			for _, a := range mine {
				poisoned = poisoned || a.Spec.Argv[0] == "poison"
			}
			if poisoned {
				p.raw.Close()
				synctest.Wait()
				continue
			}
			for len(mine) > 0 {
				p.finish(mine[0], nil)
				mine = mine[1:]
				if a, ok := p.next().(*wire.Assign); ok {
					mine = append(mine, p.start(a))
					if a.Spec.Argv[0] == "poison" {
						break
					}
				}
			}
			p.raw.Close()
			synctest.Wait()
		}
		got := w.results()
		if strings.Count(got, ":ok.") != 3 || !strings.Contains(got, "3:reset.3") {
			t.Errorf("results %q", got)
		}
	})
}

func TestWhatCannotHaveBegunCostsNoTry(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.submit("a", "b", "c", "d")
		for range 5 { // one slot: three short tasks make the others be sent ahead
			p := w.worker(1)
			if p.next() == nil {
				t.Fatal("nothing was sent")
			}
			p.raw.Close()
			synctest.Wait()
			if got := w.results(); got != "" {
				if got != "1:reset.3" {
					t.Fatalf("results %q", got)
				}
				break
			}
		}
		w.worker(1).works(0, healthy)
		if failed := w.collect(3, time.Second); len(failed) > 0 {
			t.Errorf("%v failed", failed)
		}
	})
}
