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
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/quiet"
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
	// Rejoin returns the join string for another dial, which may have changed;
	// nil for Join.
	Rejoin func() (mtls.Join, error)
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

// dialTimeout bounds dialling, handshake and hello together.
const dialTimeout = 20 * time.Second

// ErrRefused marks a dispatcher's refusal to admit the worker.
var ErrRefused = errors.New("the dispatcher refused this worker")

var errLater = errors.New("this may pass")

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
	conn, welcome, err := persist(ctx, o)
	if err != nil {
		return Ended, err
	}
	defer conn.Close()
	o.Log.Info("joined", "worker", welcome.WorkerID, "slots", o.Slots)
	w := &session{o: o, log: o.Log.Named("worker"), id: welcome.WorkerID, profile: welcome.Profile,
		conn: conn, out: wire.NewWriter(conn), heartbeat: welcome.Heartbeat, told: make(chan string, 1),
		owner: map[wire.Ref]*slot{}, living: map[*slot]bool{}, died: make(chan *slot, o.Slots), idle: make(chan struct{}, 1)}
	if o.Functions != nil && o.Slots > 1 {
		// Their results are many and small: those that are there go together.
		w.out = wire.NewAsyncWriter(conn)
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

// persist joins, again and again as long as Patience lasts: a job may start
// while the network or its dispatcher is not there, or while the session of
// its predecessor has not been given up.
func persist(ctx context.Context, o Options) (*mtls.Conn, *wire.Welcome, error) {
	deadline := time.Now().Add(o.Patience)
	if o.Patience < 0 {
		deadline = time.Now().AddDate(100, 0, 0)
	}
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		conn, welcome, err := join(ctx, o)
		final := err == nil || errors.Is(err, ErrRefused) && !errors.Is(err, errLater) && o.AutoExit != ExitNever
		if final || time.Now().Add(wait).After(deadline) {
			return conn, welcome, err
		}
		if o.Rejoin != nil {
			if join, err := o.Rejoin(); err == nil {
				o.Join = join
			}
		}
		o.Log.Warn("cannot join yet; trying again", "in", wait, "error", err)
		select {
		case <-time.After(wait):
		case why := <-o.Drain:
			return nil, nil, fmt.Errorf("told to end (%s) before it could join: %w", why, err)
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// join tries every address of the join string side by side and takes the
// first that lets the worker in.
func join(ctx context.Context, o Options) (*mtls.Conn, *wire.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	type try struct {
		addr    string
		conn    *mtls.Conn
		welcome *wire.Welcome
		err     error
	}
	// One address at a time says hello: a token admits one session, so two that
	// both reached the dispatcher must not both ask. Handshakes go side by side,
	// so that an address where nobody answers holds nobody up.
	var hello door
	tries := make(chan try, len(o.Join.Addrs))
	for _, addr := range o.Join.Addrs {
		go func() {
			conn, welcome, err := joinOne(ctx, addr, o, &hello)
			tries <- try{addr, conn, welcome, err}
		}()
	}
	var failed []error
	var won *try
	for range o.Join.Addrs {
		t := <-tries
		switch {
		case t.err != nil:
			failed = append(failed, fmt.Errorf("%s: %w", t.addr, t.err))
		case won == nil:
			won = &t
			cancel()
		default:
			t.conn.Close()
		}
	}
	if won != nil {
		return won.conn, won.welcome, nil
	}
	return nil, nil, fmt.Errorf("dial the dispatcher: %w", errors.Join(failed...))
}

func joinOne(ctx context.Context, addr string, o Options, hello *door) (*mtls.Conn, *wire.Welcome, error) {
	network, address, ok := strings.Cut(addr, ":")
	if !ok || network != "tcp" && network != "unix" {
		return nil, nil, fmt.Errorf("an address is tcp:HOST:PORT or unix:PATH")
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the caller names the address
	}
	if err != nil {
		return nil, nil, err
	}
	raw = quiet.Conn(raw)
	if deadline, ok := ctx.Deadline(); ok {
		raw.SetDeadline(deadline)
	}
	conn, welcome, err := greet(ctx, raw, o, hello)
	if err != nil {
		raw.Close()
		return nil, nil, err
	}
	raw.SetDeadline(time.Time{})
	return conn, welcome, nil
}

func greet(ctx context.Context, raw net.Conn, o Options, hello *door) (*mtls.Conn, *wire.Welcome, error) {
	conn, err := mtls.Client(ctx, raw, o.Join.Pin)
	if err != nil {
		return nil, nil, err
	}
	hello.Lock()
	defer hello.Unlock()
	if err := ctx.Err(); err != nil || hello.passed {
		return nil, nil, errors.Join(err, errPassed)
	}
	host, _ := os.Hostname()
	h := &wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Launch: o.Join.Launch,
		Element: o.Element, Restart: o.Restart, Host: host, Pid: uint32(os.Getpid()),
		Slots: uint32(o.Slots), Build: o.Build}
	if h.Proof, err = mtls.Proof(conn, o.Join.Token, h.ProofContext()); err != nil {
		return nil, nil, err
	}
	if err := wire.WriteHello(conn, h); err != nil {
		return nil, nil, err
	}
	welcome := &wire.Welcome{}
	if err := wire.ReadHello(conn, welcome); err != nil {
		return nil, nil, err
	}
	if welcome.Refused != "" && welcome.Later {
		return nil, nil, fmt.Errorf("%w: %s (%w)", ErrRefused, welcome.Refused, errLater)
	}
	if welcome.Refused != "" {
		return nil, nil, fmt.Errorf("%w: %s", ErrRefused, welcome.Refused)
	}
	hello.passed = true
	return conn, welcome, nil
}

// door lets one connection at a time say hello, until one was let in.
type door struct {
	sync.Mutex
	passed bool
}

var errPassed = errors.New("another address was quicker")

// session is a worker between its welcome and its end.
type session struct {
	o         Options
	log       hclog.Logger
	id        string
	profile   string
	conn      net.Conn
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

	mu       sync.Mutex // guards all below
	owner    map[wire.Ref]*slot
	slots    []*slot     // nil where none has been started yet
	state    *wire.State // what the last everywhere left behind
	taken    int         // tasks of MaxTasks
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
	gone := make(chan error, 1)
	go func() { gone <- s.read() }()
	beat := time.NewTicker(max(s.heartbeat, time.Second))
	defer beat.Stop()
	for {
		select {
		case err := <-gone:
			if s.o.AutoExit == ExitFinish {
				s.finishRunning(ctx)
			}
			return again, err
		case <-ctx.Done():
			s.out.Send(&wire.Goodbye{Text: "stopped"})
			s.out.Close()
			return Ended, context.Cause(ctx)
		case why := <-s.o.Drain:
			if s.drain(why, Ended) {
				return s.leave()
			}
		case why := <-s.told:
			if s.drain(why, Ended) {
				return s.leave()
			}
		case <-unused:
			left := s.untilIdle()
			if left <= 0 && s.drain("idletime", Idletime) {
				return s.leave()
			}
			unused = time.After(max(left, time.Millisecond))
		case sl := <-s.died:
			if err := s.replace(sl); err != nil {
				return Ended, err
			}
		case <-beat.C:
			if s.silent() {
				return again, errors.New("the dispatcher fell silent")
			}
		case <-s.drainAt:
			if s.drain("walltime", Walltime) {
				return s.leave()
			}
		case <-s.leaveAt:
			s.log.Warn("the walltime is over; handing back what runs")
			s.out.Send(&wire.Goodbye{Code: wire.LeftWalltime, Text: "walltime"})
			return Walltime, s.out.Close()
		case <-s.idle:
			return s.leave()
		}
	}
}

// untilIdle returns how long the worker has to have no task yet to be idle.
func (s *session) untilIdle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owner) > 0 {
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
	s.mu.Unlock()
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

// leave says goodbye after draining.
func (s *session) leave() (Reason, error) {
	s.log.Info("leaving", "reason", s.reason)
	s.out.Send(&wire.Goodbye{Code: uint32(s.reason), Text: s.reason.String()})
	return s.reason, s.out.Close()
}

// end stops the slots and waits until each has cleared what it ran.
func (s *session) end() {
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
	s.clear()
	s.out.Close()
}

// read handles what the dispatcher sends until the connection ends; nil means
// that it said goodbye.
func (s *session) read() error {
	r := wire.NewReader(s.conn)
	for {
		m, err := r.Read()
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
			s.toOwner(m.Ref, m)
		case *wire.Recall:
			if !s.atLimit() {
				s.toOwner(m.Ref, m)
			}
		case *wire.Ping:
			s.out.Send(&wire.Pong{Seq: m.Seq})
		case *wire.Drain:
			select {
			case s.told <- m.Reason:
			default:
			}
		case *wire.Goodbye:
			return nil
		}
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
	sl, err := s.slotFor(m)
	if err != nil {
		s.mu.Unlock()
		s.out.Send(&wire.Result{Ref: m.Ref, Slot: m.Slot, Err: &task.ErrorValue{Kind: task.KindSpawn, Code: 126, Message: err.Error()}})
		return
	}
	s.owner[m.Ref] = sl
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

// drain starts leaving and reports whether nothing runs any more.
func (s *session) drain(why string, reason Reason) bool {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return s.drained()
	}
	s.draining, s.reason = true, reason
	s.mu.Unlock()
	s.log.Info("draining", "reason", why)
	s.out.Send(&wire.Drain{Reason: why})
	return s.drained()
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
	return s.draining && len(s.owner) == 0
}

func (s *session) seen() {
	s.mu.Lock()
	s.lastSeen = time.Now()
	s.mu.Unlock()
}

func (s *session) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heartbeat > 0 && time.Since(s.lastSeen) > 4*s.heartbeat
}
