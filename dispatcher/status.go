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
}

// Status returns how the profile stands, its workers in the order in which
// they joined.
func (p *Pool) Status() PoolStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PoolStatus{Profile: p.name, Scheduling: "fifo", Info: p.info(), Workers: []WorkerStatus{},
		Memory: p.memory()}
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
}

// Status returns how the future stands.
func (f *Future) Status() FutureStatus {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	c := f.log.Counts()
	s := FutureStatus{ID: f.id, Kind: f.kind, Profile: f.pool.name, State: "queued",
		Total: c.Total, Resolved: c.Resolved, Failed: c.Failed, Created: f.created}
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
