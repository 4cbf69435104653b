// Package dispatcher is the service that queues tasks, admits the workers that
// dial it, gives each free slot the oldest task, and collects what comes back.
//
// One mutex guards the queue and the table of sessions; nothing that can block
// happens under it. Each session has a goroutine that reads frames and spools
// output, and a wire.Writer with a goroutine that writes what has gathered.
package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher/internal/queue"
	"muster/internal/quiet"
	"muster/internal/spool"
	"muster/task"
	mtls "muster/tls"
)

// Defaults of Options.
const (
	DefaultHeartbeat = 5 * time.Second
	DefaultHold      = 5 * time.Second
	HelloTimeout     = 10 * time.Second // a peer gets this long to join
	maxPending       = 256              // connections that have not joined yet
)

// Options configures a Dispatcher.
type Options struct {
	Identity *mtls.Identity
	Spool    *spool.Dir
	Log      hclog.Logger
	// Retries is how often a task whose worker was lost is tried again.
	Retries int
	// Heartbeat is how often each side asks after the other; a peer silent
	// for four of them is gone. 0 means DefaultHeartbeat.
	Heartbeat time.Duration
	// Hold is how long a task that died of TERM, INT or KILL that muster did
	// not send waits for its worker to turn out to have been the target.
	// 0 means DefaultHold.
	Hold time.Duration
}

// job is what the queue holds of a task until it is assigned.
type job struct {
	batch *Batch
	row   []string
	index int
}

// Dispatcher queues tasks and hands them to workers.
type Dispatcher struct {
	opt     Options
	log     hclog.Logger
	pending chan struct{} // one token for each connection that has not joined
	wg      sync.WaitGroup

	mu       sync.Mutex // guards all below
	queue    *queue.Queue[job]
	launches map[string]*mtls.Launch
	sessions map[uint64]*session // by epoch
	joined   uint64              // workers ever admitted
	timer    *time.Timer
	closed   bool
	watch    chan struct{} // closed and replaced when a session comes or goes
}

// New returns a Dispatcher that has no workers yet. Close ends it.
func New(opt Options) *Dispatcher {
	if opt.Heartbeat == 0 {
		opt.Heartbeat = DefaultHeartbeat
	}
	if opt.Hold == 0 {
		opt.Hold = DefaultHold
	}
	d := &Dispatcher{
		opt:      opt,
		log:      opt.Log.Named("dispatcher"),
		pending:  make(chan struct{}, maxPending),
		queue:    queue.New[job](opt.Retries),
		launches: map[string]*mtls.Launch{},
		sessions: map[uint64]*session{},
		watch:    make(chan struct{}),
	}
	d.timer = time.AfterFunc(time.Hour, d.tick)
	return d
}

// AddLaunch lets workers that prove l's token join.
func (d *Dispatcher) AddLaunch(l *mtls.Launch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.launches[l.ID()] = l
}

// Serve accepts workers on l until l is closed. It returns nil if Close did
// that. Connections beyond those that may wait to join are closed at once.
func (d *Dispatcher) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			if d.isClosed() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			return fmt.Errorf("accept workers on %s: %w", l.Addr(), err)
		}
		select {
		case d.pending <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		if !d.begin() {
			conn.Close()
			return nil
		}
		go func() {
			defer d.wg.Done()
			d.serveConn(quiet.Conn(conn))
		}()
	}
}

// begin counts a goroutine in, unless the dispatcher is closed.
func (d *Dispatcher) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.wg.Add(1)
	return true
}

func (d *Dispatcher) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// Close says goodbye to all workers, waits until each has hung up or ctx is
// done, and then hangs up itself.
func (d *Dispatcher) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.timer.Stop()
	for _, s := range d.sessions {
		s.goodbye()
	}
	d.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		d.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	d.mu.Lock()
	for _, s := range d.sessions {
		s.conn.Close()
	}
	d.mu.Unlock()
	<-gone
	return ctx.Err()
}

// Workers returns how many workers are connected, how many ever were, and a
// channel that is closed when the first number changes.
func (d *Dispatcher) Workers() (connected int, ever uint64, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.sessions), d.joined, d.watch
}

// Running returns how many tasks run now.
func (d *Dispatcher) Running() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.queue.Counts()
	return c.Running + c.Assigned
}

func (d *Dispatcher) changed() {
	close(d.watch)
	d.watch = make(chan struct{})
}

func (d *Dispatcher) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pump(time.Now())
}

// pump sends whatever may be sent now and sets the timer for what may be sent
// later. It is called under mu after every event.
func (d *Dispatcher) pump(now time.Time) {
	if d.closed {
		return
	}
	for {
		a, ok := d.queue.Next(now, admit)
		if !ok {
			break
		}
		d.sessions[a.Epoch].assign(a)
	}
	for _, r := range d.queue.Recalls(now) {
		if s := d.sessions[r.Epoch]; s != nil {
			s.recall(r)
		}
	}
	if at, ok := d.queue.Wake(now); ok {
		d.timer.Reset(max(at.Sub(now), 0))
	}
}

// admit holds new tasks back while more output waits to be read than the batch
// allows. A task that is tried again passes: in input order it is the one that
// the reader waits for.
func admit(_ task.ID, j job, attempt uint32) bool {
	return attempt > 1 || !j.batch.full()
}
