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
	for seed := range uint64(150) {
		f.Add(randomProgram(seed))
	}
	for _, seed := range onceFailed {
		f.Add(randomProgram(seed))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) >= 1 && len(program) <= 1500 {
			follow(t, program)
		}
	})
}

// onceFailed are seeds of programs that have found a fault.
var onceFailed = []uint64{157, 384, 422, 465, 606, 1626, 1668, 1796, 1923, 1934, 2246, 2456, 3083, 4141, 4950,
	5405, 6740, 6796, 8627, 8642, 9213, 9981, 65282, 84793, 85155, 201903, 301787}

// randomProgram favours some operations over others, so that programs differ.
func randomProgram(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	program := make([]byte, 1+3*(10+r.IntN(300)))
	var favoured [6]byte
	for i := range favoured {
		favoured[i] = byte(r.IntN(32))
	}
	for i := range program {
		program[i] = byte(r.Uint32())
		if i%3 == 1 && r.IntN(3) == 0 {
			program[i] = favoured[r.IntN(len(favoured))]
		}
	}
	return program
}

// follow does to a queue and to the model what a program says.
func follow(t *testing.T, program []byte) {
	first := program[0]
	m := newModel(t, queue.Options{LostRetries: int(first % 4), Tries: int(first >> 5 % 4), RoundRobin: first&4 != 0, Memory: int64(first>>3%4) * 40})
	m.expected = first&128 != 0
	m.q.Expect(m.expected)
	for program = program[1:]; len(program) >= 3; program = program[3:] {
		m.step(program[0], program[1], program[2])
		m.check()
	}
	m.finale()
}

func (m *model) step(op, x, y byte) {
	switch op % 32 {
	case 0, 1, 2:
		m.push(int(x%4)+1, y)
	case 3:
		m.join(int(x % 4))
	case 4:
		m.leave(x, y)
	case 5, 6, 7, 8:
		m.settle(x%8 != 0)
	case 9, 10, 11:
		m.started(x)
	case 12, 13:
		m.finished(x, y)
	case 14:
		m.hold(x, y)
	case 15:
		m.release(x, y)
	case 16:
		m.lostOne(x)
	case 17:
		m.giveBack(x)
	case 18, 19:
		m.lacking(x, y)
	case 20:
		m.cancel(x, y)
	case 21:
		m.stale(x, y)
	case 22, 23:
		m.sleep(time.Duration(x) * time.Duration(y) * time.Millisecond / 4)
	case 24:
		m.sleep(time.Duration(x) * time.Second / 2)
	case 25:
		m.barrier(x, y)
	case 26, 27:
		m.syncing(x, y)
	case 28:
		m.reasons(x, y)
	case 29, 30:
		m.gate(x, y)
	case 31:
		m.rare(x, y)
	}
}

// pick returns one of those that x stands for.
func pick[T any](from []T, x byte) (one T, ok bool) {
	if len(from) == 0 {
		return one, false
	}
	return from[int(x)%len(from)], true
}

// someNeeds are what most tasks need: nothing.
func someNeeds(x byte) (n queue.Needs) {
	n.Directory = []string{"", "", "/a", "/b"}[x%4]
	n.Program = []string{"", "", "p", "q"}[x>>2%4]
	return n
}

func (m *model) push(n int, y byte) {
	for range n {
		t := &mtask{payload: uint64(len(m.tasks)) * 7, size: int64(y % 32), needs: someNeeds(y)}
		m.tasks = append(m.tasks, t)
		if id := m.q.Push(t.payload, t.size, t.needs); id != task.ID(len(m.tasks)) {
			m.Fatalf("push gave id %d, want %d", id, len(m.tasks))
		}
	}
}

func (m *model) join(slots int) {
	epoch := m.q.Join(queue.Amounts{Slots: slots})
	if epochs := m.epochs(); len(epochs) > 0 && epoch <= epochs[len(epochs)-1] {
		m.Fatalf("epoch %d after %v", epoch, epochs)
	}
	w := &mworker{epoch: epoch, slots: slots, must: len(m.history), lacks: map[mneed]*mlack{}}
	m.advance(w)
	m.workers[epoch] = w
}

func (m *model) leave(x, y byte) {
	if epoch, ok := pick(m.epochs(), x); ok && y%2 == 0 {
		m.leaves(m.workers[epoch])
	}
}

func (m *model) leaves(w *mworker) {
	requeued, givenUp := m.q.Leave(w.epoch)
	begun := slices.Clone(w.running)
	unsent := w.waiting
	for len(unsent) > 0 && len(begun) < w.slots {
		begun, unsent = append(begun, unsent[0]), unsent[1:]
	}
	for _, id := range begun {
		m.at(id).company = len(begun) > 1
	}
	for _, id := range unsent {
		m.at(id).tries--
	}
	had := slices.Concat(begun, unsent, w.held)
	delete(m.workers, w.epoch)
	for _, id := range had {
		m.at(id).alone = false
	}
	m.lost(had, requeued, givenUp)
}

func (m *model) started(x byte) {
	id, ok := pick(m.with(task.Assigned), x)
	if !ok {
		return
	}
	t := m.at(id)
	w := m.workers[t.ref.Epoch]
	if len(w.running) >= w.slots {
		return
	}
	if !m.q.Started(t.ref, m.now) {
		m.Fatalf("the start of task %d was refused", id)
	}
	w.waiting = slices.DeleteFunc(w.waiting, func(other task.ID) bool { return other == id })
	w.running = append(w.running, id)
	t.state, t.since, t.recalled = task.Running, m.now, false
	m.unprobed(w, t.ref, true)
}

// ending takes an executing task off its worker and says how long it ran.
func (m *model) ending(x, y byte) (id task.ID, elapsed time.Duration, ok bool) {
	id, ok = pick(m.with(task.Assigned, task.Running), x)
	if !ok {
		return 0, 0, false
	}
	elapsed = time.Duration(y) * time.Millisecond
	began := elapsed > 0 || m.at(id).state == task.Running
	if began {
		m.elapsed = append(m.elapsed, elapsed)
	}
	m.unprobed(m.workers[m.at(id).ref.Epoch], m.at(id).ref, began)
	m.off(id)
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
		t := m.at(id)
		if !m.q.Hold(t.ref, elapsed, m.now) {
			m.Fatalf("task %d could not be held", id)
		}
		t.state = task.Held
		w := m.workers[t.ref.Epoch]
		w.held = append(w.held, id)
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
		m.off(id)
		m.end(id, p)
	}
}

func (m *model) loseHeld(x byte) {
	epoch, ok := pick(m.epochs(), x)
	if !ok {
		return
	}
	requeued, givenUp := m.q.LoseHeld(epoch)
	held := m.workers[epoch].held
	m.workers[epoch].held = nil
	m.lost(held, requeued, givenUp)
}

func (m *model) lostOne(x byte) {
	id, ok := pick(m.with(task.Assigned, task.Running, task.Held), x)
	if !ok {
		return
	}
	t := m.at(id)
	m.unprobed(m.workers[t.ref.Epoch], t.ref, t.state == task.Running)
	m.off(id)
	t.company, t.avoid = false, t.ref.Epoch
	givenUp, taken := m.q.Lost(t.ref, m.now)
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
