package launch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/hpc"
	"muster/internal/shell"
)

// Fleet is all that one dispatcher has launched through schedulers.
type Fleet struct {
	Dir  string // where records are kept: the run's launches/
	Run  hpc.Runner
	User string
	Log  hclog.Logger
	// Say tells the user something that matters now.
	Say func(format string, args ...any)
	// Credentials makes a join string for so many workers of one job, and says
	// which of them have ever joined, by the name of their element.
	Credentials func(p *Plan, job string, workers int) (join string, joined func(element string) bool)

	mu      sync.Mutex // guards all below
	groups  []*group
	asked   map[*hpc.Dialect]time.Time // when a scheduler was last asked
	mute    map[*hpc.Dialect]bool      // it has not answered since
	summary string
	last    time.Time // submission
}

// group is one submission.
type group struct {
	*Record
	client  *hpc.Client
	array   *hpc.Array
	poll    time.Duration
	foreign bool
	profile string
	output  string
	joined  func(string) bool
	members map[int]*member // by index, 0 for a plain job
}

// member is one element of a group.
type member struct {
	state   hpc.State
	raw     string
	reason  string
	listed  bool // the scheduler has spoken of it
	missing int  // good answers in a row that did not
	off     bool // it waits again after it had run, which has been said
	told    bool // that it ended without having joined
}

// between is how long to wait from one submission to the next: schedulers
// serve many users.
const between = 200 * time.Millisecond

// Submit sends all of a plan's submissions. Those that were sent stay
// recorded if a later one fails.
func (f *Fleet) Submit(ctx context.Context, p *Plan, muster string) error {
	for i := range p.Arrays {
		if err := f.submit(ctx, p, i, muster); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) submit(ctx context.Context, p *Plan, i int, muster string) error {
	g := &group{Record: &Record{Name: p.Name(unique()), Launcher: p.Launcher, Scheduler: p.Dialect.Name, Command: p.command,
		Workers: elements(p.Arrays[i]), dir: f.Dir}, client: p.Client(f.Run, f.User), array: p.Arrays[i], poll: p.Poll,
		foreign: p.Foreign, profile: p.Profile, members: map[int]*member{}, joined: func(string) bool { return true }}
	if g.Name == "" {
		g.Name = "job-" + unique() // a foreign worker's job without a name
	}
	n := p.Placeholders(muster)
	n.Job, n.JoinFile, n.Dir = g.Name, g.path(".join"), g.path(".out")
	if p.Foreign && p.job.Name == "" {
		n.Job = ""
	}
	if err := os.MkdirAll(n.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of job output: %w", err)
	}
	if !p.Foreign {
		n.JoinText, g.joined = f.Credentials(p, g.Name, g.Workers)
		if err := os.WriteFile(n.JoinFile, []byte(n.JoinText+"\n"), 0o600); err != nil {
			return fmt.Errorf("write the join file: %w", err)
		}
	}
	s, err := p.Render(i, n)
	if err != nil {
		return err
	}
	g.output = n.Dir
	for _, index := range indices(g.array) {
		g.members[index] = &member{}
	}
	g.Sent = time.Now().UTC()
	if err := g.write(); err != nil {
		return err
	}
	f.pace(ctx)
	g.ID, err = g.client.Submit(ctx, s.Script)
	switch {
	case errors.Is(err, hpc.ErrRefused):
		g.forget()
		return fmt.Errorf("submit %s: %w", p.Launcher, err)
	case err != nil:
		if g.ID = f.lookUp(g); g.ID == "" {
			return fmt.Errorf("submit %s: %w; it may have been accepted all the same: look for a job %s, and `muster down` looks again", p.Launcher, err, g.Name)
		}
	}
	f.Log.Info("submitted", "launcher", p.Launcher, "job", g.ID, "workers", g.Workers)
	f.mu.Lock()
	f.groups = append(f.groups, g)
	f.mu.Unlock()
	return g.write()
}

func indices(a *hpc.Array) []int {
	if a == nil {
		return []int{0}
	}
	return a.Expand()
}

// pace waits until the next submission may go out.
func (f *Fleet) pace(ctx context.Context) {
	f.mu.Lock()
	wait := time.Until(f.last.Add(between))
	f.last = time.Now().Add(max(wait, 0))
	f.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// lookUp finds a job that may have been submitted by its name.
func (f *Fleet) lookUp(g *group) string {
	ids, err := g.client.Find(context.Background(), g.Name)
	if err != nil || len(ids) != 1 {
		return ""
	}
	return ids[0]
}

// Jobs returns the ids of all that was submitted.
func (f *Fleet) Jobs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, g := range f.groups {
		ids = append(ids, g.ID)
	}
	return ids
}

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

// schedulers returns the groups of each scheduler.
func (f *Fleet) schedulers() map[*hpc.Dialect][]*group {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := map[*hpc.Dialect][]*group{}
	for _, g := range f.groups {
		m[g.client.Dialect] = append(m[g.client.Dialect], g)
	}
	return m
}

func interval(groups []*group) time.Duration {
	return slices.MaxFunc(groups, func(a, b *group) int { return cmp.Compare(a.poll, b.poll) }).poll
}

func (f *Fleet) untilNext() time.Duration {
	next := DefaultPoll
	for d, groups := range f.schedulers() {
		f.mu.Lock()
		next = min(next, time.Until(f.asked[d].Add(interval(groups))))
		f.mu.Unlock()
	}
	return max(next, 100*time.Millisecond)
}

// ask asks every scheduler that may be asked now.
func (f *Fleet) ask(ctx context.Context) {
	for d, groups := range f.schedulers() {
		f.mu.Lock()
		due := time.Since(f.asked[d]) >= interval(groups)
		if due {
			if f.asked == nil {
				f.asked, f.mute = map[*hpc.Dialect]time.Time{}, map[*hpc.Dialect]bool{}
			}
			f.asked[d] = time.Now()
		}
		f.mu.Unlock()
		if !due {
			continue
		}
		ids := f.alive(groups)
		if len(ids) == 0 {
			continue
		}
		list, err := groups[0].client.List(ctx, ids)
		if ctx.Err() != nil {
			return
		}
		f.mu.Lock()
		was := f.mute[d]
		f.mute[d] = err != nil
		f.mu.Unlock()
		switch {
		case err != nil && !was:
			f.Say("%s does not say how the jobs stand: %v; going on with what is known", d.Name, err)
		case err == nil && was:
			f.Say("%s answers again", d.Name)
		}
		if err == nil {
			f.learn(groups, list)
		}
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
			if m.state != hpc.Ended {
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
		for index, m := range g.members {
			e, ok := seen[key{g.ID, index}]
			switch {
			case ok:
				// It may have run between two questions: then its worker has joined.
				off := e.State == hpc.Pending && (m.state == hpc.Running || !g.foreign && g.joined(g.element(index)))
				if off && !m.off {
					f.Say("job %s was taken off its node and waits again; its tasks are lost and will be tried again", g.element(index))
				}
				m.off = off
				if e.State != hpc.Unknown {
					m.state, m.raw = e.State, e.Raw
				}
				m.reason, m.listed, m.missing = e.Reason, true, 0
			case m.state != hpc.Ended:
				// What was just submitted may not be listed yet.
				if m.missing++; m.listed || m.missing > 1 {
					m.state, m.raw = hpc.Ended, "no longer listed"
				}
			}
		}
	}
}

func (g *group) element(index int) string {
	return g.client.Dialect.Element(g.ID, index, g.array != nil)
}

// tell says what has changed: how many wait and why, and who ended without
// ever having joined.
func (f *Fleet) tell() {
	f.mu.Lock()
	var messages []string
	running, pending, all := 0, 0, 0
	reasons := map[string]int{}
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
			case hpc.Ended:
				if !m.told && !g.joined(g.element(index)) {
					m.told = true
					lost = append(lost, index)
				}
			}
		}
		slices.Sort(lost)
		if len(lost) > 0 {
			messages = append(messages, g.obituary(lost))
		}
	}
	summary := fmt.Sprintf("%d of %d workers running, %d pending", running, all, pending)
	if reason := most(reasons); reason != "" {
		summary += ": " + hpc.Explain(reason)
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
	for _, m := range messages {
		f.Say("%s", m)
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
func (g *group) obituary(lost []int) string {
	m := g.members[lost[0]]
	text := fmt.Sprintf("job %s ended (%s) and its worker never joined", g.element(lost[0]), m.raw)
	if n := len(lost) - 1; n > 0 {
		text += fmt.Sprintf(", nor did %d others", n)
	}
	if tail := g.tail(lost[0]); tail != "" {
		return text + "; its output ends:\n  " + strings.ReplaceAll(tail, "\n", "\n  ")
	}
	return text + "; it left no output in " + g.output
}

// tail returns the end of an element's output, if it went where muster said.
func (g *group) tail(index int) string {
	for _, name := range []string{fmt.Sprintf("%d.out", index), "out", fmt.Sprintf("out-%d", index)} {
		b, err := os.ReadFile(g.output + "/" + name)
		if err != nil {
			continue
		}
		text := strings.TrimSpace(string(b[max(0, len(b)-2000):]))
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

// CancelWaiting takes back the jobs that have not started.
func (f *Fleet) CancelWaiting(ctx context.Context) {
	f.mu.Lock()
	waiting := map[*group][]int{}
	for _, g := range f.groups {
		for index, m := range g.members {
			if m.state == hpc.Pending || m.state == hpc.Unknown && !g.joined(g.element(index)) {
				waiting[g] = append(waiting[g], index)
			}
		}
	}
	f.mu.Unlock()
	for g, list := range waiting {
		var err error
		if len(list) == len(g.members) {
			err = g.client.Cancel(ctx, g.ID)
		} else {
			err = g.client.CancelElements(ctx, g.ID, list)
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
	var left []error
	for _, g := range groups {
		if err := f.cancel(ctx, g); err != nil {
			left = append(left, fmt.Errorf("job %s may still be in the queue: %w; `%s` ends it, and so does `muster down`",
				g.ID, err, shell.Join(g.client.CancelCommand(g.ID))))
			continue
		}
		f.mu.Lock()
		f.groups = slices.DeleteFunc(f.groups, func(o *group) bool { return o == g })
		f.mu.Unlock()
		g.forget()
	}
	return errors.Join(left...)
}

func (f *Fleet) cancel(ctx context.Context, g *group) error {
	settled := !g.foreign
	f.mu.Lock()
	for index, m := range g.members {
		// A worker that joined has been told to leave and its job ends by itself,
		// unless that waits to be started again.
		settled = settled && (m.state == hpc.Ended || m.state != hpc.Pending && g.joined(g.element(index)))
	}
	f.mu.Unlock()
	var err error
	for try := range 3 {
		if err = g.client.Cancel(ctx, g.ID); err == nil || ctx.Err() != nil {
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
		wait := time.Until(f.asked[g.client.Dialect].Add(g.poll))
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
// until the scheduler says that it is gone, and forgets the record. It returns
// the job's id, empty if there was none.
func (r *Record) TakeBack(ctx context.Context, run hpc.Runner, user string) (string, error) {
	c, err := r.client(run, user)
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
		if err := c.Cancel(ctx, id); err != nil {
			return id, fmt.Errorf("cancel job %s: %w", id, err)
		}
		for alive := true; alive; {
			list, err := c.List(ctx, []string{id})
			if err != nil {
				return id, fmt.Errorf("ask whether job %s is gone: %w", id, err)
			}
			alive = slices.ContainsFunc(list, func(e hpc.Element) bool { return e.Job == id && e.State != hpc.Ended })
			if alive {
				// One query, and then one in each interval.
				if err := sleep(ctx, takeBackPoll); err != nil {
					return id, fmt.Errorf("job %s is still there", id)
				}
			}
		}
	}
	r.forget()
	return strings.Join(ids, " "), nil
}

const takeBackPoll = 2 * time.Second

// CancelCommands are what a person would type to end all jobs.
func (f *Fleet) CancelCommands() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list [][]string
	for _, g := range f.groups {
		list = append(list, g.client.CancelCommand(g.ID))
	}
	return list
}
