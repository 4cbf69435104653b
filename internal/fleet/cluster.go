package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"muster/hpc"
	"muster/internal/plan"
	"muster/internal/shell"
)

// cluster is a scheduler whose commands are at a place.
type cluster struct {
	at      place
	dialect *hpc.Dialect
	where   string // what its jobs' records say of where it is, in parts that end with a NUL byte
}

var _ backend = cluster{}

func addressCluster(k plan.Kind, r *Record) {
	c := k.(*plan.Cluster)
	r.Scheduler, r.Command = c.Scheduler, c.Command
	if d := hpc.Dialects[c.Scheduler]; d != nil && c.Places()[0].Here() {
		r.Where = d.Where(os.Getenv)
	}
}

func newCluster(at place, r *Record) (backend, error) {
	d := hpc.Dialects[r.Scheduler]
	if d == nil {
		return nil, fmt.Errorf("launch record %s: there is no scheduler %q here", r.path(), r.Scheduler)
	}
	where := ""
	for _, kv := range r.Where {
		where += kv + "\x00"
	}
	return cluster{at, d, where}, nil
}

// client gives the scheduler orders about jobs that a command has submitted.
func (c cluster) client(command []string) *hpc.Client {
	run := c.at.runner()
	if c.where != "" {
		run = hpc.At(run, strings.Split(strings.TrimSuffix(c.where, "\x00"), "\x00"), os.Getenv)
	}
	return &hpc.Client{Dialect: c.dialect, Run: run, User: c.at.user(), Command: command}
}

// unasked is the largest array index that every scheduler takes by default; only
// beyond it is one asked for its limit.
const unasked = 1000

func (c cluster) prepare(ctx context.Context, p *plan.Plan, _ int) (*plan.Plan, error) {
	k := p.Kind.(*plan.Cluster)
	if len(k.Jobs) > 0 { // it is the launcher's, and so that of all
		if err := checkDir(ctx, c.at, p.Launcher, k.Jobs[0].Workdir, p.Worker.Dir); err != nil {
			return nil, err
		}
	}
	if !k.Counted || k.Largest() <= unasked {
		return p, nil
	}
	limit := c.client(k.Command).Limit(ctx)
	if limit <= 0 {
		return p, nil
	}
	q := *p
	q.Kind = k.Limited(limit)
	return &q, nil
}

func (c cluster) describe(p *plan.Plan, i int, part plan.Part, r *Record) {
	k := p.Kind.(*plan.Cluster)
	var env []string // that of another machine is not known
	if (plan.Place{Login: c.at.login()}).Here() {
		env = hpc.Scrub(os.Environ())
	}
	r.Command = c.dialect.Sent(k.Command, k.Jobs[i].Options, env)
	if r.Stdout = cmp.Or(k.Jobs[i].Output, c.dialect.Prints(k.Jobs[i].Options)); part.Array {
		r.Array = array(part.Indices)
	}
	if !k.Bare { // a bare job is called what its own options say
		r.Job = k.JobName(p, i)
	}
}

func (c cluster) start(ctx context.Context, p *plan.Plan, i int, r *Record, join string) (outcome, error) {
	k := p.Kind.(*plan.Cluster)
	cmd, err := k.Render(p, i, join)
	if err != nil {
		return nothing, err
	}
	for _, file := range cmd.Files {
		if err := c.at.writeFile(ctx, file.Path, []byte(file.Text)); err != nil {
			return nothing, fmt.Errorf("write %s: %w", file.Path, err)
		}
	}
	r.ID, err = c.client(k.Command).Submit(ctx, cmd)
	if wrong := c.unrunnable(err, cmd.Argv[0], p.Profile); wrong != nil {
		return nothing, wrong
	}
	switch {
	case errors.Is(err, hpc.ErrRefused):
		return nothing, err
	case err != nil:
		return maybe, err
	}
	return started, nil
}

// unrunnable says what is wrong when a command of the scheduler's cannot be run at all,
// and what to do; nil if that is not what err says.
func (c cluster) unrunnable(err error, name, profile string) error {
	var missing *exec.Error
	if !errors.As(err, &missing) && !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil
	}
	what := " is not in PATH"
	if strings.Contains(name, "/") || errors.Is(err, fs.ErrPermission) {
		what = " cannot be run"
	}
	l := c.at.login()
	if (plan.Place{Login: l}).Here() {
		return fmt.Errorf("%s%s on this machine: if it is on a login node, via = launcher.ssh.NAME in the launcher leads there; `muster doctor -p %s` looks further", name, what, profile)
	}
	return fmt.Errorf("%s%s on %s, in a login without a terminal: `%s` shows that, and `muster doctor -p %s` looks further",
		name, what, l.Name(), shell.Join(plan.Place{Login: l}.Pasted([]string{"command", "-v", name})), profile)
}

func (c cluster) find(ctx context.Context, r *Record) ([]string, error) {
	if r.Job == "" {
		return nil, errors.New("muster gave it no name of its own by which to look for it")
	}
	return c.client(r.Command).Find(ctx, r.Job)
}

func (c cluster) list(ctx context.Context, records []*Record, d detail) ([]hpc.Element, error) {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	client := c.client(nil) // which is not needed for jobs with ids
	if d == fates {
		return client.Fates(ctx, ids)
	}
	return client.List(ctx, ids)
}

func (c cluster) cancel(ctx context.Context, r *Record, indices ...int) error {
	if len(indices) == 0 {
		return c.client(r.Command).Cancel(ctx, r.ID)
	}
	return c.client(r.Command).CancelElements(ctx, r.ID, indices)
}

func (c cluster) String() string {
	l := c.at.login()
	if place := (plan.Place{Login: l}); place.Here() {
		return c.dialect.Name
	}
	return c.dialect.Name + " on " + l.Name()
}

func (c cluster) late(r *Record) string {
	if len(r.Command) > 0 {
		return r.Command[0] + " has not answered"
	}
	return c.dialect.Submit + " has not answered"
}

func (c cluster) element(r *Record, index int) string {
	return c.dialect.Element(r.ID, index, r.Array != "")
}

func (c cluster) called(r *Record, index int) string { return "job " + c.element(r, index) }

func (c cluster) whole(r *Record) string {
	return "job " + cmp.Or(r.ID, r.Job, r.Name) + " may still be in the queue"
}

func (c cluster) ended(r *Record, index int, raw string) string {
	return c.called(r, index) + " ended (" + raw + ") and its worker never joined"
}

func (c cluster) reason(said string) string { return c.dialect.Explain(said) }

func (c cluster) command(r *Record) []string {
	return plan.Place{Login: c.at.login()}.Pasted(c.client(r.Command).CancelCommand(r.ID))
}

func (c cluster) rules() rules {
	return rules{atOnce: 1, between: between, delivers: c.dialect.DeliversAtEnd(), remembers: c.dialect.Remembers()}
}

// fate says what became of an element by the scheduler's word.
func (c cluster) fate(r *Record, e hpc.Element) (Fate, bool) {
	name := c.called(r, e.Index)
	text := func(s string) Fate { return Fate{e.End, name + " " + s} }
	switch e.State {
	case hpc.Unknown:
		return Fate{}, false
	case hpc.Pending:
		return Fate{hpc.EndPreempted, name + " was taken off its node and waits again"}, true
	case hpc.Running:
		return text("still runs, without its worker"), false
	}
	switch e.End {
	case hpc.EndCancelled:
		return text("was cancelled on the cluster"), true
	case hpc.EndPreempted:
		return text("was preempted"), true
	case hpc.EndWalltime:
		return text("ran into its time limit"), true
	case hpc.EndMemory:
		return text("used more memory than it may"), true
	case hpc.EndNode:
		return Fate{e.End, "the node of " + name + " failed"}, true
	}
	return text("ended (" + e.Raw + ")"), true
}

// Version asks the commands of a plan's scheduler which it is.
func (f *Fleet) Version(ctx context.Context, p *plan.Plan, socket string) (string, error) {
	k, is := p.Kind.(*plan.Cluster)
	if !is {
		return "", fmt.Errorf("launcher %s has no scheduler", p.Launcher)
	}
	at, leave, err := f.open(ctx, k.Login, socket)
	if err != nil {
		return "", err
	}
	defer leave()
	return k.Client(at.runner(), at.user()).Version(ctx)
}
