package dispatcher

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

// session is one worker from its welcome to its end, over one connection or, with
// a lease, several.
type session struct {
	d     *Dispatcher
	p     *Pool
	id    string // what users see
	hello wire.Hello
	lease time.Duration   // how long it outlives its connection; 0 is not at all
	key   mtls.SessionKey // with a lease: proves another connection to be its
	in    *mtls.Launch
	w     *wire.Writer
	r     *wire.Reader // belongs to whoever serves the link
	epoch uint64
	since time.Time

	// All below is guarded by Pool.mu.
	link     *link    // nil while it is away
	away     *absence // nil while it is not
	spoke    bool     // something has come from it
	dead     bool     // its process is said to have ended
	signals  string   // why the worker drains
	retiring string   // why it was asked to
	attempts map[queue.Ref]*attempt
	applied  int      // how many of the pool's everywheres it has run
	syncing  *attempt // the one that it runs now; in attempts too
	paused   bool     // it has everywheres to catch up with
	ended    int      // tasks that it has ended
	life
	// abandoned are tasks that were resolved while it was away: it may have more
	// to say of them, which nobody keeps.
	abandoned map[queue.Ref]*attempt
}

// leave takes the worker's tasks back when its connection has ended.
func (p *Pool) leave(s *session, reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(s, reason)
}

// remove is leave under mu.
func (p *Pool) remove(s *session, reason error) {
	p.d.leases.remove(s)
	s.in.Release(s.hello.Element, s.hello.Restart)
	now := time.Now()
	why := fmt.Sprintf("worker %s: %v", s.id, reason)
	if errors.Is(reason, errGoodbye) {
		// What it has not spoken of it has not begun.
		for _, a := range s.attempts {
			s.returned(&wire.Returned{Ref: wire.Ref(a.Ref)}, now)
		}
	}
	requeued, givenUp := p.queue.Leave(s.epoch, now)
	delete(p.sessions, s.epoch)
	p.deserted(s, why)
	lost := map[task.ID]*attempt{}
	for _, a := range s.attempts {
		lost[a.Task] = a
	}
	s.attempts = nil
	for _, id := range requeued {
		s.dispose(lost[id])
	}
	for _, id := range givenUp {
		s.giveUp(lost[id], why, errors.Is(reason, errWalltime))
	}
	if orderly := p.closed || errors.Is(reason, errGoodbye) || errors.Is(reason, errWalltime); len(requeued)+len(givenUp) > 0 || !orderly {
		p.log.Warn("worker gone", "worker", s.id, "reason", reason, "retried", len(requeued), "lost", len(givenUp))
	} else {
		p.log.Info("worker left", "worker", s.id, "reason", reason)
	}
	p.pump(now)
}

// giveUp resolves a task that was lost for good, or while it was cancelled.
func (s *session) giveUp(a *attempt, reason string, walltime bool) {
	r := task.Result{Err: a.cancel}
	if r.Err == nil {
		r.Err = task.Reset(reason)
		if walltime {
			r.Err.Kind, r.Err.Message = task.KindWalltime, task.TextWalltime
		}
		if n := int(a.Attempt); n > 1 {
			r.Err.Evidence += fmt.Sprintf(" (attempt %d)", n)
		}
	}
	s.resolve(a, r)
}

// resolve passes on what a task resolved to, with what the attempt knows.
func (s *session) resolve(a *attempt, r task.Result) {
	r.ID, r.Attempt = a.Task, int(a.Attempt)
	r.Index, r.Name, r.Argv = a.job.index, a.spec.Name, a.spec.Argv
	r.Worker, r.Slot = s.id, a.slot
	s.ended++
	s.p.completed++
	a.job.owner.resolve(a.job, &Done{Result: r, Output: a.out, bytes: a.kept})
}

// dispose ends an attempt whose task is queued again: cancelled ones resolve,
// the others lose the output of this try.
func (s *session) dispose(a *attempt) {
	if a == nil {
		return
	}
	if a.cancel != nil {
		s.p.queue.Cancel(a.Task)
		s.resolve(a, task.Result{Err: a.cancel})
		return
	}
	s.p.requeued(a.job)
	if a.out != nil {
		a.out.Close()
	}
	if a.job.owner.stopped() {
		if _, removed, _, _ := s.p.queue.Cancel(a.Task); removed {
			s.p.unqueued(a.job)
			a.job.owner.drop(a.job, task.Cancelled("nothing more was to be started"))
		}
	}
}

var (
	errGoodbye  = errors.New("it said goodbye")
	errWalltime = errors.New("its job's walltime was over")
	errSilent   = errors.New("it fell silent")
	errWindow   = errors.New("it sent more output than its window allows")

	errUnacknowledged = errors.New("it does not acknowledge what it is sent")
)

// read handles the worker's frames until the connection ends, and says why it did.
func (s *session) read() error {
	for first := true; ; first = false {
		m, err := s.r.Read()
		if err != nil {
			if s.silent(time.Now()) {
				return broken{errSilent}
			}
			if err == io.EOF {
				return broken{errors.New("connection closed")}
			}
			if errors.As(err, new(wire.MalformedError)) {
				return err
			}
			return broken{err}
		}
		if first {
			s.speak()
		}
		if err := s.handle(m); err != nil {
			return err
		}
		if s.w.Behind() {
			return wire.ErrBehind
		}
		if s.lease == 0 {
			continue
		}
		if ack := s.r.Ack(); ack != nil {
			s.w.Send(ack)
		}
	}
}

// speak notes that the worker has said something.
func (s *session) speak() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.spoke = true
}

func (s *session) handle(m wire.Message) error {
	now := time.Now()
	switch m := m.(type) {
	case *wire.Output:
		return s.output(m, now)
	case *wire.Result:
		return s.result(m, now)
	case *wire.Goodbye:
		return s.farewell(m)
	case *wire.Ping:
		s.w.Send(&wire.Pong{Seq: m.Seq})
		return nil
	case *wire.Ack:
		return s.acknowledged(m.Received, now)
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	switch m := m.(type) {
	case *wire.Started:
		if a := s.attempts[queue.Ref(m.Ref)]; a != nil {
			s.p.queue.Started(a.Ref, now)
		}
	case *wire.Returned:
		s.returned(m, now)
	case *wire.Lost:
		s.lost(queue.Ref(m.Ref), m.Reason, now)
	case *wire.Drain:
		s.drain(m.Reason, now)
	case *wire.Pong:
		return s.pong(m.Seq, now)
	default:
		return nil
	}
	s.p.pump(now)
	return nil
}

// assign sends a task. Under Pool.mu.
func (s *session) assign(q queue.Assignment[job]) {
	j := q.Payload
	a := &attempt{Ref: q.Ref, job: j, slot: q.Slot, ahead: q.Ahead, after: s.seq,
		window: wire.MinWindow, size: wire.MinWindow}
	a.spec = j.owner.spec(j, q.Slot)
	if n := a.spec.Size() - len(a.spec.Input); n > wire.MaxSpec {
		// It would not fit into a frame; nor would the kernel take it (execve(2),
		// "Limits on size of arguments and environment").
		s.p.queue.Finished(a.Ref, 0, time.Now())
		s.resolve(a, task.Result{Err: &task.ErrorValue{Kind: task.KindSpawn, Code: 126,
			Message: fmt.Sprintf("its command and variables are too long: %d bytes; %d are possible", n, wire.MaxSpec)}})
		return
	}
	s.attempts[q.Ref] = a
	s.w.Send(&wire.Assign{Ref: wire.Ref(q.Ref), Slot: uint32(q.Slot), Window: wire.MinWindow, Spec: a.spec,
		OnlyAfterSuccess: j.owner.stopOnFailure()})
}

func (s *session) recall(r queue.Ref) { s.w.Send(&wire.Recall{Ref: wire.Ref(r)}) }

// recallAll asks for every task that has not started. Under Pool.mu.
func (s *session) recallAll() {
	for ref := range s.attempts {
		if st, ok := s.p.queue.State(ref.Task); ok && st == task.Assigned {
			s.recall(ref)
		}
	}
}

// cancel stops a task. The first reason stands. Under Pool.mu.
func (s *session) cancel(a *attempt, why *task.ErrorValue) {
	if a.cancel != nil {
		return
	}
	a.cancel = why
	if a == s.syncing {
		s.w.Send(&wire.Cancel{Ref: wire.Ref(a.Ref), Err: why})
		return
	}
	if _, held, _, _ := s.p.queue.Cancel(a.Task); held {
		delete(s.attempts, a.Ref)
		s.resolve(a, a.held)
		return
	}
	s.w.Send(&wire.Cancel{Ref: wire.Ref(a.Ref), Err: why})
	if s.away != nil {
		s.abandon(a)
	}
}

// output spools a chunk and gives its bytes back as credit. The disk is
// written outside the dispatcher's lock; the attempt's spool is this reader's.
func (s *session) output(m *wire.Output, now time.Time) error {
	a := s.printed(m, now)
	if a == nil {
		return nil
	}
	if a.window -= len(m.Data); a.window < 0 {
		return errWindow
	}
	if !a.abandoned {
		s.spool(a, int(m.Stream), m.Data)
	}
	a.used += len(m.Data)
	if a.used < a.size/2 {
		return nil
	}
	grow := min(a.size, wire.MaxWindow-a.size)
	a.size += grow
	s.w.Send(&wire.Credit{Ref: m.Ref, Bytes: uint32(a.used + grow)})
	a.window += a.used + grow
	a.used = 0
	return nil
}

// printed returns the attempt whose output has come, nil for one that the worker
// does not have.
func (s *session) printed(m *wire.Output, now time.Time) *attempt {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	a := s.attempts[queue.Ref(m.Ref)]
	if a == nil {
		a = s.abandoned[queue.Ref(m.Ref)]
	}
	if a != nil {
		s.life.output(len(m.Data), now)
	}
	return a
}

// spool keeps output. If it cannot, the task is stopped: to go on and lose
// what it says would be worse.
func (s *session) spool(a *attempt, stream int, p []byte) {
	if a.broken || len(p) == 0 {
		return
	}
	if a.out == nil {
		a.out = s.d.opt.Spool.New(s.p.name + "." + strconv.FormatUint(uint64(a.Task), 10) + "." + strconv.Itoa(int(a.Attempt)))
	}
	if err := a.out.Write(stream, p); err != nil {
		a.broken = true
		s.p.mu.Lock()
		s.cancel(a, &task.ErrorValue{Kind: task.KindError, Code: 1, Message: "its output could not be kept: " + err.Error()})
		s.p.mu.Unlock()
	}
}

// result ends an attempt, unless nobody knows yet who killed it.
func (s *session) result(m *wire.Result, now time.Time) error {
	a := s.over(m, now)
	if a == nil {
		return nil
	}
	s.spool(a, 1, m.Stdout)
	s.spool(a, 2, m.Stderr)
	s.park(a)
	r := task.Result{Started: m.Started, Elapsed: m.Elapsed, Err: m.Err}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if a.cancel != nil && (a.broken || r.Err != nil) {
		r.Err = a.cancel
	}
	switch {
	case a == s.syncing:
		s.synced(r)
	case a.cancel == nil && mayBeTheScheduler(m.Err) && s.signals != "":
		s.lost(a.Ref, "the worker was told to end: "+s.signals, now)
	case a.cancel == nil && mayBeTheScheduler(m.Err) && s.p.queue.Hold(a.Ref, m.Elapsed, now):
		s.hold(a, r)
	default:
		s.finish(a, r, now)
	}
	s.p.pump(now)
	return nil
}

// over returns the attempt that has ended, nil if it is nobody's any more.
func (s *session) over(m *wire.Result, now time.Time) *attempt {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	ref := queue.Ref(m.Ref)
	if a := s.abandoned[ref]; a != nil {
		s.life.end(a, now)
		delete(s.abandoned, ref)
	}
	a := s.attempts[ref]
	if a != nil {
		s.life.end(a, now)
	}
	return a
}

func (s *session) finish(a *attempt, r task.Result, now time.Time) {
	delete(s.attempts, a.Ref)
	if _, ok := s.p.queue.Finished(a.Ref, r.Elapsed, now); ok {
		s.resolve(a, r)
	} else if a.out != nil {
		a.out.Close()
	}
}

// mayBeTheScheduler reports whether a task died of a signal that a scheduler
// sends to all of a job at once.
func mayBeTheScheduler(e *task.ErrorValue) bool {
	if e == nil {
		return false
	}
	return e.Kind == task.KindInterrupt ||
		e.Kind == task.KindSignal && (e.Signal == "SIGTERM" || e.Signal == "SIGKILL")
}

// hold keeps a task that was killed unresolved for Options.Hold: if its worker
// is signalled or lost in that time, the task was lost with it.
func (s *session) hold(a *attempt, r task.Result) {
	a.held = r
	time.AfterFunc(s.d.opt.Hold, func() {
		s.p.mu.Lock()
		defer s.p.mu.Unlock()
		if s.away != nil {
			return // it is held again when its worker is back
		}
		if _, ok := s.p.queue.Release(a.Ref); ok {
			delete(s.attempts, a.Ref)
			s.resolve(a, r)
			s.p.pump(time.Now())
		}
	})
}

func (s *session) returned(m *wire.Returned, now time.Time) {
	delete(s.abandoned, queue.Ref(m.Ref))
	a := s.attempts[queue.Ref(m.Ref)]
	if a != nil && s.p.queue.Returned(a.Ref, now) {
		delete(s.attempts, a.Ref)
		s.dispose(a)
	}
}

// lost queues a task again whose slot died, or gives it up.
func (s *session) lost(ref queue.Ref, reason string, now time.Time) {
	delete(s.abandoned, ref)
	a := s.attempts[ref]
	if a == nil {
		return
	}
	if a == s.syncing {
		s.synced(task.Result{Err: task.Reset(reason)})
		return
	}
	givenUp, ok := s.p.queue.Lost(ref, now)
	if !ok {
		return
	}
	delete(s.attempts, ref)
	if !givenUp {
		s.dispose(a)
		return
	}
	s.giveUp(a, reason, false)
}

// drain assigns nothing more to a worker that is about to leave; tasks that
// were killed just before it said so were lost with it.
func (s *session) drain(reason string, now time.Time) {
	bySignal := strings.HasPrefix(reason, "SIG") || reason == "walltime"
	if bySignal {
		s.signals = reason
	} else {
		s.retiring = reason
	}
	s.p.log.Info("worker drains", "worker", s.id, "reason", reason)
	s.p.queue.Drain(s.epoch)
	if !bySignal {
		s.recallAll()
		return
	}
	requeued, givenUp := s.p.queue.LoseHeld(s.epoch, now)
	for _, a := range s.attempts {
		for _, id := range requeued {
			if a.Task == id {
				delete(s.attempts, a.Ref)
				s.dispose(a)
			}
		}
		for _, id := range givenUp {
			if a.Task == id {
				delete(s.attempts, a.Ref)
				s.giveUp(a, "the worker was told to end: "+reason, false)
			}
		}
	}
	s.recallAll()
}

// farewell notes why the worker leaves.
func (s *session) farewell(m *wire.Goodbye) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if int(m.Code) < len(s.p.left) {
		s.p.left[m.Code]++
	}
	if m.Code == wire.LeftWalltime {
		return errWalltime
	}
	return fmt.Errorf("%w: %s", errGoodbye, m.Text)
}

// park moves a future's output to disk if as much as may be is in memory. It
// is the reader's call, outside the lock.
func (s *session) park(a *attempt) {
	if _, kept := a.job.owner.owner.(*Future); !kept || a.out == nil {
		return
	}
	if s.d.kept.Load()+a.out.Memory() > s.d.opt.Keep {
		if err := a.out.Park(); err != nil {
			s.p.log.Warn("a result stays in memory", "error", err)
		}
	}
	a.kept = a.out.Memory()
	s.d.kept.Add(a.kept)
}

// goodbye asks the worker to leave. Under Pool.mu.
func (s *session) goodbye() { s.w.Send(&wire.Goodbye{Text: "the dispatcher ends"}) }
