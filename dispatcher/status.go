package dispatcher

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"muster/internal/wire"
	"muster/task"
)

// Info returns the profile's five counters.
func (p *Pool) Info() task.Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info()
}

func (p *Pool) info() task.Info {
	c := p.queue.Counts()
	return task.Info{Connections: len(p.sessions) - p.absent, Cumulative: int(p.joined),
		Awaiting: c.Queued, Executing: c.Assigned + c.Running + c.Held, Completed: int(p.completed)}
}

// WorkerStatus is one worker that is connected or may come back.
type WorkerStatus struct {
	ID    string `json:"id"`
	Host  string `json:"host"`
	Pid   int    `json:"pid"`
	Slots int    `json:"slots"`
	Busy  int    `json:"busy"` // tasks that it has now
	Done  int    `json:"done"` // tasks that it has ended
	// State is idle, busy, syncing, draining, away (its connection broke), or lost
	// (somebody is asked what became of it).
	State  string    `json:"state"`
	Joined time.Time `json:"joined"`
	// Lacks is what its machine cannot do, in words; tasks that need it are sent
	// elsewhere.
	Lacks []string `json:"lacks,omitempty"`
	// Refused is how many tasks it has handed back for want of something.
	Refused int `json:"refused,omitempty"`
}

// Memory is the payload bytes of queued tasks. Capacity is nil without a limit.
// Waiting is how many submit a task now and wait until there is room for it.
type Memory struct {
	Used     int64  `json:"used"`
	Peak     int64  `json:"peak"`
	Waiting  int    `json:"waiting"`
	Capacity *int64 `json:"capacity"`
}

// PoolStatus says how a profile stands.
type PoolStatus struct {
	Profile    string         `json:"profile"`
	Scheduling string         `json:"scheduling"` // fifo or round-robin
	Info       task.Info      `json:"info"`
	Memory     Memory         `json:"memory"`
	Workers    []WorkerStatus `json:"workers"`
	Left       map[string]int `json:"left,omitempty"` // workers that said goodbye, by reason
	// Paused is why no task that is queued is started now, whoever is free.
	Paused string `json:"paused,omitempty"`
	// Everywhere is the first everywhere that not all workers have run that have to; nil
	// if there is none.
	Everywhere *EverywhereStatus `json:"everywhere,omitempty"`
	// Oldest is when the task began that has run longest; nil if none runs.
	Oldest *time.Time `json:"oldest,omitempty"`
}

// EverywhereStatus says how an everywhere stands before which nothing later starts.
type EverywhereStatus struct {
	ID      ID   `json:"id"`
	Open    bool `json:"open"`    // workers run it, or may
	Missing int  `json:"missing"` // workers that have to run it yet, at least
}

// Status returns how the profile stands, its workers in the order in which
// they joined.
func (p *Pool) Status() PoolStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PoolStatus{Profile: p.name, Scheduling: "fifo", Info: p.info(), Workers: []WorkerStatus{},
		Memory: p.memory(), Paused: p.paused(), Oldest: p.oldest(), Everywhere: p.ahead()}
	if p.opt.RoundRobin {
		s.Scheduling = "round-robin"
	}
	for _, w := range p.inOrder() {
		s.Workers = append(s.Workers, w.status())
	}
	for code, n := range p.left {
		if n > 0 {
			if s.Left == nil {
				s.Left = map[string]int{}
			}
			s.Left[wire.LeftText(uint32(code))] = n
		}
	}
	return s
}

// paused is why nothing new is started, in words; empty if it may be. Under mu.
func (p *Pool) paused() string {
	if dir := p.d.fullDisk(); dir != "" {
		return "the disk is full at " + dir
	}
	if p.run != nil && p.run.full() {
		return "as many results as may wait to be read"
	}
	return ""
}

// ahead is the everywhere that holds up the others. Under mu.
func (p *Pool) ahead() *EverywhereStatus {
	j, open, missing, ok := p.queue.Ahead()
	if !ok {
		return nil
	}
	return &EverywhereStatus{j.owner.owner.(*Future).id, open, missing}
}

// oldest is when the task began that has run longest. Under mu.
func (p *Pool) oldest() *time.Time {
	var first time.Time
	for _, s := range p.sessions {
		for _, a := range s.attempts {
			if !a.began.IsZero() && (first.IsZero() || a.began.Before(first)) {
				first = a.began
			}
		}
	}
	if first.IsZero() {
		return nil
	}
	return &first
}

func (p *Pool) memory() (m Memory) {
	m.Used, m.Peak = p.queue.Bytes()
	if p.opt.Memory > 0 {
		m.Capacity = &p.opt.Memory
	}
	m.Waiting = len(p.waiting)
	return m
}

func (s *session) status() WorkerStatus {
	w := WorkerStatus{ID: s.id, Host: s.hello.Host, Pid: int(s.hello.Pid), Slots: int(s.hello.Slots),
		Busy: len(s.attempts), Done: s.ended, State: "idle", Joined: s.since}
	for _, l := range s.p.queue.Lacks(s.epoch) {
		w.Lacks = append(w.Lacks, l.Message)
	}
	slices.Sort(w.Lacks)
	w.Refused = s.refused.total
	if more := len(w.Lacks) - maxTold; more > 0 {
		w.Lacks = append(w.Lacks[:maxTold], fmt.Sprintf("and %d more", more))
	}
	switch {
	case s.state == lost:
		w.State = "lost"
	case s.state == away:
		w.State = "away"
	case s.leaving():
		w.State = "draining"
	case s.syncing != nil:
		w.State = "syncing"
	case w.Busy > 0:
		w.State = "busy"
	}
	return w
}

// inOrder returns the sessions in the order in which they joined. Under mu.
func (p *Pool) inOrder() []*session {
	return slices.SortedFunc(maps.Values(p.sessions), func(a, b *session) int { return cmp.Compare(a.epoch, b.epoch) })
}

// FutureStatus says how a future stands.
type FutureStatus struct {
	ID       ID        `json:"id"`
	Kind     Kind      `json:"kind"`
	Profile  string    `json:"profile"`
	State    string    `json:"state"` // queued, running or resolved
	Total    int       `json:"total"`
	Resolved int       `json:"resolved"`
	Failed   int       `json:"failed"`
	Created  time.Time `json:"created"`
	// Name and Argv are of its first task, as much of them as is shown.
	Name string `json:"name,omitempty"`
	// Collected says that somebody has read all its results, and it was not forgotten.
	Collected bool     `json:"collected,omitempty"`
	Argv      []string `json:"argv,omitempty"`
}

// mostShown is how many bytes of a name, and of a command, a status has.
const mostShown = 200

// label is what a status shows of a future's first task.
type label struct {
	name string
	argv []string
}

// newLabel takes from a task what is shown of it.
func newLabel(spec *task.Spec) label {
	shown := spec.Shown(0)
	l := label{name: cut(shown.Name, mostShown)}
	left := mostShown
	for _, word := range shown.Argv {
		if left <= 0 {
			l.argv = append(l.argv, "...")
			break
		}
		l.argv = append(l.argv, cut(word, left))
		left -= len(word) + 1
	}
	return l
}

// Status returns how the future stands.
func (f *Future) Status() FutureStatus {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	c := f.log.Counts()
	s := FutureStatus{ID: f.id, Kind: f.kind, Profile: f.pool.name, State: "queued",
		Total: c.Total, Resolved: c.Resolved, Failed: c.Failed, Created: f.created, Name: f.label.name, Argv: f.label.argv, Collected: f.collected}
	switch {
	case c.Over:
		s.State = "resolved"
	case f.everywhere != nil:
		s.Total = max(f.min, len(f.pool.sessions))
		if f.pool.queue.Opened(f.marker) {
			s.State = "running"
		}
	case c.Resolved > 0 || f.running():
		s.State = "running"
	}
	return s
}

// running reports whether one of the first tasks is with a worker: later ones
// never are before them, but for a retry.
func (f *Future) running() bool {
	for i := range f.items {
		if f.items[i].spec != nil {
			state, ok := f.pool.queue.State(f.items[i].id)
			return ok && state != task.Queued
		}
	}
	return false
}
