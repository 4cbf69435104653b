package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mhttp "muster/http"
	"muster/internal/plan"
)

const (
	// between is how long to wait from one submission to the next to a scheduler, which
	// serves many users.
	between = 200 * time.Millisecond
	// quiet is how long nothing is heard before that is said.
	quiet = 10 * time.Second
	// lookTime bounds looking for a job that may have been submitted: a person who has
	// pressed Ctrl-C waits for it.
	lookTime = 15 * time.Second
	// tidyTime bounds the removal of what a launch leaves.
	tidyTime = 10 * time.Second
)

// Submit carries out a plan whose names are minted, at all its places side by side.
// What was submitted stays if something else fails. socket is where questions of a
// login are answered, empty if nobody can be asked. It returns what was submitted.
func (f *Fleet) Submit(ctx context.Context, p *plan.Plan, socket string) (done []Submitted, err error) {
	places := p.Kind.Places()
	if len(p.Names) != len(places) {
		return nil, fmt.Errorf("launcher %s: its plan has names for %d of %d places", p.Launcher, len(p.Names), len(places))
	}
	if detached(p) {
		return nil, f.detach(ctx, p)
	}
	var tried atomic.Int64 // of the plan's parts
	defer f.saySlow(p, &tried)()
	var mu sync.Mutex // guards done, failed and skipped
	failed, skipped := 0, 0
	bad := each(numbers(len(places)), atOnce, func(i int) error {
		mu.Lock()
		stop := failed >= atOnce && places[i].Here() // what a service has refused so often it refuses again
		if stop {
			skipped++
		}
		mu.Unlock()
		if stop {
			return nil
		}
		at, leave, err := f.open(ctx, places[i].Login, socket)
		if err != nil {
			return err
		}
		defer leave()
		more, err := f.submitAt(ctx, p, i, at, &tried)
		mu.Lock()
		done = append(done, more...)
		if err != nil {
			failed++
		}
		mu.Unlock()
		return err
	})
	if skipped > 0 {
		bad = append(bad, fmt.Errorf("launcher %s: after that %d of %d starts were not tried", p.Launcher, skipped, len(places)))
	}
	return done, joinErrors(bad)
}

// Submitted is a job that has been submitted.
type Submitted struct {
	ID      string // what its endpoint calls it
	Workers int
	Answer  mhttp.Answer // of the service, if it was one, without secrets
	Note    string       // what the user is to know of it; empty for nothing
}

// saySlow says every so often how far a plan of many parts is, until what it returns is
// called. Each may be short, and wait for its turn.
func (f *Fleet) saySlow(p *plan.Plan, tried *atomic.Int64) (stop func()) {
	total := len(p.Kind.Parts())
	if total < 2 {
		return func() {} // what takes long in the only one is said there
	}
	over := make(chan struct{})
	go func() {
		t := time.NewTicker(quiet)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				f.Say("launcher %s: %d of %s so far; going on", p.Launcher, tried.Load(), count(total, "start"))
			case <-over:
				return
			}
		}
	}()
	return func() { close(over) }
}

// submitAt submits what a plan has for one place, and counts its parts.
func (f *Fleet) submitAt(ctx context.Context, p *plan.Plan, place int, at place, tried *atomic.Int64) (done []Submitted, err error) {
	e, free, err := f.endpoint(at, newRecord(p, at))
	if err != nil {
		return nil, err
	}
	defer free()
	if p, err = e.prepare(ctx, p, place); err != nil {
		return nil, err
	}
	l, err := f.begin(ctx, p, place, at)
	if err != nil {
		return nil, err
	}
	defer f.submitted(ctx, l)
	n := 0
	for i, part := range p.Kind.Parts() {
		if part.Place != place {
			continue
		}
		j := newJob(p, i, part, l, e)
		j.Name, j.dir = recordName(l.name, n), f.Dir
		err := f.submit(ctx, j, p, i)
		tried.Add(1)
		if n++; j.ID != "" && f.has(j) {
			done = append(done, Submitted{j.theirs(), j.Workers, j.answer.Shown(), j.note})
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// has reports whether a job has been submitted, and is not forgotten.
func (f *Fleet) has(j *job) bool {
	f.lock()
	defer f.mu.Unlock()
	return slices.Contains(f.jobs, j)
}

// begin makes a launch and lets its workers join.
func (f *Fleet) begin(ctx context.Context, p *plan.Plan, place int, at place) (*launch, error) {
	l := &launch{name: p.Names[place].Launch, at: at, cred: none(), elements: map[string]member{}, submitting: true}
	for _, part := range p.Kind.Parts() {
		if part.Place == place {
			l.workers += len(part.Indices)
		}
	}
	if err := f.claim(l, p.Names[place]); err != nil {
		return nil, fmt.Errorf("launcher %s: %w", p.Launcher, err)
	}
	if p.Whose == plan.Foreign {
		return l, nil
	}
	if err := f.equip(ctx, l, p, place); err != nil {
		f.submitted(ctx, l)
		return nil, err
	}
	return l, nil
}

// claim takes names for a launch: no other has them, nor their records and files.
func (f *Fleet) claim(l *launch, n plan.Names) error {
	if !owns(n.Launch, n.JoinFile, n.Output) {
		return fmt.Errorf("%q, with the files %q and %q, are not names that were minted for a launch", n.Launch, n.JoinFile, n.Output)
	}
	f.lock()
	defer f.mu.Unlock()
	if f.launches[n.Launch] != nil {
		return fmt.Errorf("the names of %s were minted for one launch, which has begun", n.Launch)
	}
	f.launches[n.Launch] = l
	return nil
}

// equip makes what the workers of a launch need: the folder for their output, their
// credentials, and the join file.
func (f *Fleet) equip(ctx context.Context, l *launch, p *plan.Plan, place int) error {
	n := p.Names[place]
	f.lock()
	l.output = n.Output
	f.mu.Unlock()
	if err := l.at.makeDir(ctx, l.output); err != nil {
		return fmt.Errorf("make the folder for the output of %s: %w", l.name, err)
	}
	wanted := Launch{Plan: p, Name: l.name, Workers: l.workers, Place: p.Kind.Places()[place]}
	if behind, is := l.at.(there); is {
		f.follow(ctx, behind)
		wanted.Site = behind.Site
	}
	cred, err := f.Credentials(ctx, wanted)
	if err != nil {
		return err
	}
	f.lock()
	l.cred, l.joinFile = cred, n.JoinFile
	f.mu.Unlock()
	if err := l.at.writeFile(ctx, l.joinFile, []byte(l.cred.Join()+"\n")); err != nil {
		return fmt.Errorf("write the join file of %s: %w", l.name, err)
	}
	return nil
}

// submitted ends a launch that has no job when all has been submitted, whatever ended
// that.
func (f *Fleet) submitted(ctx context.Context, l *launch) {
	f.lock()
	l.submitting = false
	empty := len(l.jobs) == 0
	f.mu.Unlock()
	if !empty {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	l.cred.End()
	f.lock()
	delete(f.launches, l.name)
	f.mu.Unlock()
	f.tidy(ctx, l, l.files(l.joinFile, l.output)...)
}

// newRecord is the record of a plan's next job at a place, as far as all have it in
// common.
func newRecord(p *plan.Plan, at place) *Record {
	r := &Record{Kind: p.Kind.Tag(), Launcher: p.Launcher, Profile: p.Profile, Login: at.login()}
	kinds[r.Kind].address(p.Kind, r)
	return r
}

// newJob is the job of the i-th part of a plan, whose record has no name yet.
func newJob(p *plan.Plan, i int, part plan.Part, l *launch, e *endpoint) *job {
	r := newRecord(p, l.at)
	r.Poll, r.Config = p.Poll, p.Config
	r.Launch, r.Workers, r.JoinFile, r.Output = l.name, len(part.Indices), l.joinFile, l.output
	j := &job{Record: r, launch: l, endpoint: e, poll: p.Poll, whose: p.Whose, elements: map[int]*element{}, ordering: make(chan struct{}, 1)}
	e.describe(p, i, part, r)
	for _, index := range part.Indices {
		j.elements[index] = &element{}
	}
	return j
}

// submit records a job and submits it.
func (f *Fleet) submit(ctx context.Context, j *job, p *plan.Plan, part int) error {
	if err := f.pace(ctx, j.endpoint); err != nil {
		return fmt.Errorf("submit %s: %w", j.Launcher, context.Cause(ctx))
	}
	j.Sent = time.Now().UTC()
	if err := j.write(); err != nil {
		return err
	}
	done, err := f.start(ctx, j, p, part)
	switch {
	case done == nothing:
		j.erase()
		return fmt.Errorf("submit %s: %w", j.Launcher, err)
	case done == maybe && !f.found(ctx, j):
		f.add(j) // it is looked for again when all is taken back
		return fmt.Errorf("submit %s: %w; it may have been accepted all the same: %s", j.Launcher, err, lookFor(j.Record))
	case done == maybe:
		err = nil
	}
	j.trouble = j.note
	f.Log.Info("submitted", "launcher", j.Launcher, "to", j.endpoint.String(), "job", j.theirs(), "workers", j.Workers)
	f.add(j)
	return errors.Join(err, j.write())
}

// lookFor says how a job is found that may have been submitted.
func lookFor(r *Record) string {
	if r.Job == "" {
		return fmt.Sprintf("muster gave it no name of its own, so look for what was submitted at %s; its record is %s", r.Sent.Local().Format(time.TimeOnly), r.path())
	}
	return fmt.Sprintf("look for a job %s, and `muster down` looks again", r.Job)
}

// start starts a part, and says if that takes long.
func (f *Fleet) start(ctx context.Context, j *job, p *plan.Plan, part int) (outcome, error) {
	late := time.AfterFunc(quiet, func() {
		f.Say("%s for %v: what launcher %s has asked for may be started yet, and muster waits on; Ctrl-C gives it up", j.endpoint.late(j.Record), quiet, j.Launcher)
	})
	defer late.Stop()
	return j.endpoint.start(ctx, p, part, j.Record, j.launch.cred.Join())
}

// pace waits until the next submission may go to an endpoint.
func (f *Fleet) pace(ctx context.Context, e *endpoint) error {
	f.lock()
	wait := time.Until(e.sent.Add(e.rules().between))
	e.sent = time.Now().Add(max(wait, 0))
	f.mu.Unlock()
	return sleep(ctx, max(wait, 0))
}

// found looks for a job by its name, whose submission was not answered.
func (f *Fleet) found(ctx context.Context, j *job) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	ids, err := j.endpoint.find(ctx, j.Record)
	if err != nil || len(ids) != 1 {
		return false
	}
	j.ID = ids[0]
	return true
}

// follow has join files written anew with each new link to a machine, whose addresses
// may have changed. The first time, it removes what other runs have left there.
func (f *Fleet) follow(ctx context.Context, at there) {
	f.lock()
	was := f.followed[at]
	f.followed[at] = true
	f.mu.Unlock()
	if was {
		return
	}
	at.OnRenewal(func(ctx context.Context) { f.rejoin(ctx, at) })
	if err := at.sweep(ctx); err != nil {
		f.Log.Warn("what other runs have left is not removed", "on", at.Login().Name(), "error", err)
	}
}

func (f *Fleet) rejoin(ctx context.Context, at place) {
	f.lock()
	var list []*launch
	for _, l := range f.launches {
		if l.at == at && l.joinFile != "" {
			list = append(list, l)
		}
	}
	f.mu.Unlock()
	for _, l := range list {
		if err := at.writeFile(ctx, l.joinFile, []byte(l.cred.Join()+"\n")); err != nil {
			f.Log.Warn("workers may not find the dispatcher", "launch", l.name, "error", err)
		}
	}
}
