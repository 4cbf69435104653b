package fleet

import (
	"context"
	"fmt"
	"sync"
	"time"

	"muster/hpc"
)

// Times of Watch.
const (
	first   = time.Second            // after a submission: most jobs of an idle cluster start by then
	idle    = 10 * time.Second       // between two looks at what is to be done
	soonest = 100 * time.Millisecond // the least of that
)

// Watch asks endpoints how jobs stand, one query for all jobs of one and never more
// than one in its poll interval, until ctx is done. Jobs that have ended are forgotten
// after a while. over is called each time with how many workers may still come or are
// there.
func (f *Fleet) Watch(ctx context.Context, over func(left int)) {
	f.lock()
	woken := f.woken
	f.mu.Unlock()
	next := time.Now().Add(first)
	for {
		select {
		case <-ctx.Done():
			return
		case <-woken:
			if soon := time.Now().Add(first); soon.Before(next) {
				next = soon
			}
			continue
		case <-time.After(time.Until(next)):
		}
		f.askAll(ctx)
		f.tell(ctx)
		f.sweep(ctx)
		over(f.coming())
		next = time.Now().Add(f.untilNext())
	}
}

// untilNext is how long there is nothing to do.
func (f *Fleet) untilNext() time.Duration {
	next := idle
	for e, jobs := range byEndpoint(f.all()) {
		f.lock()
		next = min(next, time.Until(e.asked.Add(interval(jobs))))
		for _, j := range jobs {
			if !j.heard && !j.silent {
				next = min(next, time.Until(j.Sent.Add(quiet)))
			}
			next = min(next, j.untilIdle())
		}
		f.mu.Unlock()
	}
	return max(next, soonest)
}

// untilIdle is how long until it is missed that a worker of the job has not joined. It
// needs Fleet.mu.
func (j *job) untilIdle() time.Duration {
	next := idle
	if !j.waited() || j.takenBack || j.idle != "" {
		return next
	}
	for index, m := range j.elements {
		if m.state == hpc.Running && !j.joined(index) {
			next = min(next, time.Until(m.runs.Add(untilIdle)))
		}
	}
	return next
}

// askAll asks all who may be asked now, side by side: one that does not answer holds no
// other up.
func (f *Fleet) askAll(ctx context.Context) {
	var asking sync.WaitGroup
	for e, jobs := range byEndpoint(f.all()) {
		if jobs = f.running(jobs); len(jobs) > 0 && f.due(e, interval(jobs)) {
			asking.Go(func() { f.ask(ctx, e, jobs) })
		}
	}
	asking.Wait()
}

// running returns the jobs of which some element has not ended: PBS complains of
// others, and without any id lists everybody's.
func (f *Fleet) running(jobs []*job) []*job {
	f.lock()
	defer f.mu.Unlock()
	var list []*job
	for _, j := range jobs {
		if j.ID != "" && !j.over() {
			list = append(list, j)
		}
	}
	return list
}

// due reports whether an endpoint may be asked now, and notes that it is.
func (f *Fleet) due(e *endpoint, every time.Duration) bool {
	f.lock()
	defer f.mu.Unlock()
	if time.Since(e.asked) < every {
		return false
	}
	e.asked = time.Now()
	return true
}

// ask asks an endpoint how jobs stand, and learns from a good answer.
func (f *Fleet) ask(ctx context.Context, e *endpoint, jobs []*job) error {
	records := make([]*Record, len(jobs))
	for i, j := range jobs {
		records[i] = j.Record
	}
	late := time.AfterFunc(quiet, func() {
		if f.nowMute(e, fmt.Errorf("there is no answer for %v", quiet)) {
			f.Say("%s has not said for %v how the workers stand; going on with what is known", e, quiet)
		}
	})
	before := f.joined(jobs)
	list, err := e.list(ctx, records, standing)
	late.Stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if changed := f.nowMute(e, err); changed && err != nil {
		f.Say("%s does not say how the workers stand: %v; going on with what is known", e, err)
	} else if changed {
		f.Say("%s answers again", e)
	}
	if err != nil {
		return err
	}
	f.learn(jobs, list, before)
	return nil
}

// joined returns the elements whose workers have ever joined.
func (f *Fleet) joined(jobs []*job) map[member]bool {
	f.lock()
	defer f.mu.Unlock()
	list := map[member]bool{}
	for _, j := range jobs {
		for index := range j.elements {
			if j.joined(index) {
				list[member{j, index}] = true
			}
		}
	}
	return list
}

// nowMute notes why an endpoint does not answer, nil if it does, and reports whether it
// is new that it does not, or does.
func (f *Fleet) nowMute(e *endpoint, why error) bool {
	f.lock()
	defer f.mu.Unlock()
	was := e.mute
	e.mute = why
	return (was == nil) != (why == nil)
}

// coming counts the workers that may still come or be there.
func (f *Fleet) coming() int {
	f.lock()
	defer f.mu.Unlock()
	n := 0
	for _, j := range f.jobs {
		for _, m := range j.elements {
			if m.state != hpc.Ended {
				n++
			}
		}
	}
	return n
}
