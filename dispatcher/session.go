package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

// session is one worker's connection from its welcome to its end.
type session struct {
	d       *Dispatcher
	id      string // what users see
	hello   wire.Hello
	conn    net.Conn
	w       *wire.Writer
	epoch   uint64
	stop    chan struct{} // closed when the reader ends
	signals string        // why the worker drains; guarded by Dispatcher.mu

	// attempts and the three after it are guarded by Dispatcher.mu.
	attempts map[queue.Ref]*attempt
	lastSeen time.Time
	pings    map[uint64]time.Time
	seq      uint64
}

// serveConn admits one connection and serves it to its end.
func (d *Dispatcher) serveConn(raw net.Conn) {
	defer raw.Close()
	ctx, cancel := context.WithTimeout(context.Background(), HelloTimeout)
	defer cancel()
	raw.SetDeadline(time.Now().Add(HelloTimeout))
	conn, hello, release, err := d.join(ctx, raw)
	<-d.pending
	if err != nil {
		level := hclog.Warn
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			level = hclog.Debug // a worker that came in by another address
		}
		d.log.Log(level, "a peer was not admitted", "peer", raw.RemoteAddr().String(), "reason", err)
		return
	}
	defer release()
	raw.SetDeadline(time.Time{})
	s := d.open(conn, hello)
	if s == nil {
		return
	}
	reason := s.read()
	close(s.stop)
	raw.Close()
	s.w.Close()
	d.leave(s, reason)
}

// join shakes hands, checks the hello and answers it.
func (d *Dispatcher) join(ctx context.Context, raw net.Conn) (conn *mtls.Conn, hello wire.Hello, release func(), err error) {
	if conn, err = mtls.Server(ctx, raw, d.opt.Identity); err != nil {
		return nil, hello, nil, err
	}
	if err = wire.ReadHello(conn, &hello); err != nil {
		return nil, hello, nil, err
	}
	release, err = d.admit(conn, &hello)
	welcome := &wire.Welcome{Version: wire.Version, Heartbeat: d.opt.Heartbeat, WorkerID: workerID(&hello)}
	if err != nil {
		welcome.Refused = err.Error()
		welcome.Later = errors.Is(err, mtls.ErrLive) // that one may be dead and not known to be
	}
	if werr := wire.WriteHello(conn, welcome); err == nil && werr != nil {
		release()
		err = werr
	}
	return conn, hello, release, err
}

// workerID is the launch's element on its host, as users read it.
func workerID(h *wire.Hello) string { return h.Element + "@" + h.Host }

var errUnknownLaunch = errors.New("its join token is not known here: the launch it belongs to has ended, or it dialled another dispatcher")

// maxSlots bounds what one worker may claim.
const maxSlots = 4096

func (d *Dispatcher) admit(conn *mtls.Conn, h *wire.Hello) (release func(), err error) {
	if h.Version < wire.MinVersion || h.MinVersion > wire.Version {
		return nil, fmt.Errorf("version mismatch: the worker speaks protocol %d to %d (muster %s), the dispatcher %d to %d: use the same muster on both sides",
			h.MinVersion, h.Version, h.Build, wire.MinVersion, wire.Version)
	}
	d.mu.Lock()
	l := d.launches[h.Launch]
	d.mu.Unlock()
	if l == nil {
		return nil, errUnknownLaunch
	}
	if err := mtls.CheckProof(conn, l.Token(), h.ProofContext(), h.Proof); err != nil {
		return nil, err
	}
	if h.Slots < 1 || h.Slots > maxSlots {
		return nil, fmt.Errorf("a worker has 1 to %d slots, not %d", maxSlots, h.Slots)
	}
	if err := l.Admit(h.Element, h.Restart, time.Now()); err != nil {
		return nil, err
	}
	return func() { l.Release(h.Element, h.Restart) }, nil
}

func (d *Dispatcher) open(conn net.Conn, hello wire.Hello) *session {
	s := &session{d: d, id: workerID(&hello), hello: hello, conn: conn,
		stop: make(chan struct{}), attempts: map[queue.Ref]*attempt{}, pings: map[uint64]time.Time{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	s.w = wire.NewAsyncWriter(conn)
	s.lastSeen = time.Now()
	s.epoch = d.queue.Join(int(hello.Slots))
	d.sessions[s.epoch] = s
	d.joined++
	d.changed()
	d.log.Info("worker joined", "worker", s.id, "slots", hello.Slots, "pid", hello.Pid)
	d.wg.Add(1)
	go s.heartbeat()
	d.pump(time.Now())
	return s
}

// leave takes the worker's tasks back when its connection has ended.
func (d *Dispatcher) leave(s *session, reason error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	why := fmt.Sprintf("worker %s: %v", s.id, reason)
	requeued, givenUp := d.queue.Leave(s.epoch, now)
	delete(d.sessions, s.epoch)
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
	if orderly := d.closed || errors.Is(reason, errGoodbye) || errors.Is(reason, errWalltime); len(requeued)+len(givenUp) > 0 || !orderly {
		d.log.Warn("worker gone", "worker", s.id, "reason", reason, "retried", len(requeued), "lost", len(givenUp))
	} else {
		d.log.Info("worker left", "worker", s.id)
	}
	d.changed()
	d.pump(now)
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
	a.job.batch.resolve(a, s, r)
}

// dispose ends an attempt whose task is queued again: cancelled ones resolve,
// the others lose the output of this try.
func (s *session) dispose(a *attempt) {
	if a == nil {
		return
	}
	b := a.job.batch
	if a.cancel != nil {
		s.d.queue.Cancel(a.Task)
		b.resolve(a, s, task.Result{Err: a.cancel})
		return
	}
	if a.out != nil {
		a.out.Close()
	}
	if b.stopped {
		b.dropQueued()
	}
}

var (
	errGoodbye  = errors.New("it said goodbye")
	errWalltime = errors.New("its job's walltime was over")
	errSilent   = errors.New("it fell silent")
	errWindow   = errors.New("it sent more output than its window allows")
)

// read handles the worker's frames until the connection ends, and says why it did.
func (s *session) read() error {
	r := wire.NewReader(s.conn)
	for {
		m, err := r.Read()
		if err != nil {
			if s.silent(time.Now()) {
				return errSilent
			}
			if err == io.EOF {
				return errors.New("connection closed")
			}
			return err
		}
		if err := s.handle(m); err != nil {
			return err
		}
	}
}

func (s *session) handle(m wire.Message) error {
	switch m := m.(type) {
	case *wire.Output:
		return s.output(m)
	case *wire.Goodbye:
		if m.Code == wire.LeftWalltime {
			return errWalltime
		}
		return errGoodbye
	case *wire.Ping:
		s.w.Send(&wire.Pong{Seq: m.Seq})
	}
	now := time.Now()
	if res, ok := m.(*wire.Result); ok {
		return s.result(res, now)
	}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.lastSeen = now
	switch m := m.(type) {
	case *wire.Started:
		if a := s.attempts[queue.Ref(m.Ref)]; a != nil {
			s.d.queue.Started(a.Ref, now)
		}
	case *wire.Returned:
		s.returned(m, now)
	case *wire.Lost:
		s.lost(queue.Ref(m.Ref), m.Reason, now)
	case *wire.Drain:
		s.drain(m.Reason, now)
	case *wire.Pong:
		if at, ok := s.pings[m.Seq]; ok {
			delete(s.pings, m.Seq)
			s.d.queue.RTT(s.epoch, now.Sub(at))
		}
		return nil
	default:
		return nil
	}
	s.d.pump(now)
	return nil
}

// assign sends a task. Under Dispatcher.mu.
func (s *session) assign(q queue.Assignment[job]) {
	j := q.Payload
	a := &attempt{Ref: q.Ref, job: j, slot: q.Slot, ahead: q.Ahead,
		window: wire.MinWindow, size: wire.MinWindow}
	a.spec = j.batch.opt.Render(j.row, j.index, q.Slot)
	if n := a.spec.Size(); n > wire.MaxSpec {
		// It would not fit into a frame; nor would the kernel take it (execve(2),
		// "Limits on size of arguments and environment").
		s.d.queue.Finished(a.Ref, 0, time.Now())
		j.batch.resolve(a, s, task.Result{Err: &task.ErrorValue{Kind: task.KindSpawn, Code: 126,
			Message: fmt.Sprintf("its command and variables are too long: %d bytes; %d are possible", n, wire.MaxSpec)}})
		return
	}
	s.attempts[q.Ref] = a
	s.w.Send(&wire.Assign{Ref: wire.Ref(q.Ref), Slot: uint32(q.Slot), Window: wire.MinWindow, Spec: a.spec,
		OnlyAfterSuccess: j.batch.opt.StopOnFailure})
}

func (s *session) recall(r queue.Ref) { s.w.Send(&wire.Recall{Ref: wire.Ref(r)}) }

// recallAll asks for every task that has not started. Under Dispatcher.mu.
func (s *session) recallAll() {
	for ref := range s.attempts {
		if st, ok := s.d.queue.State(ref.Task); ok && st == task.Assigned {
			s.recall(ref)
		}
	}
}

// cancel stops a task. The first reason stands. Under Dispatcher.mu.
func (s *session) cancel(a *attempt, why *task.ErrorValue) {
	if a.cancel != nil {
		return
	}
	a.cancel = why
	if _, held, _, _ := s.d.queue.Cancel(a.Task); held {
		delete(s.attempts, a.Ref)
		a.job.batch.resolve(a, s, a.held)
		return
	}
	s.w.Send(&wire.Cancel{Ref: wire.Ref(a.Ref), Err: why})
}

func (s *session) attempt(r wire.Ref) *attempt {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.attempts[queue.Ref(r)]
}

// output spools a chunk and gives its bytes back as credit. The disk is
// written outside the dispatcher's lock; the attempt's spool is this reader's.
func (s *session) output(m *wire.Output) error {
	a := s.attempt(m.Ref)
	if a == nil {
		return nil
	}
	if a.window -= len(m.Data); a.window < 0 {
		return errWindow
	}
	s.spool(a, int(m.Stream), m.Data)
	a.used += len(m.Data)
	if a.used < a.size/2 {
		return nil
	}
	grow := min(a.size, wire.MaxWindow-a.size)
	a.size += grow
	s.w.Send(&wire.Credit{Ref: m.Ref, Bytes: uint32(a.used + grow)})
	a.window += a.used + grow
	a.used = 0
	s.d.mu.Lock()
	s.lastSeen = time.Now()
	s.d.mu.Unlock()
	return nil
}

// spool keeps output. If it cannot, the task is stopped: to go on and lose
// what it says would be worse.
func (s *session) spool(a *attempt, stream int, p []byte) {
	if a.broken || len(p) == 0 {
		return
	}
	if a.out == nil {
		a.out = s.d.opt.Spool.New(strconv.FormatUint(uint64(a.Task), 10) + "." + strconv.Itoa(int(a.Attempt)))
	}
	if err := a.out.Write(stream, p); err != nil {
		a.broken = true
		s.d.mu.Lock()
		s.cancel(a, &task.ErrorValue{Kind: task.KindError, Code: 1, Message: "its output could not be kept: " + err.Error()})
		s.d.mu.Unlock()
	}
}

// result ends an attempt, unless nobody knows yet who killed it.
func (s *session) result(m *wire.Result, now time.Time) error {
	a := s.attempt(m.Ref)
	if a == nil {
		return nil
	}
	s.spool(a, 1, m.Stdout)
	s.spool(a, 2, m.Stderr)
	r := task.Result{Started: m.Started, Elapsed: m.Elapsed, Err: m.Err}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.lastSeen = now
	if a.cancel != nil && (a.broken || r.Err != nil) {
		r.Err = a.cancel
	}
	switch {
	case a.cancel == nil && mayBeTheScheduler(m.Err) && s.signals != "":
		s.lost(a.Ref, "the worker was told to end: "+s.signals, now)
	case a.cancel == nil && mayBeTheScheduler(m.Err) && s.d.queue.Hold(a.Ref, m.Elapsed, now):
		s.hold(a, r)
	default:
		s.finish(a, r, now)
	}
	s.d.pump(now)
	return nil
}

func (s *session) finish(a *attempt, r task.Result, now time.Time) {
	delete(s.attempts, a.Ref)
	if _, ok := s.d.queue.Finished(a.Ref, r.Elapsed, now); ok {
		a.job.batch.resolve(a, s, r)
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
		s.d.mu.Lock()
		defer s.d.mu.Unlock()
		if _, ok := s.d.queue.Release(a.Ref); ok {
			delete(s.attempts, a.Ref)
			a.job.batch.resolve(a, s, r)
			s.d.pump(time.Now())
		}
	})
}

func (s *session) returned(m *wire.Returned, now time.Time) {
	a := s.attempts[queue.Ref(m.Ref)]
	if a != nil && s.d.queue.Returned(a.Ref, now) {
		delete(s.attempts, a.Ref)
		s.dispose(a)
	}
}

// lost queues a task again whose slot died, or gives it up.
func (s *session) lost(ref queue.Ref, reason string, now time.Time) {
	a := s.attempts[ref]
	if a == nil {
		return
	}
	givenUp, ok := s.d.queue.Lost(ref, now)
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
	s.signals = reason
	s.d.log.Info("worker drains", "worker", s.id, "reason", reason)
	s.d.queue.Drain(s.epoch)
	requeued, givenUp := s.d.queue.LoseHeld(s.epoch, now)
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

// goodbye asks the worker to leave. Under Dispatcher.mu.
func (s *session) goodbye() { s.w.Send(&wire.Goodbye{Text: "the dispatcher ends"}) }

func (s *session) silent(now time.Time) bool {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return now.Sub(s.lastSeen) > 4*s.d.opt.Heartbeat
}

// heartbeat pings the worker, which also measures the round trip, and hangs up
// on one that has been silent too long.
func (s *session) heartbeat() {
	defer s.d.wg.Done()
	t := time.NewTicker(s.d.opt.Heartbeat)
	defer t.Stop()
	for {
		s.ping(time.Now())
		select {
		case <-s.stop:
			return
		case now := <-t.C:
			if s.silent(now) {
				s.conn.Close()
				return
			}
		}
	}
}

func (s *session) ping(now time.Time) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.seq++
	if len(s.pings) < 16 {
		s.pings[s.seq] = now
	}
	s.w.Send(&wire.Ping{Seq: s.seq})
}
