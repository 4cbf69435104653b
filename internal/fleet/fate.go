package fleet

import (
	"context"
	"strings"
	"time"

	"muster/hpc"
)

// Fate is what became of a worker that was lost, by the word of its scheduler or its
// machine. The zero value is that nobody knows.
type Fate struct {
	End  hpc.End
	Text string
}

// inquiry is a question about lost workers, all that one endpoint is asked for at a
// time.
type inquiry struct {
	jobs   map[*job]bool // guarded by Fleet.mu until it is made
	done   chan struct{} // closed when the answer is there
	answer map[key]hpc.Element
	err    error
}

const (
	betweenInquiries = time.Second // of one endpoint
	maxInquiries     = 3           // whether a worker that was lost still runs
)

// Fate asks what became of a worker of a launch that was lost. Its endpoint may not
// know yet: it is asked until it does, or says again and again that the job runs, or
// ctx is done. Those who ask at the same time share a question, and an endpoint hears
// one a second at most.
func (f *Fleet) Fate(ctx context.Context, launch, element string) Fate {
	m, known := f.member(launch, element)
	if !known {
		return Fate{}
	}
	for asked := 1; ; {
		e, err := f.inquire(ctx, m)
		if ctx.Err() != nil {
			return Fate{}
		}
		fate, final := m.j.endpoint.fate(m.j.Record, e)
		if err == nil && (final || asked == maxInquiries) {
			return fate
		}
		// While a job is being ended it is no use to count.
		if err == nil && e.Raw != "COMPLETING" {
			asked++
		}
	}
}

// member finds an element of a launch by its name. A worker may be one of several
// processes of an element, with a number behind its name.
func (f *Fleet) member(launch, element string) (member, bool) {
	f.lock()
	defer f.mu.Unlock()
	l := f.launches[launch]
	for l != nil && element != "" {
		if m, is := l.elements[element]; is {
			return m, !m.j.takenBack
		}
		element = element[:max(strings.LastIndexByte(element, '.'), 0)]
	}
	return member{}, false
}

// inquire asks about one element, with all others that are asked about. The element is
// Unknown if the answer does not speak of it.
func (f *Fleet) inquire(ctx context.Context, m member) (hpc.Element, error) {
	q := f.inquiry(m.j)
	select {
	case <-q.done:
		return q.answer[key{m.j.ID, m.index}], q.err
	case <-ctx.Done():
		return hpc.Element{}, ctx.Err()
	}
}

// inquiry returns the next question to a job's endpoint, which is about that job too.
func (f *Fleet) inquiry(j *job) *inquiry {
	f.lock()
	defer f.mu.Unlock()
	e := j.endpoint
	if !e.inquiring {
		e.inquiring = true
		e.next = &inquiry{jobs: map[*job]bool{}, done: make(chan struct{})}
		// Workers that are lost together are not lost in the same instant.
		wait := max(betweenInquiries/4, time.Until(e.inquired.Add(betweenInquiries)))
		time.AfterFunc(wait, func() { f.put(e) })
	}
	e.next.jobs[j] = true
	return e.next
}

// put puts the next question to an endpoint.
func (f *Fleet) put(e *endpoint) {
	f.lock()
	q := e.next
	e.inquiring, e.inquired = false, time.Now()
	var jobs []*job
	var records []*Record
	for j := range q.jobs {
		jobs, records = append(jobs, j), append(records, j.Record)
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), fateTime)
	defer cancel()
	list, err := e.list(ctx, records, fates)
	if err != nil {
		f.Log.Warn("it is not known what became of workers", "of", e.String(), "error", err)
	}
	q.answer, q.err = byKey(list), err
	f.lock()
	said := cancelled(jobs, q.answer)
	f.mu.Unlock()
	f.spread(news{said: said})
	close(q.done)
}

// fateTime bounds a question about lost workers, of which each command has a bound too.
const fateTime = 5 * time.Minute

// Expected returns how many workers of a launch may yet join, by what is known of its
// jobs. Nothing is known of a launch that has not begun, or has ended.
func (f *Fleet) Expected(launch string) (n int, known bool) {
	f.lock()
	defer f.mu.Unlock()
	l := f.launches[launch]
	if l == nil {
		return 0, false
	}
	if n = l.workers; !l.submitting {
		n = 0
	}
	for _, j := range l.jobs {
		if l.submitting {
			n -= len(j.elements)
		}
		for index, m := range j.elements {
			if m.state == hpc.Pending || m.state != hpc.Ended && !j.joined(index) {
				n++
			}
		}
	}
	return n, true
}
