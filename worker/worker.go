// Package worker is the service that dials a dispatcher, proves its join
// token, runs the tasks it is given in slots, and reports what became of them.
//
// A worker is a process; each of its slots is a child process that runs one
// task at a time, so that the death of one takes nothing else along:
//
//	dispatcher ──TLS── worker ──socket pair── slot ── task and all it starts
//
// Every process watches a pipe from its parent and is the reaper of all that
// descends from it. Whichever of them is killed, the one below sees its pipe
// end and clears its descendants, and the one above adopts and clears the rest.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

// Options configures a worker.
type Options struct {
	Join    mtls.Join
	Element string // which of the launch's workers this is
	Restart uint32 // how often the scheduler has restarted this element
	Slots   int
	Scratch string // directory for the slots' scratch folders; must exist
	Log     hclog.Logger
	Build   string // muster's version
	// Patience is how long to go on dialling when nobody answers; below 0 is
	// for ever.
	Patience time.Duration
	// IdleTime ends the worker when it has had no task for so long; 0 is never.
	IdleTime time.Duration
	// MaxTasks ends the worker after so many tasks; 0 is never.
	MaxTasks int
	// AutoExit says what to do when the dispatcher ends or is lost.
	AutoExit AutoExit
	// KeepScratch leaves MUSTER_TASK_DIR as a task left it for the next.
	KeepScratch bool
	// Output says what becomes of what tasks print.
	Output Output
	// Dir is where tasks run whatever they say; empty is where they say.
	Dir string
	// Rejoin returns the join string for another dial, which may have changed;
	// nil for Join. If its error is fs.ErrNotExist the launch has been taken back.
	Rejoin func() (mtls.Join, error)
	// Dial reaches an address of the join string; nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Walltime is how long the worker's job lasts from now, 0 if there is no
	// limit: shortly before it, what runs is handed back.
	Walltime time.Duration
	// Estimate is how long a task takes, about: none is begun that could not
	// end within the walltime.
	Estimate time.Duration
	// Drain is closed or sent to when the worker is to take nothing more and
	// leave when what runs has ended; the text is the reason.
	Drain <-chan string
	// Keep is true for the children of this process that are not the worker's
	// to end.
	Keep func(pid int) bool
	// SlotCommand starts one slot: argv, to which nothing is added.
	SlotCommand []string
	// Functions are what tasks may name; they run in this process, so that one
	// that ends it takes the others that run along. Slots of a worker that has
	// some are started when there is a command for them.
	Functions map[string]Function
}

// AutoExit is what a worker does when its dispatcher ends or is lost.
type AutoExit string

// The kinds of AutoExit; the empty one is ExitNow.
const (
	ExitNow    AutoExit = "now"    // leave; tasks get 200 ms to end
	ExitFinish AutoExit = "finish" // leave when the tasks that run have ended
	ExitNever  AutoExit = "never"  // dial until there is a dispatcher again
)

// Output is what becomes of what tasks print.
type Output string

// The kinds of Output; the empty one is OutputCollect.
const (
	OutputCollect Output = "collect" // it travels to the dispatcher
	OutputDiscard Output = "discard" // it is thrown away
	OutputEcho    Output = "echo"    // it travels, and the worker prints it too
)

// Reason is why a worker left, in mirai's numbers.
type Reason uint32

// The reasons.
const (
	Ended    Reason = wire.LeftEnded
	Idletime Reason = wire.LeftIdle
	Walltime Reason = wire.LeftWalltime
	MaxTasks Reason = wire.LeftMaxTasks
)

func (r Reason) String() string { return wire.LeftText(uint32(r)) }

// Run dials, serves until the dispatcher says goodbye, the worker has drained
// or the connection breaks, and returns with no process left. The error is nil
// after a goodbye and after draining, and ctx's when ctx ended it.
func Run(ctx context.Context, o Options) (Reason, error) {
	began := time.Now()
	patience := o.Patience
	for {
		reason, err := serve(ctx, o, began)
		if o.AutoExit != ExitNever || ctx.Err() != nil || err == nil && reason != again {
			if reason == again {
				reason = Ended
			}
			return reason, err
		}
		if o.Patience = -1; err != nil {
			o.Log.Warn("waiting for a dispatcher", "error", err, "patience", patience)
		}
		if o.Rejoin != nil {
			if join, err := o.Rejoin(); err == nil {
				o.Join = join
			}
		}
	}
}

// again is a dispatcher's goodbye, which a worker may wait after for another.
const again Reason = 1 << 16

// serve is one session, from the first dial to its end.
func serve(ctx context.Context, o Options, began time.Time) (Reason, error) {
	in, err := persist(ctx, o)
	if err != nil {
		return Ended, err
	}
	conn, welcome := in.conn, in.welcome
	o.Log.Info("joined", "worker", welcome.WorkerID, "slots", o.Slots)
	w := &session{o: o, log: o.Log.Named("worker"), id: welcome.WorkerID, profile: welcome.Profile,
		conn: conn, in: wire.NewReader(conn), out: wire.NewWriter(conn), heartbeat: welcome.Heartbeat, told: make(chan string, 1),
		lease: welcome.Lease, ticket: in.ticket, gone: make(chan error, 1), back: make(chan dialled, 1), acked: make(chan struct{}, 1),
		owner: map[wire.Ref]*slot{}, flows: map[wire.Ref]*flow{}, living: map[*slot]bool{}, died: make(chan *slot, o.Slots), idle: make(chan struct{}, 1)}
	if o.Functions != nil && o.Slots > 1 {
		// Their results are many and small: those that are there go together.
		w.out = wire.NewAsyncWriter(conn)
	}
	if w.lease > 0 {
		w.out.Retain()
	}
	w.drainAt, w.leaveAt = limits(began, o)
	return w.run(ctx)
}

// limits returns when a worker of limited time takes its last task and when it
// hands back what still runs; nil channels if it has all the time.
func limits(began time.Time, o Options) (drain, leave <-chan time.Time) {
	if o.Walltime == 0 {
		return nil, nil
	}
	// A tenth of a short walltime, else what a scheduler may need between its
	// own clock and ours, and what tasks get to end by themselves.
	end := began.Add(o.Walltime - min(10*time.Second, o.Walltime/10))
	last := o.Estimate
	if last == 0 {
		last = min(time.Minute, o.Walltime/10)
	}
	return time.After(time.Until(end.Add(-last))), time.After(time.Until(end))
}

// session is a worker between its welcome and its end.
type session struct {
	o         Options
	log       hclog.Logger
	id        string
	profile   string
	conn      *mtls.Conn   // the last; it belongs to run
	in        *wire.Reader // belongs to read
	out       *wire.Writer // to the dispatcher
	heartbeat time.Duration
	calls     sync.RWMutex  // read-locked while a function runs
	functions []*slot       // one a slot, if there are functions
	flushing  atomic.Bool   // what was queued will be flushed soon
	died      chan *slot    // slots that have gone, while the session runs
	idle      chan struct{} // a draining worker's last task has ended
	readers   sync.WaitGroup
	drainAt   <-chan time.Time
	leaveAt   <-chan time.Time
	told      chan string // the dispatcher wants the worker to drain
	gone      chan error  // the connection has ended; nil is a goodbye

	lease      time.Duration // how long the session outlives its connection; 0 is not at all
	back       chan dialled  // what came of looking for the dispatcher again
	acked      chan struct{} // the dispatcher has all that was said
	dialling   sync.WaitGroup
	away       atomic.Bool  // there is no connection
	backlogged atomic.Int64 // bytes in the backlogs of all tasks
	full       atomic.Bool  // it has been said that they cannot be written

	// These belong to run.
	ticket   ticket      // for the next connection
	expiry   *time.Timer // ends the lease; nil while there is a connection
	stopDial context.CancelFunc
	leaving  bool // the goodbye has been said

	mu       sync.Mutex // guards all below
	owner    map[wire.Ref]*slot
	flows    map[wire.Ref]*flow // with a lease; also of tasks that have ended, whose output is not sent yet
	slots    []*slot            // nil where none has been started yet
	state    *wire.State        // what the last everywhere left behind
	taken    int                // tasks of MaxTasks
	lastBusy time.Time
	draining bool
	reason   Reason // why it drains
	finish   bool   // nobody takes what tasks still print
	lastSeen time.Time

	kids   sync.Mutex     // held while a slot is started or leftovers are cleared
	living map[*slot]bool // that have a process; guarded by kids
}

func (s *session) run(ctx context.Context) (Reason, error) {
	defer s.end()
	s.slots = make([]*slot, s.o.Slots)
	for i := range s.slots {
		if s.o.Functions != nil {
			s.functions = append(s.functions, s.functionSlot(i+1))
			continue
		}
		sl, err := s.startSlot(i + 1)
		if err != nil {
			return Ended, err
		}
		s.slots[i] = sl
	}
	s.seen()
	s.lastBusy = time.Now()
	var unused <-chan time.Time
	if s.o.IdleTime > 0 {
		unused = time.After(s.o.IdleTime)
	}
	s.readers.Go(func() { s.gone <- s.read() })
	beat := time.NewTicker(max(s.heartbeat, time.Second))
	defer beat.Stop()
	for {
		select {
		case err := <-s.gone:
			if !s.depart(ctx, err) {
				return s.lost(ctx, err)
			}
		case d := <-s.back:
			if err := s.comeBack(d); err != nil {
				return s.lost(ctx, err)
			}
		case <-s.leaseOver():
			return s.lost(ctx, fmt.Errorf("the dispatcher was out of reach for more than %v", s.lease))
		case <-s.acked:
			if s.leaving && s.out.Pending() == 0 {
				return s.reason, nil
			}
		case <-ctx.Done():
			s.out.Send(&wire.Goodbye{Text: "stopped"})
			s.out.Close()
			return Ended, context.Cause(ctx)
		case why := <-s.o.Drain:
			s.drain(why, Ended)
		case why := <-s.told:
			s.drain(why, Ended)
		case <-unused:
			left := s.untilIdle()
			if unused = time.After(left); left <= 0 {
				unused = nil
				s.drain("idletime", Idletime)
			}
		case sl := <-s.died:
			if err := s.replace(sl); err != nil {
				return Ended, err
			}
		case <-beat.C:
			if !s.silent() {
				continue
			}
			if s.lease == 0 {
				return again, errors.New("the dispatcher fell silent")
			}
			s.hangUp()
		case <-s.drainAt:
			s.drain("walltime", Walltime)
		case <-s.leaveAt:
			s.log.Warn("the walltime is over; handing back what runs")
			s.out.Send(&wire.Goodbye{Code: wire.LeftWalltime, Text: "walltime"})
			return Walltime, s.out.Close()
		case <-s.idle:
			if s.leave() {
				return s.reason, s.out.Close()
			}
		}
	}
}

// untilIdle returns how long the worker has to have no task yet to be idle.
func (s *session) untilIdle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owner) > 0 || len(s.flows) > 0 || s.away.Load() {
		return s.o.IdleTime
	}
	return s.o.IdleTime - time.Since(s.lastBusy)
}

// finishRunning waits until what runs has ended, though nobody will hear of it.
func (s *session) finishRunning(ctx context.Context) {
	s.conn.Close()
	s.mu.Lock()
	s.finish, s.draining = true, true
	refs := slices.Collect(maps.Keys(s.owner))
	flows := s.flows
	s.flows = map[wire.Ref]*flow{}
	s.mu.Unlock()
	for _, f := range flows {
		f.drop(s)
	}
	if len(refs) == 0 {
		return
	}
	s.log.Warn("the dispatcher is gone; finishing what runs", "tasks", len(refs))
	for _, ref := range refs {
		s.toOwner(ref, &wire.Credit{Ref: ref, Bytes: wire.MaxWindow})
	}
	select {
	case <-s.idle:
	case <-ctx.Done():
	}
}

// end stops the slots and waits until each has cleared what it ran.
func (s *session) end() {
	s.stopDialling()
	s.conn.Close()
	s.mu.Lock()
	s.draining = true // no slot is started any more
	slots := slices.DeleteFunc(slices.Clone(s.slots), func(sl *slot) bool { return sl == nil })
	s.mu.Unlock()
	for _, sl := range s.functions {
		sl.runner.mu.Lock()
		if sl.runner.stop != nil {
			sl.runner.stop(errWorkerGone)
		}
		sl.runner.mu.Unlock()
	}
	for _, sl := range slots {
		sl.conn.Close()
	}
	for _, sl := range slots {
		<-sl.exited
	}
	s.readers.Wait()
	for _, sl := range s.functions {
		sl.runner.end() // one that still runs returns by itself, or has watch end the process
	}
	s.clear()
	s.out.Close()
	for _, f := range s.openFlows() {
		f.drop(s)
	}
}

// read handles what the dispatcher sends until the connection ends; nil means
// that it said goodbye.
func (s *session) read() error {
	for {
		m, err := s.in.Read()
		if err == io.EOF {
			return errors.New("the dispatcher closed the connection")
		}
		if err != nil {
			return fmt.Errorf("lost the dispatcher: %w", err)
		}
		s.seen()
		switch m := m.(type) {
		case *wire.Assign:
			s.assign(m)
		case *wire.Cancel:
			s.toOwner(m.Ref, m)
		case *wire.Credit:
			s.credited(m)
		case *wire.Recall:
			if !s.atLimit() {
				s.toOwner(m.Ref, m)
			}
		case *wire.Ping:
			s.out.Send(&wire.Pong{Seq: m.Seq})
		case *wire.Ack:
			if err := s.acknowledged(m); err != nil {
				return err
			}
		case *wire.Drain:
			select {
			case s.told <- m.Reason:
			default:
			}
		case *wire.Goodbye:
			return nil
		}
		s.acknowledge()
	}
}

// assign and toOwner write to a slot without the lock: a slot whose socket is
// full needs others here to go on before it reads.
func (s *session) assign(m *wire.Assign) {
	s.mu.Lock()
	if m.Slot < 1 || int(m.Slot) > len(s.slots) || s.draining && !m.Spec.Everywhere {
		s.mu.Unlock()
		s.out.Send(&wire.Returned{Ref: m.Ref})
		return
	}
	if s.o.Dir != "" {
		m.Spec.Dir = s.o.Dir
	}
	sl, err := s.slotFor(m)
	if err != nil {
		s.mu.Unlock()
		s.out.Send(&wire.Result{Ref: m.Ref, Slot: m.Slot, Err: &task.ErrorValue{Kind: task.KindSpawn, Code: 126, Message: err.Error()}})
		return
	}
	s.owner[m.Ref] = sl
	if s.lease > 0 {
		s.flows[m.Ref] = &flow{ref: m.Ref, allowed: int(m.Window)}
	}
	last := false
	if s.o.MaxTasks > 0 && !m.Spec.Everywhere {
		s.taken++
		last = s.taken >= s.o.MaxTasks
	}
	s.mu.Unlock()
	sl.send(m)
	if last {
		s.drain("maxtasks", MaxTasks)
	}
}

// slotFor returns where a task runs. Under mu.
func (s *session) slotFor(m *wire.Assign) (*slot, error) {
	n := int(m.Slot) - 1
	if m.Spec.Func != "" {
		if s.functions == nil {
			return nil, fmt.Errorf("this worker runs commands, and has no function %q: workers of a Go program are that program", m.Spec.Func)
		}
		return s.functions[n], nil
	}
	if s.slots[n] == nil {
		sl, err := s.startSlot(n + 1)
		if err != nil {
			return nil, err
		}
		s.slots[n] = sl
		if s.state != nil {
			sl.send(s.state)
		}
	}
	return s.slots[n], nil
}

func (s *session) toOwner(r wire.Ref, m wire.Message) {
	s.mu.Lock()
	sl := s.owner[r]
	s.mu.Unlock()
	if sl != nil {
		sl.send(m)
	}
}

// drain starts leaving, which goes on when nothing runs any more.
func (s *session) drain(why string, reason Reason) {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return
	}
	s.draining, s.reason = true, reason
	s.mu.Unlock()
	s.log.Info("draining", "reason", why)
	if !s.awayAndEven() {
		s.out.Send(&wire.Drain{Reason: why})
	}
	s.tellIdle()
}

// atLimit reports whether what the worker has are the last tasks that it may
// have, which it does not give back.
func (s *session) atLimit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining && s.reason == MaxTasks
}

func (s *session) drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining && len(s.owner) == 0 && len(s.flows) == 0
}

func (s *session) seen() {
	s.mu.Lock()
	s.lastSeen = time.Now()
	s.mu.Unlock()
}

func (s *session) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heartbeat > 0 && time.Since(s.lastSeen) > 4*s.heartbeat && !s.away.Load()
}
