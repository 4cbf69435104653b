package host

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"muster/internal/proctree"
)

// children are this process's. Those that it starts are reaped by os/exec, which
// waits for each; orphans that it adopts are reaped here, and ended if a worker of this
// machine has left them. Those that a launcher's command has left are workers that it
// has started: they stay until this process ends. So every start goes through start,
// which lets no clearing see a process that it does not know.
type children struct {
	// shared says that the process has children that are not muster's: nothing is
	// ever cleared then.
	shared    bool
	inherited func(pid int) bool // those that were there before muster
	launched  string             // NAME=VALUE, in the environment of launchers' commands and of what they start but tasks
	died      chan os.Signal     // SIGCHLD, until stop

	// starting is read-locked while a process is started, locked while orphans are
	// cleared. It is taken before mu.
	starting sync.RWMutex
	adopted  proctree.Adopted // guarded by starting

	mu      sync.Mutex // guards all below
	awaited map[int]bool
	leaving bool // nothing is started any more
}

// newChildren makes this process the one that adopts the orphans below it, unless
// it is shared.
func newChildren(shared bool) (*children, error) {
	c := &children{shared: shared, awaited: map[int]bool{}}
	if shared {
		return c, nil
	}
	var err error
	if c.inherited, err = proctree.Inherited(); err == nil {
		err = proctree.Subreaper()
	}
	if err != nil {
		return nil, err
	}
	c.launched = "_MUSTER_LAUNCHED_BY=" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	c.died = make(chan os.Signal, 1)
	signal.Notify(c.died, syscall.SIGCHLD)
	go c.reap()
	return c, nil
}

// reap reaps what launchers' commands have left, in a goroutine of its own until stop.
// When a command ends, its orphans are adopted.
func (c *children) reap() {
	for range c.died {
		c.starting.Lock()
		c.adopted.Reap(c.isOrphan)
		c.starting.Unlock()
	}
}

// stop ends what newChildren has begun. It is called once.
func (c *children) stop() {
	if c.died != nil {
		signal.Stop(c.died)
		close(c.died)
	}
}

var errLeaving = errors.New("muster is leaving")

// start calls fork, which starts a process that os/exec waits for. ended is to be
// called when it has been waited for.
func (c *children) start(fork func() (pid int, err error)) (ended func(), err error) {
	c.starting.RLock()
	defer c.starting.RUnlock()
	c.mu.Lock()
	leaving := c.leaving
	c.mu.Unlock()
	if leaving {
		return nil, errLeaving
	}
	pid, err := fork()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited[pid] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.awaited, pid)
	}, nil
}

// command is start for a command of os/exec.
func (c *children) command(cmd *exec.Cmd) (ended func(), err error) {
	return c.start(func() (int, error) {
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	})
}

// launcher is command for a launcher's command: the orphans that it leaves are workers.
func (c *children) launcher(cmd *exec.Cmd) (ended func(), err error) {
	if !c.shared {
		cmd.Env = append(cmd.Environ(), c.launched)
	}
	return c.command(cmd)
}

// isLaunched reports whether a launcher's command has started a process, or what it has
// started. The error is fs.ErrPermission if that is not to be known.
func (c *children) isLaunched(pid int) (bool, error) {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return bytes.Contains(append([]byte{0}, env...), []byte("\x00"+c.launched+"\x00")), err
}

// isOrphan reports whether a child is one that a launcher's command has left.
func (c *children) isOrphan(pid int) bool {
	launched, err := c.isLaunched(pid)
	return launched && err == nil && !c.isAwaited(pid) && !c.inherited(pid)
}

// stays reports whether a child is none that a worker of this machine has left.
func (c *children) stays(pid int) bool {
	launched, err := c.isLaunched(pid)
	return c.isAwaited(pid) || c.inherited(pid) || launched || errors.Is(err, fs.ErrPermission)
}

func (c *children) isAwaited(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaited[pid]
}

// clear ends the orphans that workers of this machine which are gone have left to this
// one.
func (c *children) clear() error {
	if c.shared {
		return nil
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	return proctree.Clear(time.Second, c.stays)
}

// dismiss tells what launchers' commands have left to end: a worker that has not joined
// would go on dialling.
func (c *children) dismiss() {
	if c.shared {
		return
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	c.adopted.Reap(c.isOrphan)
	c.adopted.Signal(syscall.SIGTERM)
}

// endAll ends everything below this process at once, and nothing is started any
// more.
func (c *children) endAll() error {
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	if c.shared {
		return nil
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	return proctree.ClearAwaited(0, c.inherited, c.isAwaited)
}
