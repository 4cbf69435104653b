package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"muster/dispatcher"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/prompt"
	"muster/internal/spool"
	"muster/task"
)

const (
	shortLife = time.Minute     // of a worker that only shows that it comes
	soon      = 2 * time.Second // how often its scheduler is asked how it stands
)

// job runs one task on a worker that is started as the profile says.
func (d *doctor) job(ctx context.Context, pl *pool, p *plan.Draft) error {
	spec := host.Spec{Name: pl.name, Slots: 1, Listen: pl.listen, Hosts: pl.hosts, Relayed: pl.relayed, Options: pl.options()}
	tls, err := pl.tlsSettings((&prompt.Terminal{}).Ask)
	if err != nil {
		return d.fail("start", err, "")
	}
	spec.TLS = tls
	began := time.Now()
	profile, err := d.h.Up(ctx, spec)
	if err != nil {
		return d.fail("start", err, "")
	}
	defer func() {
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), recallPatience)
		defer cancel()
		d.h.Down(out, profile)
	}()
	if err := d.launch(ctx, pl, profile, p); err != nil {
		return d.fail("start", err, "")
	}
	d.h.Watch(d.left)
	d.ok("start", "asked for a worker: "+strings.Join(d.h.Fleet().Jobs(), ", "))
	future, err := profile.Pool.Submit(ctx, task.Spec{Argv: []string{"sh", "-c", "uname -n; pwd"}, Dir: d.dir}, dispatcher.FutureOptions{})
	if err != nil {
		return err
	}
	if err := d.await(ctx, profile, future, p); err != nil {
		return err
	}
	done, _, _ := future.Result(0)
	if done.Err != nil {
		return d.fail("task", errors.New(describe(done.Err)), "the directory of tasks is where you are, unless the launcher has a workdir")
	}
	said, err := done.Output.Tail(spool.Stdout, 1000)
	if err != nil {
		return err
	}
	node, dir, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
	d.ok("dial back", fmt.Sprintf("worker %s ran a task on %s in %s, %s after it was asked for", done.Worker, node, dir, time.Since(began).Round(100*time.Millisecond)))
	return nil
}

// await waits until a worker has run the task, or none will.
func (d *doctor) await(ctx context.Context, profile *host.Profile, future *dispatcher.Future, p *plan.Draft) error {
	wait, cancel := context.WithTimeout(ctx, d.o.wait)
	defer cancel()
	for {
		select {
		case <-future.Done():
			return nil
		case <-d.over:
			connected, _, _ := profile.Pool.Workers()
			if why := d.ended(p); connected == 0 && why != nil && !finished(future) {
				return d.fail("dial back", why, d.unanswered(p))
			}
		case <-wait.Done():
			if ctx.Err() != nil {
				return exitError(exitInterrupted)
			}
			return d.fail("dial back", fmt.Errorf("no worker has dialled back in %s", d.o.wait), d.unanswered(p))
		}
	}
}

func finished(f *dispatcher.Future) bool {
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}

// left is told how many workers may still come or are there.
func (d *doctor) left(n int) {
	if n > 0 {
		return
	}
	select {
	case d.over <- struct{}{}:
	default:
	}
}

// ended is what became of a launcher's worker that has ended; nil if it has not.
func (d *doctor) ended(p *plan.Draft) error {
	var why error
	for _, s := range d.h.Fleet().Standing() {
		switch {
		case s.Launcher != p.Launcher:
		case s.Ended < s.Workers:
			return nil
		case s.Trouble != "":
			why = errors.New(s.Trouble)
		default:
			why = errors.New("the worker has ended, and its task is left to do")
		}
	}
	return why
}

// launch starts one worker, as the profile says.
func (d *doctor) launch(ctx context.Context, pl *pool, profile *host.Profile, p *plan.Draft) error {
	one, err := p.Sized(1)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, pl.e.cancel)()
	plans, err := named([]*plan.Draft{one}, func(p *plan.Plan) ([]plan.Names, error) { return profile.Names(ctx, p, d.asker) })
	if err != nil {
		return err
	}
	plans[0].Poll = min(plans[0].Poll, soon)
	_, err = profile.Launch(ctx, plans, d.asker)
	return err
}

// unanswered is what to do about a worker that has not come.
func (d *doctor) unanswered(p *plan.Draft) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, cluster := p.Kind.(*plan.Cluster)
	switch {
	case d.said != "":
		return "what was said last: " + d.said
	case cluster && p.Relayed():
		return "the job may still wait in the queue (--wait is longer), or its node may not reach the login node's port: addresses in the ssh launcher says by which name it does"
	case cluster:
		return "the job may still wait in the queue (--wait is longer), or its node may not reach this machine: url in the profile says by which name it does"
	}
	if _, ssh := p.Kind.(*plan.SSH); !ssh {
		return "where the worker was started may not reach this machine, or has no muster there: url in the profile says by which name it does, and muster in the launcher which program it runs"
	}
	return "the machine may not reach this one: tunnel = true has workers come in by the SSH connection"
}
