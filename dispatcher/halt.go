package dispatcher

import (
	"fmt"

	"muster/task"
)

// Outcome is what of a task counts for a Halt.
type Outcome int

// The outcomes.
const (
	Failed Outcome = iota
	Succeeded
	Ended // either
)

func (o Outcome) String() string { return [...]string{"failed", "succeeded", "ended"}[o] }

// Halt says when a run ends early. The zero value is never.
type Halt struct {
	On Outcome
	// Count is how many tasks have to come out so; Percent is that as a share of all,
	// of which Total is how many there are, 0 for not known before the last is
	// submitted.
	Count, Percent, Total int
	// Now cancels what runs; without it that ends by itself.
	Now bool
}

// Never reports whether the run ends when all is done.
func (h Halt) Never() bool { return h.Count == 0 && h.Percent == 0 }

// first reports whether the first failure is the end.
func (h Halt) first() bool { return h.On == Failed && h.Count == 1 }

// Reached reports whether it is time to halt, after so many tasks have failed and
// succeeded, of total; that is 0 if it is not known.
func (h Halt) Reached(failed, succeeded, total int) bool {
	n := [...]int{Failed: failed, Succeeded: succeeded, Ended: failed + succeeded}[h.On]
	if h.Percent == 0 {
		return h.Count > 0 && n >= h.Count
	}
	return total > 0 && n > 0 && n*100 >= h.Percent*total
}

// halts ends the run early if its time has come after a task has resolved. Under
// Pool.mu.
func (r *Run) halts(done *Done) {
	if r.end.Never() || r.halted || done.Err != nil && done.Err.Kind == task.KindCancelled {
		return
	}
	c := r.log.Counts()
	total := r.end.Total
	if total == 0 && r.sealed {
		total = c.Total - int(r.skipped.Load())
	}
	if !r.end.Reached(c.Failed, c.Resolved-c.Failed, total) {
		return
	}
	r.early = true
	r.startNoMore()
	if r.end.Now {
		r.cancel(task.Cancelled(r.end.reason(done.Index)))
	}
}

// reason is why a task is cancelled when another has come out so.
func (h Halt) reason(index int) string {
	if h.Count == 1 {
		return fmt.Sprintf("task %d had %v", index, h.On)
	}
	return fmt.Sprintf("as many tasks had %v as were to: %d was the last", h.On, index)
}

// EndedEarly reports whether the run has halted by its Halt.
func (r *Run) EndedEarly() bool {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	return r.early
}
