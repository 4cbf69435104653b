package fleet

import (
	"context"
	"errors"
	"time"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/plan"
)

// workbench is a session of Posit Workbench. It says nothing of the jobs that it has
// launched, and its session ends none.
type workbench struct{ apart }

var _ backend = workbench{}

func addressWorkbench(k plan.Kind, r *Record) {
	if w := k.(*plan.Workbench); len(w.Jobs) > 0 {
		r.Service = mhttp.Origin(mhttp.Request{URL: w.Jobs[0].Server})
	}
}

func newWorkbench(at place, r *Record) (backend, error) {
	f, err := fleetOf(at, r)
	return workbench{apart{f, r.Launcher, r.Service}}, err
}

func (w workbench) web(k *plan.Workbench) *web { return w.f.web(asked{w.launcher, w.service, k.Web}) }

func (w workbench) prepare(_ context.Context, p *plan.Plan, _ int) (*plan.Plan, error) { return p, nil }

func (w workbench) describe(p *plan.Plan, i int, part plan.Part, r *Record) {
	r.Array, r.how, r.part, r.Blind, r.Endless = array(part.Indices), p.Kind, i, true, true
}

// fresh is for how long an answer of a service about its clusters is good.
const fresh = 10 * time.Second

// environments asks which clusters there are, once for all workers of a launch.
func (w *web) environments(ctx context.Context, job mhttp.Workbench) (mhttp.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.envsAt.IsZero() && time.Since(w.envsAt) < fresh {
		return w.envs, nil
	}
	if err := job.Check(); err != nil {
		return mhttp.Answer{}, err
	}
	a, err := w.client.Do(ctx, job.Environments())
	if err == nil && a.OK() {
		w.envs, w.envsAt = a, time.Now()
	}
	return a, err
}

func (w workbench) start(ctx context.Context, p *plan.Plan, i int, r *Record, _ string) (outcome, error) {
	k := p.Kind.(*plan.Workbench)
	job := k.Jobs[i]
	envs, err := w.web(k).environments(ctx, job)
	if err != nil {
		return nothing, err
	}
	request, err := job.Job(envs)
	if err != nil {
		return nothing, err
	}
	a, err := w.web(k).client.Do(ctx, request)
	if err == nil && !unheard(a) {
		if err := job.Launched(a); err != nil {
			return nothing, err
		}
	}
	return w.judge(ctx, r, request.Method, a, err)
}

func (w workbench) find(context.Context, *Record) ([]string, error) {
	return nil, errors.New("a session of Posit Workbench does not list what it has launched")
}

func (w workbench) list(_ context.Context, records []*Record, _ detail) ([]hpc.Element, error) {
	var list []hpc.Element
	for _, r := range records {
		list = append(list, elements(r, hpc.Element{Raw: unseen})...)
	}
	return list, nil
}

func (w workbench) cancel(context.Context, *Record, ...int) error {
	return noCancel("Posit Workbench ends no job for its sessions")
}

func (w workbench) late(*Record) string {
	return "Posit Workbench at " + w.service + " has not answered"
}

func (w workbench) command(*Record) []string { return nil }

func (w workbench) rules() rules { return rules{atOnce: 1, away: true} }
