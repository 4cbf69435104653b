package launch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/hpc"
	"muster/internal/shell"
)

// CancelWaiting takes back the jobs that have not started.
func (f *Fleet) CancelWaiting(ctx context.Context) {
	f.mu.Lock()
	waiting := map[*group][]int{}
	for _, g := range f.groups {
		for index, m := range g.members {
			if g.ID == "" {
				break
			}
			if m.state == hpc.Pending || m.state == hpc.Unknown && !g.cred.Joined(g.element(index)) {
				waiting[g] = append(waiting[g], index)
			}
		}
	}
	f.mu.Unlock()
	for g, list := range waiting {
		var err error
		if len(list) == len(g.members) {
			err = g.keeper.Cancel(ctx, g.ID)
		} else {
			err = g.CancelElements(ctx, g.ID, list)
		}
		if err != nil {
			f.Log.Warn("waiting jobs could not be cancelled", "job", g.ID, "error", err)
		}
	}
}

// Cancel ends all jobs of a profile, or of all if that is empty, and waits until
// their schedulers say that they are gone. What it could not take back stays
// recorded, and the error says how to.
func (f *Fleet) Cancel(ctx context.Context, profile string) error {
	f.mu.Lock()
	groups := slices.Clone(f.groups)
	f.mu.Unlock()
	if profile != "" {
		groups = slices.DeleteFunc(groups, func(g *group) bool { return g.profile != profile })
	}
	f.mu.Lock()
	for _, g := range groups {
		g.takenBack = true
	}
	f.mu.Unlock()
	byOffice := map[office][]*group{}
	for _, g := range groups {
		byOffice[g.office] = append(byOffice[g.office], g)
	}
	var mu sync.Mutex // guards left
	var left []error
	var ending sync.WaitGroup
	for _, groups := range byOffice {
		ending.Go(func() {
			for _, g := range groups {
				if err := f.takeBack(ctx, g); err != nil {
					mu.Lock()
					left = append(left, err)
					mu.Unlock()
				}
			}
		})
	}
	ending.Wait()
	return errors.Join(left...)
}

// takeBackByName ends a job of which nobody knows whether it was submitted.
func (f *Fleet) takeBackByName(ctx context.Context, g *group) error {
	if _, err := g.TakeBack(ctx, f, ""); err != nil {
		return fmt.Errorf("job %s may be in the queue: %w; `muster down` looks again", g.Name, err)
	}
	f.mu.Lock()
	f.groups = slices.DeleteFunc(f.groups, func(o *group) bool { return o == g })
	f.mu.Unlock()
	g.over(ctx)
	return nil
}

// takeBack ends one group and forgets it.
func (f *Fleet) takeBack(ctx context.Context, g *group) error {
	if g.ID == "" {
		return f.takeBackByName(ctx, g)
	}
	if err := f.cancel(ctx, g); err != nil {
		what := "job " + g.ID + " may still be in the queue"
		if g.office.dialect == nil {
			what = "workers of " + g.ID + " may still run on " + g.office.String()
		}
		return fmt.Errorf("%s: %w; `%s` ends it, and so does `muster down`", what, err, shell.Join(g.CancelCommand(g.ID)))
	}
	f.mu.Lock()
	f.groups = slices.DeleteFunc(f.groups, func(o *group) bool { return o == g })
	f.mu.Unlock()
	g.over(ctx)
	return nil
}

func (f *Fleet) cancel(ctx context.Context, g *group) error {
	settled := !g.foreign
	f.mu.Lock()
	for index, m := range g.members {
		// A worker that joined has been told to leave and its job ends by itself,
		// unless that waits to be started again.
		settled = settled && (m.state == hpc.Ended || m.state != hpc.Pending && g.cred.Joined(g.element(index)))
	}
	f.mu.Unlock()
	var err error
	for try := range 3 {
		if err = g.keeper.Cancel(ctx, g.ID); err == nil || ctx.Err() != nil {
			break
		}
		sleep(ctx, time.Duration(try+1)*time.Second)
	}
	if err != nil || settled {
		return err
	}
	return f.confirm(ctx, g)
}

// confirm waits until the scheduler no longer has the job waiting or running.
func (f *Fleet) confirm(ctx context.Context, g *group) error {
	for {
		f.mu.Lock()
		wait := time.Until(f.asked[g.office].Add(g.poll))
		f.mu.Unlock()
		if sleep(ctx, wait) != nil {
			return errors.New("the scheduler has not said that it is gone")
		}
		f.ask(ctx)
		gone := true
		f.mu.Lock()
		for _, m := range g.members {
			gone = gone && m.state == hpc.Ended
		}
		f.mu.Unlock()
		if gone {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TakeBack ends the job of a record, found by its name if it has no id, waits
// until it is gone, and forgets the record. It returns the job's id, empty if
// there was none.
func (r *Record) TakeBack(ctx context.Context, f *Fleet, socket string) (string, error) {
	var at machine = here{f.Run, f.User, r.dir}
	if r.Via != nil {
		site, err := f.Sites.Open(ctx, *r.Via, socket)
		if err != nil {
			return "", err
		}
		if at = (there{site}); r.Scheduler == "" {
			c := f.crew(site)
			c.know(r.Name, r.Processes)
			if err := c.Cancel(ctx, r.Name); err != nil {
				return r.Name, err
			}
			r.forget(ctx, at)
			return r.Name, nil
		}
	}
	c, err := r.client(at.runner(), at.user())
	if err != nil {
		return "", err
	}
	ids := []string{r.ID}
	if r.ID == "" {
		if ids, err = c.Find(ctx, r.Name); err != nil {
			return "", fmt.Errorf("look for job %s: %w", r.Name, err)
		}
	}
	for _, id := range ids {
		if err := cancelAndWait(ctx, c, id); err != nil {
			return id, err
		}
	}
	r.forget(ctx, at)
	return strings.Join(ids, " "), nil
}

// cancelAndWait cancels a job and waits until the scheduler says that it is gone.
func cancelAndWait(ctx context.Context, c *hpc.Client, id string) error {
	if err := c.Cancel(ctx, id); err != nil {
		return fmt.Errorf("cancel job %s: %w", id, err)
	}
	for {
		list, err := c.List(ctx, []string{id})
		if err != nil {
			return fmt.Errorf("ask whether job %s is gone: %w", id, err)
		}
		if !slices.ContainsFunc(list, func(e hpc.Element) bool { return e.Job == id && e.State != hpc.Ended }) {
			return nil
		}
		// One query, and then one in each interval.
		if err := sleep(ctx, takeBackPoll); err != nil {
			return fmt.Errorf("job %s is still there", id)
		}
	}
}

const takeBackPoll = 2 * time.Second

// CancelCommands are what a person would type to end all jobs.
func (f *Fleet) CancelCommands() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list [][]string
	for _, g := range f.groups {
		if g.ID != "" {
			list = append(list, g.CancelCommand(g.ID))
		}
	}
	return list
}
