package worker

import (
	"time"

	"muster/internal/wire"
)

// Here is what is said between slots and worker, and on to the dispatcher.

const (
	// gather is how long what slots report may wait, so that it shares a frame
	// with what others report.
	gather = 2 * time.Millisecond
	// gatherMost is how many results gather.
	gatherMost = 16
	// largeTask is the size of a task, in bytes, beyond which sending it to one slot
	// holds up none of the others.
	largeTask = 64 << 10
)

// heard takes what a slot says, and passes it on to the dispatcher.
func (s *slots) heard(sl *slot, m wire.Message) {
	if out, ok := m.(*wire.Output); ok {
		s.link.report(out)
		s.link.flush()
		s.flush() // with a lease there may be credit
		return
	}
	s.mu.Lock()
	sl.missed, sl.pinged = 0, false
	now := time.Now()
	urgent := false
	switch m := m.(type) {
	case *wire.Pong:
		s.ready(sl)
	case *wire.Started:
		s.began(m, now)
		s.flushSoon(now)
		s.unlock()
		return
	case *wire.Returned:
		urgent = true
		if j := s.queue.jobs[m.Ref]; j != nil {
			s.returned(j, m.Lack, now)
		}
	case *wire.Result:
		s.resolved(m, now)
		s.gathered++
		urgent = m.Elapsed > gather || s.gathered >= gatherMost
	}
	s.place(now)
	urgent = urgent || s.low(sl)
	if urgent {
		s.announce()
		s.gathered, s.oldest, s.urgent = 0, time.Time{}, true
	} else {
		s.flushSoon(now)
	}
	tells := len(s.unsent)+len(s.asleep) > 0
	s.unlock()
	if tells {
		s.flush()
	}
}

// low reports whether the dispatcher has to know soon what has ended, since there
// is little left to do here. The caller holds mu.
func (s *slots) low(sl *slot) bool {
	if sl.place.functions {
		return s.queue.idle() // most functions end sooner than a frame is written
	}
	return len(s.queue.waiting) < len(s.list)
}

// flushSoon has what was reported flushed together with what is reported soon. There
// is one timer for all that gathers: one for each report would wake the thread that
// waits for the network each time. The caller holds mu.
func (s *slots) flushSoon(now time.Time) {
	if !s.oldest.IsZero() {
		return
	}
	s.oldest = now
	if !s.gathers {
		s.gathers = true
		time.AfterFunc(gather, s.flushOld)
	}
}

// flushOld flushes what has waited long enough, and looks again when something else
// will have.
func (s *slots) flushOld() {
	s.mu.Lock()
	wait := gather
	if !s.oldest.IsZero() {
		wait -= time.Since(s.oldest)
	}
	s.gathers = wait > 0 && !s.oldest.IsZero()
	if s.gathers {
		time.AfterFunc(wait, s.flushOld)
		s.mu.Unlock()
		return
	}
	s.urgent = s.urgent || !s.oldest.IsZero()
	s.oldest = time.Time{}
	s.announce()
	s.unlock()
}

// tell queues a frame for a slot's process. The caller holds mu and flushes.
func (s *slots) tell(sl *slot, m wire.Message) {
	if sl.state != up {
		return
	}
	sl.process.out.Queue(m)
	if !sl.unsent {
		sl.unsent = true
		s.unsent = append(s.unsent, sl)
	}
}

// say reports to the dispatcher as soon as mu is released. The caller holds mu.
func (s *slots) say(m wire.Message) {
	s.mention(m)
	s.urgent = true
}

// mention is say for what may wait until more is said: the caller sees to it that
// flushOld sends it. The caller holds mu.
func (s *slots) mention(m wire.Message) { s.report = append(s.report, m) }

// unlock releases mu and then reports what there is to say. What is said of one
// task is said by one goroutine at a time, that of the slot that has it or of the
// uplink for one that waits, so it comes in order.
func (s *slots) unlock() {
	report, urgent := s.report, s.urgent
	s.report, s.urgent = nil, false
	left := s.draining.Load() && len(s.queue.jobs) == 0
	s.mu.Unlock()
	for _, m := range report {
		s.link.report(m)
	}
	if urgent {
		s.link.flush()
	}
	if left {
		s.idle()
	}
}

// flush sends what was queued for slots. A large task for a slot that does not
// read must not hold up the others.
func (s *slots) flush() {
	s.mu.Lock()
	var to []*process
	for _, sl := range s.unsent {
		if sl.unsent = false; sl.process == nil {
			continue
		}
		if sl.large {
			sl.large = false
			go sl.process.out.Flush()
		} else {
			to = append(to, sl.process)
		}
	}
	s.unsent = s.unsent[:0]
	for _, r := range s.asleep {
		r.wake()
	}
	s.asleep = s.asleep[:0]
	s.mu.Unlock()
	for _, p := range to {
		p.out.Flush()
	}
}
