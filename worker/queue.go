package worker

import (
	"slices"
	"time"

	"muster/internal/wire"
	"muster/task"
)

// heldUpAfter is how long a task may run before what stands behind it counts as held
// up. It is what sending a task ahead is for: one that takes longer gains nothing
// that is worth waiting for.
const heldUpAfter = 3 * time.Millisecond

// job is a task that the dispatcher has given this worker.
//
//	          add            give                 begin              end
//	(no job) ───► waiting ───────► first ────────────► begun ──────────► (no job)
//	                ▲  │ give       ▲ the one before it ended
//	                │  └──────► behind
//	                └──────────────┘ back: recalled, or its slot died
//
// What is waiting, first or behind may be handed back to the dispatcher. Jobs
// belong to their queue.
type job struct {
	*wire.Assign
	seq    uint64           // in the order in which they came
	place  int              // the slot that has it, 0 for none
	asked  bool             // its slot has been asked for it back
	leaves bool             // it goes back to the dispatcher if it has not begun
	begun  bool             // its slot has said so
	said   bool             // and the dispatcher has been told
	deaths int              // slots that have died without having begun it
	cancel *task.ErrorValue // what it is to resolve to; nil for whatever it does
	end    time.Time        // when its slot is ended if it has not resolved; zero for never
}

// place is what the queue knows of a slot.
type place struct {
	commands  bool // its process is up
	coming    bool // or will soon be
	functions bool // this program's functions can be called in it
	first     *job // that runs, or is about to
	since     time.Time
	behind    *job // that was sent ahead
}

// can reports whether a slot is able to run a job. A function and a command never
// stand behind each other: they run in different processes.
func (p *place) can(j *job) bool {
	if p.first != nil && (p.first.Spec.Func == "") != (j.Spec.Func == "") {
		return false
	}
	if j.Spec.Func != "" {
		return p.functions
	}
	return p.commands
}

// queue is the tasks of one worker, and which slot has which. A task goes to the
// first slot that is free, in the order in which they came. While all are busy,
// one may stand behind each, so that the slot goes from one to the next without
// waiting. Where it then turns out to stand behind a long one while another slot
// could take it, it is asked back. An everywhere runs alone.
//
// A queue is pure: time is passed in, and next says what is to be done.
type queue struct {
	jobs    map[wire.Ref]*job
	waiting []*job  // by seq
	places  []place // of slot 1, 2, ...
	seq     uint64
	busy    int // places that have a first
	ahead   int // those that have one behind
	alone   int // everywheres that are here
}

func newQueue(slots int) *queue {
	return &queue{jobs: map[wire.Ref]*job{}, places: make([]place, slots)}
}

// idle reports whether no task is here.
func (q *queue) idle() bool { return len(q.jobs) == 0 }

// slot returns the place of slot n, from 1.
func (q *queue) slot(n int) *place { return &q.places[n-1] }

// add takes a task in.
func (q *queue) add(m *wire.Assign) *job {
	q.seq++
	j := &job{Assign: m, seq: q.seq}
	q.jobs[m.Ref] = j
	q.waiting = append(q.waiting, j)
	if m.Spec.Everywhere {
		q.alone++
	}
	return j
}

// move is what next wants done: give a job to a slot, or ask for it back.
type move struct {
	job  *job
	slot int
	back bool
}

// next returns the next move and has made it; false if there is none. Room says
// that another task may begin; an everywhere always may.
func (q *queue) next(now time.Time, room bool) (move, bool) {
	var head *job
	if len(q.waiting) > 0 && (room || q.waiting[0].Spec.Everywhere) && !q.exclusive(q.waiting[0]) {
		head = q.waiting[0]
	}
	if n := q.free(head); n > 0 {
		return q.give(head, n, now), true
	}
	for i := range q.places {
		if q.ahead == 0 {
			break
		}
		if p := &q.places[i]; q.held(p, now) && q.taker(p, now) {
			p.behind.asked = true
			return move{job: p.behind, slot: i + 1, back: true}, true
		}
	}
	if n := q.besides(head, now); n > 0 {
		return q.give(head, n, now), true
	}
	return move{}, false
}

// free returns a slot that is free for a job, 0 if there is none.
func (q *queue) free(j *job) int {
	if j == nil || q.busy == len(q.places) {
		return 0
	}
	for i := range q.places {
		if p := &q.places[i]; p.first == nil && p.can(j) {
			return i + 1
		}
	}
	return 0
}

// besides returns the busy slot behind whose task a job may stand, 0 if none: the one
// that has been at its task the longest, as long as that may end soon. It waits for
// one that is just coming up, and for an older job that is on its way back.
func (q *queue) besides(j *job, now time.Time) int {
	if j == nil || j.Spec.Everywhere {
		return 0
	}
	best := 0
	for i := range q.places {
		p := &q.places[i]
		switch {
		case p.coming || p.behind != nil && p.behind.asked:
			return 0
		case !p.can(j) || p.first == nil || p.behind != nil || now.Sub(p.since) >= heldUpAfter:
		case best == 0 || p.since.Before(q.slot(best).since):
			best = i + 1
		}
	}
	return best
}

// exclusive reports whether a job has to wait because it, or one that a slot has,
// is an everywhere.
func (q *queue) exclusive(j *job) bool {
	if q.alone == 0 {
		return false
	}
	for i := range q.places {
		if f := q.places[i].first; f != nil && (j.Spec.Everywhere || f.Spec.Everywhere) {
			return true
		}
	}
	return false
}

// give gives the first that waits to a slot.
func (q *queue) give(j *job, n int, now time.Time) move {
	q.waiting = slices.Delete(q.waiting, 0, 1)
	p := q.slot(n)
	j.place = n
	if p.first == nil {
		p.first, p.since = j, now
		q.busy++
	} else {
		p.behind = j
		q.ahead++
	}
	return move{job: j, slot: n}
}

// held reports whether a job stands behind one that takes long.
func (q *queue) held(p *place, now time.Time) bool {
	return p.behind != nil && !p.behind.asked && now.Sub(p.since) >= heldUpAfter
}

// taker reports whether another slot than p may take what stands behind there.
func (q *queue) taker(p *place, now time.Time) bool {
	for i := range q.places {
		o := &q.places[i]
		if o != p && o.can(p.behind) && (o.first == nil || o.behind == nil && now.Sub(o.since) < heldUpAfter) {
			return true
		}
	}
	return false
}

// look returns when next may have a move that nothing else calls for; zero if
// there is no such time.
func (q *queue) look(now time.Time) (at time.Time) {
	if q.ahead == 0 {
		return at
	}
	for i := range q.places {
		p := &q.places[i]
		if p.behind == nil || p.behind.asked || !q.taker(p, now) {
			continue
		}
		if t := p.since.Add(heldUpAfter); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

// begin notes that a slot has begun a job.
func (q *queue) begin(j *job) { j.begun, j.asked = true, false }

// remove forgets a job that has ended, or is not the worker's any more.
func (q *queue) remove(j *job, now time.Time) {
	delete(q.jobs, j.Ref)
	if j.Spec.Everywhere {
		q.alone--
	}
	q.take(j, now)
}

// back has a job that its slot has not begun wait again, in its turn.
func (q *queue) back(j *job, now time.Time) {
	q.take(j, now)
	j.place, j.asked = 0, false
	i, _ := slices.BinarySearchFunc(q.waiting, j.seq, func(o *job, seq uint64) int {
		if o.seq < seq {
			return -1
		}
		return 1
	})
	q.waiting = slices.Insert(q.waiting, i, j)
}

// take takes a job from where it is.
func (q *queue) take(j *job, now time.Time) {
	if j.place == 0 {
		q.waiting = slices.DeleteFunc(q.waiting, func(o *job) bool { return o == j })
		return
	}
	switch p := q.slot(j.place); j {
	case p.first:
		if p.behind == nil {
			q.busy--
		} else {
			q.ahead--
		}
		p.first, p.behind, p.since = p.behind, nil, now
	case p.behind:
		p.behind = nil
		q.ahead--
	}
}

// down notes that a slot's process has died. It returns the command that it had
// begun, nil if none, and those that it had not, which wait again in their turn.
func (q *queue) down(n int, now time.Time) (begun *job, back []*job) {
	p := q.slot(n)
	p.commands, p.coming = false, false
	for _, j := range []*job{p.behind, p.first} {
		switch {
		case j == nil || j.Spec.Func != "":
		case j.begun:
			begun = j
		default:
			j.deaths++
			q.back(j, now)
			back = append(back, j)
		}
	}
	return begun, back
}

// unbegun returns the jobs that could be handed back now: those that wait, and
// those that a slot has not begun.
func (q *queue) unbegun() (waiting, given []*job) {
	for i := range q.places {
		for _, j := range []*job{q.places[i].first, q.places[i].behind} {
			if j != nil && !j.begun {
				given = append(given, j)
			}
		}
	}
	return slices.Clone(q.waiting), given
}
