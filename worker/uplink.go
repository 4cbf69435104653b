package worker

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/wire"
	mtls "muster/tls"
)

const (
	// maxSilence is how many heartbeats a dispatcher may be silent.
	maxSilence = 4
	// goodbyeWithin is how long a goodbye, and what is to be said before it, may take to
	// be written.
	goodbyeWithin = 5 * time.Second
)

// uplink is a worker's side of its session with the dispatcher: the connection or,
// with a lease, several, one after another; what has been said and not arrived; and
// the flow of each task's output. Slots report through it from any goroutine. The
// session reads from its channels and moves it from one connection to the next.
type uplink struct {
	o         *Options
	log       hclog.Logger
	id        string
	profile   string
	heartbeat time.Duration
	lease     time.Duration // how long the session outlives its connection; 0 is not at all
	out       *wire.Writer
	handle    func(wire.Message)        // takes what is for the session; belongs to read
	flushed   func()                    // what was handled is all that has come for now
	lend      func(ref wire.Ref, n int) // gives a task's slot credit
	settled   func()                    // is told when there may be nothing left to send

	gone     chan error    // the connection has ended; nil is a goodbye
	back     chan dialled  // what came of looking for the dispatcher again
	acked    chan struct{} // the dispatcher has all that was said
	readers  sync.WaitGroup
	dialling sync.WaitGroup
	away     atomic.Bool  // there is no connection
	silence  atomic.Int32 // heartbeats since something has come
	held     atomic.Int64 // bytes in the backlogs of all tasks
	full     atomic.Bool  // it has been said that they cannot be written

	// These belong to the session.
	in       *wire.Reader // to read, while there is a connection
	ticket   ticket       // for the next connection
	expiry   *time.Timer  // ends the lease; nil while there is a connection
	stopDial func()

	mu    sync.Mutex         // guards all below
	conn  *mtls.Conn         // the last
	flows map[wire.Ref]*flow // with a lease; also of tasks that have ended, whose output is not sent yet
	mute  bool               // nobody takes what tasks still print
}

// newUplink returns the uplink of a worker that has been let in. One goroutine
// writes, so that nobody who reports, or reads, ever waits for a peer that is slow.
func newUplink(o *Options, in *admission) *uplink {
	u := &uplink{o: o, log: o.Log.Named("worker"), id: in.welcome.WorkerID, profile: in.welcome.Profile,
		heartbeat: in.welcome.Heartbeat, lease: in.welcome.Lease, conn: in.conn, in: wire.NewReader(in.conn), out: wire.NewAsyncWriter(in.conn),
		ticket: in.ticket, gone: make(chan error, 1), back: make(chan dialled, 1), acked: make(chan struct{}, 1),
		flows: map[wire.Ref]*flow{}, settled: func() {}, flushed: func() {}}
	if u.lease > 0 {
		u.out.Retain()
	}
	return u
}

// start begins to read.
func (u *uplink) start() { u.readers.Go(func() { u.gone <- u.read() }) }

// every is the time between heartbeats.
func (u *uplink) every() time.Duration { return max(u.heartbeat, time.Second) }

// read handles what the dispatcher sends until the connection ends; nil means
// that it said goodbye. Pings are answered here, whatever else goes on.
func (u *uplink) read() error {
	for {
		m, err := u.in.Read()
		if err == io.EOF {
			return errors.New("the dispatcher closed the connection")
		}
		if err != nil {
			return fmt.Errorf("lost the dispatcher: %w", err)
		}
		u.silence.Store(0)
		switch m := m.(type) {
		case *wire.Ping:
			u.out.Send(&wire.Pong{Seq: m.Seq})
		case *wire.Ack:
			if err := u.acknowledged(m); err != nil {
				return err
			}
		case *wire.Credit:
			u.credited(m)
		case *wire.Goodbye:
			return nil
		case *wire.Assign:
			u.open(m)
			u.handle(m)
		default:
			u.handle(m)
		}
		if !u.in.More() {
			u.flushed()
		}
		u.acknowledge()
	}
}

// beat counts a heartbeat and reports whether the dispatcher has been silent for
// too many. Late says that this process was stopped itself: then the count begins
// anew. One on a tether never judges: its standard input ends with its dispatcher.
func (u *uplink) beat(late bool) (silent bool) {
	if late {
		u.silence.Store(0)
	}
	patience := int32((maxSilence*u.heartbeat + u.every() - 1) / u.every())
	return u.silence.Add(1) > patience && u.heartbeat > 0 && !u.away.Load() && !u.o.Tethered
}

// flush sends what was reported.
func (u *uplink) flush() { u.out.Flush() }

// close says what there is to say and ends the writer. It does not wait long.
func (u *uplink) close() error {
	u.mu.Lock()
	conn := u.conn
	u.mu.Unlock()
	defer time.AfterFunc(goodbyeWithin, func() { conn.NetConn().Close() }).Stop()
	return u.out.Close()
}

// hangUp ends the connection without a word, which could not be said for want of
// a peer that reads.
func (u *uplink) hangUp() { u.conn.NetConn().Close() }

// end ends all that the uplink has.
func (u *uplink) end() {
	u.stopDialling()
	u.conn.Close()
	u.readers.Wait()
	u.out.Close()
	for _, f := range u.openFlows() {
		f.drop(u)
	}
}

// acknowledged notes what the dispatcher has.
func (u *uplink) acknowledged(m *wire.Ack) error {
	if u.lease == 0 {
		return nil
	}
	if err := u.out.Acked(m.Received); err != nil {
		return err
	}
	if u.out.Pending() == 0 {
		select {
		case u.acked <- struct{}{}:
		default:
		}
	}
	return nil
}

// acknowledge tells the dispatcher what has come, now and then.
func (u *uplink) acknowledge() {
	if u.lease == 0 {
		return
	}
	if ack := u.in.Ack(); ack != nil {
		u.out.Send(ack)
	}
}

// open begins the flow of a task that has come.
func (u *uplink) open(m *wire.Assign) {
	if u.lease == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.flows[m.Ref] = &flow{ref: m.Ref, allowed: int(m.Window)}
}

// flow returns the flow of a task, nil without a lease.
func (u *uplink) flow(ref wire.Ref) *flow {
	if u.lease == 0 {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.flows[ref]
}

func (u *uplink) openFlows() []*flow {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Values(u.flows))
}

// empty reports whether no task has output that is still to be sent.
func (u *uplink) empty() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.flows) == 0
}

// settle forgets a flow that has ended.
func (u *uplink) settle(f *flow) {
	if !f.ended() {
		return
	}
	u.mu.Lock()
	delete(u.flows, f.ref)
	u.mu.Unlock()
	u.settled()
}

// report queues what a slot says of a task, as its flow allows. The caller
// flushes it.
func (u *uplink) report(m wire.Message) {
	switch m := m.(type) {
	case *wire.Output:
		if u.muted() {
			u.lend(m.Ref, len(m.Data))
			return
		}
		if f := u.flow(m.Ref); f != nil {
			if n := f.output(u, m); n > 0 {
				u.lend(m.Ref, n)
			}
			return
		}
	case *wire.Result:
		if f := u.flow(m.Ref); f != nil {
			f.finish(u, m)
			u.settle(f)
			return
		}
	case *wire.Returned:
		u.forget(m.Ref)
	case *wire.Lost:
		u.forget(m.Ref)
	}
	u.out.Queue(m)
}

// forget ends the flow of a task that is not the worker's any more.
func (u *uplink) forget(ref wire.Ref) {
	if f := u.flow(ref); f != nil {
		f.drop(u)
		u.settle(f)
	}
}

// credited takes the dispatcher's credit for a task.
func (u *uplink) credited(m *wire.Credit) {
	n := int(m.Bytes)
	if f := u.flow(m.Ref); f != nil {
		n = f.credit(u, n)
		u.settle(f)
		u.flush()
	}
	if n > 0 {
		u.lend(m.Ref, n)
	}
}

// silenceTasks has nobody take what tasks still print.
func (u *uplink) silenceTasks() {
	u.mu.Lock()
	u.mute = true
	flows := u.flows
	u.flows = map[wire.Ref]*flow{}
	u.mu.Unlock()
	for _, f := range flows {
		f.drop(u)
	}
}

func (u *uplink) muted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mute
}
