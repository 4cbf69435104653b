package queue

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"muster/task"
)

// Needs is what a task needs of the machine that runs it, and that another
// machine may have.
type Needs struct {
	Directory string // that it can be entered; empty for none
	Program   string // that it can be found; empty for none
	Shares    string // that it can be read, what is shared; empty for none
	Takes     Amounts
}

// maxNeeds bounds how many different Needs are told apart at a time. Tasks that
// come when there are as many wait as if they needed nothing, until a machine
// that lacks something has refused them.
const maxNeeds = 1024

// interned is Needs that many tasks share.
type interned struct {
	Needs
	tasks      int       // and barriers, that have them
	stuckSince time.Time // when it was first seen that no worker can run such tasks, and none is expected; zero if one can
}

// conditions are what makes tasks wait in one line.
type conditions struct {
	needs *interned
	avoid uint64 // as entry.avoid
	alone bool   // whoever runs one runs nothing beside it
}

// conditions returns those of a task that is queued. If it was lost beside
// others, any of which may have been the cause, its last try is alone, so that
// none is given up for what another did.
func (q *Queue[P]) conditions(e *entry[P]) conditions {
	return conditions{needs: e.needs, avoid: e.avoid, alone: e.company && e.tries() == q.lostRetries}
}

// line is the queued tasks of the same conditions, the oldest first.
type line struct {
	conditions
	n           int
	front       heap[task.ID] // queued again; may name some that are gone
	first, last task.ID       // queued for the first time, linked by entry.prev and succ
	oldest      task.ID       // by which Queue.order is ordered
	index       int           // in Queue.order, or -1
	reserved    *worker       // is to take the oldest, which is to run alone; nil if none
}

func newLine(c conditions) *line {
	return &line{conditions: c, index: -1, front: heap[task.ID]{less: func(a, b task.ID) bool { return a < b }}}
}

func olderLine(a, b *line) bool { return a.oldest < b.oldest }

// enter puts a queued task into the line of its conditions.
func (q *Queue[P]) enter(id task.ID, e *entry[P], c conditions) {
	l := q.lines[c]
	if l == nil {
		l = newLine(c)
		q.lines[c] = l
	}
	e.line = l
	l.n++
	q.loose++
	if c.alone {
		q.alone++
	}
	if e.again {
		l.front.push(id)
	} else {
		q.append(l, id, e)
	}
	q.reorder(l)
}

// quit takes a queued task out of its line.
func (q *Queue[P]) quit(id task.ID, e *entry[P]) {
	l := e.line
	if !e.again {
		q.unlink(l, id, e)
	}
	e.line = nil
	l.n--
	q.loose--
	if l.alone {
		q.alone--
		q.unreserve(l)
	}
	q.reorder(l)
}

// reorder puts a line in its place after tasks have come or gone.
func (q *Queue[P]) reorder(l *line) {
	if l.n == 0 {
		q.order.remove(l.index)
		delete(q.lines, l.conditions)
		return
	}
	id, _ := q.head(l)
	switch {
	case l.index < 0:
		l.oldest = id
		q.order.push(l)
	case id != l.oldest:
		l.oldest = id
		q.order.fix(l.index)
	}
}

// intern returns the one copy of needs.
func (q *Queue[P]) intern(n Needs) *interned {
	n.Takes.Slots = max(n.Takes.Slots, 1)
	if q.tasks.needs == nil {
		q.tasks.needs = make(map[Needs]*interned)
	}
	i := q.tasks.needs[n]
	if i == nil {
		if len(q.tasks.needs) >= maxNeeds {
			n.Directory, n.Program, n.Shares = "", "", ""
			if i = q.tasks.needs[n]; i != nil {
				i.tasks++
				return i
			}
		}
		i = &interned{Needs: n}
		q.tasks.needs[n] = i
	}
	i.tasks++
	return i
}

// release forgets needs that no task has any more.
func (q *Queue[P]) release(i *interned) {
	if i.tasks--; i.tasks > 0 {
		return
	}
	delete(q.tasks.needs, i.Needs)
	if len(q.sick) > 0 {
		q.forget(i.Needs)
	}
}

// append puts a task at the end of its line.
func (q *Queue[P]) append(l *line, id task.ID, e *entry[P]) {
	e.prev, e.succ = l.last, 0
	if l.last == 0 {
		l.first = id
	} else {
		q.tasks.at(l.last).succ = id
	}
	l.last = id
}

// unlink takes a task out of its line.
func (q *Queue[P]) unlink(l *line, id task.ID, e *entry[P]) {
	if e.prev == 0 {
		l.first = e.succ
	} else {
		q.tasks.at(e.prev).succ = e.succ
	}
	if e.succ == 0 {
		l.last = e.prev
	} else {
		q.tasks.at(e.succ).prev = e.prev
	}
	e.prev, e.succ = 0, 0
}

// head returns the oldest task of a line that is not empty.
func (q *Queue[P]) head(l *line) (task.ID, *entry[P]) {
	for id, ok := l.front.top(); ok; id, ok = l.front.top() {
		if e := q.tasks.at(id); e != nil && e.line == l && e.again {
			if l.first != 0 && l.first < id {
				break
			}
			return id, e
		}
		l.front.pop()
	}
	return l.first, q.tasks.at(l.first)
}

// inOrder yields the lines, that with the oldest task first. The loop must not
// let tasks come or go, unless it ends with that. It sorts only if it gets beyond
// the first line.
func (q *Queue[P]) inOrder() iter.Seq[*line] {
	return func(yield func(*line) bool) {
		first, ok := q.order.top()
		if !ok || !yield(first) || len(q.order.items) == 1 {
			return
		}
		rest := slices.Clone(q.order.items[1:])
		slices.SortFunc(rest, func(a, b *line) int { return cmp.Compare(a.oldest, b.oldest) })
		for _, l := range rest {
			if !yield(l) {
				return
			}
		}
	}
}
