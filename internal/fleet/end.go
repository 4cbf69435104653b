package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"muster/hpc"
	"muster/internal/shell"
)

const (
	// lookAgain is how long it takes at most until a job is listed that was submitted.
	lookAgain = 2 * time.Second
	// tries is how often a job is cancelled at most, and how many answers in a row may
	// fail before it is no longer asked whether it is gone.
	tries = 3
	// again is for how long a job that has been cancelled is not cancelled again.
	again = time.Minute
	// looks is how often a job that may have been submitted is looked for in vain before
	// it is believed that it was not.
	looks = 2
)

// CancelWaiting takes back the jobs that have not started.
func (f *Fleet) CancelWaiting(ctx context.Context) {
	waiting := map[*job][]int{}
	var jobs []*job
	for _, j := range f.all() {
		f.lock()
		for index, m := range j.elements {
			// One that has joined since its endpoint was asked does not wait any more.
			if j.ID != "" && (m.state == hpc.Pending || m.state == hpc.Unknown) && (m.off || !j.joined(index)) {
				waiting[j] = append(waiting[j], index)
			}
		}
		f.mu.Unlock()
		if len(waiting[j]) > 0 {
			jobs = append(jobs, j)
		}
	}
	var ending sync.WaitGroup
	for e, jobs := range byEndpoint(jobs) {
		ending.Go(func() {
			each(jobs, e.rules().atOnce, func(j *job) error {
				indices := waiting[j]
				if len(indices) == len(j.elements) {
					indices = nil // in one command
				}
				err := f.order(ctx, j, indices...)
				if _, never := err.(noCancel); err != nil && !never {
					f.Log.Warn("waiting jobs could not be cancelled", "job", j.ID, "error", err)
				}
				return err
			})
		})
	}
	ending.Wait()
}

// order has a job cancelled, or some of its elements, unless all of it just was: whoever
// takes back what waits may meet whoever ends all.
func (f *Fleet) order(ctx context.Context, j *job, indices ...int) error {
	select {
	case j.ordering <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-j.ordering }()
	f.lock()
	done := time.Since(j.cancelledAt) < again
	f.mu.Unlock()
	if done {
		return nil
	}
	err := j.endpoint.cancel(ctx, j.Record, indices...)
	if err == nil && len(indices) == 0 {
		f.lock()
		j.cancelledAt = time.Now()
		f.mu.Unlock()
	}
	return err
}

// Cancel ends all jobs of a profile, or of all if that is empty, and waits until their
// endpoints say that they are gone. What it could not take back stays recorded, and the
// error says how to.
func (f *Fleet) Cancel(ctx context.Context, profile string) error {
	var jobs []*job
	for _, j := range f.all() {
		if profile == "" || j.Profile == profile {
			jobs = append(jobs, j)
		}
	}
	failed := f.end(ctx, jobs)
	f.unkeep(ctx, 0, profile)
	var left []error
	for _, j := range jobs {
		if err := failed[j]; err != nil {
			left = append(left, j.remains(err))
		}
	}
	return joinErrors(left)
}

// remains says what may be left of a job, and how to end it.
func (j *job) remains(err error) error {
	if j.ID == "" {
		return fmt.Errorf("%s: %w; %s", j.endpoint.whole(j.Record), err, lookFor(j.Record))
	}
	argv := j.endpoint.command(j.Record)
	if len(argv) == 0 {
		return fmt.Errorf("%s: %w; it stays on record, and `muster down` tries again", j.endpoint.whole(j.Record), err)
	}
	return fmt.Errorf("%s: %w; `%s` ends it, and so does `muster down`", j.endpoint.whole(j.Record), err, shell.Join(argv))
}

// end ends jobs, at all endpoints side by side, and forgets those that are gone. It
// returns what failed.
func (f *Fleet) end(ctx context.Context, jobs []*job) map[*job]error {
	f.lock()
	for _, j := range jobs {
		j.takenBack = true
		j.ending++
	}
	f.mu.Unlock()
	defer func() {
		f.lock()
		defer f.mu.Unlock()
		for _, j := range jobs {
			j.ending--
		}
	}()
	var mu sync.Mutex // guards failed
	failed := map[*job]error{}
	var ending sync.WaitGroup
	for e, jobs := range byEndpoint(jobs) {
		ending.Go(func() {
			x := &ender{f: f, e: e, failed: map[*job]error{}}
			x.end(ctx, jobs)
			mu.Lock()
			defer mu.Unlock()
			for j, err := range x.failed {
				failed[j] = err
			}
		})
	}
	ending.Wait()
	return failed
}

// ender ends the jobs of one endpoint.
type ender struct {
	f      *Fleet
	e      *endpoint
	mu     sync.Mutex // guards failed
	failed map[*job]error
}

func (x *ender) fail(j *job, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failed[j] = err
}

// end cancels all jobs, then waits until all are gone. Those without an id are looked
// for, and once more after that.
func (x *ender) end(ctx context.Context, jobs []*job) {
	var known, unseen []*job
	for _, j := range jobs {
		if j.ID == "" {
			unseen = append(unseen, j)
		} else {
			known = append(known, j)
		}
	}
	for look := range looks {
		var found []*job
		if look > 0 && len(unseen) > 0 && sleep(ctx, lookAgain) != nil {
			for _, j := range unseen {
				x.fail(j, errors.New("there was no time to look for it twice"))
			}
			return
		}
		found, unseen = x.find(ctx, unseen)
		x.confirm(ctx, x.cancel(ctx, append(known, found...)))
		known = nil
	}
	x.forget(ctx, unseen)
}

// find looks for jobs that may have been submitted, and returns those that were and
// those of which nothing is seen. It fails those of which nobody can be sure.
func (x *ender) find(ctx context.Context, jobs []*job) (found, unseen []*job) {
	for _, j := range jobs {
		ids, err := x.e.find(ctx, j.Record)
		switch {
		case err != nil:
			x.fail(j, fmt.Errorf("look for it: %w", err))
		case len(ids) == 0:
			unseen = append(unseen, j)
		case len(ids) > 1:
			x.fail(j, fmt.Errorf("%d jobs have its name: %v", len(ids), ids))
		default:
			x.f.lock()
			j.ID = ids[0]
			j.name()
			x.f.mu.Unlock()
			if err := j.write(); err != nil {
				x.f.Log.Warn("the id of a job is not recorded", "job", j.ID, "error", err)
			}
			found = append(found, j)
		}
	}
	return found, unseen
}

// cancel cancels jobs, waiting for none of them, and returns those whose end is to be
// confirmed. The others are forgotten, or failed.
func (x *ender) cancel(ctx context.Context, jobs []*job) (unsure []*job) {
	var settled []*job
	endless := map[noCancel]int{} // of those whose workers have not been told to leave, by why
	for try := range tries {
		if len(jobs) == 0 || try > 0 && sleep(ctx, time.Duration(try)*time.Second) != nil {
			break
		}
		errs := each(jobs, x.e.rules().atOnce, func(j *job) error { return x.f.order(ctx, j) })
		var again []*job
		for i, j := range jobs {
			why, never := errs[i].(noCancel)
			switch {
			case never:
				if settled = append(settled, j); x.f.awaited(j) {
					endless[why]++
				}
			case errs[i] != nil:
				x.fail(j, errs[i])
				if _, is := errors.AsType[hopeless](errs[i]); !is {
					again = append(again, j)
				}
				continue
			case x.f.settled(j):
				settled = append(settled, j)
			default:
				unsure = append(unsure, j)
			}
			x.mu.Lock()
			delete(x.failed, j)
			x.mu.Unlock()
		}
		jobs = again
	}
	for _, why := range slices.Sorted(maps.Keys(endless)) {
		text := fmt.Sprintf("%s: %s cannot be taken back, since %s: a worker that starts yet is not let in, and ends", x.e, count(endless[why], "start"), why)
		x.f.Say("%s", text)
		x.f.lock()
		x.f.notes = append(x.f.notes, text)
		x.f.mu.Unlock()
	}
	x.forget(ctx, settled)
	return unsure
}

// awaited reports whether a worker of a job has not come yet.
func (f *Fleet) awaited(j *job) bool {
	f.lock()
	defer f.mu.Unlock()
	for index, m := range j.elements {
		if m.state != hpc.Ended && !j.joined(index) {
			return true
		}
	}
	return false
}

// settled reports whether a job that has been cancelled need not be waited for: its
// workers have ended, or have been told to leave. One that waits to be started again
// has not.
func (f *Fleet) settled(j *job) bool {
	f.lock()
	defer f.mu.Unlock()
	ended := true
	if j.Blind || j.stays() {
		return true // nobody would say so, or its end has been waited for
	}
	for index, m := range j.elements {
		if m.state == hpc.Ended {
			continue
		}
		if ended = false; m.state == hpc.Pending || !j.joined(index) {
			return false
		}
	}
	if !ended && j.endpoint.rules().delivers {
		j.launch.delivering = true
	}
	return true
}

// confirm waits until the endpoint no longer has jobs waiting or running, and forgets
// those.
func (x *ender) confirm(ctx context.Context, jobs []*job) {
	if len(jobs) == 0 {
		return
	}
	every := min(interval(jobs), defaultPoll) // whoever waits for it, waits here
	late := time.AfterFunc(quiet, func() {
		x.f.Say("waiting until %s says that %s gone; Ctrl-C leaves them on record for `muster down`", x.e, these(len(jobs)))
	})
	defer late.Stop()
	left, bad := jobs, 0
	for {
		if err := x.f.untilDue(ctx, x.e, every); err != nil {
			x.give(left, errors.New(x.e.String()+" has not said that it is gone"))
			return
		}
		if !x.f.due(x.e, every) {
			continue // another has just asked
		}
		err := x.f.ask(ctx, x.e, left)
		left = x.answered(x.gone(ctx, left))
		if err == nil {
			bad = 0
		} else if bad++; bad == tries && ctx.Err() == nil {
			x.give(left, fmt.Errorf("ask whether it is gone: %w", err))
			return
		}
		if len(left) == 0 {
			return
		}
	}
}

func these(n int) string {
	if n == 1 {
		return "1 job is"
	}
	return fmt.Sprintf("%d jobs are", n)
}

// answered fails the jobs about which no question is answered, though those about others
// are, and returns the rest.
func (x *ender) answered(jobs []*job) (rest []*job) {
	for _, j := range jobs {
		if why := x.f.unanswered(j); why != "" {
			x.fail(j, errors.New("ask whether it is gone: "+why))
		} else {
			rest = append(rest, j)
		}
	}
	return rest
}

// unanswered says why questions about a job fail again and again; empty if they do not.
func (f *Fleet) unanswered(j *job) string {
	f.lock()
	defer f.mu.Unlock()
	for _, m := range j.elements {
		if m.unanswered >= tries {
			return m.reason
		}
	}
	return ""
}

// give fails jobs.
func (x *ender) give(jobs []*job, err error) {
	for _, j := range jobs {
		x.fail(j, err)
	}
}

// gone forgets those that are gone and returns the others.
func (x *ender) gone(ctx context.Context, jobs []*job) []*job {
	left := x.f.running(jobs)
	still := map[*job]bool{}
	for _, j := range left {
		still[j] = true
	}
	var gone []*job
	for _, j := range jobs {
		if !still[j] {
			gone = append(gone, j)
		}
	}
	x.forget(ctx, gone)
	return left
}

// forget forgets jobs, even when there is no more time for anything else.
func (x *ender) forget(ctx context.Context, jobs []*job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	x.f.forget(ctx, jobs)
}

// untilDue waits until an endpoint may be asked.
func (f *Fleet) untilDue(ctx context.Context, e *endpoint, every time.Duration) error {
	f.lock()
	wait := time.Until(e.asked.Add(every))
	f.mu.Unlock()
	return sleep(ctx, max(wait, 0))
}
