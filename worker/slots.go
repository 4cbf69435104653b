package worker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/proctree"
	"muster/internal/wire"
	"muster/task"
)

const (
	// gather is how long what slots report may wait, so that it shares a frame
	// with what others report.
	gather = 2 * time.Millisecond
	// answerWithin is how long a slot may take to do what it was told, beyond what
	// it takes a task to end; and, at least, to answer a ping.
	answerWithin = 10 * time.Second
	// patientBeats is how many pings a slot may leave unanswered.
	patientBeats = 2
	// largest is the task that is sent to a slot while others wait for that.
	largest = 64 << 10
	// mostDeaths is how many slots may die of a task that none of them has begun.
	mostDeaths = 3
)

// slots are the slots of one worker and the tasks that it has. The uplink and the
// processes of the slots call in, each from the goroutine that reads from it; the
// session drains and ends it.
type slots struct {
	o       *Options
	log     hclog.Logger
	env     []string // of their processes
	link    *uplink
	idle    func() // is told when there is nothing left of a worker that drains
	limited func() // is told when no more tasks may begin

	calls   sync.RWMutex // read-locked while a function runs
	readers sync.WaitGroup
	kids    sync.Mutex // held while a process is started or leftovers are cleared

	draining atomic.Bool // nothing more begins; set under mu
	gathers  atomic.Bool // what was reported will be flushed soon

	mu       sync.Mutex // guards all below; nothing blocks while it is held
	queue    *queue
	limits   limits
	list     []*slot
	state    *wire.State    // what the last everywhere left behind
	report   []wire.Message // what is to be said when mu is released
	unsent   []*slot        // for whose processes something is queued
	keepLast bool           // what slots have are the last tasks; they are not given back
	closed   bool
	looking  *time.Timer // the next look at the queue
	lookAt   time.Time   // when that is; zero if it is not set
}

func newSlots(o *Options, log hclog.Logger, link *uplink, l limits) *slots {
	s := &slots{o: o, log: log, link: link, queue: newQueue(o.Slots), limits: l, idle: func() {}, limited: func() {},
		env: []string{envSlotWorker + "=" + link.id, "MUSTER_TASK_PROFILE=" + link.profile}}
	for n := 1; n <= o.Slots; n++ {
		sl := &slot{n: n, place: s.queue.slot(n)}
		s.list = append(s.list, sl)
		if o.Functions != nil {
			sl.functions = s.functionRunner(sl)
			sl.place.functions = true
		}
	}
	return s
}

// start starts the slots' processes; those of a worker that has functions start
// when there is a command for them.
func (s *slots) start() {
	if s.o.Functions == nil {
		s.startAll()
	}
}

func (s *slots) startAll() {
	for _, sl := range s.list {
		s.startSlot(sl)
	}
}

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
	case *wire.Returned:
		urgent = true
		if j := s.queue.jobs[m.Ref]; j != nil {
			s.returned(j, m.Lack, now)
		}
	case *wire.Result:
		urgent = m.Elapsed > gather
		s.resolved(m, now)
	}
	s.place(now)
	urgent = urgent || len(s.queue.waiting) < len(s.list)
	_, announces := m.(*wire.Started)
	s.unlock()
	s.flush()
	s.pass(urgent && !announces)
}

// pass has what was reported flushed: at once, or together with what is reported
// soon. There is one timer for all that gathers: one for each report would wake
// the thread that waits for the network each time.
func (s *slots) pass(atOnce bool) {
	if atOnce {
		s.link.flush()
	} else if s.gathers.CompareAndSwap(false, true) {
		time.AfterFunc(gather, func() {
			s.gathers.Store(false)
			s.link.flush()
		})
	}
}

// began notes that a task has begun. The caller holds mu.
func (s *slots) began(m *wire.Started, now time.Time) {
	j := s.queue.jobs[m.Ref]
	if j == nil {
		return
	}
	s.queue.begin(j)
	if j.Spec.Timeout > 0 && j.Spec.Func == "" && j.cancel == nil {
		j.end = now.Add(j.Spec.Timeout + answerWithin)
	}
	s.say(m)
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
	s.end(j, now)
	if m.State != nil {
		s.spread(m.State)
		m.State = nil
	}
	s.say(m)
	if m.Err == nil {
		return
	}
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
			sl.large = sl.large || len(m.job.Spec.Input) > largest
		} else {
			sl.functions.add(m.job.Assign)
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

// say reports to the dispatcher once mu is released. The caller holds mu.
func (s *slots) say(m wire.Message) { s.report = append(s.report, m) }

// unlock releases mu and then reports what there is to say. What is said of one
// task is said by one goroutine at a time, that of the slot that has it or of the
// uplink for one that waits, so it comes in order.
func (s *slots) unlock() {
	report := s.report
	s.report = nil
	left := s.draining.Load() && len(s.queue.jobs) == 0
	s.mu.Unlock()
	for _, m := range report {
		s.link.report(m)
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
	s.mu.Unlock()
	for _, p := range to {
		p.out.Flush()
	}
}

// drain begins nothing more, and hands back what has not begun; keepLast leaves
// slots what they have.
func (s *slots) drain(keepLast bool) {
	s.mu.Lock()
	s.draining.Store(true)
	s.keepLast = keepLast
	waiting, given := s.queue.unbegun()
	for _, j := range append(waiting, given...) {
		if !j.Spec.Everywhere {
			s.handBack(j)
		}
	}
	s.unlock()
	s.flush()
	s.link.flush()
}

// due returns what the worker's limits call for.
func (s *slots) due(now time.Time, unused bool) (verdict, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits.due(now, unused && len(s.queue.jobs) == 0)
}

// tasks returns the tasks that the worker has.
func (s *slots) tasks() (refs []wire.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref := range s.queue.jobs {
		refs = append(refs, ref)
	}
	return refs
}

// drained reports whether the worker takes nothing more and has nothing left.
func (s *slots) drained() bool {
	if !s.draining.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue.jobs) == 0
}

// stop ends all slots and waits until each has cleared what it ran. Nothing is
// reported any more.
func (s *slots) stop() {
	s.mu.Lock()
	s.closed = true
	s.draining.Store(true)
	if s.looking != nil {
		s.looking.Stop()
	}
	var living []*process
	for _, sl := range s.list {
		if sl.restart != nil {
			sl.restart.Stop()
		}
		if sl.process != nil {
			living = append(living, sl.process)
		}
	}
	s.mu.Unlock()
	for _, sl := range s.list {
		if sl.functions != nil {
			sl.functions.end() // one that still runs returns by itself, or has watch end the process
		}
	}
	for _, p := range living {
		p.conn.Close()
		defer time.AfterFunc(answerWithin, p.kill).Stop()
	}
	s.readers.Wait()
	s.clear()
}

// clear ends every descendant of the worker that is not a living slot's. Slots
// are os/exec's to reap.
func (s *slots) clear() {
	s.kids.Lock()
	defer s.kids.Unlock()
	keep := map[int]bool{}
	s.mu.Lock()
	for _, sl := range s.list {
		if sl.process == nil {
			continue
		}
		select {
		case <-sl.process.exited:
		default:
			keep[sl.process.cmd.Process.Pid] = true
		}
	}
	s.mu.Unlock()
	if err := proctree.Clear(0, func(pid int) bool { return keep[pid] || s.o.Keep(pid) }); err != nil {
		s.log.Error("processes may be left", "error", err)
	}
}
