package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/task"
)

// fateTime is how long tasks of a worker that was lost wait for word of what
// became of it.
const fateTime = 30 * time.Second

// disconnected ends a session whose connection has ended for good.
func (p *Pool) disconnected(s *session, reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.state != gone {
		p.end(s, reason)
	}
}

// orderly reports whether a session has ended as it should.
func orderly(reason error) bool {
	return errors.Is(reason, errGoodbye) || errors.Is(reason, errWalltime)
}

// end ends a session, at once or when somebody has said what became of its
// worker. Under mu.
func (p *Pool) end(s *session, reason error) {
	if s.replaced {
		p.remove(s, errReplaced, Fate{})
		return
	}
	if f := s.in.opt.Lost; f != nil && !orderly(reason) && !p.closed {
		go f(s.hello.Element, s.ended, reason)
	}
	if s.in.opt.Fate == nil || orderly(reason) || p.closed || len(s.attempts) == 0 {
		p.remove(s, reason, Fate{})
		return
	}
	p.detach(s, lost)
	p.queue.Set(s.epoch, queue.Gone)
	s.letCancelledGo()
	p.log.Warn("worker lost; asking what became of it", "worker", s.id, "reason", reason, "tasks", len(s.attempts))
	ctx, cancel := context.WithTimeout(p.d.ctx, fateTime)
	s.stopAsking = cancel
	go p.inquire(ctx, s, reason)
	p.pump(time.Now())
}

// inquire asks what became of a worker and ends its session.
func (p *Pool) inquire(ctx context.Context, s *session, reason error) {
	f := s.askFate(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.state == lost {
		p.remove(s, reason, f)
	}
}

// detach takes the connection off a session. Under mu.
func (p *Pool) detach(s *session, to state) {
	if s.state == connected {
		p.absent++
	}
	if s.absence != nil {
		s.absence.timer.Stop()
		s.absence = nil
	}
	s.state, s.link = to, nil
}

// remove forgets a session and takes back what its worker had. Under mu.
func (p *Pool) remove(s *session, reason error, f Fate) {
	p.detach(s, gone)
	p.absent--
	s.dropCopies()
	if s.stopAsking != nil {
		s.stopAsking()
	}
	p.d.roster.remove(s)
	if s.spoke {
		s.in.launch.Release(s.hello.Element, s.hello.Restart)
	} else {
		s.in.launch.Retract(s.hello.Element, s.hello.Restart)
	}
	now := time.Now()
	if errors.Is(reason, errGoodbye) {
		s.returnAll(now)
	}
	if f.Text == "" {
		f.Text = fmt.Sprintf("worker %s: %v", s.id, reason)
	} else {
		f.Text = fmt.Sprintf("worker %s: %s", s.id, f.Text)
	}
	if errors.Is(reason, errWalltime) {
		f.Kind = task.KindWalltime
	}
	if s.syncing != nil {
		s.synced(task.Result{Err: f.err()})
	}
	requeued, givenUp := p.queue.Leave(s.epoch)
	delete(p.sessions, s.epoch)
	byTask := s.byTask()
	for _, id := range requeued {
		s.requeued(byTask[id])
	}
	for _, id := range givenUp {
		s.resolveLost(byTask[id], f)
	}
	s.attempts = nil
	s.sayWhy(reason, f, len(requeued), len(givenUp))
	p.pump(now)
}

// returnAll takes back what a worker that said goodbye has not spoken of: it has
// not begun that.
func (s *session) returnAll(now time.Time) {
	for _, a := range s.attempts {
		if a != s.syncing && s.p.queue.Returned(a.Ref, now) {
			s.requeued(a)
		}
	}
}

// sayWhy logs the end of a session.
func (s *session) sayWhy(reason error, f Fate, requeued, givenUp int) {
	if requeued+givenUp > 0 || !s.p.closed && !orderly(reason) {
		s.p.log.Warn("worker gone", "worker", s.id, "reason", reason, "fate", f.Text, "retried", requeued, "lost", givenUp)
		return
	}
	s.p.log.Info("worker left", "worker", s.id, "reason", reason)
}

// err is the error value of a task that was lost so.
func (f Fate) err() *task.ErrorValue {
	e := task.Reset(f.Text)
	switch f.Kind {
	case task.KindWalltime:
		e.Kind, e.Message = task.KindWalltime, task.TextWalltime
	case task.KindPreempted:
		e.Kind, e.Message = task.KindPreempted, task.TextPreempted
	case task.KindOOM:
		e.Kind, e.Message = task.KindOOM, "out of memory"
	}
	return e
}

// resolveLost resolves a task that was lost for good, or while it was cancelled. If its
// worker was told to end, as schedulers do before they end a job, whoever started the
// worker is asked why first.
func (s *session) resolveLost(a *attempt, f Fate) {
	delete(s.attempts, a.Ref)
	if a.cancel != nil {
		s.resolve(a, task.Result{Err: a.cancel})
		return
	}
	if f.Kind == 0 && s.signals != "" && s.in.opt.Fate != nil && !s.p.closed {
		go s.resolveWhenTold(a, f)
		return
	}
	s.resolveAs(a, f)
}

// resolveWhenTold resolves a task that was lost when it is known what became of its
// worker.
func (s *session) resolveWhenTold(a *attempt, f Fate) {
	ctx, cancel := context.WithTimeout(s.d.ctx, fateTime)
	defer cancel()
	if told := s.askFate(ctx); told.Text != "" {
		f = Fate{told.Kind, f.Text + "; " + told.Text}
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.resolveAs(a, f)
	s.p.changed()
}

// askFate asks what became of the worker, until ctx is done.
func (s *session) askFate(ctx context.Context) Fate {
	answer := make(chan Fate, 1)
	go func() { answer <- s.in.opt.Fate(ctx, s.hello.Element) }()
	select {
	case f := <-answer:
		return f
	case <-ctx.Done(): // whoever is asked may be late to notice
		return Fate{}
	}
}

// resolveAs resolves a task that was lost, with what became of its worker. Under
// Pool.mu.
func (s *session) resolveAs(a *attempt, f Fate) {
	e := f.err()
	if n := int(a.Attempt); n > 1 {
		e.Evidence += fmt.Sprintf(" (attempt %d)", n)
	}
	s.resolve(a, task.Result{Err: e})
}

// requeued ends an attempt whose task is queued again: cancelled ones resolve,
// the others lose the output of this try.
func (s *session) requeued(a *attempt) {
	delete(s.attempts, a.Ref)
	if a.cancel != nil {
		s.p.queue.Cancel(a.Task)
		s.resolve(a, task.Result{Err: a.cancel})
		return
	}
	s.discard(a)
	if a.job.owner.stopped() {
		if _, removed, _, _ := s.p.queue.Cancel(a.Task); removed {
			a.job.owner.drop(a.job, task.Cancelled("nothing more was to be started"))
		}
	}
}

// resolve passes on what a task resolved to, with what the attempt knows.
func (s *session) resolve(a *attempt, r task.Result) {
	spec := a.spec.Shown(a.slot)
	r.ID, r.Attempt = a.Task, int(a.Attempt)
	r.Index, r.Name, r.Argv = a.job.index, spec.Name, spec.Argv
	r.Worker, r.Slot = s.id, a.slot
	r.Stream = cmp.Or(spec.Stream, r.Stream)
	s.ended++
	a.job.owner.resolve(a.job, &Done{Result: r, Output: a.out})
}
