package queue_test

import (
	"fmt"
	"slices"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

// lacking lets a worker give a task back for want of something.
func (m *model) lacking(x, y byte) {
	id, ok := pick(m.with(task.Assigned), x)
	if !ok {
		return
	}
	t := m.at(id)
	n, w := t.needs, m.workers[t.ref.Epoch]
	if y&64 != 0 && n.Program == "" {
		n.Program = "r" // as turns out
	}
	lacks, _ := pick(needsOf(n)[min(1, int(y&3)):], y>>2)
	if lacks.kind == 0 && y%16 != 0 {
		return
	}
	news, taken := m.q.Lacking(t.ref, n, lackOf(lacks), m.now)
	if _, known := w.lacks[lacks]; !taken || news == known {
		m.Fatalf("what task %d lacks on %d: %v, %v", id, w.epoch, news, taken)
	}
	t.needs = n
	m.withheld(w, lacks, t.ref)
	m.back(id)
}

// withheld notes what a worker lacks, as an attempt has shown.
func (m *model) withheld(w *mworker, n mneed, r queue.Ref) {
	l := w.lacks[n]
	if l == nil {
		l = &mlack{wait: queue.FirstProbe, until: m.now.Add(queue.FirstProbe)}
		w.lacks[n] = l
	} else if l.probe == r {
		l.wait = min(2*l.wait, queue.LastProbe)
		l.until = m.now.Add(l.wait)
	}
	m.unprobed(w, r, false)
}

func (m *model) barrier(x, y byte) {
	if y >= 192 {
		m.withdraw(x)
		return
	}
	b := &mbarrier{payload: uint64(len(m.tasks)) * 7, needs: someNeeds(y), min: int(x % 3)}
	m.tasks = append(m.tasks, nil)
	b.id = m.q.PushBarrier(b.payload, b.needs, b.min)
	if int(b.id) != len(m.tasks) {
		m.Fatalf("the barrier got id %d, want %d", b.id, len(m.tasks))
	}
	m.pending = append(m.pending, b)
}

func (m *model) withdraw(x byte) {
	b, ok := pick(m.pending, x)
	if !ok {
		return
	}
	var want []queue.Ref
	for _, epoch := range m.epochs() {
		if r := m.workers[epoch].syncing; r.Task == b.id {
			want = append(want, r)
		}
	}
	got, ok := m.q.Withdraw(b.id)
	if !ok || !slices.Equal(got, want) {
		m.Fatalf("barrier %d is withdrawn: %v, %v, want %v", b.id, got, ok, want)
	}
	m.withdrawn(b)
	if _, again := m.q.Withdraw(b.id); again {
		m.Fatalf("barrier %d was withdrawn twice", b.id)
	}
}

// syncing lets a worker say something of the barrier that it runs.
func (m *model) syncing(x, y byte) {
	epochs := slices.DeleteFunc(m.epochs(), func(e uint64) bool { return m.workers[e].syncing.Task == 0 })
	epoch, ok := pick(epochs, x)
	if !ok {
		return
	}
	w := m.workers[epoch]
	r, b := w.syncing, m.history[w.applied]
	switch y % 8 {
	case 0:
		lacks, _ := pick(needsOf(b.needs), y>>3)
		if _, taken := m.q.Lacking(r, b.needs, lackOf(lacks), m.now); !taken {
			m.Fatalf("%+v could not be given back", r)
		}
		w.syncing = queue.Ref{}
		m.withheld(w, lacks, r)
		m.advance(w)
	case 1:
		if !m.q.Returned(r, m.now) {
			m.Fatalf("%+v could not be given back", r)
		}
		w.syncing = queue.Ref{}
		m.unprobed(w, r, false)
		m.advance(w)
	case 2, 3:
		if !m.q.Started(r, m.now) {
			m.Fatalf("the start of %+v was refused", r)
		}
		m.unprobed(w, r, true)
	default:
		m.sync(w)
	}
}

func (m *model) sync(w *mworker) {
	if r := w.syncing; !m.q.Synced(r) || m.q.Synced(r) {
		m.Fatalf("%+v was not taken once", r)
	}
	m.unprobed(w, w.syncing, false)
	m.history[w.applied].ran++
	w.syncing = queue.Ref{}
	w.applied++
	m.advance(w)
}

func (m *model) reasons(x, y byte) {
	epoch, ok := pick(m.epochs(), x)
	if !ok {
		return
	}
	w := m.workers[epoch]
	all := []queue.Reasons{queue.Away, queue.Away, queue.Away, queue.Signalled, queue.Retired, queue.Gone}
	r, _ := pick(all, y>>2)
	if y%4 == 0 {
		m.q.Set(epoch, r)
		w.reasons |= r
		if !w.answers() {
			for _, id := range w.waiting {
				m.at(id).recalled = false
			}
		}
	} else {
		m.q.Clear(epoch, r)
		w.reasons &^= r
	}
}

// gate lets tasks wait to be pushed, go away again, or be pushed.
func (m *model) gate(x, y byte) {
	switch y % 4 {
	case 0, 1:
		p := m.q.Wait(int64(x % 64))
		m.places = append(m.places, p)
		m.sizes[p] = int64(x % 64)
	case 2:
		if p, ok := pick(slices.Concat(m.places, m.granted), x); ok {
			m.quit(p)
		}
	case 3:
		if p, ok := pick(m.granted, x); ok {
			m.quit(p)
			m.push(1, x)
		}
	}
}

func (m *model) quit(p queue.Place) {
	m.q.Quit(p)
	m.q.Quit(p)
	is := func(other queue.Place) bool { return other == p }
	m.places = slices.DeleteFunc(m.places, is)
	m.granted = slices.DeleteFunc(m.granted, is)
}

func (m *model) cancel(x, y byte) {
	id := task.ID((int(x)<<8 | int(y)) % (len(m.tasks) + 2))
	p, removed, r, found := m.q.Cancel(id)
	if id == 0 || int(id) > len(m.tasks) || m.at(id) == nil || m.at(id).state == task.Done {
		if found || removed {
			m.Fatalf("cancel found task %d", id)
		}
		return
	}
	t := m.at(id)
	atOnce := t.state == task.Queued || t.state == task.Held
	if !found || removed != atOnce || p != t.payload || t.state != task.Queued && r != t.ref {
		m.Fatalf("cancel of task %d: payload %d, removed %v, %+v, found %v", id, p, removed, r, found)
	}
	if t.state == task.Held {
		m.off(id)
	}
	if removed {
		m.end(id, p)
	}
	t.cancelling = !removed
}

// stale says everything about an attempt that is over.
func (m *model) stale(x, y byte) {
	if len(m.old) == 0 {
		return
	}
	r := m.old[(int(x)<<8|int(y))%len(m.old)]
	if t := m.at(r.Task); t.ref == r && t.state != task.Queued && t.state != task.Done {
		r.Epoch += uint64(y%2) + 1
	}
	_, finished := m.q.Finished(r, time.Hour, m.now)
	_, released := m.q.Release(r)
	_, lost := m.q.Lost(r, m.now)
	_, lacking := m.q.Lacking(r, queue.Needs{}, task.Lack{}, m.now)
	if finished || released || lost || lacking || m.q.Started(r, m.now) || m.q.Hold(r, time.Hour, m.now) ||
		m.q.Returned(r, m.now) || m.q.Synced(r) {
		m.Fatalf("the stale ref %+v was taken", r)
	}
}

func (m *model) rare(x, y byte) {
	epoch, ok := pick(m.epochs(), x)
	switch {
	case y < 8:
		m.dropQueued(int(x % 8))
	case y < 24:
		m.expected = y%2 == 0
		m.q.Expect(m.expected)
	case y < 60:
		m.retry(x, y)
	case y < 100:
		m.recall()
	case ok:
		d := time.Duration(y-100) * time.Millisecond
		m.q.RTT(epoch, d)
		m.workers[epoch].rtts = append(m.workers[epoch].rtts, d)
	}
}

// retry has a task fail that a worker has, or that is held for one.
func (m *model) retry(x, y byte) {
	id, ok := pick(m.with(task.Assigned, task.Running, task.Held), x)
	if !ok {
		return
	}
	t := m.at(id)
	elapsed := time.Duration(y) * time.Millisecond
	again := m.q.Retry(t.ref, elapsed, m.now)
	if want := !t.cancelling && t.failed+1 < m.opt.Tries; again != want {
		m.Fatalf("task %d is tried again: %v, after it has failed %d times of %d", id, again, t.failed+1, m.opt.Tries)
	}
	if !again {
		return
	}
	if t.state != task.Held {
		m.elapsed = append(m.elapsed, elapsed)
		m.unprobed(m.workers[t.ref.Epoch], t.ref, true)
	}
	m.off(id)
	t.failed++
	t.tries--
	t.avoid, t.state = t.ref.Epoch, task.Queued
}

func (m *model) dropQueued(n int) {
	want := m.with(task.Queued)
	for id, p := range m.q.DropQueued() {
		if !m.opt.RoundRobin && id != want[0] || m.at(id).state != task.Queued {
			m.Fatalf("task %d was dropped, want %v", id, want)
		}
		m.end(id, p)
		if want = m.with(task.Queued); n == 0 {
			return
		}
		n--
	}
	if len(want) > 0 {
		m.Fatalf("%v were not dropped", want)
	}
}

// finale lets everything end, and checks that everything did, once.
func (m *model) finale() {
	for _, epoch := range m.epochs() {
		if w := m.workers[epoch]; w.reasons != 0 {
			m.leaves(w)
			m.observe()
		}
	}
	for range 3 {
		m.join(2)
	}
	for _, p := range slices.Concat(m.places, m.granted) {
		m.quit(p)
	}
	for range 2 * (len(m.tasks) + 1) {
		m.observe()
		m.settle(true)
		m.allEnd()
		m.check()
	}
	for i, t := range m.tasks {
		if t != nil && t.ends != 1 {
			m.Fatalf("task %d ended %d times and is %v: %s", i+1, t.ends, t.state, m.dump(task.ID(i+1)))
		}
	}
	if len(m.pending) > 0 {
		m.Fatalf("barrier %+v did not pass", m.pending[0])
	}
}

// dump says how things stand for a task.
func (m *model) dump(id task.ID) string {
	s := fmt.Sprintf("%+v %+v at %v\n", m.opt, *m.at(id), m.now)
	for _, epoch := range m.epochs() {
		w := m.workers[epoch]
		s += fmt.Sprintf("%+v takes %v has %v may %v\n", *w, m.takes(w), m.has(w, m.at(id).needs), m.may(w, id))
	}
	for i, b := range m.pending {
		s += fmt.Sprintf("barrier %+v open %v\n", *b, m.open && i == 0)
	}
	return s
}

// allEnd lets all that is with a worker end well.
func (m *model) allEnd() {
	for _, epoch := range m.epochs() {
		if w := m.workers[epoch]; w.syncing.Task != 0 {
			m.sync(w)
			m.observe()
		}
	}
	for range m.with(task.Assigned, task.Running) {
		m.finished(0, 5)
	}
	for range m.with(task.Held) {
		m.release(0, 1)
	}
}
