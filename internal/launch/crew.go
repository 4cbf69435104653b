package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"muster/hpc"
	"muster/internal/remote"
	"muster/internal/shell"
	"muster/ssh/relay"
)

// keeper knows how workers stand and ends them: a scheduler, or the machine on
// which they were started by SSH.
type keeper interface {
	List(ctx context.Context, ids []string) ([]hpc.Element, error)
	Cancel(ctx context.Context, id string) error
	CancelElements(ctx context.Context, id string, indices []int) error
	CancelCommand(id string) []string
	Element(id string, index int, array bool) string
}

var (
	_ keeper = scheduler{}
	_ keeper = (*crew)(nil)
)

// scheduler is a cluster's, and the login that leads to it.
type scheduler struct {
	*hpc.Client
	via *remote.Login
}

func (s scheduler) Element(id string, index int, array bool) string {
	return s.Dialect.Element(id, index, array)
}

// CancelCommand is what a person would type here.
func (s scheduler) CancelCommand(id string) []string {
	argv := s.Client.CancelCommand(id)
	if s.via == nil {
		return argv
	}
	return command(*s.via, shell.Join(argv)).Argv()
}

// crew is the workers that were started on one machine by SSH.
type crew struct {
	site *remote.Site

	mu       sync.Mutex                 // guards all below
	launches map[string][]relay.Process // by the launch's name; its workers in order
}

// start starts the workers of a launch and returns their processes and names.
func (c *crew) start(ctx context.Context, p *Plan, launch string, n Names) ([]relay.Process, error) {
	var list []relay.Process
	for i := range p.PerHost {
		log := fmt.Sprintf("%s/%d.out", n.Dir, i+1)
		one, err := c.site.Start(ctx, p.worker(n.Muster, n.JoinFile, "--element", c.name(launch, i+1), "--patience", patience.String()), p.job.Workdir, log)
		if err != nil {
			return list, fmt.Errorf("start a worker on %s: %w", c.site.Login().Target, err)
		}
		list = append(list, one)
		c.mu.Lock()
		c.launches[launch] = slices.Clone(list)
		c.mu.Unlock()
	}
	return list, nil
}

// name is what a worker is called.
func (c *crew) name(launch string, index int) string { return launch + "." + strconv.Itoa(index) }

// Element names a worker as it names itself.
func (c *crew) Element(id string, index int, _ bool) string { return c.name(id, index) }

// List says which workers are alive.
func (c *crew) List(ctx context.Context, ids []string) ([]hpc.Element, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var list []hpc.Element
	var all []relay.Process
	c.mu.Lock()
	for _, id := range ids {
		for i, p := range c.launches[id] {
			list = append(list, hpc.Element{Job: id, Index: i + 1, Name: id, State: hpc.Ended, Raw: "ended"})
			all = append(all, p)
		}
	}
	c.mu.Unlock()
	alive, err := c.site.Alive(ctx, all)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if alive[i] {
			list[i].State, list[i].Raw = hpc.Running, "running"
		}
	}
	return list, nil
}

// patience is how long a worker dials before it has ever joined: the link may be
// lost just then.
const patience = time.Minute

// Times for a machine to answer, and for a worker that was told to end.
const (
	askTime   = 60 * time.Second
	endTime   = 10 * time.Second
	alivePoll = 50 * time.Millisecond
)

// Cancel ends the workers of a launch and waits until they are gone: those that
// have joined were told to leave before.
func (c *crew) Cancel(ctx context.Context, id string) error {
	c.mu.Lock()
	all := c.launches[id]
	c.mu.Unlock()
	for _, signal := range []string{"SIGTERM", "SIGKILL"} {
		gone, err := c.signal(ctx, all, signal)
		if gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("workers on %s do not end", c.site.Login().Target)
}

// signal signals those that are alive and reports whether all are gone soon.
func (c *crew) signal(ctx context.Context, all []relay.Process, name string) (gone bool, err error) {
	deadline := time.Now().Add(endTime)
	for first := true; ; first = false {
		alive, err := c.site.Alive(ctx, all)
		if err != nil {
			return false, err
		}
		if !slices.Contains(alive, true) {
			return true, nil
		}
		for i, a := range alive {
			if first && a {
				if err := c.site.Signal(ctx, all[i], name); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, fs.ErrNotExist) {
					return false, err
				}
			}
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		if err := sleep(ctx, alivePoll); err != nil {
			return false, err
		}
	}
}

// CancelElements does nothing: no worker waits for a machine that it has.
func (c *crew) CancelElements(context.Context, string, []int) error { return nil }

// CancelCommand is what a person would type here.
func (c *crew) CancelCommand(id string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	argv := []string{"kill"}
	for _, p := range c.launches[id] {
		argv = append(argv, strconv.Itoa(p.Pid))
	}
	return command(c.site.Login(), shell.Join(argv)).Argv()
}
