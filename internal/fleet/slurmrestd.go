package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/plan"
)

// rest is a Slurm that is spoken to through its REST API. Its workers find out from
// their environment which elements they are, as those of sbatch do.
type rest struct{ apart }

var _ backend = rest{}

func addressRest(k plan.Kind, r *Record) {
	s := k.(*plan.Slurmrestd)
	r.Service = "slurmrestd at " + mhttp.Origin(s.Slurm.Ask())
}

func newRest(at place, r *Record) (backend, error) {
	f, err := fleetOf(at, r)
	return rest{apart{f, r.Launcher, r.Service}}, err
}

func (s rest) dialect() *hpc.Dialect { return hpc.Dialects["slurm"] }

func (s rest) web(k *plan.Slurmrestd) *web { return s.f.web(asked{s.launcher, s.service, k.Web}) }

// prepare asks for a job, of which the answer does not matter: that slurmrestd has this
// version and takes the token is found out before anything is submitted. Of a submission
// with a bad token 22.05 says what it says of a connection that was lost, and nobody can
// tell whether there is a job then.
func (s rest) prepare(ctx context.Context, p *plan.Plan, _ int) (*plan.Plan, error) {
	if err := s.serves(ctx, p.Kind.(*plan.Slurmrestd)); err != nil {
		return nil, fmt.Errorf("launcher %s: %w", s.launcher, err)
	}
	return p, nil
}

func (s rest) serves(ctx context.Context, k *plan.Slurmrestd) error {
	version, err := s.web(k).api(ctx, k)
	if err != nil {
		return err
	}
	a, err := s.web(k).client.Do(ctx, k.Slurm.Job(version, "1"))
	if err != nil {
		return err
	}
	err = k.Slurm.Served(a)
	if err == nil || a.Status != http.StatusNotFound || k.Version == "" {
		return err
	}
	if a, failed := s.web(k).client.Do(ctx, k.Slurm.Ask()); failed == nil {
		if versions, failed := k.Slurm.Versions(a); failed == nil && !slices.Contains(versions, version) {
			return fmt.Errorf("%s does not speak %s, which version in the launcher says, but %s: write one of these, or leave it out", s.service, version, strings.Join(versions, ", "))
		}
	}
	return err
}

func (s rest) describe(p *plan.Plan, i int, part plan.Part, r *Record) {
	k := p.Kind.(*plan.Slurmrestd)
	r.how, r.part, r.Job = p.Kind, i, k.Part(p, i).Name
	r.Stdout, _ = k.Job.More["standard_output"].(string)
	if part.Array {
		r.Array = array(part.Indices)
	}
}

// api returns the version of the API that is spoken, and asks for it the first time.
func (w *web) api(ctx context.Context, k *plan.Slurmrestd) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k.Version != "" || w.version != "" {
		if k.Version != "" {
			return k.Version, nil
		}
		return w.version, nil
	}
	a, err := w.client.Do(ctx, k.Slurm.Ask())
	if err != nil {
		return "", err
	}
	versions, err := k.Slurm.Versions(a)
	if err == nil {
		w.version, err = mhttp.Choose(versions)
	}
	return w.version, err
}

func (s rest) start(ctx context.Context, p *plan.Plan, i int, r *Record, _ string) (outcome, error) {
	k := p.Kind.(*plan.Slurmrestd)
	version, err := s.web(k).api(ctx, k)
	if err != nil {
		return nothing, err
	}
	request, err := k.Slurm.Submit(version, k.Part(p, i))
	if err != nil {
		return nothing, err
	}
	a, err := s.web(k).client.Do(ctx, request)
	switch {
	case err == nil:
		r.answer = a
		if r.ID, err = k.Slurm.Submitted(a); err == nil {
			return started, nil
		}
		if errors.Is(err, mhttp.ErrRefused) {
			return nothing, err
		}
		return maybe, err
	case errors.Is(err, mhttp.ErrNotSent):
		return nothing, err
	}
	return maybe, err
}

// jobs asks for all jobs that the user may see.
func (s rest) jobs(ctx context.Context, k *plan.Slurmrestd) ([]mhttp.SlurmElement, error) {
	version, err := s.web(k).api(ctx, k)
	if err != nil {
		return nil, err
	}
	a, err := s.web(k).client.Do(ctx, k.Slurm.Jobs(version))
	if err != nil {
		return nil, err
	}
	return k.Slurm.Listed(a)
}

func (s rest) kind(ctx context.Context, r *Record) (*plan.Slurmrestd, error) {
	k, _, err := s.how(ctx, r)
	if err != nil {
		return nil, err
	}
	return k.(*plan.Slurmrestd), nil
}

func (s rest) find(ctx context.Context, r *Record) ([]string, error) {
	k, err := s.kind(ctx, r)
	if err != nil {
		return nil, err
	}
	list, err := s.jobs(ctx, k)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range list {
		if e.Name == r.Job && !slices.Contains(ids, e.Job) { // elements of an array are listed in any order
			ids = append(ids, e.Job)
		}
	}
	return ids, nil
}

func (s rest) list(ctx context.Context, records []*Record, _ detail) ([]hpc.Element, error) {
	k, err := s.kind(ctx, records[0]) // they are one launcher's
	if err != nil {
		return nil, err
	}
	all, err := s.jobs(ctx, k)
	if err != nil {
		return nil, err
	}
	byJob := map[string][]mhttp.SlurmElement{}
	for _, e := range all {
		byJob[e.Job] = append(byJob[e.Job], e)
	}
	var list []hpc.Element
	for _, r := range records {
		list = append(list, standings(r, byJob[r.ID])...)
	}
	return list, nil
}

// standings says how the elements of one job stand by what is listed of it: each that
// has begun by itself, and those that wait together. Of those that ended a while ago
// Slurm lists nothing, and nothing is said here.
func standings(r *Record, listed []mhttp.SlurmElement) []hpc.Element {
	indices, err := r.indices()
	if err != nil {
		return nil
	}
	alone := map[int]hpc.Element{}
	together := map[int]hpc.Element{}
	for _, e := range listed {
		one := hpc.Element{Job: r.ID, Raw: e.State, Reason: e.Reason, Node: e.Node}
		one.State, one.End = hpc.SlurmState(e.State)
		if e.Indices == "" {
			one.Index = e.Index
			alone[e.Index] = one
			continue
		}
		for _, index := range waiting(e.Indices, indices) {
			one.Index = index
			together[index] = one
		}
	}
	var list []hpc.Element
	for _, index := range indices {
		if e, is := alone[index]; is {
			list = append(list, e)
		} else if e, is := together[index]; is {
			list = append(list, e)
		}
	}
	return list
}

// waiting returns which of a job's indices are named in text like 1-3,7. Slurm shortens
// it to some 64 bytes and writes ... over its end: all that are larger than what is left
// may be meant then.
func waiting(text string, all []int) []int {
	whole, _, short := strings.Cut(text, "...")
	if short {
		whole = whole[:max(strings.LastIndexByte(whole, ','), 0)] // the last number may be cut
	}
	if whole == "" {
		return all
	}
	a, err := hpc.ParseArray(whole)
	if err != nil {
		return all
	}
	named := a.Expand()
	return slices.DeleteFunc(slices.Clone(all), func(index int) bool {
		return !slices.Contains(named, index) && !(short && index > a.Last())
	})
}

const (
	askedAgain   = 5 // times that a job is told to end while it is listed as before
	betweenAsked = time.Second
)

// cancel tells a job to end until the list agrees: slurmrestd has been seen to answer
// well about an array that was just being started, and the array ran on.
func (s rest) cancel(ctx context.Context, r *Record, indices ...int) error {
	k, err := s.kind(ctx, r)
	if err != nil {
		return err
	}
	version, err := s.web(k).api(ctx, k)
	if err != nil {
		return err
	}
	ids := []string{r.ID}
	if r.Array != "" && len(indices) > 0 {
		ids = nil
		for _, index := range indices {
			ids = append(ids, fmt.Sprintf("%s_%d", r.ID, index))
		}
	}
	for try := range askedAgain {
		if try > 0 {
			if err := sleep(ctx, betweenAsked); err != nil {
				return err
			}
		}
		for _, id := range ids {
			a, err := s.web(k).client.Do(ctx, k.Slurm.Cancel(version, id))
			if err == nil {
				err = k.Slurm.Cancelled(a)
			}
			if err != nil {
				return err
			}
		}
		all, err := s.jobs(ctx, k)
		if err != nil || s.agrees(r, all, indices) {
			return err
		}
	}
	return nil // whoever confirms it goes on asking
}

// agrees reports whether none of a job's elements, or of those that are named, waits or
// runs by a list.
func (s rest) agrees(r *Record, all []mhttp.SlurmElement, indices []int) bool {
	var mine []mhttp.SlurmElement
	for _, e := range all {
		if e.Job == r.ID {
			mine = append(mine, e)
		}
	}
	named := map[int]bool{}
	for _, index := range indices {
		named[index] = true
	}
	for _, e := range standings(r, mine) {
		if (len(indices) == 0 || named[e.Index]) && e.State != hpc.Ended && e.Raw != "COMPLETING" {
			return false
		}
	}
	return true
}

func (s rest) element(r *Record, index int) string {
	return s.dialect().Element(r.ID, index, r.Array != "")
}

func (s rest) called(r *Record, index int) string { return "job " + s.element(r, index) }

func (s rest) ended(r *Record, index int, raw string) string {
	return s.called(r, index) + " ended (" + raw + ") and its worker never joined"
}

func (s rest) whole(r *Record) string {
	if r.ID == "" {
		return "job " + r.Job + " may still be in the queue"
	}
	return "job " + r.ID + " may still be in the queue"
}

func (s rest) late(*Record) string { return s.service + " has not answered" }

func (s rest) reason(said string) string { return s.dialect().Explain(said) }

// command is what a person would type where Slurm's commands are.
func (s rest) command(r *Record) []string { return []string{"scancel", r.ID} }

func (s rest) rules() rules { return rules{atOnce: 1, between: between} }

func (s rest) fate(r *Record, e hpc.Element) (Fate, bool) {
	return cluster{dialect: s.dialect()}.fate(r, e)
}
