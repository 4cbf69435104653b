package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"muster/internal/remote"
	safe "muster/internal/terminal"
)

// TestProgressOfCopies: the line says what is copied as long as something is, and then
// how far the tasks are again.
func TestProgressOfCopies(t *testing.T) {
	var b strings.Builder
	p, _ := newProgress("always", streams{out: &b, err: safe.NewVoice(&b)}, 10)
	shows := func(want string) {
		t.Helper()
		if got := p.text(time.Now(), 60); !strings.Contains(got, want) {
			t.Errorf("it shows %q, not %q", got, want)
		}
	}
	p.copy(remote.Progress{Host: "a\x1bb", Done: 1e6, Total: 4e6})
	shows("copying muster to a?b 1.0/4.0 MB")
	p.copy(remote.Progress{Host: "b", Done: 0, Total: 4e6})
	shows("copying muster to 2 machines 1.0/8.0 MB")
	p.add(true)
	p.copy(remote.Progress{Host: "a\x1bb", Total: 4e6, Over: true})
	shows("copying muster to b 0.0/4.0 MB")
	p.copy(remote.Progress{Host: "b", Total: 4e6, Over: true})
	shows("1/10 done, 1 failed")
	p.copy(remote.Progress{Host: "c", Total: 4e6, Over: true}) // one that had not begun
	shows("1/10 done, 1 failed")
	p.copy(remote.Progress{Host: strings.Repeat("long", 99), Total: 4e6})
	if got := p.text(time.Now(), 39); len(got) != 39 || !strings.HasSuffix(got, " 0.0/4.0 MB") {
		t.Errorf("in 39 columns it shows %q", got)
	}
	if none, _ := newCopyProgress(streams{err: safe.NewVoice(&b)}); none != nil || none.copied() != nil {
		t.Error("copies are shown where there is no terminal")
	}
}

// TestProgressIsNotForWorkers: a worker has the terminal itself on its standard error,
// and no pipe of this process, which would kill it when it writes after our end.
func TestProgressIsNotForWorkers(t *testing.T) {
	controller, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer controller.Close()
	defer tty.Close()
	p, s := newProgress("auto", streams{out: tty, err: safe.NewVoice(tty)}, 1)
	if p == nil || s.out == tty || s.err.Exact() == tty {
		t.Fatal("there is no line on a terminal")
	}
	if opt, err := hostOptions(s, nil, p); err != nil || opt.Stderr != tty {
		t.Errorf("workers write to %v (%v)", opt.Stderr, err)
	}
}

// TestStanding: what is least important is left out first.
func TestStanding(t *testing.T) {
	all := standing{done: 120, failed: 3, running: 16, total: 500, elapsed: 72 * time.Second, perSecond: 2, crew: crew{shown: true, workers: 4, pending: 2}}
	for _, tc := range []struct {
		name    string
		columns int
		change  func(*standing)
		want    string
	}{
		{"200", 199, nil, "[" + strings.Repeat("#", 12) + strings.Repeat("-", 38) + "] 120/500 done, 3 failed, 16 running, 2.0/s, elapsed 1m12s, ETA 3m10s, 4 workers, 2 pending"},
		{"100", 99, nil, "120/500 done, 3 failed, 16 running, 2.0/s, elapsed 1m12s, ETA 3m10s, 4 workers, 2 pending"},
		{"80", 79, nil, "120/500 done, 3 failed, 16 running, 2.0/s, elapsed 1m12s, ETA 3m10s"},
		{"60", 59, nil, "[##--------] 120/500 done, 3 failed, 16 running, ETA 3m10s"},
		{"40", 39, nil, "120/500 done, 3 failed, 16 running"},
		{"30", 29, nil, "120/500 done, 3 failed"},
		{"20", 19, nil, "120/500 done"},
		{"none works", 39, func(s *standing) { s.crew.workers = 0 }, "120/500 done, no worker, 2 pending"},
		{"none works, wide", 79, func(s *standing) { s.crew.workers = 0; s.crew.pending = 0 }, "120/500 done, 3 failed, 16 running, 2.0/s, elapsed 1m12s, ETA 3m10s, no worker"},
		{"open", 99, func(s *standing) { s.open = true; s.crew.shown = false }, "120/500+ done, 3 failed, 16 running, more to come, 2.0/s, elapsed 1m12s"},
		{"nothing read", 39, func(s *standing) { *s = standing{open: true} }, "0 done, 0 failed, 0 running, elapsed 0s"},
		{"a blink", 69, func(s *standing) { *s = standing{done: 1, total: 2, elapsed: time.Millisecond} }, "[##########----------] 1/2 done, 0 failed, 0 running, elapsed 0s"},
		{"no rate", 69, func(s *standing) { *s = standing{running: 1, total: 2, elapsed: time.Hour} }, "0/2 done, 0 failed, 1 running, elapsed 1h00m, ETA unknown"},
		{"in docs/run.md", 99, func(s *standing) {
			*s = standing{done: 312, failed: 2, running: 16, total: 1000, perSecond: 5.1, elapsed: 62 * time.Second}
		}, "[######--------------] 312/1000 done, 2 failed, 16 running, 5.1/s, elapsed 1m02s, ETA 2m14s"},
		{"the last ended", 69, func(s *standing) { *s = standing{done: 9, running: 4, total: 10, elapsed: time.Millisecond} }, "[##################--] 9/10 done, 0 failed, 1 running, elapsed 0s"},
		{"all done", 59, func(s *standing) { *s = standing{done: 2, running: 2, total: 2, elapsed: 26 * time.Hour} }, "[##########] 2/2 done, 0 failed, 0 running, elapsed 1d02h"},
	} {
		s := all
		if tc.change != nil {
			tc.change(&s)
		}
		if got := s.line(tc.columns); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestRate: how many tasks end in a time is said over seconds, or over rounds of tasks
// that take longer, and never of a blink.
func TestRate(t *testing.T) {
	for _, tc := range []struct {
		name        string
		running     int
		every       time.Duration // so often
		many        int           // so many tasks end
		from, to    time.Duration // the rate is looked at in between, after as many pauses
		least, most float64       // of the rate in a second
	}{
		{"a blink", 1, time.Microsecond, 1, 0, 900 * time.Millisecond, 0, 0},
		{"quick tasks", 1, time.Millisecond, 3, 2 * time.Second, 20 * time.Second, 2990, 3010},
		{"a task a second", 1, time.Second, 1, 10 * time.Second, 60 * time.Second, 0.85, 1},
		{"rounds of long tasks", 16, time.Minute, 16, 2 * time.Minute, time.Hour, 0.17, 0.35},
		{"one long task", 1, time.Hour, 1, 10 * time.Hour, 24 * time.Hour, 0.8 / 3600, 1.3 / 3600},
	} {
		var r rate
		start := time.Now()
		done := 0
		step := max(tc.every/4, 20*time.Millisecond)
		for at := time.Duration(0); at < tc.to; at += step {
			done = int(at/tc.every) * tc.many
			now := start.Add(at)
			r.count(now, done, tc.running)
			if got := r.second(now, done); at >= tc.from && (got < tc.least || got > tc.most) {
				t.Errorf("%s: %.4f tasks a second after %v, want %.4f to %.4f", tc.name, got, at, tc.least, tc.most)
				break
			}
		}
		if len(r.points) > 1200 {
			t.Errorf("%s: %d points are kept", tc.name, len(r.points))
		}
	}
}

// TestRateBegins: the time in which nobody works does not count.
func TestRateBegins(t *testing.T) {
	var r rate
	now := time.Now()
	for range 3600 {
		r.count(now, 0, 0)
		now = now.Add(time.Second)
	}
	for done := range 10 {
		r.count(now, done, 1)
		now = now.Add(time.Second)
	}
	if got := r.second(now, 10); got < 0.8 || got > 1.1 {
		t.Errorf("%.3f tasks a second", got)
	}
}

func TestPerTime(t *testing.T) {
	for perSecond, want := range map[float64]string{25601: "25601/s", 10: "10/s", 1.25: "1.2/s", 0.5: "30.0/min", 1.0 / 60: "1.0/min", 1.0 / 3600: "1.0/h"} {
		if got := perTime(perSecond); got != want {
			t.Errorf("%v a second is %q, want %q", perSecond, got, want)
		}
	}
}
