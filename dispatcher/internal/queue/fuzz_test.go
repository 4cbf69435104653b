package queue_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

// FuzzQueue does what its bytes say to a queue and to the model.
func FuzzQueue(f *testing.F) {
	for seed := range uint64(32) {
		r := rand.New(rand.NewPCG(seed, 1))
		program := make([]byte, 1500)
		for i := range program {
			program[i] = byte(r.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) < 1 || len(program) > 1500 {
			return
		}
		m := newModel(t, int(program[0]%4))
		for program = program[1:]; len(program) >= 3; program = program[3:] {
			m.step(program[0], program[1], program[2])
			m.check()
		}
		m.finale()
	})
}

func (m *model) step(op, x, y byte) {
	switch op % 20 {
	case 0, 1:
		m.push(int(x%4) + 1)
	case 2:
		m.join(int(x % 4))
	case 3:
		m.leave(x, y)
	case 4, 5, 6:
		m.settle(x%8 != 0)
	case 7, 8, 9:
		m.started(x)
	case 10, 11:
		m.finished(x, y)
	case 12:
		m.hold(x, y)
	case 13:
		m.release(x, y)
	case 14:
		m.lostOne(x)
	case 15:
		m.giveBack(x)
	case 16:
		m.cancel(x, y)
	case 17:
		m.stale(x, y)
	case 18:
		m.sleep(time.Duration(x) * time.Duration(y) * time.Millisecond / 4)
	case 19:
		m.rare(x, y)
	}
}

// pick returns one of the ids that x stands for.
func pick[T any](from []T, x byte) (one T, ok bool) {
	if len(from) == 0 {
		return one, false
	}
	return from[int(x)%len(from)], true
}

func (m *model) push(n int) {
	for range n {
		payload := uint64(len(m.tasks)) * 7
		m.tasks = append(m.tasks, &mtask{payload: payload})
		if id := m.q.Push(payload); id != task.ID(len(m.tasks)) {
			m.Fatalf("push gave id %d, want %d", id, len(m.tasks))
		}
	}
}

func (m *model) join(slots int) {
	epoch := m.q.Join(slots)
	if epochs := m.epochs(); len(epochs) > 0 && epoch <= epochs[len(epochs)-1] {
		m.Fatalf("epoch %d after %v", epoch, epochs)
	}
	m.workers[epoch] = &mworker{slots: make([][]task.ID, slots)}
}

func (m *model) leave(x, y byte) {
	epoch, ok := pick(m.epochs(), x)
	if !ok || y%2 == 0 {
		return
	}
	requeued, givenUp := m.q.Leave(epoch, m.now)
	had := m.with(task.Assigned, task.Running, task.Held)
	m.lost(slices.DeleteFunc(had, func(id task.ID) bool { return m.at(id).ref.Epoch != epoch }), requeued, givenUp)
	delete(m.workers, epoch)
}

func (m *model) started(x byte) {
	id, ok := pick(m.with(task.Assigned), x)
	if !ok {
		return
	}
	t, want := m.at(id), !m.isAhead(id)
	if got := m.q.Started(t.ref, m.now); got != want {
		m.Fatalf("start of task %d was taken: %v, want %v", id, got, want)
	}
	if want {
		t.state, t.since = task.Running, m.now
	}
}

// ending takes an executing task off its slot and says how long it ran.
func (m *model) ending(x, y byte) (id task.ID, elapsed time.Duration, ok bool) {
	id, ok = pick(m.with(task.Assigned, task.Running), x)
	if !ok {
		return 0, 0, false
	}
	elapsed = time.Duration(y) * time.Millisecond
	if elapsed > 0 || m.at(id).state == task.Running {
		m.elapsed = append(m.elapsed, elapsed)
	}
	m.unslot(id)
	return id, elapsed, true
}

func (m *model) finished(x, y byte) {
	if id, elapsed, ok := m.ending(x, y); ok {
		p, taken := m.q.Finished(m.at(id).ref, elapsed, m.now)
		if !taken {
			m.Fatalf("the result of task %d was refused", id)
		}
		m.end(id, p)
	}
}

func (m *model) hold(x, y byte) {
	if id, elapsed, ok := m.ending(x, y); ok {
		if !m.q.Hold(m.at(id).ref, elapsed, m.now) {
			m.Fatalf("task %d could not be held", id)
		}
		m.at(id).state = task.Held
	}
}

func (m *model) release(x, y byte) {
	if y%3 == 0 {
		m.loseHeld(x)
		return
	}
	if id, ok := pick(m.with(task.Held), x); ok {
		p, taken := m.q.Release(m.at(id).ref)
		if !taken {
			m.Fatalf("task %d could not be released", id)
		}
		m.end(id, p)
	}
}

func (m *model) loseHeld(x byte) {
	epoch, ok := pick(m.epochs(), x)
	if !ok {
		return
	}
	requeued, givenUp := m.q.LoseHeld(epoch, m.now)
	held := m.with(task.Held)
	m.lost(slices.DeleteFunc(held, func(id task.ID) bool { return m.at(id).ref.Epoch != epoch }), requeued, givenUp)
}

func (m *model) lostOne(x byte) {
	id, ok := pick(m.with(task.Assigned, task.Running, task.Held), x)
	if !ok {
		return
	}
	if m.at(id).state != task.Held {
		m.unslot(id)
	}
	givenUp, taken := m.q.Lost(m.at(id).ref, m.now)
	if !taken {
		m.Fatalf("the loss of task %d was refused", id)
	}
	if ids := []task.ID{id}; givenUp {
		m.lost(ids, nil, ids)
	} else {
		m.lost(ids, ids, nil)
	}
}

func (m *model) giveBack(x byte) {
	if id, ok := pick(m.with(task.Assigned), x); ok {
		m.returned(id)
	}
}

func (m *model) cancel(x, y byte) {
	id := task.ID((int(x)<<8 | int(y)) % (len(m.tasks) + 2))
	p, removed, r, found := m.q.Cancel(id)
	if id == 0 || int(id) > len(m.tasks) || m.at(id).state == task.Done {
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
	if finished || released || lost || m.q.Started(r, m.now) || m.q.Hold(r, time.Hour, m.now) || m.q.Returned(r, m.now) {
		m.Fatalf("the stale ref %+v was taken", r)
	}
}

func (m *model) rare(x, y byte) {
	epoch, ok := pick(m.epochs(), x)
	switch {
	case y < 16:
		m.dropQueued(int(x % 8))
	case !ok:
	case y < 64:
		m.q.Drain(epoch)
		m.workers[epoch].draining = true
	case y < 128:
		m.recall()
	default:
		d := time.Duration(y-128) * time.Millisecond
		m.q.RTT(epoch, d)
		m.workers[epoch].rtts = append(m.workers[epoch].rtts, d)
	}
}

func (m *model) dropQueued(n int) {
	want := m.with(task.Queued)
	for id, p := range m.q.DropQueued() {
		if id != want[0] {
			m.Fatalf("task %d was dropped, want %v", id, want)
		}
		m.end(id, p)
		if want = want[1:]; n == 0 {
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
	m.join(3)
	for range 2 * (len(m.tasks) + 1) {
		m.settle(true)
		for _, id := range m.with(task.Assigned) {
			if !m.isAhead(id) {
				m.started(byte(slices.Index(m.with(task.Assigned), id)))
			}
		}
		for range m.with(task.Assigned, task.Running) {
			m.finished(0, 5)
		}
		for range m.with(task.Held) {
			m.release(0, 1)
		}
		m.check()
	}
	for i, t := range m.tasks {
		if t.ends != 1 {
			m.Fatalf("task %d ended %d times and is %v", i+1, t.ends, t.state)
		}
	}
	if c := m.q.Counts(); c != (queue.Counts{Workers: len(m.workers), FreeSlots: m.free()}) {
		m.Fatalf("at the end counts are %+v", c)
	}
}
