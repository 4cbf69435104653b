// Package dispatcher is the service that queues tasks, admits the workers that
// dial it, gives each free slot the oldest task, and collects what comes back.
//
// A Dispatcher admits workers: it knows which launch belongs to which Pool. Each
// pool, one for a profile, has its own queue, workers and futures, and one
// mutex for them; nothing that can block happens under it. Each session has a
// goroutine that reads frames and spools output, and a wire.Writer with a
// goroutine that is there while something is to be written.
package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher/internal/results"
	"muster/internal/spool"
	mtls "muster/tls"
)

// Defaults of Options.
const (
	DefaultHeartbeat = 5 * time.Second
	DefaultHold      = 5 * time.Second
	HelloTimeout     = 10 * time.Second // a peer gets this long to join

	// DefaultKeep is how many bytes of results that nobody has collected are
	// held in memory.
	DefaultKeep = 256 << 20
)

// Options configures a Dispatcher.
type Options struct {
	Identity *mtls.Identity
	Spool    *spool.Dir
	Log      hclog.Logger
	// Heartbeat is how often each worker is pinged. To both sides a peer that is
	// silent for four of them is gone. 0 means DefaultHeartbeat.
	Heartbeat time.Duration
	// Hold is how long a task that died of TERM, INT or KILL that muster did
	// not send waits for its worker to turn out to have been the target.
	// 0 means DefaultHold.
	Hold time.Duration
	// Keep bounds the output that is held in memory, in bytes; what comes beyond
	// it goes to disk. 0 means DefaultKeep.
	Keep int64
	// Say tells the user what they ought to know now, such as which machine is
	// sick and of what, or which disk is full; nil tells nobody. It is called
	// without locks.
	Say func(format string, args ...any)
}

// Dispatcher admits workers and keeps its pools.
type Dispatcher struct {
	opt        Options
	log        hclog.Logger
	wg         sync.WaitGroup
	store      *results.Store
	disk       disk
	roster     roster
	rejections rejections
	ctx        context.Context // done when the dispatcher ends
	end        context.CancelFunc

	mu         sync.Mutex // guards all below; taken before a pool's, never after
	launches   map[string]entrance
	pools      map[string]*Pool
	closed     bool
	futures    registry
	unadmitted map[*unadmitted]bool // one for each listener
}

// entrance is a launch and the pool that its workers join.
type entrance struct {
	launch *mtls.Launch
	pool   *Pool
	opt    LaunchOptions
}

// New returns a Dispatcher that has no pools yet. Close ends it.
func New(opt Options) *Dispatcher {
	if opt.Heartbeat == 0 {
		opt.Heartbeat = DefaultHeartbeat
	}
	if opt.Hold == 0 {
		opt.Hold = DefaultHold
	}
	if opt.Keep == 0 {
		opt.Keep = DefaultKeep
	}
	if opt.Say == nil {
		opt.Say = func(string, ...any) {}
	}
	d := &Dispatcher{
		opt:        opt,
		log:        opt.Log.Named("dispatcher"),
		rejections: rejections{logger: opt.Log.Named("dispatcher")},
		launches:   map[string]entrance{},
		pools:      map[string]*Pool{},
		futures:    registry{all: map[ID]*Future{}},
		roster:     roster{by: map[identity]*session{}},
		unadmitted: map[*unadmitted]bool{},
	}
	d.store = results.NewStore(opt.Spool, opt.Keep, func(err error) { d.log.Warn("an output was not removed", "error", err) })
	d.disk.d = d
	d.ctx, d.end = context.WithCancel(context.Background())
	return d
}

// ErrExists says that there is a pool of that name.
var ErrExists = errors.New("there is a profile of this name")

// ErrClosed says that a pool or its dispatcher has been closed.
var ErrClosed = errors.New("the profile has been reset")

// NewPool adds a pool.
func (d *Dispatcher) NewPool(name string, opt PoolOptions) (*Pool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, ErrClosed
	case d.pools[name] != nil:
		return nil, fmt.Errorf("%w: %s", ErrExists, name)
	}
	p := newPool(d, name, opt)
	d.pools[name] = p
	return p, nil
}

// Pool returns the pool of a name, or nil.
func (d *Dispatcher) Pool(name string) *Pool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pools[name]
}

// Pools returns all pools in the order of their names.
func (d *Dispatcher) Pools() []*Pool {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*Pool
	for _, p := range d.pools {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *Pool) int { return strings.Compare(a.name, b.name) })
	return list
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

// Close resets all pools, waits until each worker has hung up or ctx is done,
// and then hangs up itself. Results stay until Release.
func (d *Dispatcher) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.end()
	pools := d.pools
	d.pools = map[string]*Pool{}
	for u := range d.unadmitted {
		u.close()
	}
	d.mu.Unlock()
	for _, p := range pools {
		p.reset("the dispatcher ended")
	}
	d.disk.close()
	gone := make(chan struct{})
	go func() {
		d.wg.Wait()
		d.store.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	for _, p := range pools {
		p.hangUp()
	}
	<-gone
	return ctx.Err()
}
