package cli

import (
	"slices"
	"time"
)

// rate says how many tasks end in a second, over the last seconds. Where tasks are long
// it looks back over some rounds of them instead.
type rate struct {
	points []point // that are needed, oldest first
}

// point is how many tasks had ended at a time.
type point struct {
	at   time.Time
	done int
}

const (
	rateSpan   = 10 * time.Second       // of the last seconds
	rateRounds = 5                      // of as many tasks as run at once
	rateMost   = 1000                   // tasks that rounds have, at most
	rateGrain  = 100 * time.Millisecond // between points
	rateFirst  = time.Second            // nothing is said before, of what may be a blink
)

// count notes how many tasks have ended, and drops what is too old while so many run.
// Nothing counts before the first one runs.
func (r *rate) count(now time.Time, done, running int) {
	if done == 0 && running == 0 || len(r.points) == 0 {
		r.points = append(r.points[:0], point{now, done})
		return
	}
	if last := r.points[len(r.points)-1]; done > last.done && now.Sub(last.at) >= rateGrain {
		r.points = append(r.points, point{now, done})
	}
	enough := min(rateRounds*max(running, 1), rateMost)
	old := 0
	for old+1 < len(r.points) && now.Sub(r.points[old+1].at) >= rateSpan && done-r.points[old+1].done >= enough {
		old++
	}
	r.points = slices.Delete(r.points, 0, old)
}

// second returns how many tasks end in a second, 0 if that is not known yet.
func (r *rate) second(now time.Time, done int) float64 {
	if len(r.points) == 0 {
		return 0
	}
	first := r.points[0]
	span := now.Sub(first.at)
	if span < rateFirst {
		return 0
	}
	return float64(done-first.done) / span.Seconds()
}
