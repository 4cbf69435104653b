package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"muster/hpc"
	"muster/internal/plan"
	"muster/ssh/relay"
)

// machine is where workers are processes that were started by SSH. Their job's id is
// the name of its launch.
type machine struct{ at there }

var _ backend = machine{}

func addressMachine(plan.Kind, *Record) {} // its login says all

func newMachine(at place, r *Record) (backend, error) {
	site, is := at.(there)
	if !is {
		return nil, fmt.Errorf("launch record %s: it does not say on which machine", r.path())
	}
	return machine{site}, nil
}

// Times for a machine to answer, and for a worker that was told to end.
const (
	askTime   = 60 * time.Second
	endTime   = 10 * time.Second
	alivePoll = 50 * time.Millisecond
)

func (m machine) prepare(ctx context.Context, p *plan.Plan, _ int) (*plan.Plan, error) {
	return p, checkDir(ctx, m.at, p.Launcher, p.Kind.(*plan.SSH).Workdir, p.Worker.Dir)
}

func (m machine) describe(_ *plan.Plan, _ int, part plan.Part, r *Record) {
	r.ID, r.Array = r.Launch, array(part.Indices)
}

func (m machine) start(ctx context.Context, p *plan.Plan, i int, r *Record, _ string) (outcome, error) {
	k := p.Kind.(*plan.SSH)
	one := k.Parts()[i]
	for _, index := range one.Indices {
		log := fmt.Sprintf("%s/%d.out", r.Output, index)
		process, err := m.at.Start(ctx, k.Argv(p, one.Place, index), k.Workdir, log)
		if err != nil {
			err = fmt.Errorf("start a worker on %s: %w", m.at.Login().Target, err)
			if len(r.Processes) == 0 {
				return nothing, err // one that was, all the same, finds no join file
			}
			return started, err
		}
		h := m.at.Hello()
		r.Processes = append(r.Processes, Process{process, h.Host, h.Boot})
		if err := r.write(); err != nil {
			return started, err
		}
	}
	return started, nil
}

func (m machine) find(_ context.Context, r *Record) ([]string, error) { return []string{r.Launch}, nil }

// onMachine reports whether a worker is on the machine that the link leads to now. One
// that was there before the machine was started anew is, and is dead.
func (m machine) onMachine(p Process) (is, dead bool) {
	h := m.at.Hello()
	return p.Host == h.Host, p.Boot != h.Boot
}

// alive tells how workers stand. Of those on another machine nobody can tell here.
func (m machine) alive(ctx context.Context, list []Process) ([]hpc.State, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	states := make([]hpc.State, len(list))
	var ask []relay.Process
	var of []int
	for i, p := range list {
		switch is, dead := m.onMachine(p); {
		case !is:
			states[i] = hpc.Unknown
		case dead:
			states[i] = hpc.Ended
		default:
			ask, of = append(ask, p.Process), append(of, i)
		}
	}
	if len(ask) == 0 {
		return states, nil
	}
	alive, err := m.at.Alive(ctx, ask)
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

// list says which workers are alive. That is all that a machine knows of their ends.
func (m machine) list(ctx context.Context, records []*Record, _ detail) ([]hpc.Element, error) {
	var list []hpc.Element
	var all []Process
	for _, r := range records {
		for i, p := range r.Processes {
			list = append(list, hpc.Element{Job: r.ID, Index: i + 1})
			all = append(all, p)
		}
	}
	states, err := m.alive(ctx, all)
	if err != nil {
		return nil, err
	}
	for i, state := range states {
		list[i].State, list[i].Raw = state, state.String()
	}
	return list, nil
}

// cancel ends the workers of a job and waits until they are gone: those that have
// joined were told to leave before. It does nothing for some of them: no worker waits
// for a machine that it has.
func (m machine) cancel(ctx context.Context, r *Record, indices ...int) error {
	if len(indices) > 0 {
		return nil
	}
	for _, p := range r.Processes {
		if is, _ := m.onMachine(p); !is {
			return fmt.Errorf("they run on %s, and logging in to %s led to %s this time", p.Host, m.at.Login().Target, m.at.Hello().Host)
		}
	}
	for _, signal := range []string{"SIGTERM", "SIGKILL"} {
		gone, err := m.signal(ctx, r.Processes, signal)
		if gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("workers on %s do not end", m.at.Login().Target)
}

// signal signals those that are alive and reports whether all are gone soon.
func (m machine) signal(ctx context.Context, list []Process, name string) (gone bool, err error) {
	deadline := time.Now().Add(endTime)
	for first := true; ; first = false {
		states, err := m.alive(ctx, list)
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
			if err := m.at.Signal(ctx, list[i].Process, name); err != nil && !errors.Is(err, os.ErrProcessDone) {
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

func (m machine) String() string { return m.at.Site.Login().Name() }

func (m machine) late(r *Record) string {
	return m.String() + " has not started " + count(r.Workers, "worker")
}

func (m machine) element(r *Record, index int) string { return plan.Element(r.Launch, index) }

func (m machine) called(r *Record, index int) string {
	return "worker " + m.element(r, index) + " on " + m.String()
}

func (m machine) whole(r *Record) string {
	return "workers of " + r.Launch + " may still run on " + m.String()
}

func (m machine) ended(r *Record, index int, _ string) string {
	return m.called(r, index) + " ended and had never joined"
}

func (m machine) reason(said string) string { return said }

// command is what a person would type here.
func (m machine) command(r *Record) []string {
	argv := []string{"kill"}
	for _, p := range r.Processes {
		argv = append(argv, strconv.Itoa(p.Pid))
	}
	return plan.Place{Login: m.at.Site.Login()}.Pasted(argv)
}

func (m machine) rules() rules { return rules{atOnce: atOnce, between: between} }

// fate says whether a worker's process lives.
func (m machine) fate(_ *Record, e hpc.Element) (Fate, bool) {
	switch e.State {
	case hpc.Unknown:
		return Fate{}, false
	case hpc.Ended:
		return Fate{e.End, "its process ended on " + m.String()}, true
	}
	return Fate{e.End, "its process still runs on " + m.String()}, false
}
