package fleet

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"muster/hpc"
	"muster/internal/plan"
)

// defaultPoll is that of a record which does not say: the default of launchers.
const defaultPoll = 10 * time.Second

// Outcome is what became of what a record is about.
type Outcome struct {
	Record *Record
	// Err says why it is not taken back; the record stays. Without it, the job of the
	// record's ID is gone, or none was submitted if that is empty.
	Err error
}

// String says what is gone, by the name under which a scheduler had it.
func (o Outcome) String() string {
	r := o.Record
	name := cmp.Or(r.Job, r.Name)
	switch {
	case o.Err != nil:
		return name + ": " + o.Err.Error()
	case r.ID == "":
		return name + ": it had not been submitted"
	case r.Endless:
		return name + ": its launcher does not say how " + r.theirs() + " is ended, so it may still run"
	case r.ID == r.Launch && r.Theirs == "": // it is the name of what has no scheduler
		return name + ": its workers are gone"
	}
	return name + ": job " + r.theirs() + " is gone"
}

// TakeBack ends what the records of other processes are about, and forgets it when it
// is gone: all jobs of an endpoint are cancelled, and then asked about together. socket
// is where questions of a login are answered, empty if nobody can be asked.
func (f *Fleet) TakeBack(ctx context.Context, records []*Record, socket string) []Outcome {
	o := &opened{f: f, ctx: ctx, socket: socket}
	defer o.leave()
	t := &taking{f: f, launches: map[string]*launch{}}
	jobs := make([]*job, len(records))
	list := make([]Outcome, len(records))
	failed := each(numbers(len(records)), atOnce, func(i int) (err error) {
		jobs[i], err = t.job(o, records[i])
		return err
	})
	defer t.leave()
	var found []*job
	for _, j := range jobs {
		if j != nil {
			found = append(found, j)
		}
	}
	ended := f.end(ctx, found)
	for i, r := range records {
		list[i] = Outcome{r, failed[i]}
		if j := jobs[i]; j != nil && ended[j] != nil {
			list[i].Err = j.remains(ended[j])
		}
	}
	return list
}

// taking makes jobs of records.
type taking struct {
	f *Fleet

	mu       sync.Mutex // guards all below
	launches map[string]*launch
	frees    []func()
}

func (t *taking) leave() {
	for _, free := range t.frees {
		free()
	}
	t.f.release()
}

// job makes a job of a record, of which nothing is known but that.
func (t *taking) job(o *opened, r *Record) (*job, error) {
	if _, known := kinds[r.Kind]; !known {
		return nil, fmt.Errorf("launch record %s: there is no launcher of a kind %q here", r.path(), r.Kind)
	}
	at, err := o.open(r.Login)
	if err != nil {
		return nil, fmt.Errorf("launcher %s: %w", r.Launcher, err)
	}
	indices, err := r.indices()
	if err != nil {
		return nil, err
	}
	e, free, err := t.f.endpoint(at, r)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frees = append(t.frees, free)
	key := r.dir + "\x00" + r.Launch
	l := t.launches[key]
	if l == nil {
		l = &launch{name: r.Launch, at: at, cred: none(), elements: map[string]member{}, joinFile: r.JoinFile, output: r.Output}
		t.launches[key] = l
	}
	j := &job{Record: r, launch: l, endpoint: e, poll: cmp.Or(r.Poll, defaultPoll), whose: plan.Foreign, elements: map[int]*element{}, ordering: make(chan struct{}, 1)}
	for _, index := range indices {
		j.elements[index] = &element{state: hpc.Unknown}
	}
	l.jobs = append(l.jobs, j)
	return j, nil
}
