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
	state      task.State // Done once it ended
	tries      int
	ref        queue.Ref
	slot       int
	since      time.Time
	recalled   bool
	cancelling bool
	ends       int
}

type mworker struct {
	slots    [][]task.ID // what was sent to each, the first one current
	draining bool
	rtts     []time.Duration
}

// model is the queue written as plainly as possible, in steps that scan
// everything, together with the queue that has to agree with it.
type model struct {
	*testing.T
	q       *queue.Queue[uint64]
	now     time.Time
	retries int
	tasks   []*mtask // by id less one
	workers map[uint64]*mworker
	elapsed []time.Duration
	old     []queue.Ref // all that were ever assigned
	maxHead task.ID     // the highest id ever assigned
	blocked bool        // the last Next was refused its head
}

func newModel(t *testing.T, retries int) *model {
	return &model{T: t, q: queue.New[uint64](retries, false), now: start, retries: retries, workers: map[uint64]*mworker{}}
}

func (m *model) at(id task.ID) *mtask { return m.tasks[id-1] }

func (m *model) with(states ...task.State) (ids []task.ID) {
	for i, t := range m.tasks {
		if slices.Contains(states, t.state) {
			ids = append(ids, task.ID(i+1))
		}
	}
	return ids
}

func (m *model) isAhead(id task.ID) bool {
	t := m.at(id)
	return t.state == task.Assigned && m.workers[t.ref.Epoch].slots[t.slot-1][0] != id
}

func (m *model) aheads() []task.ID {
	return slices.DeleteFunc(m.with(task.Assigned), func(id task.ID) bool { return !m.isAhead(id) })
}

func (w *mworker) busy() (n int) {
	for _, s := range w.slots {
		n += min(len(s), 1)
	}
	return n
}

func (m *model) free() (n int) {
	for _, w := range m.workers {
		if !w.draining {
			n += len(w.slots) - w.busy()
		}
	}
	return n
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

func (m *model) late(since time.Time) bool {
	median, _ := m.median()
	return m.now.Sub(since) >= max(2*median, 20*time.Millisecond)
}

// mayHaveAhead is the rule for sending ahead, all but that no slot is free.
func (m *model) mayHaveAhead(w *mworker, slot []task.ID) bool {
	median, known := m.median()
	if !known || w.draining || len(slot) != 1 {
		return false
	}
	running := m.at(slot[0])
	left := running.since.Add(median).Sub(m.now)
	return running.state == task.Running && left <= 2*w.rtt() && !m.late(running.since)
}

func (m *model) unslot(id task.ID) {
	t := m.at(id)
	slots := m.workers[t.ref.Epoch].slots
	slots[t.slot-1] = slices.DeleteFunc(slots[t.slot-1], func(other task.ID) bool { return other == id })
}

func (m *model) end(id task.ID, payload uint64) {
	t := m.at(id)
	t.state = task.Done
	if t.ends++; t.ends > 1 {
		m.Fatalf("task %d ended twice", id)
	}
	if payload != t.payload {
		m.Fatalf("task %d ended with payload %d, want %d", id, payload, t.payload)
	}
}

// lost is what becomes of tasks whose attempt was lost, in the model; the
// queue's answer has to be the same.
func (m *model) lost(ids, requeued, givenUp []task.ID) {
	m.Helper()
	var again, ended []task.ID
	for _, id := range ids {
		if t := m.at(id); t.tries > m.retries || t.cancelling {
			ended = append(ended, id)
			p, _ := m.q.Payload(id)
			m.end(id, p)
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
	queued, free := m.with(task.Queued), m.free()
	m.blocked = false
	a, ok := m.q.Next(m.now, func(id task.ID, payload uint64, attempt uint32) bool {
		if t := m.at(id); id != queued[0] || payload != t.payload || attempt != t.ref.Attempt+1 {
			m.Fatalf("admit was asked about task %d, payload %d, attempt %d", id, payload, attempt)
		}
		m.blocked = !admit
		return admit
	})
	if !ok {
		if admit && free > 0 && len(queued) > 0 {
			m.Fatalf("nothing is sent though %d are queued and %d slots free", len(queued), free)
		}
		return false
	}
	if !admit || a.Task != queued[0] {
		m.Fatalf("task %d was sent, admitted %v, of %v", a.Task, admit, queued)
	}
	if t := m.at(a.Task); t.tries == 0 && t.ref.Attempt == 0 {
		if a.Task < m.maxHead {
			m.Fatalf("task %d was first sent after task %d", a.Task, m.maxHead)
		}
		m.maxHead = a.Task
	}
	m.assigned(a, free)
	return true
}

func (m *model) assigned(a queue.Assignment[uint64], free int) {
	t, w := m.at(a.Task), m.workers[a.Epoch]
	if w == nil || w.draining || a.Slot < 1 || a.Slot > len(w.slots) || a.Payload != t.payload || a.Attempt != t.ref.Attempt+1 {
		m.Fatalf("bad assignment %+v", a)
	}
	slot := w.slots[a.Slot-1]
	switch {
	case a.Ahead && (free > 0 || !m.mayHaveAhead(w, slot)):
		m.Fatalf("%+v was sent ahead of %v with %d slots free", a, slot, free)
	case !a.Ahead && len(slot) != 0:
		m.Fatalf("%+v was sent to a slot that runs %v", a, slot)
	}
	for epoch, other := range m.workers {
		if !a.Ahead && !other.draining && other.busy() < min(w.busy(), len(other.slots)) {
			m.Fatalf("%+v was sent to a worker busier than %d", a, epoch)
		}
	}
	w.slots[a.Slot-1] = append(slot, a.Task)
	t.state, t.ref, t.slot, t.recalled = task.Assigned, a.Ref, a.Slot, false
	if t.tries++; t.tries > m.retries+1 {
		m.Fatalf("task %d is tried %d times", a.Task, t.tries)
	}
	m.old = append(m.old, a.Ref)
}

// recall calls Recalls; the worker answers each, having started none.
func (m *model) recall() (n int) {
	spare := m.free()
	if !m.blocked {
		spare -= len(m.with(task.Queued))
	}
	for _, id := range m.aheads() {
		if m.at(id).recalled && !m.at(id).cancelling {
			spare--
		}
	}
	refs := m.q.Recalls(m.now)
	for _, r := range refs {
		t := m.at(r.Task)
		if t.ref != r || !m.isAhead(r.Task) || t.recalled || t.cancelling {
			m.Fatalf("recall of %+v, which is %+v", r, *t)
		}
		current := m.workers[r.Epoch].slots[t.slot-1][0]
		if spare <= 0 && !m.late(m.at(current).since) {
			m.Fatalf("recall of %+v without a reason", r)
		}
		spare--
		t.recalled = true
	}
	return len(refs)
}

func (m *model) returned(id task.ID) {
	t := m.at(id)
	if !m.q.Returned(t.ref, m.now) {
		m.Fatalf("task %d could not be given back", id)
	}
	m.unslot(id)
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

// settle does all that may be done now. After it nothing waits behind a busy
// slot while another is free, and the queue knows that it has nothing to say.
func (m *model) settle(admit bool) {
	for again := true; again; {
		for m.next(admit) {
		}
		again = m.recall() > 0
		for _, id := range m.aheads() {
			if m.at(id).recalled {
				m.returned(id)
				again = true
			}
		}
	}
	for _, id := range m.aheads() {
		if m.free() > 0 && !m.at(id).cancelling {
			m.Fatalf("task %d waits behind another while %d slots are free", id, m.free())
		}
	}
	if at, ok := m.q.Wake(m.now); ok && !at.After(m.now) {
		m.Fatalf("wake is %v after nothing was left to do at %v", at, m.now)
	}
}

// sleep lets time pass until the queue wants to be woken, at most d, and
// checks that it had nothing to say before.
func (m *model) sleep(d time.Duration) {
	m.settle(true)
	until := m.now.Add(d)
	at, ok := m.q.Wake(m.now)
	if !ok || at.After(until) {
		at = until
	} else {
		at = at.Add(-1)
	}
	m.now = at
	if m.next(true) || m.recall() > 0 {
		m.Fatalf("the queue had something to say before it wanted to be woken")
	}
	if at != until {
		m.now = m.now.Add(1)
	}
}

// check compares all that can be seen from outside.
func (m *model) check() {
	want := queue.Counts{Workers: len(m.workers), FreeSlots: m.free()}
	for i, t := range m.tasks {
		id := task.ID(i + 1)
		state, ok := m.q.State(id)
		if ok != (t.state != task.Done) || ok && state != t.state {
			m.Fatalf("task %d is %v, %v, want %v", id, state, ok, t.state)
		}
		if p, known := m.q.Payload(id); ok && (!known || p != t.payload) {
			m.Fatalf("task %d has payload %d, %v", id, p, known)
		}
		switch t.state {
		case task.Queued:
			want.Queued++
		case task.Assigned:
			want.Assigned++
		case task.Running:
			want.Running++
		case task.Held:
			want.Held++
		}
	}
	if got := m.q.Counts(); got != want {
		m.Fatalf("counts are %+v, want %+v", got, want)
	}
}

func (m *model) epochs() []uint64 { return slices.Sorted(maps.Keys(m.workers)) }
