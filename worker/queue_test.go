package worker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"muster/internal/wire"
	"muster/task"
)

// model is a worker as its queue sees it, with slots that do as they are told.
type model struct {
	*testing.T
	q     *queue
	now   time.Time
	next  uint64
	slots [][]*job // what each slot's process has, in the order in which it came
	began []uint64 // the order in which tasks have begun
	ended map[*job]bool
	moved map[uint64]bool // that came back from a slot
	room  bool
}

func newModel(t *testing.T, slots int) *model {
	return &model{T: t, q: newQueue(slots), now: time.Unix(1, 0), slots: make([][]*job, slots), ended: map[*job]bool{}, moved: map[uint64]bool{}, room: true}
}

// add gives the worker a task: a function where f is true.
func (m *model) add(everywhere, f bool) *job {
	m.next++
	a := &wire.Assign{Ref: wire.Ref{Task: task.ID(m.next)}}
	if a.Spec.Everywhere = everywhere; f {
		a.Spec.Func = "f"
	}
	return m.q.add(a)
}

// settle makes all moves that there are.
func (m *model) settle() {
	m.Helper()
	for n := 0; ; n++ {
		mv, ok := m.q.next(m.now, m.room)
		if !ok {
			break
		}
		if n > 1000 {
			m.Fatal("there is no end of moves")
		}
		if !mv.back {
			m.slots[mv.slot-1] = append(m.slots[mv.slot-1], mv.job)
		}
	}
	m.check()
}

// begin has a slot begin what it has first, and end it.
func (m *model) begin(slot int) {
	if list := m.slots[slot]; len(list) > 0 && !list[0].begun {
		m.q.begin(list[0])
		m.began = append(m.began, list[0].seq)
	}
}

func (m *model) end(slot int) {
	if list := m.slots[slot]; len(list) > 0 && list[0].begun {
		m.q.remove(list[0], m.now)
		m.ended[list[0]] = true
		m.slots[slot] = list[1:]
	}
}

// answer has a slot give back what it was asked for, unless it has begun.
func (m *model) answer(slot int) {
	for i, j := range m.slots[slot] {
		if j.asked && !j.begun {
			m.slots[slot] = slices.Delete(slices.Clone(m.slots[slot]), i, i+1)
			m.moved[j.seq] = true
			m.q.back(j, m.now)
			return
		}
	}
}

func (m *model) die(slot int) {
	p := m.q.slot(slot + 1)
	if !p.commands {
		p.commands = true
		return
	}
	begun, back := m.q.down(slot+1, m.now)
	if begun != nil {
		m.q.remove(begun, m.now)
		m.ended[begun] = true
	}
	for _, j := range back {
		m.moved[j.seq] = true
	}
	m.slots[slot] = slices.DeleteFunc(m.slots[slot], func(j *job) bool { return j.Spec.Func == "" })
}

// check holds after every step.
func (m *model) check() {
	m.Helper()
	if !slices.IsSortedFunc(m.q.waiting, func(a, b *job) int { return int(a.seq) - int(b.seq) }) {
		m.Fatal("those that wait are out of order")
	}
	seen := map[*job]int{}
	for _, j := range m.q.waiting {
		seen[j]++
	}
	busy, alone := 0, false
	for i := range m.q.places {
		p := &m.q.places[i]
		var has []*job
		for _, j := range []*job{p.first, p.behind} {
			if j != nil {
				has = append(has, j)
				seen[j]++
				busy++
				alone = alone || j.Spec.Everywhere
			}
		}
		if !slices.Equal(has, m.slots[i]) {
			m.Fatalf("slot %d has %v, and the queue believes %v", i+1, refs(m.slots[i]), refs(has))
		}
	}
	if alone && busy > 1 {
		m.Fatal("an everywhere is not alone")
	}
	if len(seen) != len(m.q.jobs) || int(m.next) != len(m.q.jobs)+len(m.ended) {
		m.Fatalf("%d tasks came, %d ended, %d are there, in %d places", m.next, len(m.ended), len(m.q.jobs), len(seen))
	}
	for j, n := range seen {
		if n != 1 || m.q.jobs[j.Ref] != j {
			m.Fatalf("task %d is in %d places", j.Task, n)
		}
	}
	m.counts()
	m.idle()
}

// counts checks what the queue counts.
func (m *model) counts() {
	m.Helper()
	busy, ahead, alone := 0, 0, 0
	for i := range m.q.places {
		if m.q.places[i].first != nil {
			busy++
		}
		if m.q.places[i].behind != nil {
			ahead++
		}
	}
	for _, j := range m.q.jobs {
		if j.Spec.Everywhere {
			alone++
		}
	}
	if busy != m.q.busy || ahead != m.q.ahead || alone != m.q.alone {
		m.Fatalf("%d slots are busy, %d tasks ahead, %d everywheres here; the queue counts %d, %d and %d",
			busy, ahead, alone, m.q.busy, m.q.ahead, m.q.alone)
	}
}

// idle checks that no slot is free while there is a task that it could run.
func (m *model) idle() {
	m.Helper()
	for i := range m.q.places {
		p := &m.q.places[i]
		if p.first != nil {
			continue
		}
		if w := m.q.waiting; m.room && len(w) > 0 && p.can(w[0]) && !m.q.exclusive(w[0]) {
			m.Fatalf("slot %d is free, and task %d waits", i+1, w[0].Task)
		}
		for o := range m.q.places {
			held := &m.q.places[o]
			if held.behind == nil || !p.can(held.behind) || held.behind.asked {
				continue
			}
			if m.now.Sub(held.since) >= heldUpAfter {
				m.Fatalf("slot %d is free, and task %d stands behind a long one", i+1, held.behind.Task)
			}
			if m.q.look(m.now).IsZero() {
				m.Fatal("nobody will look whether a task takes long")
			}
		}
	}
}

func refs(list []*job) (s []string) {
	for _, j := range list {
		s = append(s, fmt.Sprint(j.Task))
	}
	return s
}

// TestQueueOrder: tasks begin in the order in which they came, with any number of
// slots, as long as none of them takes long.
func TestQueueOrder(t *testing.T) {
	for slots := 1; slots <= 4; slots++ {
		m := newModel(t, slots)
		for i := range slots {
			m.q.slot(i + 1).commands = true
		}
		for range 40 {
			m.add(false, false)
		}
		m.settle()
		for turn := 0; len(m.ended) < 40; turn++ {
			for i := range slots {
				m.begin(i)
			}
			m.end(turn % slots)
			m.settle()
		}
		if !slices.IsSorted(m.began) && slots == 1 {
			t.Errorf("one slot began %v", m.began)
		}
		for i, seq := range m.began {
			if int(seq) > i+1+slots {
				t.Errorf("%d slots: number %d to begin was task %d", slots, i+1, seq)
			}
		}
	}
}

// TestQueueTakesBack: what stands behind a long task goes to the slot that is free
// first, and goes before what came after it.
func TestQueueTakesBack(t *testing.T) {
	m := newModel(t, 2)
	m.q.slot(1).commands, m.q.slot(2).commands = true, true
	for range 5 {
		m.add(false, false)
	}
	m.settle() // 1 and 2 run, 3 and 4 stand behind, 5 waits
	m.begin(0)
	m.begin(1)
	m.now = m.now.Add(heldUpAfter)
	m.end(1) // 4 begins, and 3 is asked back
	m.settle()
	m.begin(1)
	m.answer(0)
	m.settle()
	if got := refs(m.slots[1]); !slices.Equal(got, []string{"4", "3"}) {
		t.Errorf("the second slot has %v, want 4 and then 3", got)
	}
	if got := refs(m.slots[0]); !slices.Equal(got, []string{"1"}) {
		t.Errorf("the first slot has %v", got)
	}
}

// FuzzQueue: whatever tasks and slots do, every task is in one place and ends once,
// an everywhere runs alone, no slot is free while there is a task that it can run,
// and one that is held up by a long one moves.
func FuzzQueue(f *testing.F) {
	f.Add([]byte("aaaaaaaabcdefbcdefbcdef"), uint8(2), false)
	f.Add([]byte{0, 0, 0, 1, 9, 2, 17, 3, 4, 5, 6, 7, 8, 0, 0, 2, 3, 4, 10, 11, 12}, uint8(3), true)
	f.Add([]byte{7, 0, 0, 0, 2, 10, 6, 3, 11, 4, 5, 7, 0, 8, 2, 3}, uint8(1), false)
	f.Fuzz(func(t *testing.T, steps []byte, slots uint8, functions bool) {
		steps = steps[:min(len(steps), 300)]
		n := int(slots%4) + 1
		m := newModel(t, n)
		for i := range n {
			m.q.slot(i + 1).functions = functions
		}
		for _, step := range steps {
			slot := int(step/9) % n
			switch step % 9 {
			case 0, 1:
				m.add(false, false)
			case 2:
				m.begin(slot)
			case 3:
				m.end(slot)
			case 4:
				m.now = m.now.Add(time.Millisecond)
			case 5:
				m.answer(slot)
			case 6:
				m.add(step%2 == 0, functions && step%2 == 1)
			case 7:
				m.die(slot)
			case 8:
				m.room = !m.room
			}
			m.settle()
		}
		for i := range n {
			m.q.slot(i + 1).commands = true
		}
		m.room = true
		for range 4 * len(steps) {
			m.settle()
			for i := range n {
				m.answer(i)
				m.begin(i)
				m.end(i)
			}
		}
		m.settle()
		if len(m.q.jobs) > 0 {
			t.Fatalf("%d tasks have not ended", len(m.q.jobs))
		}
		if n == 1 && !functions && len(m.moved) == 0 && !slices.IsSorted(m.began) {
			t.Fatalf("one slot began %v", m.began)
		}
	})
}
