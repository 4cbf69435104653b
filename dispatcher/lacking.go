package dispatcher

import (
	"fmt"
	"strings"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	"muster/task"
)

// Whose fault: a worker hands back what its machine could not begin, and says
// what the machine lacks. The queue sends the task elsewhere and withholds from
// that worker what needs the same; here it is said to the user.

// gathering is how long tasks that a worker refuses are counted before it is said.
const gathering = time.Second

// maxTold is how many different things that one worker lacks are said, and shown.
const maxTold = 16

// otherLacks is said of all that come beyond those.
const otherLacks = "it lacks more than these"

// refusals are the tasks that a worker has refused for want of something.
type refusals struct {
	lacks map[string]int // tasks, by what was said to be lacking; -1 once it has been said
	sick  bool
	total int // ever
}

// returned takes a task back that the worker has not begun. Under Pool.mu.
func (s *session) returned(m *wire.Returned, now time.Time) {
	delete(s.abandoned, m.Ref)
	a := s.attempts[m.Ref]
	if a == nil {
		return
	}
	if m.Lack != nil {
		s.lacking(a, brief(*m.Lack), now)
		return
	}
	if !s.p.queue.Returned(a.Ref, now) {
		return
	}
	s.takeBack(a)
}

// takeBack ends an attempt that was handed back; an everywhere is the queue's to
// send again.
func (s *session) takeBack(a *attempt) {
	if a != s.syncing {
		s.requeued(a)
		return
	}
	delete(s.attempts, a.Ref)
	s.syncing = nil
	s.d.store.Discard(a.out)
}

// lacking takes a task back that the worker's machine could not begin.
func (s *session) lacking(a *attempt, l task.Lack, now time.Time) {
	waits := l.Kind == task.LackShare && s.lacksShare(a, &l)
	if _, ok := s.p.queue.Lacking(a.Ref, needsOf(&a.spec), l, now); !ok {
		return
	}
	if !waits {
		s.refuse(l)
	}
	s.p.expect()
	s.takeBack(a)
}

// lacksShare has the worker be sent what it cannot read, if that may be, and reports
// whether the task waits for it; else it completes what is said to be lacking.
func (s *session) lacksShare(a *attempt, l *task.Lack) (waits bool) {
	if s.attempts[a.Ref] != a {
		return false
	}
	if !s.p.opt.Spread {
		l.Message += "; spread = true in the profile sends a copy there"
		return false
	}
	waits, why := s.spread(&a.spec)
	if why != "" {
		l.Message = why
	}
	return waits
}

// brief bounds what a worker says that its machine lacks: it is kept as long as that
// is so.
func brief(l task.Lack) task.Lack {
	l.Message, l.Evidence = oneLine(l.Message), cut(l.Evidence, maxEvidence)
	return l
}

// needsOf is what a task needs of a machine.
func needsOf(spec *task.Spec) queue.Needs {
	if spec.Func != "" {
		return queue.Needs{Shares: sharesOf(spec)}
	}
	n := queue.Needs{Directory: spec.Dir}
	if !spec.Everywhere && len(spec.Argv) > 0 {
		n.Program = programOf(spec)
	}
	n.Shares = sharesOf(spec)
	return n
}

// sharesOf is all that the task must be able to read, as one word.
func sharesOf(spec *task.Spec) string {
	var refs []string
	for _, sh := range spec.Shares {
		if sh.Needed {
			refs = append(refs, sh.Ref)
		}
	}
	return strings.Join(refs, "\n")
}

// programOf is all that finding a task's program depends on, but for the worker.
func programOf(spec *task.Spec) string {
	name := spec.Argv[0]
	for _, kv := range spec.Env {
		if len(kv) > 5 && kv[:5] == "PATH=" {
			name += "\x00" + kv
		}
	}
	return name
}

// refuse counts a task that was refused, and has it said.
func (s *session) refuse(l task.Lack) {
	r := &s.refused
	r.sick = true
	r.total++
	if r.lacks == nil {
		r.lacks = map[string]int{}
	}
	n, known := r.lacks[l.Message]
	if !known && len(r.lacks) >= maxTold {
		l.Message = otherLacks
		n = r.lacks[otherLacks]
	}
	if n < 0 {
		return
	}
	r.lacks[l.Message] = n + 1
	if n == 0 {
		time.AfterFunc(gathering, func() { s.tell(l) })
	}
}

// tell says that the worker lacks something, once.
func (s *session) tell(l task.Lack) {
	p := s.p
	p.mu.Lock()
	n := s.refused.lacks[l.Message]
	if n <= 0 || p.closed {
		p.mu.Unlock()
		return
	}
	s.refused.lacks[l.Message] = -1
	others := len(p.sessions) > 1
	p.mu.Unlock()
	where := "sent elsewhere"
	switch {
	case !others && (l.Kind == task.LackProgram || l.Kind == task.LackShare):
		return // it is the task's fault, and said so
	case !others:
		where = fmt.Sprintf("waiting for a worker that can: %v at most if none is to come", queue.Patience)
	}
	p.d.opt.Say("%s: %s; %s %s", s.host(), l.Message, count(n, "task"), where)
}

// recovered says that a worker has what it lacked. Under Pool.mu.
func (s *session) recovered() {
	if !s.refused.sick || len(s.p.queue.Lacks(s.epoch)) > 0 {
		return
	}
	s.refused = refusals{total: s.refused.total}
	s.p.log.Info("worker has what it lacked", "worker", s.id)
}

// host is the machine that the worker runs on, as users know it.
func (s *session) host() string {
	if s.hello.Host != "" {
		return s.hello.Host
	}
	return s.id
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// expectEvery is how often it is asked whether more workers are to come, as long
// as some worker lacks something.
const expectEvery = time.Second

// expect begins to ask whether workers may yet join, for as long as one that is
// there lacks something: until none may, no task is blamed. Under mu.
func (p *Pool) expect() {
	if p.expecting {
		return
	}
	p.expecting = true
	p.queue.Expect(true)
	go p.askExpected()
}

// askExpected asks once, and again later as long as a worker lacks something.
func (p *Pool) askExpected() {
	more := p.d.mayJoin(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.queue.Sick() || p.closed {
		p.expecting = false
		p.queue.Expect(false)
		return
	}
	p.queue.Expect(more || p.spreading > 0)
	p.pump(time.Now())
	time.AfterFunc(expectEvery, p.askExpected)
}

// mayJoin reports whether workers of a pool are expected that have not joined.
func (d *Dispatcher) mayJoin(p *Pool) bool { return d.expected(p) > 0 }

// expected is how many workers of a pool may yet join, by the word of those who
// started them. It is called without locks.
func (d *Dispatcher) expected(p *Pool) (n int) {
	d.mu.Lock()
	var ask []func() int
	for _, e := range d.launches {
		if e.pool == p && e.opt.Expected != nil {
			ask = append(ask, e.opt.Expected)
		}
	}
	d.mu.Unlock()
	for _, f := range ask {
		n += f()
	}
	return n
}

// Expected returns how many workers may yet join that muster has started or asked for.
// Of those that people start nobody knows.
func (p *Pool) Expected() int { return p.d.expected(p) }
