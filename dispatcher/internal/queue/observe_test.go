package queue_test

import (
	"slices"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

// observe does to barriers, and to what workers lack, what follows from all that
// has happened, and checks that the queue did the same.
func (m *model) observe() {
	for m.openFirst(); m.open && m.ranEverywhere(m.pending[0]); m.openFirst() {
		b := m.pending[0]
		m.pending, m.open = m.pending[1:], false
		if id, p, ok := m.q.Passed(); !ok || id != b.id || p != b.payload {
			m.Fatalf("barrier %d passed, %v, want %d", id, ok, b.id)
		}
	}
	if id, _, ok := m.q.Passed(); ok {
		m.Fatalf("barrier %d passed too early", id)
	}
	for i, b := range m.pending {
		if got := m.q.Opened(b.id); got != (m.open && i == 0) {
			m.Fatalf("barrier %d is open: %v", b.id, got)
		}
	}
	if p, open, _, ok := m.q.Ahead(); ok != (len(m.pending) > 0) || ok && (p != m.pending[0].payload || open != m.open) {
		m.Fatalf("ahead is %v, open %v, %v; of %d barriers", p, open, ok, len(m.pending))
	}
	m.forget()
	live := m.live()
	for n := range m.stuck {
		if !live[n] {
			delete(m.stuck, n)
		}
	}
	for n := range live {
		m.hoped(n)
	}
}

// live returns all needs that tasks and barriers have.
func (m *model) live() map[queue.Needs]bool {
	live := map[queue.Needs]bool{}
	for _, id := range m.with(task.Queued, task.Assigned, task.Running, task.Held) {
		live[m.at(id).needs] = true
	}
	for _, b := range slices.Concat(m.pending, m.history) {
		live[b.needs] = true
	}
	return live
}

func (m *model) hoped(n queue.Needs) {
	if yes, _ := m.hopeless(n); !yes {
		m.hope[n] = m.now
		delete(m.stuck, n)
	}
}

func (m *model) openFirst() {
	if m.open || len(m.pending) == 0 {
		return
	}
	if q := m.with(task.Queued); len(q) > 0 && q[0] < m.pending[0].id {
		return
	}
	m.open = true
	m.history = append(m.history, m.pending[0])
}

func (m *model) ranEverywhere(b *mbarrier) bool {
	for _, w := range m.workers {
		lags, can := false, w.reasons&^queue.Away == 0
		for _, b := range m.history[w.applied:] {
			lags = true
			can = can && (b.withdrawn || !w.lacksAny(b.needs))
		}
		if lags && can || lags && w.reasons&^queue.Away == 0 && w.lacksAny(b.needs) && b.ran == 0 {
			return false
		}
	}
	return b.ran >= b.min
}

// advance passes over barriers that nobody runs any more.
func (m *model) advance(w *mworker) {
	for w.syncing.Task == 0 && w.applied < len(m.history) && m.history[w.applied].withdrawn {
		w.applied++
	}
}

func (m *model) withdrawn(b *mbarrier) {
	i := slices.Index(m.pending, b)
	if i == 0 {
		m.open = false
	}
	m.pending = slices.Delete(m.pending, i, i+1)
	b.withdrawn = true
	for _, w := range m.workers {
		m.advance(w)
	}
}

// forget forgets lacks of what nothing needs.
func (m *model) forget() {
	needed := map[mneed]bool{{}: true}
	for n := range m.live() {
		for _, n := range needsOf(n) {
			needed[n] = true
		}
	}
	for _, w := range m.workers {
		for n := range w.lacks {
			if !needed[n] {
				delete(w.lacks, n)
			}
		}
	}
}

func (m *model) bytes() (n int64) {
	for _, id := range m.with(task.Queued) {
		n += m.at(id).size
	}
	return n
}

func (m *model) room() bool {
	n := m.bytes()
	for _, p := range m.granted {
		n += m.sizes[p]
	}
	return m.opt.Memory <= 0 || n < m.opt.Memory
}

// grants lets those in who wait at the gate, as far as there is room.
func (m *model) grants() {
	var want []queue.Place
	for len(m.places) > 0 && m.room() {
		want = append(want, m.places[0])
		m.granted = append(m.granted, m.places[0])
		m.places = m.places[1:]
	}
	if got := m.q.Grants(); !slices.Equal(got, want) {
		m.Fatalf("granted %v, want %v", got, want)
	}
}

// check compares all that can be seen from outside.
func (m *model) check() {
	m.observe()
	want := queue.Counts{Workers: len(m.workers), FreeSlots: m.q.Counts().FreeSlots}
	for i, t := range m.tasks {
		id := task.ID(i + 1)
		state, ok := m.q.State(id)
		if t == nil {
			if ok {
				m.Fatalf("the barrier %d is a task that is %v", id, state)
			}
			continue
		}
		if ok != (t.state != task.Done) || ok && state != t.state {
			m.Fatalf("task %d is %v, %v, want %v", id, state, ok, t.state)
		}
		if cancelling := m.q.Cancelling(id); ok && cancelling != t.cancelling {
			m.Fatalf("task %d is being cancelled: %v, want %v", id, cancelling, t.cancelling)
		}
		if r, has := m.q.Holder(id); has != (ok && t.state != task.Queued) || has && r != t.ref {
			m.Fatalf("task %d is held by %+v, %v, want %+v", id, r, has, t.ref)
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
	if got := m.q.Counts(); got != want || got.FreeSlots < 0 {
		m.Fatalf("counts are %+v, want %+v", got, want)
	}
	if used, peak := m.q.Bytes(); used != m.bytes() || peak < used {
		m.Fatalf("%d bytes are queued, %d at most, want %d", used, peak, m.bytes())
	}
	if got, want := m.q.Open(), len(m.places) == 0 && m.room(); got != want {
		m.Fatalf("the gate is open: %v, want %v", got, want)
	}
	for epoch, w := range m.workers {
		m.checkLacks(epoch, w)
	}
}

func (m *model) checkLacks(epoch uint64, w *mworker) {
	got := map[string]time.Time{}
	for _, l := range m.q.Lacks(epoch) {
		got[l.Message] = l.Probe
	}
	for n, l := range w.lacks {
		if at, ok := got[lackOf(n).Message]; !ok || !at.Equal(l.until) {
			m.Fatalf("worker %d lacks %+v, tried again at %v, want %+v at %v", epoch, got, at, n, l.until)
		}
	}
	if len(got) != len(w.lacks) {
		m.Fatalf("worker %d lacks %v, want %v", epoch, got, w.lacks)
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
	m.observe()
	plain := m.aloneQueued() == 0 // the first who might be sent tasks ahead may have any
	for _, w := range m.workers {
		plain = plain && len(w.lacks) == 0
	}
	if (m.next(true) && !m.ahead || m.recall() > 0) && plain {
		m.Fatalf("the queue had something to say before it wanted to be woken: %s", m.dump(1))
	}
	if at != until {
		m.now = m.now.Add(1)
	}
}
