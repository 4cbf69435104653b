package launch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/hpc"
)

// Fate is what became of a worker that was lost, by the word of its scheduler or
// its machine. The zero value is that nobody knows.
type Fate struct {
	End  hpc.End
	Text string
}

// inquiry is a question about lost workers, all that one office is asked for at a
// time.
type inquiry struct {
	ids    []string      // guarded by Fleet.mu until it is asked
	done   chan struct{} // closed when the answer is there
	answer []hpc.Element
	err    error
}

const (
	betweenInquiries = time.Second // of one office
	maxInquiries     = 3           // whether a worker that was lost still runs
)

// Fate asks what became of a worker of a launch that was lost. Its scheduler may
// not know yet: it is asked until it does, or says again and again that the job
// runs, or ctx is done. Those who ask at the same time share a question, and an
// office hears one a second at most.
func (f *Fleet) Fate(ctx context.Context, launch, element string) Fate {
	g, index := f.member(launch, element)
	if g == nil {
		return Fate{}
	}
	for asked := 1; ; {
		e, err := f.inquire(ctx, g, index)
		if ctx.Err() != nil {
			return Fate{}
		}
		fate, final := g.fate(e)
		if err == nil && (final || asked == maxInquiries) {
			return fate
		}
		// While a job is being ended it is no use to count.
		if err == nil && e.Raw != "COMPLETING" {
			asked++
		}
	}
}

// member finds the group of a launch, and the index of an element in it, of which
// a worker may be one of several processes.
func (f *Fleet) member(launch, element string) (*group, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		if g.Name != launch || g.ID == "" || g.takenBack {
			continue
		}
		for index := range g.members {
			if name := g.element(index); element == name || strings.HasPrefix(element, name+".") {
				return g, index
			}
		}
	}
	return nil, 0
}

// inquire asks about one element, with all others that are asked about. The
// element is Unknown if the answer does not speak of it.
func (f *Fleet) inquire(ctx context.Context, g *group, index int) (hpc.Element, error) {
	q := f.inquiry(g)
	select {
	case <-q.done:
	case <-ctx.Done():
		return hpc.Element{}, ctx.Err()
	}
	for _, e := range q.answer {
		if e.Job == g.ID && e.Index == index {
			return e, q.err
		}
	}
	return hpc.Element{}, q.err
}

// inquiry returns the next question to a group's office, which is about that group
// too.
func (f *Fleet) inquiry(g *group) *inquiry {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.inquiries[g.office]
	if q == nil {
		q = &inquiry{done: make(chan struct{})}
		if f.inquiries == nil {
			f.inquiries, f.inquired = map[office]*inquiry{}, map[office]time.Time{}
		}
		f.inquiries[g.office] = q
		// Workers that are lost together are not lost in the same instant.
		wait := max(betweenInquiries/4, time.Until(f.inquired[g.office].Add(betweenInquiries)))
		time.AfterFunc(wait, func() { f.put(q, g) })
	}
	if !slices.Contains(q.ids, g.ID) {
		q.ids = append(q.ids, g.ID)
	}
	return q
}

// put puts a question to the office of a group.
func (f *Fleet) put(q *inquiry, g *group) {
	f.mu.Lock()
	delete(f.inquiries, g.office)
	f.inquired[g.office] = time.Now()
	f.mu.Unlock()
	q.answer, q.err = g.Fates(context.Background(), q.ids)
	if q.err != nil {
		f.Log.Warn("it is not known what became of workers", "of", g.office, "error", q.err)
	}
	f.sayCancelled(g.office, q.answer)
	close(q.done)
}

// sayCancelled says, of each job once, which elements somebody cancelled whose workers had
// joined.
func (f *Fleet) sayCancelled(o office, list []hpc.Element) {
	cancelled := map[*group][]int{}
	f.mu.Lock()
	for _, e := range list {
		if e.End != hpc.EndCancelled {
			continue
		}
		for _, g := range f.groups {
			m := g.members[e.Index]
			if g.office == o && g.ID == e.Job && !g.foreign && !g.takenBack && m != nil && !m.cancelled && g.cred.Joined(g.element(e.Index)) {
				m.cancelled = true
				cancelled[g] = append(cancelled[g], e.Index)
			}
		}
	}
	f.mu.Unlock()
	for g, indices := range cancelled {
		first := g.element(slices.Min(indices))
		if n := len(indices) - 1; n > 0 {
			f.Say("job %s and %d more of its array were cancelled on the cluster; their tasks are tried again", first, n)
			continue
		}
		f.Say("job %s was cancelled on the cluster; its tasks are tried again", first)
	}
}

// fate says what an answer means for a worker that was lost. It is not final if
// another answer may say more.
func (g *group) fate(e hpc.Element) (fate Fate, final bool) {
	name := g.Element(e.Job, e.Index, g.array != nil)
	text := func(format string, args ...any) Fate { return Fate{e.End, fmt.Sprintf(format, args...)} }
	switch {
	case e.State == hpc.Unknown:
		return Fate{}, false
	case g.office.dialect == nil && e.State == hpc.Ended:
		return text("its process ended on %s", g.office), true
	case g.office.dialect == nil:
		return text("its process still runs on %s", g.office), false
	case e.State == hpc.Pending:
		return Fate{hpc.EndPreempted, "job " + name + " was taken off its node and waits again"}, true
	case e.State == hpc.Running:
		return text("job %s still runs, without its worker", name), false
	}
	switch e.End {
	case hpc.EndCancelled:
		return text("job %s was cancelled on the cluster", name), true
	case hpc.EndPreempted:
		return text("job %s was preempted", name), true
	case hpc.EndWalltime:
		return text("job %s ran into its time limit", name), true
	case hpc.EndMemory:
		return text("job %s used more memory than it may", name), true
	case hpc.EndNode:
		return text("the node of job %s failed", name), true
	}
	return text("job %s ended (%s)", name, e.Raw), true
}

// Expected returns how many workers of a launch may yet join, by what is known of
// its jobs. It is not known of a launch that is not submitted yet.
func (f *Fleet) Expected(launch string) (n int, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		if g.Name != launch {
			continue
		}
		for index, m := range g.members {
			if m.state == hpc.Pending || m.state != hpc.Ended && !g.cred.Joined(g.element(index)) {
				n++
			}
		}
		return n, true
	}
	return 0, false
}
