package exec

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"muster/task"
)

// reapEvery bounds how long the zombies of daemons that a running command left
// behind pile up, where only the command's own end is announced.
const reapEvery = time.Second

// brief is how long the end of a command is waited for by a thread that does
// nothing else. What a short command prints stays in its pipes until then: nobody is
// woken when it writes, nor when its output closes just before it ends. To Go's
// scheduler the thread is at work all the time, so that it does not have others look
// after it; with the wake-ups that was a third of what a slot cost.
const brief = 5 * time.Millisecond

// job is one task's run.
type job struct {
	r      *Runner
	ctx    context.Context
	spec   *task.Spec
	report *Report
	sender sender

	begun bool // Options.Begin was called
	pid   int
	pidfd int   // -1 if there is none
	oomed int64 // what the kernel's count of killings was before

	exited bool // the command itself; status is valid
	ended  time.Time
	status syscall.WaitStatus
	gone   bool             // nothing of the task is left, or nothing that could be ended
	stop   *task.ErrorValue // what the task was stopped for
	stuck  error            // why something could not be ended

	watched bool       // the poller waits for its end
	busy    chan error // of the clearing under way; nil if there is none
}

// run returns when nothing of the task is left.
func (j *job) run() {
	for {
		j.reap()
		j.decide(time.Now())
		if j.gone && j.busy == nil {
			return
		}
		j.wait()
	}
}

// reap takes the status of whatever has ended.
func (j *job) reap() {
	for !j.gone {
		var status syscall.WaitStatus
		pid, err := rawWait(-1, &status)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			j.markExited() // whoever cleared the task has taken its status
			j.gone = !stillThere(j.pid)
			return
		case pid == 0:
			return
		case pid == j.pid:
			j.status = status
			j.markExited()
		}
	}
}

func (j *job) markExited() {
	if j.exited {
		return
	}
	j.exited, j.ended = true, time.Now()
	if j.pidfd >= 0 {
		rawClose(j.pidfd)
		j.pidfd = -1
	}
}

// decide starts what has to be done about the task's processes now.
func (j *job) decide(now time.Time) {
	if j.stop == nil && !j.gone {
		j.stop = j.stopReason(now)
	}
	if j.gone || j.busy != nil {
		return
	}
	if j.stuck != nil {
		j.gone = true
		return
	}
	switch {
	case j.stop != nil:
		grace := j.r.o.Grace
		if j.stop.Kind == task.KindReset {
			grace = min(grace, leaveGrace)
		}
		j.clear(grace)
	case j.exited && (j.r.silent() || now.Sub(j.ended) >= finishWriting):
		j.clear(min(j.r.o.Grace, leftoverGrace))
	}
}

// stopReason is why the task has to be stopped, if it has.
func (j *job) stopReason(now time.Time) *task.ErrorValue {
	if j.ctx.Err() != nil {
		return cause(j.ctx)
	}
	if limit := j.spec.Timeout; limit > 0 && !j.exited && now.Sub(j.report.Started) >= limit {
		return task.Timeout(fmt.Sprintf("its limit was %v", limit))
	}
	return nil
}

// clear ends all that is left while output is read on.
func (j *job) clear(grace time.Duration) {
	j.busy = make(chan error, 1)
	go func(done chan<- error) {
		done <- endTree(j.pid, grace)
		j.r.wake()
	}(j.busy)
}

// wait returns when something has happened.
func (j *job) wait() {
	if left := brief - time.Since(j.report.Started); left > 0 && j.pidfd >= 0 && j.busy == nil {
		j.waitBriefly(left)
		return
	}
	if j.pidfd >= 0 && !j.watched {
		j.watched = true
		j.r.poller.watch(watchExit, j.pidfd)
	}
	s := &j.r.streams
	for i := range s {
		s[i].watch(&j.r.poller)
	}
	ready := j.r.poller.wait(j.until())
	if ready[watchWake] {
		j.r.slept()
	}
	select {
	case err := <-j.busy:
		j.busy = nil
		if err != nil {
			j.stuck = err
		}
	default:
	}
	for i := range s {
		if ready[i] {
			s[i].read()
		}
	}
	j.sender.collect(s)
	now := time.Now()
	for i := range s {
		j.sender.offer(&s[i], now)
	}
}

// waitBriefly waits for the end of a command that has just begun, or for a wake-up.
func (j *job) waitBriefly(d time.Duration) {
	if limit := j.spec.Timeout; limit > 0 {
		d = min(d, max(limit-time.Since(j.report.Started), 0))
	}
	fds := [2]unix.PollFd{{Fd: int32(j.pidfd), Events: unix.POLLIN}, {Fd: int32(j.r.wakeR), Events: unix.POLLIN}}
	if rawPoll(fds[:], d) > 0 && fds[1].Revents != 0 {
		j.r.slept()
	}
}

// until is when the next wait has to end; zero means never.
func (j *job) until() time.Time {
	var first time.Time
	sooner := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	if j.pidfd >= 0 {
		if now := time.Now(); !now.Before(j.r.reapAt) {
			j.r.reapAt = now.Add(reapEvery)
		}
		sooner(j.r.reapAt)
	}
	if j.spec.Timeout > 0 && j.stop == nil && !j.exited {
		sooner(j.report.Started.Add(j.spec.Timeout))
	}
	if j.exited && j.busy == nil {
		sooner(j.ended.Add(finishWriting))
	}
	for i := range j.r.streams {
		if s := &j.r.streams[i]; len(s.buf) > 0 && !s.sending {
			sooner(s.since.Add(j.sender.after))
		}
	}
	return first
}

// finish takes what is left of the output and says how the task ended.
func (j *job) finish() {
	j.markExited()
	j.report.Elapsed = j.ended.Sub(j.report.Started)
	s := &j.r.streams
	for i := range s {
		j.sender.drain(s, &s[i])
	}
	j.sender.close(s)
	j.report.Stdout, j.report.Stderr = s[0].takeTail(), s[1].takeTail()
	switch {
	case j.stop != nil:
		j.report.Err = j.stop
	case j.sender.err != nil && j.ctx.Err() != nil:
		j.report.Err = cause(j.ctx)
	default:
		j.report.Err = j.r.outcome(j)
	}
	if j.report.Err == nil && j.sender.err != nil {
		j.report.Err = task.Reset("its output could not be handed over: " + j.sender.err.Error())
	}
	if j.stuck != nil && j.report.Err != nil {
		e := *j.report.Err
		e.Evidence = join(e.Evidence, j.stuck.Error())
		j.report.Err = &e
	}
}

// join strings two pieces of evidence together.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
