package queue

import (
	"slices"
	"time"

	"muster/task"
)

// Reasons is a set of reasons why a worker takes nothing new. What it has it
// keeps. The queue knows reasons of its own besides: it lacks something, it has
// barriers to catch up with, it runs a task that runs alone.
type Reasons uint8

// The reasons that the owner knows.
const (
	Away      Reasons = 1 << iota // its connection broke, and it may come back
	Signalled                     // its scheduler has told it to end
	Retired                       // it leaves in order
	Gone                          // it is lost, and somebody is asked why
)

// leaving are the reasons for which no barrier waits for a worker.
const leaving = Signalled | Retired | Gone

// worker is one session of one worker process, from Join to Leave.
type worker struct {
	epoch    uint64
	offers   Amounts
	used     int       // slots that what it has takes
	running  []started // in the order in which they began
	waiting  []sent    // not begun, in the order in which they were sent
	held     map[task.ID]struct{}
	syncing  Ref // the barrier that it runs; the Task is 0 if none
	reasons  Reasons
	alone    task.ID // runs alone there; 0 if none
	reserved *line   // one of whose tasks is to run alone there, once nothing else does; nil if none
	applied  int     // barriers of the history that it has run
	must     int     // those it has to have run before its first task
	lacks    map[need]*lack
	shut     bool   // it lacks what every task needs, and is not to be tried now
	turn     uint64 // Queue.turn when it last got a task
	rtt      roundTrip

	filling bool      // it is being sent as much as the horizon holds
	soon    time.Time // in candidates: from when it may be sent a task ahead
	due     time.Time // in aheads: when the first is to be recalled
	offered int       // what it counts in Queue.free
	unfit   int       // what it counts in Queue.unfit: at most as much
	behind  int       // in crowded: tasks that have no slot yet

	backlog heap[task.ID] // bound to it; may name some that are not any more
	inRing  bool
	toSync  bool // it is in barriers.due

	idle, candidate, ahead, crowded, eager int // indices in the queue's heaps, or -1
}

type started struct {
	id    task.ID
	since time.Time
}

type sent struct {
	id       task.ID
	at       time.Time
	due      time.Time // when it is late to begin
	recalled bool      // it was asked back and there is no answer
}

func lessBusy(a, b *worker) bool {
	if a.used != b.used {
		return a.used < b.used
	}
	return a.turn < b.turn
}

func startsSooner(a, b *worker) bool { return a.soon.Before(b.soon) }

func moreCrowded(a, b *worker) bool { return a.behind > b.behind }

func dueSooner(a, b *worker) bool { return a.due.Before(b.due) }

func (w *worker) free() int { return w.offers.Slots - w.used }

// begun returns those that are not known to have begun, but may have: there is a
// slot for each.
func (w *worker) begun() []sent {
	return w.waiting[:min(max(w.offers.Slots-len(w.running), 0), len(w.waiting))]
}

// empty reports whether nothing that it was given is left there.
func (w *worker) empty() bool {
	return len(w.running)+len(w.waiting)+len(w.held) == 0 && w.syncing.Task == 0
}

// answers reports whether it makes sense to ask the worker something.
func (w *worker) answers() bool { return w.reasons&(Away|Gone) == 0 }

// takes reports whether the worker takes tasks at all.
func (w *worker) takes() bool {
	return w.reasons == 0 && w.alone == 0 && w.reserved == nil && !w.shut &&
		w.applied >= w.must && w.syncing.Task == 0 && w.offers.Slots > 0
}

// Join adds a worker and returns its epoch, which grows with every join and is
// never used again.
func (q *Queue[P]) Join(offers Amounts) (epoch uint64) {
	q.lastEpoch++
	w := &worker{epoch: q.lastEpoch, offers: offers, idle: -1, candidate: -1, ahead: -1, crowded: -1, eager: -1,
		must: len(q.barriers.history), backlog: heap[task.ID]{less: func(a, b task.ID) bool { return a < b }}}
	q.workers[w.epoch] = w
	q.resetStuck(w)
	q.advance(w)
	return w.epoch
}

// Set adds reasons why the worker takes nothing, and Clear takes them away. What
// is bound to a worker and not assigned goes to others.
func (q *Queue[P]) Set(epoch uint64, r Reasons) {
	if w := q.workers[epoch]; w != nil {
		w.reasons |= r
		if !w.answers() {
			q.forgetRecalls(w)
		}
		q.refit()
		q.review(w)
	}
}

// Clear takes reasons away that Set has added.
func (q *Queue[P]) Clear(epoch uint64, r Reasons) {
	if w := q.workers[epoch]; w != nil {
		w.reasons &^= r
		q.resetStuck(w)
		q.review(w)
	}
}

// review puts the worker where it belongs after anything about it has changed.
func (q *Queue[P]) review(w *worker) {
	q.reviewRing(w)
	q.reviewIdle(w)
	q.reviewEager(w)
	q.reviewAhead(w)
	if !w.toSync && q.maySync(w) {
		w.toSync = true
		q.barriers.due = append(q.barriers.due, w)
	}
}

// reviewIdle offers the worker's free slots, or takes them out of the offer.
func (q *Queue[P]) reviewIdle(w *worker) {
	offered := 0
	if w.takes() {
		offered = max(w.free(), 0)
	}
	if len(w.lacks) > 0 && w.lacks[everything] != nil {
		offered = min(offered, 1)
	}
	q.free += offered - w.offered
	w.offered = offered
	if w.unfit > offered {
		q.unfit -= w.unfit - offered
		w.unfit = offered
	}
	switch {
	case offered > 0 && w.idle < 0:
		q.idle.push(w)
	case offered > 0:
		q.idle.fix(w.idle)
	case w.idle >= 0:
		q.idle.remove(w.idle)
	}
}

// Leave removes a worker. The tasks it had, held ones too, are queued again at
// the front, or given up if they were tried more than LostRetries times or were
// being cancelled. What cannot have begun costs no try. Both lists are in the
// order of ids; what is given up is out of the queue and for the caller to
// resolve.
func (q *Queue[P]) Leave(epoch uint64) (requeued, givenUp []task.ID) {
	w := q.workers[epoch]
	if w == nil {
		return nil, nil
	}
	had := q.strip(w)
	w.reasons |= Gone
	w.syncing = Ref{}
	w.alone = 0
	if w.reserved != nil {
		q.unreserve(w.reserved)
	}
	q.review(w)
	q.refit()
	delete(q.workers, epoch)
	delete(q.sick, epoch)
	return q.lose(had)
}

// strip takes everything off a worker that leaves. Tasks that may have begun
// there, if there are several, are marked as lost in company.
func (q *Queue[P]) strip(w *worker) []task.ID {
	var had, begun []task.ID
	for _, s := range w.running {
		begun = append(begun, s.id)
	}
	for _, s := range w.begun() {
		begun = append(begun, s.id)
	}
	for _, s := range w.waiting[len(w.begun()):] {
		q.tasks.at(s.id).uncounted++
		had = append(had, s.id)
	}
	q.forgetRecalls(w)
	for _, id := range begun {
		q.tasks.at(id).company = len(begun) > 1
	}
	had = append(had, begun...)
	for id := range w.held {
		had = append(had, id)
	}
	w.running, w.waiting, w.held, w.used = nil, nil, nil, 0
	return had
}

// lose queues again or gives up tasks that no worker has any more.
func (q *Queue[P]) lose(ids []task.ID) (requeued, givenUp []task.ID) {
	slices.Sort(ids)
	for _, id := range ids {
		e := q.tasks.at(id)
		if e.tries() <= q.lostRetries && !e.cancelling {
			q.requeue(id, e)
			requeued = append(requeued, id)
			continue
		}
		q.remove(id, e)
		givenUp = append(givenUp, id)
	}
	return requeued, givenUp
}

// tries is how often a task has begun, or may have, and not failed.
func (e *entry[P]) tries() uint32 { return e.attempt - e.uncounted }

// take puts a task on a worker.
func (q *Queue[P]) take(w *worker, id task.ID, e *entry[P], now, due time.Time) {
	alone := e.line != nil && e.line.alone
	q.unfile(id, e)
	if alone {
		w.alone = id
	}
	q.set(id, e, task.Assigned)
	e.worker = w
	e.attempt++
	w.waiting = append(w.waiting, sent{id: id, at: now, due: due})
	w.used += e.needs.Takes.Slots
	q.turn++
	w.turn = q.turn
	q.review(w)
}

// vacate takes a task off its worker.
func (q *Queue[P]) vacate(id task.ID, e *entry[P]) {
	w := e.worker
	if i := slices.IndexFunc(w.running, func(s started) bool { return s.id == id }); i >= 0 {
		w.running = slices.Delete(w.running, i, i+1)
	} else if i := slices.IndexFunc(w.waiting, func(s sent) bool { return s.id == id }); i >= 0 {
		q.answered(&w.waiting[i])
		w.waiting = slices.Delete(w.waiting, i, i+1)
	}
	w.used -= e.needs.Takes.Slots
	if w.alone == id {
		w.alone = 0
	}
	q.review(w)
}
