package queue_test

import (
	"slices"
	"strconv"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

// end notes that a task has ended.
func (m *model) end(id task.ID, payload uint64) {
	m.Helper()
	t := m.at(id)
	t.state = task.Done
	if t.ends++; t.ends > 1 {
		m.Fatalf("task %d ended twice", id)
	}
	if payload != t.payload {
		m.Fatalf("task %d ended with payload %d, want %d", id, payload, t.payload)
	}
}

// lost is what becomes of tasks that no worker has any more, in the model; the
// queue's answer has to be the same.
func (m *model) lost(ids, requeued, givenUp []task.ID) {
	m.Helper()
	slices.Sort(ids)
	var again, ended []task.ID
	for _, id := range ids {
		if t := m.at(id); t.tries > m.opt.LostRetries || t.cancelling {
			ended = append(ended, id)
			m.end(id, t.payload)
		} else {
			again = append(again, id)
			t.state = task.Queued
		}
	}
	if !slices.Equal(again, requeued) || !slices.Equal(ended, givenUp) {
		m.Fatalf("lost %v: requeued %v, gave up %v, want %v and %v", ids, requeued, givenUp, again, ended)
	}
}

// next calls Next once; admit says what it is to answer.
func (m *model) next(admit bool) bool {
	m.blocked, m.ahead = false, false
	asked := task.ID(0)
	d, ok := m.q.Next(m.now, func(id task.ID, payload uint64, attempt uint32) bool {
		if t := m.at(id); asked != 0 || t.state != task.Queued || payload != t.payload || attempt != t.ref.Attempt+1 {
			m.Fatalf("admit was asked about task %d, payload %d, attempt %d", id, payload, attempt)
		}
		asked, m.blocked = id, !admit
		return admit
	})
	switch {
	case !ok:
		return false
	case d.Verdict == queue.Send && d.Ahead:
		m.ahead = true
		m.sent(d)
	case d.Verdict == queue.Sync:
		m.synced(d)
	case d.Verdict == queue.Fail && d.Task > 0 && m.tasks[d.Task-1] == nil:
		m.failedBarrier(d)
	case !admit || d.Task != asked:
		m.Fatalf("task %d was decided on, admitted %v, asked about %d", d.Task, admit, asked)
	case d.Verdict == queue.Fail:
		m.failed(d)
	default:
		m.sent(d)
	}
	m.observe()
	return true
}

func (m *model) failed(d queue.Decision[uint64]) {
	t := m.at(d.Task)
	m.blame(d, t.needs)
	if d.Epoch != 0 || d.Task >= m.limit() {
		m.Fatalf("task %+v fails though %d is the limit", d, m.limit())
	}
	m.end(d.Task, d.Payload)
}

// blame checks that it is right to say that nobody can run tasks of such needs.
func (m *model) blame(d queue.Decision[uint64], n queue.Needs) {
	yes, atOnce := m.hopeless(n)
	if !yes || !atOnce && m.now.Sub(m.hope[n]) < queue.Patience || d.Lack.Message == "" {
		m.Fatalf("%+v fails, hopeless: %v, at once: %v, for %v", d, yes, atOnce, m.now.Sub(m.hope[n]))
	}
}

func (m *model) failedBarrier(d queue.Decision[uint64]) {
	b := m.pending[0]
	m.blame(d, b.needs)
	if !m.open || b.id != d.Task || b.ran > 0 || b.payload != d.Payload {
		m.Fatalf("barrier %+v fails, open %v: %+v", d, m.open, b)
	}
	m.withdrawn(b)
}

// sent checks that a task may be sent to that worker before all others.
func (m *model) sent(d queue.Decision[uint64]) {
	t, w := m.at(d.Task), m.workers[d.Epoch]
	alright := w != nil && m.able(w, d.Task) // the others may be reserved, or bound to it before they came
	if !alright || !m.may(w, d.Task) && m.aloneQueued() == 0 && !m.opt.RoundRobin || d.Payload != t.payload || d.Attempt != t.ref.Attempt+1 || d.Ahead != (m.free(w) == 0) {
		m.Fatalf("bad decision %+v: %s", d, m.dump(d.Task))
	}
	if m.isAlone(t) && !w.empty() {
		m.Fatalf("%+v is to run alone and was sent to %+v", d, w)
	}
	m.overtakes(d.Task, w)
	if d.Ahead {
		m.mayBeAhead(d.Task, w)
	} else if !m.opt.RoundRobin && m.aloneQueued() == 0 {
		for _, other := range m.workers {
			if m.mayNow(other, d.Task) && other.used() < w.used() {
				m.Fatalf("%+v was sent to a worker busier than %d", d, other.epoch)
			}
		}
	}
	t.alone = m.isAlone(t)
	w.waiting = append(w.waiting, d.Task)
	t.state, t.ref, t.recalled, t.sent = task.Assigned, d.Ref, false, m.now
	t.late = m.now.Add(1)
	t.tries++
	m.probed(w, t.needs, d.Ref)
	m.old = append(m.old, d.Ref)
}

// overtakes checks that no older task might have been sent instead.
func (m *model) overtakes(id task.ID, w *mworker) {
	if m.aloneQueued() > 0 {
		return // some worker may be reserved
	}
	for _, older := range m.with(task.Queued) {
		for _, other := range m.workers {
			if older < id && m.mayNow(other, older) && !m.bound(older, other) {
				m.Fatalf("task %d was sent to worker %d, and not %d to worker %d", id, w.epoch, older, other.epoch)
			}
		}
	}
}

// mayBeAhead checks that a task is sent ahead of need, where it can begin soon.
func (m *model) mayBeAhead(id task.ID, w *mworker) {
	at, known := m.startsAt(w)
	median, _ := m.median() // the queue's guess is as good as that
	if m.opt.RoundRobin || !known || at.Sub(m.now) > 2*median+max(2*w.rtt(), 5*time.Millisecond) {
		m.Fatalf("task %d was sent ahead to %+v, which may begin it at %v, %v", id, w, at, known)
	}
	if n := len(w.behind()); n >= min(queue.MaxAhead, queue.MaxAheadPerSlot*w.slots) {
		m.Fatalf("%d tasks were sent ahead to %+v", n+1, w)
	}
	for _, other := range m.workers {
		if m.aloneQueued() == 0 && m.mayNow(other, id) {
			m.Fatalf("task %d was sent ahead though %+v is free", id, other)
		}
	}
}

func (m *model) probed(w *mworker, n queue.Needs, r queue.Ref) {
	for _, n := range needsOf(n) {
		if l := w.lacks[n]; l != nil {
			l.probe = r
		}
	}
}

// synced checks that a worker is to run a barrier now.
func (m *model) synced(d queue.Decision[uint64]) {
	w := m.workers[d.Epoch]
	if w == nil || !w.empty() || w.reasons != 0 || w.applied >= len(m.history) {
		m.Fatalf("barrier %+v was sent to %+v", d, w)
	}
	b := m.history[w.applied]
	if d.Task != b.id || b.withdrawn || d.Payload != b.payload || !m.has(w, b.needs) {
		m.Fatalf("barrier %+v was sent, want %+v", d, b)
	}
	w.syncing = d.Ref
	m.probed(w, b.needs, d.Ref)
}

// recall calls Recalls and checks that each has a reason.
func (m *model) recall() (n int) {
	for _, r := range m.q.Recalls(m.now) {
		n++
		t, w := m.at(r.Task), m.workers[r.Epoch]
		if t.ref != r || t.state != task.Assigned || t.recalled || t.cancelling || !w.answers() {
			m.Fatalf("recall of %+v, which is %+v", r, *t)
		}
		t.recalled = true
		late := !m.now.Before(t.late)
		others, spare := false, false
		for _, other := range m.workers {
			others = others || other != w && m.takes(other)
			spare = spare || other != w && m.free(other) > 0
		}
		if !(late && others) && !(spare && slices.Contains(w.behind(), r.Task)) {
			m.Fatalf("recall of %+v without a reason: %s", r, m.dump(r.Task))
		}
	}
	return n
}

// back takes a task that has not begun off its worker, as the queue has.
func (m *model) back(id task.ID) {
	t := m.at(id)
	m.off(id)
	t.state = task.Queued
	t.tries--
	if t.cancelling {
		p, removed, _, _ := m.q.Cancel(id)
		if !removed {
			m.Fatalf("task %d was given back and cannot be cancelled", id)
		}
		m.end(id, p)
	}
}

func (m *model) returned(id task.ID) {
	t := m.at(id)
	if !m.q.Returned(t.ref, m.now) {
		m.Fatalf("task %d could not be given back", id)
	}
	m.unprobed(m.workers[t.ref.Epoch], t.ref, false)
	m.back(id)
}

// unprobed ends what a task was to find out about its worker.
func (m *model) unprobed(w *mworker, r queue.Ref, well bool) {
	for n, l := range w.lacks {
		if l.probe == r {
			l.probe = queue.Ref{}
			if well {
				delete(w.lacks, n)
			}
		}
	}
}

// off takes a task off its worker.
func (m *model) off(id task.ID) {
	w := m.workers[m.at(id).ref.Epoch]
	for _, list := range []*[]task.ID{&w.running, &w.waiting, &w.held} {
		if i := slices.Index(*list, id); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
	}
	m.at(id).alone = false
}

// settle does all that may be done now, and checks that nothing is left.
func (m *model) settle(admit bool) {
	for round, again := 0, true; again; round++ {
		if round > 20 {
			m.Fatal("the queue sends tasks and asks them back for ever")
		}
		for m.next(admit) {
		}
		again = m.recall() > 0
		for _, id := range m.with(task.Assigned) {
			if t := m.at(id); t.recalled && m.workers[t.ref.Epoch].answers() {
				m.returned(id)
				again = true
			}
		}
		m.observe()
	}
	m.grants()
	m.nothingWaits()
	if at, ok := m.q.Wake(m.now); ok && !at.After(m.now) {
		m.Fatalf("wake is %v after nothing was left to do at %v", at, m.now)
	}
}

// nothingWaits checks that nothing waits that need not.
func (m *model) nothingWaits() {
	could := map[*mworker]bool{} // have a free slot for a task that waits
	for _, w := range m.workers {
		for _, id := range m.with(task.Queued) {
			if m.mayNow(w, id) && !m.bound(id, w) && !m.blocked {
				could[w] = true
				if w.empty() && m.aloneQueued() == 0 || m.isAlone(m.at(id)) {
					m.Fatalf("task %d waits though worker %d may take it: %s", id, w.epoch, m.dump(id))
				}
			}
		}
		for _, id := range w.behind() {
			m.behind(w, id)
		}
		m.caughtUp(w)
	}
	if len(could) > m.aloneQueued() {
		m.Fatalf("%d workers have free slots for tasks that wait, %d tasks are to run alone", len(could), m.aloneQueued())
	}
	if len(m.places) > 0 && m.room() {
		m.Fatalf("%v wait before a gate that is open", m.places)
	}
	m.nothingHopeless()
	free := 0
	for _, w := range m.workers {
		free += m.free(w)
	}
	if c := m.q.Counts(); c.FreeSlots > free || c.FreeSlots < free && m.aloneQueued() == 0 {
		m.Fatalf("%d slots are free, want %d", c.FreeSlots, free)
	}
}

// behind checks that a task need not wait behind others on its worker.
func (m *model) behind(w *mworker, id task.ID) {
	if t := m.at(id); t.cancelling || !w.answers() || m.isAlone(t) || m.aloneQueued() > 0 {
		return
	}
	for _, other := range m.workers {
		if other != w && m.mayNow(other, id) {
			m.Fatalf("task %d waits behind others on %d although %d is free", id, w.epoch, other.epoch)
		}
	}
}

// caughtUp checks that the worker runs the next barrier if it can.
func (m *model) caughtUp(w *mworker) {
	if w.applied >= len(m.history) || !w.empty() || w.reasons != 0 || m.blocked {
		return
	}
	if b := m.history[w.applied]; m.has(w, b.needs) {
		m.Fatalf("worker %d does nothing and does not run barrier %d", w.epoch, b.id)
	}
}

// nothingHopeless checks that no task waits that nobody can run.
func (m *model) nothingHopeless() {
	for _, id := range m.with(task.Queued) {
		n := m.at(id).needs
		yes, atOnce := m.hopeless(n)
		if !yes || m.blocked {
			continue
		}
		since, known := m.stuck[n]
		if !known {
			m.stuck[n] = m.now
		}
		if id < m.limit() && (atOnce || known && m.now.Sub(since) >= queue.Patience) {
			m.Fatalf("task %d waits since %v though nobody can run it: %s", id, since, m.dump(id))
		}
	}
}

func lackOf(n mneed) task.Lack {
	return task.Lack{Kind: n.kind, Message: strconv.Itoa(int(n.kind)) + n.what}
}
