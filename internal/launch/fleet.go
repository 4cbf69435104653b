package launch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/hpc"
	"muster/internal/remote"
	"muster/internal/shell"
)

// Fleet is all that one dispatcher has launched through schedulers and by SSH.
type Fleet struct {
	Dir  string // where records are kept: the run's launches/
	Run  hpc.Runner
	User string
	Log  hclog.Logger
	// Say tells the user something that matters now.
	Say func(format string, args ...any)
	// Credentials lets so many workers of one job join. site is the machine
	// that they dial, nil if that is this one.
	Credentials func(ctx context.Context, p *Plan, job string, workers int, site *remote.Site) (Credentials, error)
	// Sites are the machines behind SSH.
	Sites *remote.Sites

	mu       sync.Mutex // guards all below
	groups   []*group
	crews    map[*remote.Site]*crew
	followed map[*remote.Site]bool // join files there follow its addresses
	asked    map[office]time.Time  // when it was last asked
	mute     map[office]bool       // it has not answered since
	summary  string
	last     time.Time // submission
}

// Credentials are a token's: what its workers are told, and which of them have
// ever joined, by the name of their element.
type Credentials struct {
	Join   func() string // the join string, which changes when addresses do
	Joined func(element string) bool
	Gone   func(element string) // says that a scheduler has no process of it any more; may be nil
}

// office is who is asked how workers stand: a scheduler, here or on a machine
// behind SSH, or that machine itself.
type office struct {
	site    *remote.Site
	dialect *hpc.Dialect
}

func (o office) String() string {
	switch {
	case o.site == nil:
		return o.dialect.Name
	case o.dialect == nil:
		return o.site.Login().Name()
	}
	return o.dialect.Name + " on " + o.site.Login().Name()
}

// group is one submission.
type group struct {
	*Record
	keeper
	office  office
	at      machine
	array   *hpc.Array
	poll    time.Duration
	foreign bool
	profile string
	output  string
	cred    Credentials
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

// Submit sends all of a plan's submissions, or starts its workers by SSH. Those
// that were sent stay recorded if a later one fails. muster is the program of
// workers on this machine's cluster, socket where questions of a login are
// answered, empty if nobody can be asked.
func (f *Fleet) Submit(ctx context.Context, p *Plan, muster, socket string) error {
	switch {
	case len(p.Hosts) > 0 && p.Foreign:
		return f.startForeign(ctx, p)
	case len(p.Hosts) > 0:
		return each(p.Hosts, func(l remote.Login) error { return f.start(ctx, p, l, socket) })
	}
	var at machine = here{f.Run, f.User, f.Dir}
	var office office
	if p.Via != nil {
		site, err := f.Sites.Open(ctx, *p.Via, socket)
		if err != nil {
			return err
		}
		if err := p.ready(ctx, site); err != nil {
			return err
		}
		at, office.site = there{site}, site
		if muster = p.Muster; muster == "" {
			muster = site.Program()
		}
		f.follow(site)
	}
	office.dialect = p.Dialect
	if p.Largest() > unasked {
		p.Limit(p.Client(at.runner(), at.user()).Limit(ctx))
	}
	for i := range p.Arrays {
		if err := f.submit(ctx, p, i, muster, at, office); err != nil {
			return err
		}
	}
	return nil
}

// Version asks the commands of a plan's scheduler which it is.
func (f *Fleet) Version(ctx context.Context, p *Plan, socket string) (string, error) {
	var at machine = here{f.Run, f.User, f.Dir}
	if p.Via != nil {
		site, err := f.Sites.Open(ctx, *p.Via, socket)
		if err != nil {
			return "", err
		}
		at = there{site}
	}
	return p.Client(at.runner(), at.user()).Version(ctx)
}

// unasked is the largest array index that every scheduler takes by default;
// only beyond it is one asked for its limit.
const unasked = 1000

// ready sees to it that workers on a machine behind SSH have a directory.
func (p *Plan) ready(ctx context.Context, site *remote.Site) error {
	if p.job.Workdir == "" {
		return nil
	}
	is, err := site.HasDir(ctx, p.job.Workdir)
	if err != nil || is {
		return err
	}
	if p.dir != "" {
		return fmt.Errorf("launcher %s: its workdir %s is no directory on %s", p.Launcher, p.dir, site.Login().Name())
	}
	return fmt.Errorf("launcher %s: %s, where you are, is no directory on %s: set workdir to one that is there", p.Launcher, p.job.Workdir, site.Login().Name())
}

// begin records a launch, in files of its own, and lets its workers join.
func (f *Fleet) begin(ctx context.Context, p *Plan, g *group, n *Names) (err error) {
	n.Job, n.JoinFile, n.Dir = g.Name, g.at.dir()+"/"+g.Name+".join", g.at.dir()+"/"+g.Name+".out"
	if p.Foreign && p.job.Name == "" {
		n.Job = ""
	}
	g.Files = []string{n.JoinFile, n.Dir}
	g.output = n.Dir
	if err := g.at.mkdir(ctx, n.Dir); err != nil {
		return fmt.Errorf("make the folder of its output: %w", err)
	}
	if p.Foreign {
		return nil
	}
	if g.cred, err = f.Credentials(ctx, p, g.Name, g.Workers, g.office.site); err != nil {
		return err
	}
	n.JoinText = g.cred.Join()
	if err := g.at.write(ctx, n.JoinFile, []byte(n.JoinText+"\n")); err != nil {
		return fmt.Errorf("write the join file: %w", err)
	}
	return nil
}

// follow has join files written anew with each new link to a machine.
func (f *Fleet) follow(site *remote.Site) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followed == nil {
		f.followed = map[*remote.Site]bool{}
	}
	if !f.followed[site] {
		f.followed[site] = true
		site.OnRenewal(func(ctx context.Context) { f.rejoin(ctx, site) })
	}
}

// rejoin writes join files anew, when a machine's addresses may have changed.
func (f *Fleet) rejoin(ctx context.Context, site *remote.Site) {
	f.mu.Lock()
	var groups []*group
	for _, g := range f.groups {
		if g.office.site == site && !g.foreign {
			groups = append(groups, g)
		}
	}
	f.mu.Unlock()
	for _, g := range groups {
		if err := g.at.write(ctx, g.Files[0], []byte(g.cred.Join()+"\n")); err != nil {
			f.Log.Warn("workers may not find the dispatcher", "job", g.Name, "error", err)
		}
	}
}

func (f *Fleet) submit(ctx context.Context, p *Plan, i int, muster string, at machine, office office) (err error) {
	client := p.Client(at.runner(), at.user())
	g := &group{Record: &Record{Name: p.Name(unique()), Launcher: p.Launcher, Scheduler: p.Dialect.Name, Command: p.command,
		Workers: elements(p.Arrays[i]), Via: p.Via, dir: f.Dir}, keeper: scheduler{client, p.Via}, office: office, at: at, array: p.Arrays[i], poll: p.Poll,
		foreign: p.Foreign, profile: p.Profile, members: map[int]*member{}, cred: Credentials{Joined: func(string) bool { return true }}}
	if g.Name == "" {
		g.Name = "job-" + unique() // a foreign worker's job without a name
	}
	n := p.Placeholders(muster)
	recorded := false
	defer func() {
		if err != nil && !recorded {
			g.forget(ctx, at)
		}
	}()
	if err := f.begin(ctx, p, g, &n); err != nil {
		return err
	}
	s, err := p.Render(i, n)
	if err != nil {
		return err
	}
	for _, index := range indices(g.array) {
		g.members[index] = &member{}
	}
	g.Sent = time.Now().UTC()
	if err := g.write(); err != nil {
		return err
	}
	f.pace(ctx)
	g.ID, err = client.Submit(ctx, s.Script)
	if errors.Is(err, hpc.ErrRefused) {
		return fmt.Errorf("submit %s: %w", p.Launcher, err)
	}
	recorded = true
	if err != nil {
		if g.ID = lookUp(client, g.Name); g.ID == "" {
			return fmt.Errorf("submit %s: %w; it may have been accepted all the same: look for a job %s, and `muster down` looks again", p.Launcher, err, g.Name)
		}
	}
	f.Log.Info("submitted", "launcher", p.Launcher, "job", g.ID, "workers", g.Workers)
	f.add(g)
	return g.write()
}

func (f *Fleet) add(g *group) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups = append(f.groups, g)
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
func lookUp(c *hpc.Client, name string) string {
	ids, err := c.Find(context.Background(), name)
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

// On reports whether something is left on a machine behind SSH.
func (f *Fleet) On(site *remote.Site) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.groups, func(g *group) bool { return g.office.site == site })
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

// ask asks everybody who may be asked now.
func (f *Fleet) ask(ctx context.Context) {
	for d, groups := range f.offices() {
		f.mu.Lock()
		due := time.Since(f.asked[d]) >= interval(groups)
		if due {
			if f.asked == nil {
				f.asked, f.mute = map[office]time.Time{}, map[office]bool{}
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
		list, err := groups[0].List(ctx, ids)
		if ctx.Err() != nil {
			return
		}
		f.mu.Lock()
		was := f.mute[d]
		f.mute[d] = err != nil
		f.mu.Unlock()
		switch {
		case err != nil && !was:
			f.Say("%s does not say how the workers stand: %v; going on with what is known", d, err)
		case err == nil && was:
			f.Say("%s answers again", d)
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

// gone says that a scheduler's worker need not be waited for.
func (g *group) gone(index int) {
	if g.office.dialect != nil && g.cred.Gone != nil {
		g.cred.Gone(g.element(index))
	}
}

func (g *group) element(index int) string {
	return g.Element(g.ID, index, g.array != nil)
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
				if !m.told && !g.cred.Joined(g.element(index)) {
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
		text := strings.TrimSpace(string(b))
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
			if m.state == hpc.Pending || m.state == hpc.Unknown && !g.cred.Joined(g.element(index)) {
				waiting[g] = append(waiting[g], index)
			}
		}
	}
	f.mu.Unlock()
	for g, list := range waiting {
		var err error
		if len(list) == len(g.members) {
			err = g.keeper.Cancel(ctx, g.ID)
		} else {
			err = g.CancelElements(ctx, g.ID, list)
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
				g.ID, err, shell.Join(g.CancelCommand(g.ID))))
			continue
		}
		f.mu.Lock()
		f.groups = slices.DeleteFunc(f.groups, func(o *group) bool { return o == g })
		f.mu.Unlock()
		g.forget(ctx, g.at)
	}
	return errors.Join(left...)
}

func (f *Fleet) cancel(ctx context.Context, g *group) error {
	settled := !g.foreign
	f.mu.Lock()
	for index, m := range g.members {
		// A worker that joined has been told to leave and its job ends by itself,
		// unless that waits to be started again.
		settled = settled && (m.state == hpc.Ended || m.state != hpc.Pending && g.cred.Joined(g.element(index)))
	}
	f.mu.Unlock()
	var err error
	for try := range 3 {
		if err = g.keeper.Cancel(ctx, g.ID); err == nil || ctx.Err() != nil {
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
		wait := time.Until(f.asked[g.office].Add(g.poll))
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
// until it is gone, and forgets the record. It returns the job's id, empty if
// there was none.
func (r *Record) TakeBack(ctx context.Context, f *Fleet, socket string) (string, error) {
	var at machine = here{f.Run, f.User, r.dir}
	if r.Via != nil {
		site, err := f.Sites.Open(ctx, *r.Via, socket)
		if err != nil {
			return "", err
		}
		if at = (there{site}); r.Scheduler == "" {
			c := f.crew(site)
			c.launches[r.Name] = r.Processes
			if err := c.Cancel(ctx, r.Name); err != nil {
				return r.Name, err
			}
			r.forget(ctx, at)
			return r.Name, nil
		}
	}
	c, err := r.client(at.runner(), at.user())
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
		if err := takeBack(ctx, c, id); err != nil {
			return id, err
		}
	}
	r.forget(ctx, at)
	return strings.Join(ids, " "), nil
}

// takeBack cancels a job and waits until the scheduler says that it is gone.
func takeBack(ctx context.Context, c *hpc.Client, id string) error {
	if err := c.Cancel(ctx, id); err != nil {
		return fmt.Errorf("cancel job %s: %w", id, err)
	}
	for {
		list, err := c.List(ctx, []string{id})
		if err != nil {
			return fmt.Errorf("ask whether job %s is gone: %w", id, err)
		}
		if !slices.ContainsFunc(list, func(e hpc.Element) bool { return e.Job == id && e.State != hpc.Ended }) {
			return nil
		}
		// One query, and then one in each interval.
		if err := sleep(ctx, takeBackPoll); err != nil {
			return fmt.Errorf("job %s is still there", id)
		}
	}
}

const takeBackPoll = 2 * time.Second

// CancelCommands are what a person would type to end all jobs.
func (f *Fleet) CancelCommands() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list [][]string
	for _, g := range f.groups {
		list = append(list, g.CancelCommand(g.ID))
	}
	return list
}
