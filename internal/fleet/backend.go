package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"muster/hpc"
	"muster/internal/plan"
)

// backend starts the workers of one kind of launcher at one place, says how they stand,
// and ends them. It keeps nothing of them itself: it is given their records. Backends
// are compared: those that are equal are one endpoint.
type backend interface {
	// prepare returns a plan as it can be carried out, or an error if it cannot be, as
	// far as that is known before anything is started.
	prepare(ctx context.Context, p *plan.Plan, place int) (*plan.Plan, error)
	// describe notes in a record what it will say of one part of a plan.
	describe(p *plan.Plan, i int, part plan.Part, r *Record)
	// start starts one part of a plan and notes in its record what it has started.
	// Scripts that carry the join string have that of join.
	start(ctx context.Context, p *plan.Plan, i int, r *Record, join string) (outcome, error)
	// find returns the ids of what has been started under a record's name.
	find(ctx context.Context, r *Record) ([]string, error)
	// list says how the elements of jobs stand. Those that it leaves out have ended or
	// are not known yet.
	list(ctx context.Context, records []*Record, d detail) ([]hpc.Element, error)
	// cancel ends a job, or those of its elements that are named. It returns a noCancel
	// if nobody can be told to.
	cancel(ctx context.Context, r *Record, indices ...int) error
	rules() rules
	words
}

// words are how a backend and what it has started are called.
type words interface {
	String() string                                // the endpoint
	late(r *Record) string                         // who does not answer while a job is being started
	element(r *Record, index int) string           // as the worker names itself
	called(r *Record, index int) string            // an element, with what it is
	whole(r *Record) string                        // what may be left of a job, and where
	ended(r *Record, index int, raw string) string // that an element did, whose worker never joined
	reason(said string) string                     // why elements wait, with what that means
	command(r *Record) []string                    // that a person types here to end a job
	fate(r *Record, e hpc.Element) (Fate, bool)    // see Fleet.Fate; false if a later answer may say more
}

// rules are how a kind of endpoint wants to be treated.
type rules struct {
	atOnce  int           // commands at a time
	between time.Duration // from one submission to the next
	// delivers says that it puts what a job prints into a folder when the job has
	// ended, and lists it until it has.
	delivers bool
	// lags says that its word may be older, or about less, than what is known of a worker
	// itself: one that is here runs.
	lags bool
	// away says that what its workers print stays with it.
	away bool
	// remembers says that it can tell of elements that it no longer lists how they
	// ended.
	remembers bool
}

// outcome is what a start has come to.
type outcome uint8

const (
	nothing outcome = iota // nothing was started, certainly
	maybe                  // nobody knows whether something was
	started                // something was, which the record names
)

// noCancel says why a job cannot be ended but by its workers.
type noCancel string

func (e noCancel) Error() string { return string(e) }

const errNoCancel = noCancel("the launcher does not say how")

// hopeless is an error that comes again however often the same is tried.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }

// unseen is the Raw of an element of which nobody but its worker can tell how it
// stands.
const unseen = "nobody can tell"

// detail is what is asked about elements.
type detail uint8

const (
	standing detail = iota // how they stand
	fates                  // and how they ended
)

// kind is a kind of launcher.
type kind struct {
	// address notes in a record which backend it is.
	address func(k plan.Kind, r *Record)
	// open returns that backend.
	open func(at place, r *Record) (backend, error)
}

// kinds are all that there are, by their tags.
var kinds = map[string]kind{
	(*plan.Cluster)(nil).Tag():    {addressCluster, newCluster},
	(*plan.SSH)(nil).Tag():        {addressMachine, newMachine},
	(*plan.HTTP)(nil).Tag():       {addressService, newService},
	(*plan.Workbench)(nil).Tag():  {addressWorkbench, newWorkbench},
	(*plan.Slurmrestd)(nil).Tag(): {addressRest, newRest},
	(*plan.Command)(nil).Tag():    {addressCommand, newCommand},
}

// endpoint is a backend with how it is paced.
type endpoint struct {
	backend
	// Guarded by Fleet.mu:
	users     int       // who hold it beside jobs
	asked     time.Time // when it was last asked how jobs stand
	mute      error     // why it does not answer since, which has been said; nil if it does
	sent      time.Time // the last submission
	next      *inquiry  // that is yet to be made, if inquiring
	inquiring bool
	inquired  time.Time // the last inquiry
}

// endpoint returns who is asked about what a record is about. The caller calls free
// when that is over, or jobs hold it.
func (f *Fleet) endpoint(at place, r *Record) (e *endpoint, free func(), err error) {
	k, known := kinds[r.Kind]
	if !known {
		return nil, nil, fmt.Errorf("launch record %s: there is no launcher of a kind %q here", r.path(), r.Kind)
	}
	b, err := k.open(at, r)
	if err != nil {
		return nil, nil, err
	}
	f.lock()
	defer f.mu.Unlock()
	if e = f.endpoints[b]; e == nil {
		e = &endpoint{backend: b}
		f.endpoints[b] = e
	}
	e.users++
	return e, func() {
		f.lock()
		defer f.mu.Unlock()
		e.users--
	}, nil
}

// interval is how often an endpoint is asked about jobs: as the most patient of them
// says, and once a second at most.
func interval(jobs []*job) time.Duration {
	d := time.Second
	for _, j := range jobs {
		d = max(d, j.poll)
	}
	return d
}

// byEndpoint sorts jobs by whom to ask.
func byEndpoint(jobs []*job) map[*endpoint][]*job {
	m := map[*endpoint][]*job{}
	for _, j := range jobs {
		m[j.endpoint] = append(m[j.endpoint], j)
	}
	return m
}

// all returns the jobs at this moment.
func (f *Fleet) all() []*job {
	f.lock()
	defer f.mu.Unlock()
	return append([]*job(nil), f.jobs...)
}

// each does something for every item, so many at a time, and returns what failed in
// their order.
func each[T any](list []T, atOnce int, do func(T) error) []error {
	var wg sync.WaitGroup
	room := make(chan struct{}, atOnce)
	failed := make([]error, len(list))
	for i, item := range list {
		room <- struct{}{}
		wg.Go(func() {
			failed[i] = do(item)
			<-room
		})
	}
	wg.Wait()
	return failed
}

// sleep waits, and fails if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// joinErrors is errors.Join that says only the first of many, and the same once with how
// often it was.
func joinErrors(list []error) error {
	const most = 10
	list = distinct(compact(list))
	if n := len(list) - most; n > 0 {
		list = append(list[:most:most], fmt.Errorf("and %d more like these", n))
	}
	return errors.Join(list...)
}

// distinct has one error for all that have the same text, which says how many these are.
func distinct(list []error) []error {
	times := map[string]int{}
	for _, err := range list {
		times[err.Error()]++
	}
	var some []error
	for _, err := range list {
		text := err.Error()
		if n := times[text]; n > 1 {
			err = fmt.Errorf("%w (%d times)", err, n)
		}
		if times[text] > 0 {
			some = append(some, err)
		}
		times[text] = 0
	}
	return some
}

func compact(list []error) []error {
	var bad []error
	for _, err := range list {
		if err != nil {
			bad = append(bad, err)
		}
	}
	return bad
}
