// Package host runs a dispatcher with all that belongs to it: its folder on
// disk, the sockets where workers and commands reach it, the workers on this
// machine, those that were started by SSH and those with schedulers.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/hpc"
	"muster/internal/address"
	"muster/internal/fleet"
	"muster/internal/remote"
	"muster/internal/spool"
	"muster/internal/state"
	mtls "muster/tls"
)

// Options configures a Host.
type Options struct {
	StateDir  string
	SocketDir string
	Log       hclog.Logger
	// Say tells the user something that matters now; nil for nobody. What it is told
	// may hold words of workers, tasks and others: it makes them safe to show.
	Say func(format string, args ...any)
	// Stderr is that of workers on this machine.
	Stderr io.Writer
	// Worker is the command line that starts a worker of this program, to which
	// options are added, and Program the file that schedulers' jobs start; empty
	// is a copy of this program.
	Worker []string
	// Env is added to the environment of workers on this machine.
	Env []string
	// Shared says that this process has children that are not muster's: those
	// are left alone, at the price that what a killed worker left behind is not
	// cleared here.
	Shared bool
	// Identity is the dispatcher's key; nil is the one in the state directory.
	Identity *mtls.Identity
	// Build is muster's version.
	Build string
	// Step, if not nil, is told what has been found on the way to a machine behind
	// SSH.
	Step func(what, found string)
	// Askpass makes environment for OpenSSH's client of the path of the socket
	// where questions are answered; nil if it can ask nobody.
	Askpass func(socket string) []string
	// Heartbeat is the dispatcher's; 0 is its default.
	Heartbeat time.Duration
	// Keep bounds the results that are held in memory, in bytes; 0 is the
	// dispatcher's default.
	Keep int64
	// Copied, if not nil, is told how far copies of the program to such machines
	// are; where it is nil, Say says that there is one.
	Copied func(remote.Progress)
}

// Host is a dispatcher and what belongs to it.
type Host struct {
	opt Options
	id  *mtls.Identity
	Run *state.Run
	D   *dispatcher.Dispatcher

	children *children
	socket   string // where workers on this machine dial
	unix     net.Listener
	fleet    *fleet.Fleet
	sites    *remote.Sites
	started  time.Time
	names    func() address.Names
	serving  sync.WaitGroup // who accepts workers on this machine
	closing  sync.Once
	closeErr error // of Close, when closing is done

	mu       sync.Mutex // guards all below
	profiles map[string]*Profile
	tcp      map[string]net.Listener // by what they were asked to listen on
	ports    map[portKey]*opening
	joins    map[string]*joinRecord
	minted   map[string]*minted           // links that wait for a launch, by its name
	sent     map[string]fleet.Credentials // that wait for a launch too
	watch    context.CancelFunc           // of the fleet; nil while nobody watches it
	watched  chan struct{}
	locals   int // workers ever started on this machine
	joined   int // join strings ever made
	closed   bool
}

// Open makes the dispatcher, its folder, and the socket for workers on this
// machine. Close undoes it.
func Open(opt Options) (h *Host, err error) {
	if opt.Say == nil {
		opt.Say = func(string, ...any) {}
	}
	h = &Host{opt: opt, id: opt.Identity, profiles: map[string]*Profile{}, started: time.Now(), names: sync.OnceValue(lookUp),
		tcp: map[string]net.Listener{}, ports: map[portKey]*opening{}, joins: map[string]*joinRecord{}, minted: map[string]*minted{}, sent: map[string]fleet.Credentials{}}
	if h.children, err = newChildren(opt.Shared); err != nil {
		return nil, err
	}
	if text := shortFiles(); text != "" {
		opt.Say("%s", text)
	}
	state.Prune(opt.StateDir, time.Now())
	state.PruneSockets(opt.SocketDir, time.Now())
	if h.id == nil {
		if h.id, err = mtls.LoadOrCreate(filepath.Join(opt.StateDir, "id")); err != nil {
			return nil, err
		}
	}
	if h.Run, err = state.NewRun(opt.StateDir, time.Now()); err != nil {
		return nil, err
	}
	h.D = dispatcher.New(dispatcher.Options{Identity: h.id, Spool: spool.Open(h.Run.Out()), Log: opt.Log, Heartbeat: opt.Heartbeat, Keep: opt.Keep, Say: opt.Say})
	h.socket = filepath.Join(opt.SocketDir, h.Run.ID+".sock")
	if h.unix, err = ListenUnix(h.socket); err != nil {
		h.Run.Close()
		return nil, fmt.Errorf("listen for local workers: %w", err)
	}
	h.serve(h.unix)
	h.sites = remote.New(remote.Options{Run: h.Run.ID, Program: ProgramFor(opt.StateDir), Build: opt.Build, SocketDir: opt.SocketDir, Askpass: opt.Askpass, Step: opt.Step, Spawn: h.children.command, Needed: func(site *remote.Site) bool { return h.fleet.On(site) },
		Log: opt.Log, Say: opt.Say, Progress: opt.Copied})
	h.fleet = &fleet.Fleet{Dir: h.Run.Launches(), Run: hpc.HereBy(hpc.Scrub(os.Environ()), h.children.command), User: userName(), Log: opt.Log, Say: opt.Say,
		Credentials: h.credentials, Sites: h.sites, Spawn: h.children.launcher, Program: func() (string, error) { return ProgramFor(opt.StateDir)(runtime.GOOS, runtime.GOARCH, "") }}
	return h, nil
}

// serve admits workers on a listener of this machine until that is closed.
func (h *Host) serve(l net.Listener) {
	h.serving.Go(func() {
		if err := h.D.Serve(l); err != nil {
			h.opt.Say("%v", err)
		}
	})
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

// Profile returns the profile of a name, or nil.
func (h *Host) Profile(name string) *Profile {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.profiles[name]
}

// Started is when the dispatcher began.
func (h *Host) Started() time.Time { return h.started }

// Fleet is what schedulers have been asked for.
func (h *Host) Fleet() *fleet.Fleet { return h.fleet }

// Jobs reports whether a scheduler has been asked for anything.
func (h *Host) Jobs() bool { return len(h.fleet.Jobs()) > 0 }

// Close says goodbye to all workers, gives them patience to go, ends those on
// this machine, and takes back what schedulers have, for which it waits until
// ctx is done. Nothing is started any more from its beginning on. Whoever calls
// it again waits for the first.
func (h *Host) Close(ctx context.Context, patience time.Duration) error {
	h.closing.Do(func() { h.closeErr = h.close(ctx, patience) })
	return h.closeErr
}

func (h *Host) close(ctx context.Context, patience time.Duration) error {
	profiles := h.shut()
	h.unix.Close()
	for _, p := range profiles {
		p.letGo()
	}
	// A worker on this machine hears of the end by its pipe too, and at once.
	var ending sync.WaitGroup
	ending.Go(func() {
		out, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		h.D.Close(out)
	})
	for _, p := range profiles {
		ending.Go(p.end)
	}
	ending.Wait()
	h.serving.Wait()
	h.stopWatching()
	err := h.fleet.Cancel(ctx, "")
	h.children.dismiss()
	h.sites.Close(ctx, h.fleet.On)
	return errors.Join(err, h.Run.Close())
}

// shut closes the ports and returns the profiles that there are. None is added
// after it.
func (h *Host) shut() []*Profile {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, l := range h.tcp {
		l.Close()
	}
	return slices.Collect(maps.Values(h.profiles))
}

// Leave ends everything below this process at once, and forgets what is on
// disk unless a scheduler may still have something.
func (h *Host) Leave() error {
	for _, p := range h.shut() {
		p.letGo()
	}
	err := h.children.endAll()
	h.children.stop()
	if h.startedWorkers() {
		sweepScratch(h.opt.Log)
	}
	if !h.Jobs() {
		os.RemoveAll(h.Run.Dir)
	}
	os.Remove(h.socket)
	return err
}

// startedWorkers reports whether a worker was ever started on this machine.
func (h *Host) startedWorkers() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.locals > 0
}
