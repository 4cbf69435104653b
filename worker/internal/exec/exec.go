// Package exec runs commands, one at a time, and ends everything they start.
//
//	Run ── prepare ── spawn ── wait ─┬─ stdout, stderr → stream → deliver → out
//	                                 ├─ pidfd (or SIGCHLD) → wait4(-1)
//	                                 └─ woken: cancel, deliver, end of a clearing
//
// It waits for all children of its process, so nothing else in that process
// may start any.
package exec

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"muster/internal/proctree"
	"muster/task"
)

const (
	defaultGrace  = 2 * time.Second        // between SIGTERM and SIGKILL when a task is stopped
	leftoverGrace = 500 * time.Millisecond // the same for what a task left behind, at most
	leaveGrace    = 200 * time.Millisecond // the same when the worker goes
	finishWriting = time.Second            // for what is left and still writes
)

// Options say where and as what a Runner runs.
type Options struct {
	// ScratchDir is an existing folder of this runner's own. Tasks see the
	// folder "task" in it.
	ScratchDir string
	// Env is the environment that tasks get, before what they bring along.
	Env []string
	// WorkerID and Slot tell tasks where they run.
	WorkerID string
	Slot     int
	// Grace is the time between SIGTERM and SIGKILL when a task is cancelled
	// or timed out; 0 means 2 seconds.
	Grace time.Duration
	// KeepScratch leaves what a task put into its scratch folder for the next.
	KeepScratch bool
	// Begin is called when all is ready and the task's process is about to be
	// started; nil is nobody.
	Begin func()
}

// Report is how a task ended, or why it did not begin.
type Report struct {
	// Lack is what this machine lacks to begin the task; then nothing else is
	// set but Started.
	Lack *task.Lack
	// Started is when the process was started, or when that failed.
	Started time.Time
	// Elapsed is the time from there to the end of the command itself, not
	// counting what it left behind.
	Elapsed time.Duration
	// Err is nil if the command exited with status 0.
	Err *task.ErrorValue
	// Note is what is to be known of a task that succeeded all the same.
	Note string
	// Stdout and Stderr are the ends of the streams that out was not given.
	Stdout, Stderr []byte
}

// Runner runs tasks for the rest of its process's life.
type Runner struct {
	o       Options
	env     environment
	paths   map[programKey]string
	scratch scratch
	oom     *oomCounter // nil where the kernel counts nothing
	null    int         // /dev/null, every task's standard input
	poller  poller
	wakeR   int // a pipe that ends the wait of a task
	wakeW   int
	pidfds  bool      // the kernel tells a process's end through a descriptor
	reapAt  time.Time // when to look for zombies next
	streams [2]stream
}

// New prepares a runner. Its process becomes the one that adopts orphans, where
// the system can do that.
func New(o Options) (*Runner, error) {
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	r := &Runner{o: o, paths: map[programKey]string{}, oom: findOOMCounter(), pidfds: havePidfds()}
	r.scratch = scratch{dir: filepath.Join(o.ScratchDir, "task"), errorFile: filepath.Join(o.ScratchDir, "error.json")}
	r.env = newEnvironment(o, r.scratch)
	for i := range r.streams {
		r.streams[i].n = i + 1
	}
	if err := proctree.Subreaper(); err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("prepare to run tasks: %w", err)
	}
	if !r.pidfds {
		r.watchChildren()
	}
	return r, nil
}

func (r *Runner) open() (err error) {
	if r.null, err = syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
		return &os.PathError{Op: "open", Path: os.DevNull, Err: err}
	}
	var p [2]int
	if err = pipe(&p); err != nil {
		return os.NewSyscallError("pipe", err)
	}
	r.wakeR, r.wakeW = p[0], p[1]
	syscall.SetNonblock(r.wakeR, true)
	syscall.SetNonblock(r.wakeW, true)
	if err = r.poller.open(); err == nil {
		r.poller.watch(watchWake, r.wakeR)
	}
	return err
}

// SetEnv gives later tasks another environment. It must not be called while a
// task runs.
func (r *Runner) SetEnv(env []string) {
	r.o.Env = env
	r.env = newEnvironment(r.o, r.scratch)
	clear(r.paths)
}

// Env returns the environment that tasks get before what they bring along.
func (r *Runner) Env() []string { return r.o.Env }

// watchChildren wakes the wait when a child ends, for systems without pidfds.
func (r *Runner) watchChildren() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	go func() {
		for range ended {
			r.wake()
		}
	}()
}

// wake ends the current wait, or the next. A full pipe wakes as well.
func (r *Runner) wake() { syscall.Write(r.wakeW, []byte{0}) }

func (r *Runner) slept() {
	var b [64]byte
	for {
		if n, err := rawRead(r.wakeR, b[:]); n < len(b) && err != syscall.EINTR {
			return
		}
	}
}

// Run runs one command to its end and that of everything it started.
//
// Output goes to out, in pieces of at most 64 KiB that are only valid during
// the call, stream 1 or 2, one call at a time; while out blocks, the command
// soon blocks in write. At most 8 KiB of each stream, its end, are returned
// instead, so that a short task never calls out. After an error of out the
// rest is thrown away.
//
// A done ctx stops the task, which then resolves to ctx's cause if that is a
// *task.ErrorValue. Out must return soon after ctx is done.
func (r *Runner) Run(ctx context.Context, id task.ID, spec task.Spec, out func(stream int, p []byte) error) Report {
	rep := Report{Started: time.Now()}
	if ctx.Err() != nil {
		rep.Err = cause(ctx)
		return rep
	}
	j := &job{r: r, ctx: ctx, spec: &spec, report: &rep, sender: sender{out: out, wake: r.wake, after: flushAfter}, pidfd: -1}
	if spec.Live {
		j.sender.after = liveAfter
	}
	if fault := r.begin(j, id); fault != nil {
		if rep.Lack = fault; fault.Kind == faultOfTask {
			rep.Err, rep.Lack = fault.Err(), nil
		}
		return rep
	}
	stopWaking := context.AfterFunc(ctx, r.wake)
	j.run()
	stopWaking()
	j.finish()
	if r.o.KeepScratch {
		os.Remove(r.scratch.errorFile)
	} else {
		r.scratch.empty()
	}
	return rep
}

// cause is what a cancelled task resolves to.
func cause(ctx context.Context) *task.ErrorValue {
	if e, ok := context.Cause(ctx).(*task.ErrorValue); ok && e != nil {
		return e
	}
	return task.Cancelled(context.Cause(ctx).Error())
}

// begin starts the task's process, or says why that cannot be.
func (r *Runner) begin(j *job, id task.ID) *task.Lack {
	if err := r.scratch.prepare(); err != nil {
		return ofScratch("prepare a task", err)
	}
	if !canEnter(&r.scratch, j.spec.Dir) {
		if l := lackOfDirectory(j.spec.Dir); l != nil {
			return l
		}
	}
	return r.spawn(j, id)
}

// timeoutMillis is d for poll(2): rounded up, so that time has passed when it
// returns.
func timeoutMillis(d time.Duration) int {
	return int((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}
