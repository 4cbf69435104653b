package worker

import "time"

// limits says when a worker takes no more and when it leaves: it has had nothing
// to do for too long, it has run enough tasks, or its job is about to end. It is
// pure: time is passed in.
type limits struct {
	idletime time.Duration // 0 is for ever
	maxTasks int           // 0 is any number
	last     time.Time     // when the last task may begin; zero is any time
	end      time.Time     // when what runs is handed back; zero is never

	ended int       // tasks that have come to an end here
	given int       // tasks that slots have
	busy  time.Time // when there was last something to do
}

// newLimits returns the limits of a worker whose process began and that joined then.
func newLimits(began, joined time.Time, o *Options) limits {
	l := limits{idletime: o.IdleTime, maxTasks: o.MaxTasks, busy: joined}
	if o.Walltime > 0 {
		// A tenth of a short walltime, else what a scheduler may need between its
		// own clock and ours, and what tasks get to end by themselves.
		l.end = began.Add(o.Walltime - min(10*time.Second, o.Walltime/10))
		estimate := o.Estimate
		if estimate == 0 {
			estimate = min(time.Minute, o.Walltime/10)
		}
		l.last = l.end.Add(-estimate)
	}
	return l
}

// room reports whether another task may be given to a slot. Those that come back
// from one do not count.
func (l *limits) room() bool { return l.maxTasks == 0 || l.ended+l.given < l.maxTasks }

// give notes that a slot has a task, and back that it has given it back.
func (l *limits) give() { l.given++ }
func (l *limits) back() { l.given-- }

// over notes that a task that a slot had has ended.
func (l *limits) over(now time.Time) {
	l.given--
	l.ended++
	l.busy = now
}

// verdict is what is to happen to a worker.
type verdict struct {
	drain  bool
	leave  bool // at once, with what runs handed back
	reason Reason
}

// due returns what is due now, and when to ask again if nothing happens before;
// zero is never. Unused says that there is nothing to do.
func (l *limits) due(now time.Time, unused bool) (v verdict, again time.Time) {
	if !unused {
		l.busy = now
	}
	sooner := func(t time.Time) {
		if again.IsZero() || t.Before(again) {
			again = t
		}
	}
	reached := func(t time.Time) bool {
		if t.IsZero() || !now.Before(t) {
			return !t.IsZero()
		}
		sooner(t)
		return false
	}
	switch {
	case reached(l.end):
		return verdict{leave: true, reason: Walltime}, time.Time{}
	case reached(l.last):
		v = verdict{drain: true, reason: Walltime}
	case !l.room():
		v = verdict{drain: true, reason: MaxTasks}
	case l.idletime > 0 && reached(l.busy.Add(l.idletime)):
		v = verdict{drain: true, reason: Idletime}
	}
	return v, again
}
