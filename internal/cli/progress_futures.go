package cli

import (
	"context"
	"slices"
	"time"

	"muster/dispatcher"
	"muster/internal/control"
)

// waitLook is how often a command that waits for futures looks how they stand, for its
// line of progress.
const waitLook = time.Second

// watchFutures has the line say how futures stand.
func (p *progress) watchFutures(ctx context.Context, client *control.Client, ids ...dispatcher.ID) {
	p.watch(waitLook, func() (survey, error) {
		st, err := client.Status(ctx)
		if err != nil {
			return survey{}, err // the command's own call fails too, and says so
		}
		return outlookOf(st, ids), nil
	})
}

// outlookOf is how futures stand, together.
func outlookOf(st *control.Status, ids []dispatcher.ID) (o survey) {
	open := map[string]int{} // by profile, of futures that have begun
	waited := map[string]bool{}
	for _, f := range st.Futures {
		if !slices.Contains(ids, f.ID) {
			continue
		}
		o.total, o.done, o.failed = o.total+f.Total, o.done+f.Resolved, o.failed+f.Failed
		waited[f.Profile] = true
		if f.State == "running" {
			open[f.Profile] += f.Total - f.Resolved
		}
	}
	for _, p := range st.Profiles {
		if waited[p.Profile] {
			o.running += min(open[p.Profile], busy(p.Workers))
			o.crew.workers += p.Info.Connections
		}
	}
	for _, j := range st.Standing {
		if waited[j.Profile] {
			o.crew.shown = true
			o.crew.pending += j.Pending
		}
	}
	o.crew.shown = o.crew.shown || o.crew.workers == 0
	return o
}

// busy is how many slots have a task. Who else waits for that profile has some of them.
func busy(workers []dispatcher.WorkerStatus) (n int) {
	for _, w := range workers {
		n += min(w.Busy, w.Slots)
	}
	return n
}
