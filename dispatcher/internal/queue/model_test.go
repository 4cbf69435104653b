package queue_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

// mtask is a task as the model sees it; it outlives its end.
type mtask struct {
	payload    uint64
	size       int64
	needs      queue.Needs
	state      task.State // Done once it ended
	tries      int        // those that began, or may have
	failed     int
	ref        queue.Ref
	avoid      uint64
	company    bool
	alone      bool // as it was sent
	since      time.Time
	sent       time.Time
	late       time.Time // it is not late to begin before
	recalled   bool
	cancelling bool
	ends       int
}

// mneed is one thing that a worker may lack.
type mneed struct {
	kind task.LackKind
	what string
}

type mlack struct {
	until time.Time
	wait  time.Duration
	probe queue.Ref
}

type mworker struct {
	epoch   uint64
	slots   int
	running []task.ID // in the order in which they began
	waiting []task.ID // in the order in which they were sent
	held    []task.ID
	syncing queue.Ref
	applied int // barriers of the history that it has run or need not run
	must    int
	reasons queue.Reasons
	lacks   map[mneed]*mlack
	rtts    []time.Duration
}

// mbarrier is a barrier; once it has ended nobody waits for it.
type mbarrier struct {
	id        task.ID
	payload   uint64
	needs     queue.Needs
	min, ran  int
	withdrawn bool
}

// model is the queue written as plainly as possible, in steps that scan
// everything, together with the queue that has to agree with it.
type model struct {
	*testing.T
	q       *queue.Queue[uint64]
	opt     queue.Options
	now     time.Time
	tasks   []*mtask // by id less one; nil for barriers
	workers map[uint64]*mworker
	elapsed []time.Duration
	old     []queue.Ref // all that were ever assigned
	blocked bool        // the last Next was refused its head
	ahead   bool        // the last Next sent a task ahead

	pending  []*mbarrier
	history  []*mbarrier // all that have opened
	open     bool        // the first of pending has
	expected bool
	hope     map[queue.Needs]time.Time // when somebody could last run tasks of such needs
	stuck    map[queue.Needs]time.Time // since when the queue knows that nobody can

	places  []queue.Place // in line
	granted []queue.Place
	sizes   map[queue.Place]int64
}

func newModel(t *testing.T, opt queue.Options) *model {
	return &model{T: t, q: queue.New[uint64](opt), opt: opt, now: start, workers: map[uint64]*mworker{},
		hope: map[queue.Needs]time.Time{}, stuck: map[queue.Needs]time.Time{}, sizes: map[queue.Place]int64{}}
}

func (m *model) at(id task.ID) *mtask { return m.tasks[id-1] }

// with returns the tasks in some states, the oldest first.
func (m *model) with(states ...task.State) (ids []task.ID) {
	for i, t := range m.tasks {
		if t != nil && slices.Contains(states, t.state) {
			ids = append(ids, task.ID(i+1))
		}
	}
	return ids
}

func (m *model) epochs() []uint64 { return slices.Sorted(maps.Keys(m.workers)) }

func needsOf(n queue.Needs) []mneed {
	list := []mneed{{}}
	if n.Directory != "" {
		list = append(list, mneed{task.LackDirectory, n.Directory})
	}
	if n.Program != "" {
		list = append(list, mneed{task.LackProgram, n.Program})
	}
	return list
}

func (w *mworker) used() int { return len(w.running) + len(w.waiting) }

func (w *mworker) empty() bool { return w.used()+len(w.held) == 0 && w.syncing.Task == 0 }

// lacksAny reports whether the worker is known to lack something of those needed.
func (w *mworker) lacksAny(n queue.Needs) bool {
	return slices.ContainsFunc(needsOf(n), func(n mneed) bool { return w.lacks[n] != nil })
}

// has reports whether the worker has all that is needed, or may be tried.
func (m *model) has(w *mworker, n queue.Needs) bool {
	for _, n := range needsOf(n) {
		if l := w.lacks[n]; l != nil && (l.probe.Task != 0 || m.now.Before(l.until)) {
			return false
		}
	}
	return true
}

// takes reports whether the worker takes any tasks, as far as can be seen from
// outside: it may be reserved for one that is to run alone.
func (m *model) takes(w *mworker) bool {
	if w.reasons != 0 || w.syncing.Task != 0 || w.applied < w.must || w.slots == 0 || !m.has(w, queue.Needs{}) {
		return false
	}
	return !slices.ContainsFunc(slices.Concat(w.running, w.waiting), func(id task.ID) bool { return m.at(id).alone })
}

// free returns how many tasks the worker may begin.
func (m *model) free(w *mworker) int {
	n := max(w.slots-w.used(), 0)
	if !m.takes(w) {
		n = 0
	}
	if w.lacks[mneed{}] != nil {
		n = min(n, 1)
	}
	return n
}

// limit is the id before which tasks may begin at all.
func (m *model) limit() task.ID {
	if len(m.pending) > 0 {
		return m.pending[0].id
	}
	return 1 << 62
}

// before reports whether a task comes before all that the worker has to run first.
func (m *model) before(w *mworker, id task.ID) bool {
	return id < m.limit() && (w.applied >= len(m.history) || id < m.history[w.applied].id)
}

// isAlone reports whether a queued task is to run with nothing beside it.
func (m *model) isAlone(t *mtask) bool { return t.company && t.tries == m.opt.LostRetries }

func (m *model) aloneQueued() (n int) {
	for _, id := range m.with(task.Queued) {
		if m.isAlone(m.at(id)) {
			n++
		}
	}
	return n
}

// able reports whether a worker that takes tasks may take this one, but for
// whom it avoids.
func (m *model) able(w *mworker, id task.ID) bool {
	return m.takes(w) && m.before(w, id) && m.has(w, m.at(id).needs)
}

// may reports whether a worker may be given a queued task, in a free slot or not.
func (m *model) may(w *mworker, id task.ID) bool {
	if !m.able(w, id) {
		return false
	}
	if m.at(id).avoid != w.epoch {
		return true
	}
	for _, other := range m.workers {
		if other != w && m.able(other, id) {
			return false
		}
	}
	return true
}

// mayNow reports whether a worker has a free slot for a queued task.
func (m *model) mayNow(w *mworker, id task.ID) bool {
	return m.free(w) > 0 && m.may(w, id) && (!m.isAlone(m.at(id)) || w.empty())
}

// inRing reports whether tasks may be bound to the worker.
func (m *model) inRing(w *mworker) bool {
	passed := len(m.history)
	if m.open {
		passed--
	}
	return m.opt.RoundRobin && w.reasons == 0 && w.applied >= max(w.must, passed) && w.slots > 0 && w.lacks[mneed{}] == nil
}

// bound reports whether a queued task may be bound to a worker that is not w.
func (m *model) bound(id task.ID, w *mworker) bool {
	for _, other := range m.workers {
		if other != w && m.inRing(other) && !other.lacksAny(m.at(id).needs) && !m.isAlone(m.at(id)) {
			return true
		}
	}
	return false
}

// hopeless reports whether everybody who might run tasks of such needs is known
// not to be able to; atOnce that a program is all that they lack.
func (m *model) hopeless(n queue.Needs) (yes, atOnce bool) {
	if m.expected {
		return false, false
	}
	atOnce = true
	for _, w := range m.workers {
		if w.reasons&^queue.Away != 0 {
			continue
		}
		if !w.lacksAny(n) {
			return false, false
		}
		yes = true
		for _, n := range needsOf(n)[:1] {
			atOnce = atOnce && w.lacks[n] == nil
		}
		atOnce = atOnce && (n.Directory == "" || w.lacks[mneed{task.LackDirectory, n.Directory}] == nil)
	}
	return yes, atOnce
}

func (w *mworker) rtt() time.Duration {
	least := time.Hour
	for _, d := range w.rtts[max(0, len(w.rtts)-4):] {
		least = min(least, d)
	}
	if len(w.rtts) == 0 {
		least = 0
	}
	return max(least, time.Millisecond)
}

func (m *model) median() (time.Duration, bool) {
	last := slices.Sorted(slices.Values(m.elapsed[max(0, len(m.elapsed)-16):]))
	n := len(last)
	if n < 3 {
		return 0, false
	}
	return last[(n-1)/2]/2 + last[n/2]/2, true
}

// startsAt is when one more task would begin on a worker whose slots are taken,
// if all take the median; those that run for twice as long never end.
func (m *model) startsAt(w *mworker) (at time.Time, ok bool) {
	median, known := m.median()
	var ends []time.Time
	for _, id := range w.running {
		if m.now.Sub(m.at(id).since) < max(2*median, 20*time.Millisecond) {
			ends = append(ends, m.at(id).since.Add(median))
		}
	}
	begun := len(w.waiting) - len(w.behind())
	for _, id := range w.waiting[:begun] {
		if m.now.Sub(m.at(id).sent) < max(2*median, 20*time.Millisecond)+2*w.rtt() {
			ends = append(ends, m.at(id).sent.Add(median))
		}
	}
	if !known || len(ends) == 0 {
		return at, false
	}
	for range w.waiting[begun:] {
		slices.SortFunc(ends, time.Time.Compare)
		ends[0] = ends[0].Add(median)
	}
	return slices.MaxFunc(ends, func(a, b time.Time) int { return b.Compare(a) }), true
}

// behind returns the tasks that wait on the worker for a slot.
func (w *mworker) behind() []task.ID {
	return w.waiting[min(max(w.slots-len(w.running), 0), len(w.waiting)):]
}

func (w *mworker) answers() bool { return w.reasons&(queue.Away|queue.Gone) == 0 }
