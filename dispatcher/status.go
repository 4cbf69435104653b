package dispatcher

import (
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
	ID     string    `json:"id"`
	Host   string    `json:"host"`
	Pid    int       `json:"pid"`
	Slots  int       `json:"slots"`
	Busy   int       `json:"busy"`  // tasks that it has now
	Done   int       `json:"done"`  // tasks that it has ended
	State  string    `json:"state"` // idle, busy, syncing, draining, or away: its connection broke
	Joined time.Time `json:"joined"`
}

// Memory is the payload bytes of queued tasks. Capacity is nil without a limit.
type Memory struct {
	Used     int64  `json:"used"`
	Peak     int64  `json:"peak"`
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
		Memory: Memory{Used: p.memory.used, Peak: p.memory.peak}}
	if p.opt.RoundRobin {
		s.Scheduling = "round-robin"
	}
	if p.memory.limit > 0 {
		s.Memory.Capacity = &p.memory.limit
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

func (s *session) status() WorkerStatus {
	w := WorkerStatus{ID: s.id, Host: s.hello.Host, Pid: int(s.hello.Pid), Slots: int(s.hello.Slots),
		Busy: len(s.attempts), Done: s.ended, State: "idle", Joined: s.since}
	switch {
	case s.away != nil:
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
