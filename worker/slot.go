package worker

import (
	"fmt"
	"slices"
	"time"

	"muster/internal/wire"
	"muster/task"
)

// Pauses before a slot is started again that has died before it could run a task
// to its end.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 30 * time.Second
)

const (
	// answerWithin is how long a slot may take to do what it was told, beyond what
	// it takes a task to end; and, at least, to answer a ping.
	answerWithin = 10 * time.Second
	// patientBeats is how many pings a slot may leave unanswered.
	patientBeats = 2
	// mostDeaths is how many slots may die of a task that none of them has begun.
	mostDeaths = 3
)

// slotState is the life of a slot's process.
//
//	unstarted ──► starting ──────────► up ──┐
//	                │  ▲ it says so         │ it dies, or is ended: its task takes too
//	   it dies, or  │  │                    │ long, or it does not answer
//	cannot be started  │ after a pause      │
//	                ▼  │                    │
//	               down ◄───────────────────┘
//
// A slot that is up is free, or busy with the first task of its place in the
// queue. The goroutine that reads from the process moves it, and the timer of the
// pause.
type slotState uint8

const (
	unstarted slotState = iota // no command has come for it
	starting
	up
	down
)

// slot is one slot of a worker. All but n is guarded by slots.mu.
type slot struct {
	n         int // from 1
	place     *place
	functions *runner // of this process; nil if it has no functions
	state     slotState
	process   *process // nil if there is none
	unsent    bool     // something is queued for it
	large     bool     // that is large
	pinged    bool     // it owes an answer
	missed    int      // heartbeats for which it has owed it, or has been starting
	failures  int      // deaths since it last ran a task to its end
	sick      bool     // it died before it was up, or could not be started
	how       string   // it last died
	ending    string   // why it is being ended; empty if it is not
	resolve   *task.ErrorValue
	restart   *time.Timer
}

// startSlot starts a slot's process.
func (s *slots) startSlot(sl *slot) {
	s.kids.Lock()
	defer s.kids.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	sl.state, sl.missed, sl.pinged, sl.ending, sl.resolve = starting, 0, false, "", nil
	sl.place.coming = !sl.sick
	s.readers.Add(1) // before closed can be set
	s.mu.Unlock()
	p, err := startProcess(s.o, sl.n, s.env)
	if err != nil {
		s.readers.Done()
		s.mu.Lock()
		s.fail(sl, err.Error())
		s.place(time.Now())
		s.unlock()
		s.flush()
		return
	}
	s.mu.Lock()
	sl.process = p
	closed := s.closed
	s.mu.Unlock()
	if closed {
		p.conn.Close()
	}
	go s.serve(sl, p)
}

// serve takes what a slot's process says until it is gone, and reaps it.
func (s *slots) serve(sl *slot, p *process) {
	defer s.readers.Done()
	in := wire.NewReader(p.conn)
	for {
		m, err := in.Read()
		if err != nil {
			break
		}
		s.heard(sl, m)
	}
	how := p.wait()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	s.log.Warn("slot died", "slot", sl.n, "how", how)
	s.clear()
	s.died(sl, how)
}

// ready notes that a slot's process is up. The caller holds mu.
func (s *slots) ready(sl *slot) {
	if sl.state != starting {
		return
	}
	sl.state, sl.sick, sl.place.commands, sl.place.coming = up, false, true, false
	if s.state != nil {
		s.tell(sl, s.state)
	}
}

// died reports the task lost that a dead slot had begun; what it had not begun goes
// to another. Its processes are gone.
func (s *slots) died(sl *slot, how string) {
	s.mu.Lock()
	now := time.Now()
	reason := fmt.Sprintf("slot %d of worker %s died: %s", sl.n, s.link.id, how)
	if sl.ending != "" {
		reason = fmt.Sprintf("slot %d of worker %s %s and was ended", sl.n, s.link.id, sl.ending)
	}
	begun, back := s.queue.down(sl.n, now)
	if begun != nil {
		s.lost(begun, sl, reason, now)
	}
	for _, j := range back {
		if !j.Spec.Everywhere {
			s.limits.back()
		}
		switch {
		case j.cancel != nil:
			s.cancelled(j, now)
		case j.leaves || s.draining.Load():
			s.handBack(j)
		case j.deaths >= mostDeaths:
			s.lost(j, sl, reason+fmt.Sprintf("; it is the slot number %d that died before it could begin this task", j.deaths), now)
		}
	}
	s.fail(sl, how)
	s.place(now)
	s.unlock()
	s.flush()
}

// lost ends a job whose slot has died. The caller holds mu.
func (s *slots) lost(j *job, sl *slot, reason string, now time.Time) {
	err := j.cancel
	if err == nil {
		err = sl.resolve
	}
	s.end(j, now)
	if err != nil {
		s.say(&wire.Result{Ref: j.Ref, Slot: uint32(sl.n), Err: err})
		s.failed()
	} else {
		s.say(&wire.Lost{Ref: j.Ref, Reason: reason})
	}
}

// fail has a slot that has died, or could not be started, started again: at once
// if it has run a task to its end, else after a pause that doubles as long as it
// does not get up. The caller holds mu.
func (s *slots) fail(sl *slot, how string) {
	sl.sick = sl.state == starting
	sl.state, sl.process, sl.how, sl.place.coming = down, nil, how, false
	if s.closed {
		return
	}
	pause := time.Duration(0)
	switch sl.failures++; {
	case sl.sick:
		pause = min(firstPause<<min(sl.failures-1, 20), longestPause)
		s.log.Warn("slot does not start", "slot", sl.n, "how", how, "pause", pause)
	case sl.failures > 1:
		pause = firstPause
	}
	sl.restart = time.AfterFunc(pause, func() { s.startSlot(sl) })
}

// refuse hands back the commands that wait if no slot can run one. The caller holds
// mu.
func (s *slots) refuse() {
	if len(s.queue.waiting) == 0 {
		return
	}
	for _, sl := range s.list {
		if sl.state != down || !sl.sick {
			return
		}
	}
	for _, j := range slices.Clone(s.queue.waiting) {
		if j.Spec.Func != "" {
			continue
		}
		s.queue.remove(j, time.Now())
		s.say(&wire.Returned{Ref: j.Ref, Lack: &task.Lack{Kind: task.LackProcess, Code: 126,
			Message: "its slots do not start: " + s.list[0].how}})
	}
}

// beat asks every busy slot whether it lives, and ends those that have not
// answered for long, or do not end a task that is to end. Late says that this
// process was stopped itself: then nobody is judged. Every is the time between
// beats.
func (s *slots) beat(every time.Duration, late bool) {
	now := time.Now()
	patience := max(patientBeats, int((answerWithin+every-1)/every))
	var silent []*slot
	s.mu.Lock()
	for _, sl := range s.list {
		j := sl.place.first
		switch {
		case sl.process == nil || sl.ending != "":
		case late:
			sl.missed, sl.pinged = 0, false
		case sl.state == starting:
			if sl.missed++; sl.missed > patience {
				s.endSlot(sl, "did not start")
			}
		case j == nil || j.Spec.Func != "":
			sl.missed, sl.pinged = 0, false
		case !j.end.IsZero() && now.After(j.end):
			if j.cancel == nil {
				sl.resolve = task.Timeout(fmt.Sprintf("its limit was %v, and its slot did not end it", j.Spec.Timeout))
			}
			s.endSlot(sl, "did not end its task in time")
		case !sl.pinged:
			sl.pinged = true
			s.tell(sl, &wire.Ping{})
		default:
			if sl.missed++; sl.missed >= patience {
				silent = append(silent, sl)
			}
		}
	}
	s.unlock()
	s.flush()
	s.endSilent(silent, time.Duration(patience)*every)
}

// endSlot ends a slot's process; died does the rest. The caller holds mu.
func (s *slots) endSlot(sl *slot, why string) {
	s.log.Warn("ending a slot", "slot", sl.n, "because", "it "+why)
	sl.ending = why
	sl.process.kill()
}

// endSilent ends slots that do not answer, unless they wait for a disk.
func (s *slots) endSilent(silent []*slot, patience time.Duration) {
	for _, sl := range silent {
		s.mu.Lock()
		p := sl.process
		s.mu.Unlock()
		if p == nil || p.waitsForDisk() {
			continue
		}
		s.mu.Lock()
		if sl.process == p && sl.missed > 0 && sl.ending == "" {
			s.endSlot(sl, fmt.Sprintf("did not answer for %v", patience))
		}
		s.mu.Unlock()
	}
}
