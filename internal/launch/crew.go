package launch

import (
	"context"
	"errors"
	"fmt"
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
	// Fates is List with how elements ended.
	Fates(ctx context.Context, ids []string) ([]hpc.Element, error)
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

	mu       sync.Mutex           // guards all below
	launches map[string][]Process // by the launch's name; its workers in order
}

// start starts the workers of a launch and returns their processes and names.
func (c *crew) start(ctx context.Context, p *Plan, launch string, n Names) ([]Process, error) {
	var list []Process
	for i := range p.PerHost {
		log := fmt.Sprintf("%s/%d.out", n.Dir, i+1)
		one, err := c.site.Start(ctx, p.worker(n.Muster, n.JoinFile, "--element", c.name(launch, i+1), "--patience", patience.String()), p.job.Workdir, log)
		if err != nil {
			return list, fmt.Errorf("start a worker on %s: %w", c.site.Login().Target, err)
		}
		h := c.site.Hello()
		list = append(list, Process{one, h.Host, h.Boot})
		c.know(launch, list)
	}
	return list, nil
}

// know notes the workers of a launch.
func (c *crew) know(launch string, list []Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.launches[launch] = slices.Clone(list)
}

// here reports whether a worker is on the machine that the link leads to now.
// One that was there before the machine was started anew is, and is dead.
func (c *crew) here(p Process) (is, dead bool) {
	h := c.site.Hello()
	return p.Host == h.Host, p.Boot != h.Boot
}

// alive reports which workers are, and which of them nobody can tell of from here.
func (c *crew) alive(ctx context.Context, list []Process) (states []hpc.State, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	states = make([]hpc.State, len(list))
	var ask []relay.Process
	var of []int
	for i, p := range list {
		switch is, dead := c.here(p); {
		case !is:
			states[i] = hpc.Unknown
		case dead:
			states[i] = hpc.Ended
		default:
			ask, of = append(ask, p.Process), append(of, i)
		}
	}
	alive, err := c.site.Alive(ctx, ask)
	if err != nil {
		return nil, err
	}
	for k, i := range of {
		if states[i] = hpc.Ended; alive[k] {
			states[i] = hpc.Running
		}
	}
	return states, nil
}

// name is what a worker is called.
func (c *crew) name(launch string, index int) string { return launch + "." + strconv.Itoa(index) }

// Element names a worker as it names itself.
func (c *crew) Element(id string, index int, _ bool) string { return c.name(id, index) }

// List says which workers are alive.
func (c *crew) List(ctx context.Context, ids []string) ([]hpc.Element, error) {
	var list []hpc.Element
	var all []Process
	c.mu.Lock()
	for _, id := range ids {
		for i, p := range c.launches[id] {
			list = append(list, hpc.Element{Job: id, Index: i + 1})
			all = append(all, p)
		}
	}
	c.mu.Unlock()
	states, err := c.alive(ctx, all)
	if err != nil {
		return nil, err
	}
	for i, state := range states {
		list[i].State, list[i].Raw = state, state.String()
	}
	return list, nil
}

// Fates says which workers are alive.
func (c *crew) Fates(ctx context.Context, ids []string) ([]hpc.Element, error) {
	return c.List(ctx, ids)
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
	for _, p := range all {
		if is, _ := c.here(p); !is {
			return fmt.Errorf("they run on %s, and logging in to %s led to %s this time", p.Host, c.site.Login().Target, c.site.Hello().Host)
		}
	}
	for _, signal := range []string{"SIGTERM", "SIGKILL"} {
		gone, err := c.signal(ctx, all, signal)
		if gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("workers on %s do not end", c.site.Login().Target)
}

// signal signals those that are alive and reports whether all are gone soon.
func (c *crew) signal(ctx context.Context, all []Process, name string) (gone bool, err error) {
	deadline := time.Now().Add(endTime)
	for first := true; ; first = false {
		states, err := c.alive(ctx, all)
		if err != nil {
			return false, err
		}
		if !slices.Contains(states, hpc.Running) {
			return true, nil
		}
		for i, state := range states {
			if !first || state != hpc.Running {
				continue
			}
			if err := c.site.Signal(ctx, all[i].Process, name); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return false, err
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
