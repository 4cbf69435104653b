package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"muster/hpc"
	"muster/internal/terminal"
)

// mostTold is of how many jobs the same is said at a time.
const mostTold = 5

// tell says what has changed: how many wait and why, of which jobs nothing is heard,
// and whose workers ended without ever having joined.
func (f *Fleet) tell(ctx context.Context) {
	f.lock()
	said := f.silent()
	if text := f.waiting(); text != "" {
		said = append(said, text)
	}
	lost, idle := f.lost(), f.idle()
	f.mu.Unlock()
	for _, text := range said {
		f.Say("%s", text)
	}
	for i, l := range idle {
		if i == mostTold {
			f.Say("%s more run without their workers; `muster status` shows them", count(len(idle)-i, "job"))
			break
		}
		f.Say("%s", terminal.Text(l.idle(ctx)))
	}
	lost = f.explain(ctx, lost)
	for i, l := range lost {
		if i == mostTold {
			f.Say("%s more ended and their workers never joined; `muster status` shows them", count(len(lost)-i, "job"))
			break
		}
		f.Say("%s", terminal.Text(l.text(ctx))) // it may take its time to read what they left
	}
}

// silent says of which jobs nothing has been heard for a while. It needs Fleet.mu.
func (f *Fleet) silent() (said []string) {
	for _, j := range f.jobs {
		if j.heard || j.silent || j.ID == "" || j.takenBack || time.Since(j.Sent) < quiet {
			continue
		}
		j.silent = true
		j.trouble = fmt.Sprintf("%s has said nothing of it yet", j.endpoint)
		said = append(said, fmt.Sprintf("launcher %s: %s has said nothing yet of job %s, which it took %v ago; it is asked every %v",
			j.Launcher, j.endpoint, j.theirs(), time.Since(j.Sent).Round(time.Second), j.poll))
	}
	if n := len(said) - mostTold; n > 0 {
		said = append(said[:mostTold], fmt.Sprintf("nothing has been heard of %s more", count(n, "job")))
	}
	return said
}

// waiting says how many workers wait and why, if that is new. It needs Fleet.mu.
func (f *Fleet) waiting() string {
	running, pending, all := 0, 0, 0
	reasons := map[string]int{}
	for _, j := range f.jobs {
		if !j.waited() || j.takenBack {
			continue
		}
		n := j.tally(reasons)
		running, pending, all = running+n.Running, pending+n.Pending, all+len(j.elements)
	}
	text := fmt.Sprintf("%d of %d workers running, %d pending", running, all, pending)
	if reason := most(reasons); reason != "" {
		text += ": " + reason
	}
	if pending == 0 || text == f.summary {
		return ""
	}
	f.summary = text
	return text
}

// tally counts the elements of a job, and adds up why those wait that do. It
// needs Fleet.mu.
func (j *job) tally(reasons map[string]int) (n JobStanding) {
	for _, m := range j.elements {
		switch m.state {
		case hpc.Running:
			n.Running++
		case hpc.Ended:
			n.Ended++
		case hpc.Pending:
			n.Pending++
			reasons[j.endpoint.reason(m.reason)]++
		case hpc.Unknown:
			reasons[j.endpoint.reason(m.reason)]++
		}
	}
	return n
}

// most returns the most frequent reason that is known.
func most(reasons map[string]int) string {
	best := ""
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		if r != "" && (best == "" || reasons[r] > reasons[best]) {
			best = r
		}
	}
	return best
}
