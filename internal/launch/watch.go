package launch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/hpc"
	"muster/internal/terminal"
)

// Watch asks schedulers how jobs stand, one query for all jobs of one
// scheduler and never more than one in its poll interval, until ctx is done.
// over is called each time with how many workers may still come or are there.
func (f *Fleet) Watch(ctx context.Context, over func(left int)) {
	const first = time.Second // most jobs of an idle cluster start by then
	t := time.NewTimer(first)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		f.ask(ctx)
		f.tell()
		over(f.left())
		t.Reset(f.untilNext())
	}
}

// offices returns the groups of each office.
func (f *Fleet) offices() map[office][]*group {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := map[office][]*group{}
	for _, g := range f.groups {
		m[g.office] = append(m[g.office], g)
	}
	return m
}

func interval(groups []*group) time.Duration {
	return slices.MaxFunc(groups, func(a, b *group) int { return cmp.Compare(a.poll, b.poll) }).poll
}

func (f *Fleet) untilNext() time.Duration {
	next := DefaultPoll
	for d, groups := range f.offices() {
		f.mu.Lock()
		next = min(next, time.Until(f.asked[d].Add(interval(groups))))
		f.mu.Unlock()
	}
	return max(next, 100*time.Millisecond)
}

// ask asks everybody who may be asked now, side by side: one that does not answer
// holds no other up.
func (f *Fleet) ask(ctx context.Context) {
	var asking sync.WaitGroup
	for o, groups := range f.offices() {
		if f.due(o, groups) {
			asking.Go(func() { f.askOne(ctx, o, groups) })
		}
	}
	asking.Wait()
}

// due reports whether an office may be asked now, and notes that it is.
func (f *Fleet) due(o office, groups []*group) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.asked[o]) < interval(groups) {
		return false
	}
	if f.asked == nil {
		f.asked, f.mute = map[office]time.Time{}, map[office]bool{}
	}
	f.asked[o] = time.Now()
	return true
}

func (f *Fleet) askOne(ctx context.Context, o office, groups []*group) {
	ids := f.alive(groups)
	if len(ids) == 0 {
		return
	}
	list, err := groups[0].List(ctx, ids)
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	was := f.mute[o]
	f.mute[o] = err != nil
	f.mu.Unlock()
	switch {
	case err != nil && !was:
		f.Say("%s does not say how the workers stand: %v; going on with what is known", o, err)
	case err == nil && was:
		f.Say("%s answers again", o)
	}
	if err == nil {
		f.learn(groups, list)
		f.sayCancelled(o, list)
	}
}

// alive lists the jobs of which some element has not ended: PBS complains of
// others, and without any id lists everybody's.
func (f *Fleet) alive(groups []*group) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, g := range groups {
		for _, m := range g.members {
			if m.state != hpc.Ended && g.ID != "" {
				ids = append(ids, g.ID)
				break
			}
		}
	}
	return ids
}

// learn takes in a good answer.
func (f *Fleet) learn(groups []*group, list []hpc.Element) {
	type key struct {
		job   string
		index int
	}
	seen := map[key]hpc.Element{}
	for _, e := range list {
		seen[key{e.Job, e.Index}] = e
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range groups {
		if g.ID == "" {
			continue // it may have been submitted
		}
		for index, m := range g.members {
			e, ok := seen[key{g.ID, index}]
			switch {
			case ok:
				// It may have run between two questions: then its worker has joined.
				off := e.State == hpc.Pending && (m.state == hpc.Running || !g.foreign && g.cred.Joined(g.element(index)))
				if off && !m.off {
					f.Say("job %s was taken off its node and waits again; its tasks are lost and will be tried again", g.element(index))
				}
				if m.off = off; off || e.State == hpc.Ended {
					g.gone(index)
				}
				if e.State != hpc.Unknown {
					m.state, m.raw = e.State, e.Raw
				}
				m.reason, m.listed, m.missing = e.Reason, true, 0
			case m.state != hpc.Ended:
				// What was just submitted may not be listed yet.
				if m.missing++; m.listed || m.missing > 1 {
					m.state, m.raw = hpc.Ended, "no longer listed"
					g.gone(index)
				}
			}
		}
	}
}

// gone says that a worker need not be waited for.
func (g *group) gone(index int) {
	if g.cred.Gone != nil {
		g.cred.Gone(g.element(index))
	}
}

// tell says what has changed: how many wait and why, and who ended without
// ever having joined.
func (f *Fleet) tell() {
	f.mu.Lock()
	type dead struct {
		g    *group
		lost []int
		raw  string // what became of the first
	}
	var buried []dead
	running, pending, all := 0, 0, 0
	reasons, explained := map[string]int{}, map[string]string{}
	for _, g := range f.groups {
		if g.foreign {
			continue
		}
		var lost []int
		for index, m := range g.members {
			all++
			switch m.state {
			case hpc.Running:
				running++
			case hpc.Pending:
				pending++
				reasons[m.reason]++
				if d := g.office.dialect; d != nil {
					explained[m.reason] = d.Explain(m.reason)
				}
			case hpc.Ended:
				if !m.told && !g.cred.Joined(g.element(index)) {
					m.told = true
					lost = append(lost, index)
				}
			}
		}
		slices.Sort(lost)
		if len(lost) > 0 {
			buried = append(buried, dead{g, lost, g.members[lost[0]].raw})
		}
	}
	summary := fmt.Sprintf("%d of %d workers running, %d pending", running, all, pending)
	if reason := most(reasons); reason != "" {
		summary += ": " + cmp.Or(explained[reason], reason)
	}
	if pending == 0 || summary == f.summary {
		summary = ""
	} else {
		f.summary = summary
	}
	f.mu.Unlock()
	if summary != "" {
		f.Say("%s", summary)
	}
	for _, d := range buried {
		f.Say("%s", d.g.obituary(d.lost, d.raw)) // it may take its time to read what they left
	}
}

func most(reasons map[string]int) string {
	best := ""
	for r, n := range reasons {
		if r != "" && (best == "" || n > reasons[best] || n == reasons[best] && r < best) {
			best = r
		}
	}
	return best
}

// obituary says that elements ended and what the first of them left.
func (g *group) obituary(lost []int, raw string) string {
	text := fmt.Sprintf("job %s ended (%s) and its worker never joined", g.element(lost[0]), raw)
	if g.office.dialect == nil {
		text = fmt.Sprintf("worker %s on %s ended and had never joined", g.element(lost[0]), g.office)
	}
	if n := len(lost) - 1; n > 0 {
		text += fmt.Sprintf(", nor did %d others", n)
	}
	if tail := g.last(lost[0]); tail != "" {
		return text + "; its output ends:\n  " + strings.ReplaceAll(tail, "\n", "\n  ")
	}
	return text + "; it left no output in " + g.output
}

// last returns the end of an element's output, if it went where muster said.
func (g *group) last(index int) string {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	for _, name := range []string{fmt.Sprintf("%d.out", index), "out", fmt.Sprintf("out-%d", index)} {
		b, err := g.at.tail(ctx, g.output+"/"+name, 2000)
		if err != nil {
			continue
		}
		text := strings.TrimSpace(terminal.Safe(string(b)))
		if lines := strings.Split(text, "\n"); len(lines) > 10 {
			text = strings.Join(lines[len(lines)-10:], "\n")
		}
		return text
	}
	return ""
}

// left counts the workers that may still come or be there.
func (f *Fleet) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, g := range f.groups {
		for _, m := range g.members {
			if m.state != hpc.Ended {
				n++
			}
		}
	}
	return n
}
