package dispatcher_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/task"
	mtls "muster/tls"
)

// TestLabel: a future is shown by the name and the command of its first task, as much of
// them as a person reads.
func TestLabel(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		long := strings.Repeat("x", 1000)
		spec := task.Spec{Argv: []string{"echo", long, "last"}, Name: long}
		f, err := w.d.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []task.Spec{spec, {Argv: []string{"second"}}} {
			if err := f.Add(context.Background(), s); err != nil {
				t.Fatal(err)
			}
		}
		s := f.Status()
		if s.Name != long[:200]+"... (1000 bytes)" || !slices.Equal(s.Argv, []string{"echo", long[:195] + "... (1000 bytes)", "..."}) {
			t.Errorf("%q %q", s.Name, s.Argv)
		}
		everywhere, err := w.d.Everywhere(task.Spec{Argv: []string{"module load"}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if argv := everywhere.Status().Argv; !slices.Equal(argv, []string{"module load"}) {
			t.Errorf("%q", argv)
		}
	})
}

// TestOldest: a status says since when the task runs that has run longest.
func TestOldest(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		if at := w.d.Status().Oldest; at != nil {
			t.Errorf("nothing runs, and has since %v", at)
		}
		p := w.worker(2)
		w.put("a")
		w.put("b")
		first, began := p.start(p.assigned()), time.Now()
		synctest.Wait()
		time.Sleep(time.Minute)
		second := p.start(p.assigned())
		synctest.Wait()
		if at := w.d.Status().Oldest; at == nil || !at.Equal(began) {
			t.Errorf("it runs since %v, want %v", at, began)
		}
		p.finish(first, nil)
		synctest.Wait()
		if at := w.d.Status().Oldest; at == nil || at.Sub(began) != time.Minute {
			t.Errorf("the second runs since %v", at)
		}
		p.finish(second, nil)
	})
}

// TestWaitsForWorkers: a status says how many workers an everywhere waits for, and a pool
// how many may come.
func TestWaitsForWorkers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f, err := w.d.Everywhere(task.Spec{Argv: []string{"true"}}, 2)
		if err != nil {
			t.Fatal(err)
		}
		if e := w.d.Status().Everywhere; e == nil || *e != (dispatcher.EverywhereStatus{ID: f.ID(), Open: true, Missing: 2}) {
			t.Errorf("%+v", e)
		}
		w.worker(1).work()
		synctest.Wait()
		if e := w.d.Status().Everywhere; e == nil || e.Missing != 1 {
			t.Errorf("one has run it: %+v", e)
		}
		w.worker(1).work()
		synctest.Wait()
		if e := w.d.Status().Everywhere; e != nil {
			t.Errorf("it has passed: %+v", e)
		}
		for _, n := range []int{2, 3} {
			w.d.AddLaunch(mtls.NewLaunch(time.Now().String()+string(rune('a'+n)), mtls.Terms{Uses: n}), dispatcher.LaunchOptions{Expected: func() int { return n }})
		}
		if n := w.d.Expected(); n != 5 {
			t.Errorf("%d workers are expected, want 5", n)
		}
	})
}
