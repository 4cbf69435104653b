package cli

import "time"

// How often a run looks how its tasks stand, for its line of progress, and how its jobs
// do, of which there may be thousands.
const (
	runLook  = 100 * time.Millisecond
	jobsLook = 2 * time.Second
)

// newProgress returns what shows how far the run is, and the streams that leave room
// for it.
func (p *runPlan) newProgress(s streams) (*progress, streams) {
	total := -1
	if n, known := p.in.Total(); known {
		total = max(n-p.passed(), 0)
	}
	return newProgress(p.o.progress, s, total)
}

// watch has the line say how the run stands.
func (e *execution) watch() {
	var asked time.Time
	pending := 0
	e.bar.watch(runLook, func() (survey, error) {
		o := survey{running: e.profile.Pool.Busy(), total: e.b.Submitted()}
		if e.p.pool == nil || len(e.p.pool.drafts) == 0 {
			return o, nil
		}
		if now := time.Now(); now.Sub(asked) >= jobsLook {
			asked, pending = now, e.pending()
		}
		o.crew = crew{shown: true, workers: e.profile.Pool.Info().Connections, pending: pending}
		return o, nil
	})
}

// pending is how many workers schedulers have not started.
func (e *execution) pending() (n int) {
	for _, j := range e.h.Fleet().Standing() {
		n += j.Pending
	}
	return n
}
