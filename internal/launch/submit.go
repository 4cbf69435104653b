package launch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"muster/hpc"
	"muster/internal/remote"
)

// between is how long to wait from one submission to the next: schedulers
// serve many users.
const between = 200 * time.Millisecond

// Submit sends all of a plan's submissions, or starts its workers by SSH. Those
// that were sent stay recorded if a later one fails. muster is the program of
// workers on this machine's cluster, socket where questions of a login are
// answered, empty if nobody can be asked. It returns the ids of what was sent.
func (f *Fleet) Submit(ctx context.Context, p *Plan, muster, socket string) (ids []string, err error) {
	switch {
	case len(p.Hosts) > 0 && p.Foreign:
		return nil, f.startForeign(ctx, p)
	case len(p.Hosts) > 0:
		return f.startAll(ctx, p, socket)
	}
	var at machine = here{f.Run, f.User, f.Dir}
	var office office
	if p.Via != nil {
		site, err := f.Sites.Open(ctx, *p.Via, socket)
		if err != nil {
			return nil, err
		}
		defer f.Sites.Leave(site)
		if err := p.ready(ctx, site); err != nil {
			return nil, err
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
		id, err := f.submit(ctx, p, i, muster, at, office)
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Version asks the commands of a plan's scheduler which it is.
func (f *Fleet) Version(ctx context.Context, p *Plan, socket string) (string, error) {
	var at machine = here{f.Run, f.User, f.Dir}
	if p.Via != nil {
		site, err := f.Sites.Open(ctx, *p.Via, socket)
		if err != nil {
			return "", err
		}
		defer f.Sites.Leave(site)
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

// lookTime bounds looking for a job that may have been submitted: a person who has
// pressed Ctrl-C waits for it.
const lookTime = 15 * time.Second

// unmake forgets a launch that came to nothing, whatever ended it.
func (g *group) unmake() {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	g.over(ctx)
}

// over ends a launch for good: nobody joins by it any more, and nothing is kept
// of it.
func (g *group) over(ctx context.Context) {
	if g.cred.End != nil {
		g.cred.End()
	}
	g.forget(ctx, g.at)
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

func (f *Fleet) submit(ctx context.Context, p *Plan, i int, muster string, at machine, office office) (id string, err error) {
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
			g.unmake()
		}
	}()
	if err := f.begin(ctx, p, g, &n); err != nil {
		return "", err
	}
	s, err := p.Render(i, n)
	if err != nil {
		return "", err
	}
	for _, index := range indices(g.array) {
		g.members[index] = &member{}
	}
	g.Sent = time.Now().UTC()
	if err := g.write(); err != nil {
		return "", err
	}
	f.pace(ctx)
	g.ID, err = client.Submit(ctx, hpc.Command{Argv: client.SubmitCommand(), Stdin: s.Script})
	if errors.Is(err, hpc.ErrRefused) {
		return "", fmt.Errorf("submit %s: %w", p.Launcher, err)
	}
	recorded = true
	if err != nil {
		if g.ID = lookUp(ctx, client, g.Name); g.ID == "" {
			f.add(g) // it is looked for again when all is taken back
			return "", fmt.Errorf("submit %s: %w; it may have been accepted all the same: look for a job %s, and `muster down` looks again", p.Launcher, err, g.Name)
		}
	}
	f.Log.Info("submitted", "launcher", p.Launcher, "job", g.ID, "workers", g.Workers)
	f.add(g)
	return g.ID, g.write()
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
func lookUp(ctx context.Context, c *hpc.Client, name string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	ids, err := c.Find(ctx, name)
	if err != nil || len(ids) != 1 {
		return ""
	}
	return ids[0]
}
