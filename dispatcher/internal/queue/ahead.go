package queue

import (
	"slices"
	"time"
)

const (
	// leastRoundTrip stands for any shorter one, and for one not measured yet.
	leastRoundTrip = time.Millisecond
	// leastPatience is how long a task may run before it is late, however
	// short the median: on a busy machine results wait that long on their way,
	// and asking back what is about to start costs more than it saves.
	leastPatience = 20 * time.Millisecond
)

// roundTrip is the least of the last few measurements, since delays in either
// program only ever add to it.
type roundTrip struct {
	last [4]time.Duration
	n    uint8
}

func (t *roundTrip) add(d time.Duration) {
	t.last[t.n%4] = max(d, leastRoundTrip)
	if t.n++; t.n == 8 {
		t.n = 4
	}
}

func (t *roundTrip) value() time.Duration {
	if t.n == 0 {
		return leastRoundTrip
	}
	return slices.Min(t.last[:min(t.n, 4)])
}

// recent is the last 16 elapsed times.
type recent struct {
	last   [16]time.Duration
	n      int
	middle time.Duration
	stale  bool
}

func (r *recent) add(d time.Duration) {
	r.last[r.n%16] = max(d, 0)
	if r.n++; r.n == 32 {
		r.n = 16
	}
	r.stale = true
}

// median returns false as long as there are less than three.
func (r *recent) median() (time.Duration, bool) {
	if r.n < 3 {
		return 0, false
	}
	if r.stale {
		sorted, n := r.last, min(r.n, 16)
		slices.Sort(sorted[:n])
		r.middle, r.stale = sorted[(n-1)/2]/2+sorted[n/2]/2, false
	}
	return r.middle, true
}

// RTT notes a measured round trip to the worker. The least of the last four
// counts, as at least 1 ms.
func (q *Queue[P]) RTT(epoch uint64, d time.Duration) {
	w := q.workers[epoch]
	if w == nil {
		return
	}
	before := w.rtt.value()
	w.rtt.add(d)
	after := w.rtt.value()
	if after == before {
		return
	}
	for i := range w.slots {
		if s := &w.slots[i]; s.running {
			q.unlist(s)
			s.soon = s.since.Add(-2 * after)
			q.list(s)
		}
	}
}

// patience is how long a task may run before whatever was sent ahead to its
// slot is asked back. Only called once there is a median.
func (q *Queue[P]) patience() time.Duration {
	median, _ := q.recent.median()
	return max(2*median, leastPatience)
}

func (q *Queue[P]) late(s *slot, now time.Time) bool {
	return now.Sub(s.since) >= q.patience()
}

// spare reports whether some slot will stay free although a task waits ahead
// elsewhere that nobody asked back.
func (q *Queue[P]) spare() bool {
	free := q.free - q.recalled
	if !q.blocked {
		free -= q.loose
	}
	return free > 0
}

// Recalls returns the tasks sent ahead that ought to be asked back now: one
// for each slot that is free and that nothing queued will take, those that
// wait behind the longest running first; and each that waits behind one that
// runs twice the median or longer, if that is more than 20 ms. A task is
// returned once; Started, Finished or Returned answers for it.
func (q *Queue[P]) Recalls(now time.Time) []Ref {
	var refs []Ref
	for s, ok := q.aheads.top(); ok && (q.spare() || q.late(s, now)); s, ok = q.aheads.top() {
		q.aheads.pop()
		s.recalled = true
		q.recalled++
		refs = append(refs, Ref{Task: s.ahead, Attempt: q.tasks.at(s.ahead).attempt, Epoch: s.worker.epoch})
	}
	return refs
}

// answered says that nothing more is awaited about the task sent ahead.
func (q *Queue[P]) answered(s *slot) {
	if s.recalled {
		s.recalled = false
		q.recalled--
	}
}

// Wake returns when Next or Recalls may have something to say although
// nothing happens before: now, if they have not been called since the last
// change; false for never.
func (q *Queue[P]) Wake(now time.Time) (at time.Time, ok bool) {
	sooner := func(t time.Time) {
		if t.Before(now) {
			t = now
		}
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	if q.loose > 0 && !q.blocked {
		s, running := q.candidates.top()
		median, known := q.recent.median()
		if q.free > 0 {
			sooner(now)
		} else if running && known {
			sooner(s.soon.Add(median))
		}
	}
	if s, waits := q.aheads.top(); waits {
		sooner(s.since.Add(q.patience()))
		if q.spare() {
			sooner(now)
		}
	}
	return at, ok
}
