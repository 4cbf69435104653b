package worker

import (
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) time.Time { return began.Add(d) }
	for _, c := range []struct {
		name   string
		o      Options
		ended  int           // tasks, the last at 10 s
		given  int           // tasks that slots have
		now    time.Duration // since it began
		unused bool
		want   verdict
		again  time.Duration // 0 is never
	}{
		{"no limits", Options{}, 5, 0, time.Hour, true, verdict{}, 0},
		{"idle, not long enough", Options{IdleTime: time.Minute}, 1, 0, 69 * time.Second, true, verdict{}, 70 * time.Second},
		{"idle", Options{IdleTime: time.Minute}, 1, 0, 70 * time.Second, true, verdict{drain: true, reason: Idletime}, 0},
		{"idle from the start", Options{IdleTime: time.Minute}, 0, 0, time.Minute, true, verdict{drain: true, reason: Idletime}, 0},
		{"not idle at the start", Options{IdleTime: time.Minute}, 0, 0, 0, true, verdict{}, time.Minute},
		{"in use", Options{IdleTime: time.Minute}, 0, 1, time.Hour, false, verdict{}, 61 * time.Minute},
		{"tasks left", Options{MaxTasks: 3}, 1, 1, 0, false, verdict{}, 0},
		{"the last has been given to a slot", Options{MaxTasks: 3}, 2, 1, 0, false, verdict{drain: true, reason: MaxTasks}, 0},
		{"before the last start", Options{Walltime: 10 * time.Minute}, 0, 0, time.Minute, true, verdict{}, 8*time.Minute + 50*time.Second},
		{"after the last start", Options{Walltime: 10 * time.Minute}, 0, 0, 9 * time.Minute, true, verdict{drain: true, reason: Walltime}, 9*time.Minute + 50*time.Second},
		{"a walltime's end", Options{Walltime: 10 * time.Minute}, 0, 0, 9*time.Minute + 50*time.Second, true, verdict{leave: true, reason: Walltime}, 0},
		{"tasks that take long", Options{Walltime: 10 * time.Minute, Estimate: 8 * time.Minute}, 0, 0, 2 * time.Minute, true, verdict{drain: true, reason: Walltime}, 9*time.Minute + 50*time.Second},
		{"a short walltime", Options{Walltime: 10 * time.Second}, 0, 0, 9 * time.Second, true, verdict{leave: true, reason: Walltime}, 0},
	} {
		l := newLimits(began, began, &c.o)
		for range c.ended {
			l.give()
			l.over(at(10 * time.Second))
		}
		for range c.given {
			l.give()
		}
		got, again := l.due(at(c.now), c.unused)
		if got != c.want || again.IsZero() != (c.again == 0) || c.again != 0 && !again.Equal(at(c.again)) {
			t.Errorf("%s: %+v and again at %v, want %+v at %v", c.name, got, again.Sub(began), c.want, c.again)
		}
	}
}

// FuzzLimits: whatever happens, what is given and comes back does not count, a
// worker never has room for more tasks than it may run, it always asks again as long
// as time alone may move it, and nothing is due before its time.
func FuzzLimits(f *testing.F) {
	f.Add([]byte("give back give over"), uint8(3), uint8(20), uint8(60))
	f.Add([]byte{0, 0, 1, 2, 3, 3, 250}, uint8(0), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, steps []byte, maxTasks, idle, wall uint8) {
		o := Options{MaxTasks: int(maxTasks), IdleTime: time.Duration(idle) * time.Second, Walltime: time.Duration(wall) * time.Minute}
		began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		l := newLimits(began, began, &o)
		now, busy, given, ended := began, began, 0, 0
		for _, step := range steps {
			switch step % 4 {
			case 0:
				if l.room() {
					l.give()
					given++
				}
			case 1:
				if given > 0 {
					l.back()
					given--
				}
			case 2:
				if given > 0 {
					l.over(now)
					given--
					ended++
					busy = now
				}
			case 3:
				now = now.Add(time.Duration(step) * time.Second / 4)
			}
			if o.MaxTasks > 0 && (given+ended > o.MaxTasks || l.room() != (given+ended < o.MaxTasks)) {
				t.Fatalf("%d given, %d ended of at most %d, and room: %v", given, ended, o.MaxTasks, l.room())
			}
			if given > 0 {
				busy = now
			}
			v, again := l.due(now, given == 0)
			switch {
			case !again.IsZero() && !again.After(now):
				t.Fatalf("ask again at %v, and it is %v", again, now)
			case v.leave && (wall == 0 || now.Sub(began) < o.Walltime*9/10):
				t.Fatalf("to leave %v after the start, of %v", now.Sub(began), o.Walltime)
			case v.reason == Idletime && (idle == 0 || now.Sub(busy) < o.IdleTime):
				t.Fatalf("idle after %v", now.Sub(busy))
			case !v.leave && wall > 0 && again.IsZero():
				t.Fatal("nobody will look at the walltime")
			case !v.drain && !v.leave && idle > 0 && again.IsZero():
				t.Fatal("nobody will look whether it is idle")
			}
		}
	})
}
