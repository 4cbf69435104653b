package worker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/proctree"
	"muster/internal/wire"
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

	mu       sync.Mutex // guards all below; nothing blocks while it is held
	queue    *queue
	limits   limits
	list     []*slot
	state    *wire.State    // what the last everywhere left behind
	report   []wire.Message // what is to be said when mu is released
	urgent   bool           // and sent at once then, with what was said before
	gathered int            // results since the dispatcher was last told at once
	oldest   time.Time      // when the first was reported of what is not flushed; zero if nothing
	gathers  bool           // flushOld will be called
	unsaid   []*job         // have begun, and the dispatcher may not know
	asleep   []*runner      // have functions to begin, which flush tells them
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
