package worker

import (
	"fmt"
	"time"

	"muster/internal/wire"
	"muster/task"
)

// Here is what the slots do with the tasks that the worker has.

// assign takes a task from the dispatcher. The caller flushes.
func (s *slots) assign(m *wire.Assign) {
	s.mu.Lock()
	defer s.unlock()
	if s.o.Dir != "" {
		m.Spec.Dir = s.o.Dir
	}
	switch {
	case s.draining.Load() && !m.Spec.Everywhere:
		s.say(&wire.Returned{Ref: m.Ref})
		return
	case m.Spec.Func != "" && s.o.Functions == nil:
		s.say(&wire.Returned{Ref: m.Ref, Lack: &task.Lack{Kind: task.LackProgram, Code: 126,
			Message: fmt.Sprintf("this worker runs commands, and has no function %q: workers of a Go program are that program", m.Spec.Func)}})
		return
	case m.Spec.Func == "" && s.list[0].state == unstarted:
		go s.startAll()
		for _, sl := range s.list {
			sl.state = starting
		}
	}
	s.queue.add(m)
	s.place(time.Now())
}

// recall gives a task back that has not begun.
func (s *slots) recall(ref wire.Ref) {
	s.mu.Lock()
	defer s.unlock()
	if j := s.queue.jobs[ref]; j != nil && !j.begun {
		s.handBack(j)
	}
	s.place(time.Now())
}

// handBack gives a job back to the dispatcher that has not begun as far as is
// known. The caller holds mu.
func (s *slots) handBack(j *job) {
	switch {
	case j.place == 0:
		s.queue.remove(j, time.Now())
		s.say(&wire.Returned{Ref: j.Ref})
	case !s.keepLast:
		j.leaves = true
		s.askBack(j)
	}
}

// askBack asks a slot for a job. The caller holds mu.
func (s *slots) askBack(j *job) {
	j.asked = true
	sl := s.list[j.place-1]
	if j.Spec.Func == "" {
		s.tell(sl, &wire.Recall{Ref: j.Ref})
	} else if sl.functions.recall(j.Ref) {
		s.returned(j, nil, time.Now())
	}
}

// cancel stops a task.
func (s *slots) cancel(m *wire.Cancel) {
	s.mu.Lock()
	defer s.unlock()
	j := s.queue.jobs[m.Ref]
	if j == nil || j.cancel != nil {
		return
	}
	now := time.Now()
	j.cancel = m.Err
	if j.place == 0 {
		s.cancelled(j, now)
		return
	}
	sl := s.list[j.place-1]
	if j.Spec.Func == "" {
		j.end = now.Add(answerWithin)
		s.tell(sl, m)
	} else if sl.functions.cancel(m.Ref, m.Err) {
		s.cancelled(j, now)
	}
	s.place(now)
}

// cancelled resolves a job that has not begun. The caller holds mu.
func (s *slots) cancelled(j *job, now time.Time) {
	s.end(j, now)
	s.say(&wire.Result{Ref: j.Ref, Slot: uint32(j.place), Err: j.cancel})
}

// end forgets a job that has come to its end. The caller holds mu.
func (s *slots) end(j *job, now time.Time) {
	switch {
	case j.Spec.Everywhere || j.place == 0:
	case j.begun:
		s.limits.over(now)
	default:
		s.limits.back()
	}
	s.limits.busy = now
	s.queue.remove(j, now)
}

// credit lets a task print n bytes more.
func (s *slots) credit(ref wire.Ref, n int) {
	s.mu.Lock()
	defer s.unlock()
	j := s.queue.jobs[ref]
	if j == nil {
		return
	}
	if !j.begun {
		j.Window += uint32(n) // for another slot, should this one give it back
	}
	switch {
	case j.place == 0:
	case j.Spec.Func == "":
		s.tell(s.list[j.place-1], &wire.Credit{Ref: ref, Bytes: uint32(n)})
	default:
		s.list[j.place-1].functions.credit(ref, n)
	}
}

// began notes that a task has begun. A slot says so before it starts the process,
// so that it is known what killed a slot; the dispatcher is told a little later, when
// it is known that the process could be started. The caller holds mu.
func (s *slots) began(m *wire.Started, now time.Time) {
	j := s.queue.jobs[m.Ref]
	if j == nil {
		return
	}
	s.queue.begin(j)
	if j.Spec.Timeout > 0 && j.Spec.Func == "" && j.cancel == nil {
		j.end = now.Add(j.Spec.Timeout + answerWithin)
	}
	s.unsaid = append(s.unsaid, j)
}

// announce tells the dispatcher of the tasks that have begun. The caller holds mu.
func (s *slots) announce() {
	for _, j := range s.unsaid {
		if s.queue.jobs[j.Ref] == j && j.begun {
			s.sayBegun(j)
		}
	}
	s.unsaid = s.unsaid[:0]
}

// sayBegun tells the dispatcher once that a task has begun. The caller holds mu.
func (s *slots) sayBegun(j *job) {
	if !j.said {
		j.said = true
		s.mention(&wire.Started{Ref: j.Ref, Slot: uint32(j.place)})
	}
}

// returned takes a job back from its slot. The caller holds mu.
func (s *slots) returned(j *job, lack *task.Lack, now time.Time) {
	if !j.Spec.Everywhere {
		s.limits.back()
	}
	switch {
	case j.cancel != nil:
		s.queue.remove(j, now)
		s.say(&wire.Result{Ref: j.Ref, Slot: uint32(j.place), Err: j.cancel})
	case lack != nil || j.leaves || s.draining.Load() && !j.Spec.Everywhere:
		s.queue.remove(j, now)
		s.say(&wire.Returned{Ref: j.Ref, Lack: lack})
	default:
		s.queue.back(j, now)
	}
}

// resolved ends a job. The caller holds mu.
func (s *slots) resolved(m *wire.Result, now time.Time) {
	j := s.queue.jobs[m.Ref]
	if j == nil {
		return
	}
	if j.Spec.Func == "" {
		s.list[j.place-1].failures = 0
	}
	if j.begun {
		s.sayBegun(j)
	}
	s.end(j, now)
	if m.State != nil {
		s.spread(m.State)
		m.State = nil
	}
	s.mention(m)
	if m.Err != nil {
		s.failed()
		s.tell(s.list[j.place-1], &wire.Ack{})
	}
}

// failed hands back what was to run only after a success. The caller holds mu.
func (s *slots) failed() {
	waiting, given := s.queue.unbegun()
	for _, j := range append(waiting, given...) {
		if j.OnlyAfterSuccess {
			s.handBack(j)
		}
	}
}

// spread gives every slot what an everywhere left behind. The caller holds mu.
func (s *slots) spread(state *wire.State) {
	s.state = state
	for _, sl := range s.list {
		if sl.state == up {
			s.tell(sl, state)
		}
	}
}

// place gives tasks to slots, as far as that is possible now. The caller holds mu
// and flushes.
func (s *slots) place(now time.Time) {
	for {
		m, ok := s.queue.next(now, s.limits.room() && !s.draining.Load())
		if !ok {
			break
		}
		if m.back {
			s.askBack(m.job)
			continue
		}
		if !m.job.Spec.Everywhere {
			s.limits.give()
		}
		if sl := s.list[m.slot-1]; m.job.Spec.Func == "" {
			s.tell(sl, m.job.Assign)
			sl.large = sl.large || len(m.job.Spec.Input) > largeTask
		} else {
			sl.functions.add(m.job.Assign)
			s.asleep = append(s.asleep, sl.functions)
		}
	}
	s.refuse()
	if !s.limits.room() && !s.draining.Load() {
		s.limited()
	}
	s.lookLater(now)
}

// lookLater has place called when the queue may have a move that nothing else
// calls for. The caller holds mu.
func (s *slots) lookLater(now time.Time) {
	at := s.queue.look(now)
	if at.IsZero() || !s.lookAt.IsZero() && !at.Before(s.lookAt) || s.closed {
		return
	}
	s.lookAt = at
	if s.looking != nil {
		s.looking.Stop()
	}
	s.looking = time.AfterFunc(at.Sub(now), func() {
		s.mu.Lock()
		s.lookAt = time.Time{}
		s.place(time.Now())
		s.unlock()
		s.flush()
	})
}
