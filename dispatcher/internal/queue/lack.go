package queue

import (
	"slices"
	"time"

	"muster/task"
)

// How long a worker is left alone with what it lacks, before one task that needs
// it is sent there as a probe. Each failure doubles it.
const (
	FirstProbe = 10 * time.Second
	LastProbe  = 5 * time.Minute
)

// Patience is how long a task waits, when every worker lacks what it needs and
// no other is expected, before that is held to be the task's own fault. A
// program that nobody has, and a share that nobody can read, are the task's fault at
// once.
const Patience = time.Minute

// need is one thing that a machine may lack.
type need struct {
	kind needKind
	what string
}

type needKind uint8

const (
	directory needKind = iota + 1
	program
	shares
)

// everything is what every task needs: scratch folders and processes.
var everything = need{}

// lack is one thing that a worker lacks.
type lack struct {
	task.Lack
	since, until time.Time
	wait         time.Duration
	probe        Ref // the task that is there to find out; the zero Ref if none
}

// ready reports whether a probe may be sent.
func (l *lack) ready(now time.Time) bool { return l.probe.Task == 0 && !now.Before(l.until) }

// list returns all that a task needs of a machine.
func (n Needs) list() []need {
	list := append(make([]need, 0, 4), everything)
	if n.Directory != "" {
		list = append(list, need{directory, n.Directory})
	}
	if n.Program != "" {
		list = append(list, need{program, n.Program})
	}
	if n.Shares != "" {
		list = append(list, need{shares, n.Shares})
	}
	return list
}

// of returns what of n a lack of a kind is about. A worker that lacks what was
// not needed can run nothing.
func (n Needs) of(k task.LackKind) need {
	switch {
	case k == task.LackDirectory && n.Directory != "":
		return need{directory, n.Directory}
	case k == task.LackProgram && n.Program != "":
		return need{program, n.Program}
	case k == task.LackShare && n.Shares != "":
		return need{shares, n.Shares}
	}
	return everything
}

// Lacking queues a task again, at the front, that the worker could not begin
// for want of what l says, of the task's needs n. That costs no try. From now on
// the worker is given nothing that needs the same, except a probe now and then.
// It reports whether the worker was not known to lack that, and false for ok if
// the ref is stale. A task that was said to run may turn out not to have begun.
func (q *Queue[P]) Lacking(r Ref, n Needs, l task.Lack, now time.Time) (news, ok bool) {
	if b := q.barriers.find(q.workers, r); b != nil {
		w := q.workers[r.Epoch]
		news = q.withhold(w, b.needs.of(l.Kind), l, r, now)
		q.unsync(w)
		return news, true
	}
	e := q.find(r)
	if e == nil || e.state != task.Assigned && e.state != task.Running {
		return false, false
	}
	w := e.worker
	q.setNeeds(e, n)
	q.vacate(r.Task, e)
	e.uncounted++
	news = q.withhold(w, e.needs.of(l.Kind), l, r, now)
	q.requeue(r.Task, e)
	return news, true
}

// setNeeds gives a task the needs that it turned out to have.
func (q *Queue[P]) setNeeds(e *entry[P], n Needs) {
	n.Takes = e.needs.Takes
	if n == e.needs.Needs {
		return
	}
	old := e.needs
	if e.needs = q.tasks.needs[n]; e.needs == nil {
		e.needs = &interned{Needs: n}
		q.tasks.needs[n] = e.needs
	}
	e.needs.tasks++
	q.release(old)
}

// withhold notes that the worker lacks something, as the task of r has shown.
func (q *Queue[P]) withhold(w *worker, n need, t task.Lack, r Ref, now time.Time) (news bool) {
	if w.lacks == nil {
		w.lacks = make(map[need]*lack)
	}
	l := w.lacks[n]
	switch {
	case l == nil:
		l = &lack{since: now, wait: FirstProbe, until: now.Add(FirstProbe)}
		w.lacks[n] = l
		q.sick[w.epoch] = w
		news = true
	case l.probe == r:
		l.wait = min(2*l.wait, LastProbe)
		l.until = now.Add(l.wait)
		l.probe = Ref{}
	}
	l.Lack = t
	q.unprobed(w, r, false)
	q.refreshWorker(w, now)
	q.rebind(w)
	return news
}

// probed notes that a task is at a worker that may lack what it needs.
func (q *Queue[P]) probed(w *worker, n Needs, r Ref) {
	if len(w.lacks) == 0 {
		return
	}
	for _, n := range n.list() {
		if l := w.lacks[n]; l != nil {
			l.probe = r
		}
	}
	w.shut = w.lacks[everything] != nil
	q.review(w)
}

// unprobed says that a probe has ended: well says that it could begin, so that
// the worker has all that it needed.
func (q *Queue[P]) unprobed(w *worker, r Ref, well bool) {
	if len(w.lacks) == 0 {
		return
	}
	had := len(w.lacks)
	for n, l := range w.lacks {
		switch {
		case l.probe != r:
		case well:
			delete(w.lacks, n)
		default:
			l.probe = Ref{}
		}
	}
	if len(w.lacks) < had {
		q.refit()
		q.resetStuck(w)
	}
	q.recheck(w)
}

// recheck looks anew at what the worker lacks, of which something may have gone.
func (q *Queue[P]) recheck(w *worker) {
	if len(w.lacks) == 0 {
		delete(q.sick, w.epoch)
	}
	w.shut = w.shut && w.lacks[everything] != nil // if it may be tried again, refresh says so
	q.tryAt = time.Time{}
	q.review(w)
}

// Gained says that a worker can read what it could not, which tasks share.
func (q *Queue[P]) Gained(epoch uint64, what string) {
	w := q.workers[epoch]
	if w == nil || w.lacks[need{shares, what}] == nil {
		return
	}
	delete(w.lacks, need{shares, what})
	q.refit()
	q.resetStuck(w)
	q.recheck(w)
}

// resetStuck says of tasks that no worker could run, and that this one may, that they
// are not stuck: it has joined, or has what it lacked. Patience counts anew then.
func (q *Queue[P]) resetStuck(w *worker) {
	if w.reasons&leaving != 0 {
		return
	}
	for _, i := range q.tasks.needs {
		if l, _ := w.lacksAny(i.Needs); l == nil {
			i.stuckSince = time.Time{}
		}
	}
}

// refresh lets workers be tried again whose time has come.
func (q *Queue[P]) refresh(now time.Time) {
	if now.Before(q.tryAt) {
		return
	}
	q.tryAt = now.Add(LastProbe)
	q.refit()
	for _, w := range q.sick {
		q.refreshWorker(w, now)
	}
	b := &q.barriers
	b.due, b.later = append(b.due, b.later...), nil
}

// refreshWorker shuts the worker or opens it, and sees to it that refresh looks
// again when that changes.
func (q *Queue[P]) refreshWorker(w *worker, now time.Time) {
	for _, l := range w.lacks {
		if now.Before(l.until) && l.until.Before(q.tryAt) {
			q.tryAt = l.until
		}
	}
	l := w.lacks[everything]
	if shut := l != nil && !l.ready(now); shut != w.shut {
		w.shut = shut
		q.review(w)
	}
}

// prober returns a worker that lacks what a task needs which is bound to another
// worker, and is to be tried with it; nil if there is none.
func (q *Queue[P]) prober(id task.ID, e *entry[P], now time.Time) (best *worker) {
	for _, w := range q.sick {
		l, _ := w.lacksAny(e.needs.Needs)
		if l == nil || w.offered == 0 || id >= q.limit(w) || e.avoid == w.epoch || !w.has(e.needs.Needs, now) {
			continue
		}
		if best == nil || w.epoch < best.epoch {
			best = w
		}
	}
	return best
}

// has reports whether the worker has all that is needed, or may be tried.
func (w *worker) has(n Needs, now time.Time) bool {
	if len(w.lacks) == 0 {
		return true
	}
	for _, n := range n.list() {
		if l := w.lacks[n]; l != nil && !l.ready(now) {
			return false
		}
	}
	return true
}

// lacksAny returns the first thing of those needed that the worker is known to
// lack: a program or a share only if nothing else.
func (w *worker) lacksAny(n Needs) (*lack, needKind) {
	if len(w.lacks) == 0 {
		return nil, 0
	}
	for _, n := range n.list() {
		if l := w.lacks[n]; l != nil {
			return l, n.kind
		}
	}
	return nil, 0
}

// hopeless returns the lack for which no task of such needs can run anywhere,
// once that has been so for long enough; at is when it will be, zero if it is not
// so.
func (q *Queue[P]) hopeless(n *interned, now time.Time) (why *lack, at time.Time) {
	if len(q.sick) == 0 || q.expected {
		n.stuckSince = time.Time{}
		return nil, at
	}
	wait := time.Duration(0)
	for _, w := range q.workers {
		if w.reasons&leaving != 0 {
			continue
		}
		l, kind := w.lacksAny(n.Needs)
		if l == nil {
			n.stuckSince = time.Time{}
			return nil, at
		}
		if kind != program && kind != shares {
			wait = Patience
		}
		why = l
	}
	if why == nil { // there is no worker at all
		n.stuckSince = time.Time{}
		return nil, at
	}
	if n.stuckSince.IsZero() {
		n.stuckSince = now
	}
	if at = n.stuckSince.Add(wait); now.Before(at) {
		return nil, at
	}
	return why, at
}

// forget forgets that workers lack what only tasks of such needs needed, of which
// none is left: whoever comes with the same need later has a try.
func (q *Queue[P]) forget(gone Needs) {
	for _, n := range gone.list()[1:] {
		if q.isNeeded(n) {
			continue
		}
		q.refit()
		for _, w := range q.sick {
			if delete(w.lacks, n); len(w.lacks) == 0 {
				delete(q.sick, w.epoch)
			}
		}
	}
}

func (q *Queue[P]) isNeeded(n need) bool {
	for i := range q.tasks.needs {
		if slices.Contains(i.list(), n) {
			return true
		}
	}
	return false
}

// Expect says whether workers may yet join that have not: as long as that is so,
// no task is blamed for what all that have joined lack.
func (q *Queue[P]) Expect(more bool) {
	if q.expected = more; more {
		for _, i := range q.tasks.needs {
			i.stuckSince = time.Time{}
		}
	}
}

// Lack is one thing that a worker lacks.
type Lack struct {
	task.Lack
	Since, Probe time.Time // since when, and when it is tried again
}

// Lacks returns what the worker lacks, in no order.
func (q *Queue[P]) Lacks(epoch uint64) []Lack {
	var list []Lack
	if w := q.workers[epoch]; w != nil {
		for _, l := range w.lacks {
			list = append(list, Lack{l.Lack, l.since, l.until})
		}
	}
	return list
}

// Sick reports whether any worker lacks anything.
func (q *Queue[P]) Sick() bool { return len(q.sick) > 0 }
