package host

import (
	"errors"
	"os/exec"
	"sync"
	"time"

	"muster/internal/proctree"
)

// children are this process's. Those that it starts are reaped by os/exec, which
// waits for each; orphans that it adopts are ended and reaped here. So every
// start goes through start, which lets no clearing see a process that it does
// not know.
type children struct {
	// shared says that the process has children that are not muster's: nothing is
	// ever cleared then.
	shared    bool
	inherited func(pid int) bool // those that were there before muster

	// starting is read-locked while a process is started, locked while orphans are
	// cleared. It is taken before mu.
	starting sync.RWMutex

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
	return c, err
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

func (c *children) isAwaited(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaited[pid]
}

// clear ends the orphans that processes which are gone have left to this one.
func (c *children) clear() error {
	if c.shared {
		return nil
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	return proctree.Clear(time.Second, func(pid int) bool { return c.isAwaited(pid) || c.inherited(pid) })
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
