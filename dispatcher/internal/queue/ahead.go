package queue

import (
	"slices"
	"time"
)

const (
	// leastRoundTrip stands for any shorter one, and for one not measured yet.
	leastRoundTrip = time.Millisecond
	// leastHorizon is how far ahead tasks are sent, however short the round trip:
	// short tasks share wake-ups and writes.
	leastHorizon = 5 * time.Millisecond
	// leastPatience is how long a task may run before it is late, however
	// short the median: on a busy machine results wait that long on their way,
	// and asking back what is about to start costs more than it saves.
	leastPatience = 20 * time.Millisecond
	// startPatience is how long a task may take to begin in a slot that is free.
	startPatience = time.Second
)

// How much may be sent ahead to one worker.
const (
	MaxAheadPerSlot = 64
	MaxAhead        = 1024
	MaxAheadBytes   = 1 << 20 // beyond one task a slot
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
	if w := q.workers[epoch]; w != nil {
		w.rtt.add(d)
		q.review(w)
	}
}

// patience is how long a task may run before it is late.
func (q *Queue[P]) patience() time.Duration {
	median, _ := q.recent.median()
	return max(2*median, leastPatience)
}

// startsAt is when one more task that is sent to the worker would begin there,
// if all tasks take the median; false if nobody can tell. What runs too long
// already may run for ever and is not counted on.
func (q *Queue[P]) startsAt(w *worker, now time.Time) (at time.Time, ok bool) {
	median, ok := q.recent.median()
	if !ok {
		return at, false
	}
	live := w.running
	for len(live) > 0 && now.Sub(live[0].since) >= q.patience() {
		live = live[1:]
	}
	// Those that the worker may begin at once are as good as begun.
	begun := w.begun()
	behind := len(w.waiting) - len(begun)
	for len(begun) > 0 && now.Sub(begun[0].at) >= q.patience()+2*w.rtt.value() {
		begun = begun[1:]
	}
	slots := len(live) + len(begun)
	if slots == 0 {
		return at, false
	}
	turn, round := behind%slots, 1+behind/slots
	if turn < len(live) {
		at = live[turn].since
	} else {
		at = begun[turn-len(live)].at
	}
	return at.Add(time.Duration(round) * median), true
}

// horizon is how long before its expected start a task is sent to the worker.
func (w *worker) horizon() time.Duration { return max(2*w.rtt.value(), leastHorizon) }

// reach is how long before its expected start the next task is sent to the
// worker. Tasks are sent in batches: when there is one behind each slot, and what
// is ahead will begin within half of the horizon, that is filled up.
func (w *worker) reach() time.Duration {
	if w.filling || len(w.waiting)-len(w.begun()) < w.offers.Slots {
		return w.horizon()
	}
	return w.horizon() / 2
}

// dueAt is when a task is late that is sent to the worker now: when those before it
// have run for twice the median, and not before it can be known to have begun.
func (q *Queue[P]) dueAt(w *worker, now time.Time) time.Time {
	if at, ok := q.startsAt(w, now); ok && w.free() <= 0 {
		median, _ := q.recent.median()
		due, soonest := at.Add(q.patience()-median), now.Add(w.horizon())
		if due.Before(soonest) {
			return soonest
		}
		return due
	}
	return now.Add(startPatience + q.patience() + 2*w.rtt.value())
}

// reviewAhead puts the worker among those that may be sent tasks ahead, and
// among those that have some, or takes it out.
func (q *Queue[P]) reviewAhead(w *worker) {
	if w.candidate >= 0 {
		q.candidates.remove(w.candidate)
	}
	if w.takes() && w.free() <= 0 && len(w.running) > 0 && !q.opt.RoundRobin && q.roomAhead(w) {
		w.soon = q.atSoonest(w)
		q.candidates.push(w)
	}
	if w.ahead >= 0 {
		q.aheads.remove(w.ahead)
	}
	if w.crowded >= 0 {
		q.crowded.remove(w.crowded)
	}
	if !w.answers() {
		return
	}
	if i := slices.IndexFunc(w.waiting, q.mayRecall); i >= 0 {
		w.due = w.waiting[i].due
		q.aheads.push(w)
	}
	if behind := w.waiting[len(w.begun()):]; slices.ContainsFunc(behind, q.mayRecall) {
		w.behind = len(behind)
		q.crowded.push(w)
	}
}

// atSoonest is a time before which the worker is sent nothing ahead; soonest
// looks closer.
func (q *Queue[P]) atSoonest(w *worker) time.Time {
	median, _ := q.recent.median()
	return w.running[0].since.Add(median - w.horizon())
}

// rekey orders the candidates anew when the median has fallen, so that they may be
// due sooner than they are listed.
func (q *Queue[P]) rekey() {
	median, _ := q.recent.median()
	if median >= q.keyed*3/4 {
		q.keyed = max(q.keyed, median)
		return
	}
	q.keyed = median
	for _, w := range slices.Clone(q.candidates.items) {
		w.soon = q.atSoonest(w)
		q.candidates.fix(w.candidate)
	}
}

// roomAhead reports whether the worker may have more tasks than it has slots for.
func (q *Queue[P]) roomAhead(w *worker) bool {
	ahead := len(w.waiting) - len(w.begun())
	if ahead >= min(MaxAheadPerSlot*w.offers.Slots, MaxAhead) {
		return false
	}
	if ahead < w.offers.Slots {
		return true
	}
	bytes := 0
	for _, s := range w.waiting {
		bytes += int(q.tasks.at(s.id).size)
	}
	return bytes < MaxAheadBytes
}

// soonest returns the worker that may be sent a task ahead now, or nil; next is
// when there may be one, if that is known.
func (q *Queue[P]) soonest(now time.Time) (w *worker, next time.Time) {
	q.rekey()
	for w, ok := q.candidates.top(); ok; w, ok = q.candidates.top() {
		at, known := q.startsAt(w, now)
		if !known {
			q.candidates.pop() // until something about it changes
			continue
		}
		if w.filling && now.Before(at.Add(-w.horizon())) {
			w.filling = false
		}
		if soon := at.Add(-w.reach()); !soon.Equal(w.soon) {
			w.soon = soon
			q.candidates.fix(w.candidate)
			continue
		}
		if now.Before(w.soon) {
			return nil, w.soon
		}
		w.filling = true
		return w, w.soon
	}
	return nil, next
}

// Wake returns when Next or Recalls may have something to say although nothing
// happens before, after they have had nothing more to say; false for never.
func (q *Queue[P]) Wake(now time.Time) (at time.Time, ok bool) {
	sooner := func(t time.Time) {
		if t.After(now) && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	if q.loose > 0 && !q.blocked {
		if w, next := q.soonest(now); w == nil {
			sooner(next)
		} else {
			for _, w := range q.candidates.items { // the first may not take what there is
				sooner(w.soon)
			}
		}
	}
	if w, waits := q.aheads.top(); waits {
		sooner(w.due)
	}
	if len(q.sick) > 0 {
		q.wakeSick(now, sooner)
	}
	return at, ok
}

// wakeSick says when workers are to be tried again, and when tasks are hopeless.
func (q *Queue[P]) wakeSick(now time.Time, sooner func(time.Time)) {
	for _, w := range q.sick {
		for _, l := range w.lacks {
			sooner(l.until)
		}
	}
	for _, l := range q.lines {
		_, at := q.hopeless(l.needs, now)
		sooner(at)
	}
	if b := &q.barriers; b.open {
		_, at := q.hopeless(b.pending[0].needs, now)
		sooner(at)
	}
}
