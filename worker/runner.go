package worker

import (
	"context"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"muster/internal/proctree"
	"muster/internal/wire"
	"muster/rng"
	"muster/task"
	"muster/worker/internal/exec"
)

// Function is a function of the worker's program that tasks name. It should
// return soon after ctx is done.
type Function func(ctx context.Context, input []byte) (output []byte, err *task.ErrorValue)

// sender takes what a slot has to say: a connection to the worker, or the
// worker itself.
type sender interface {
	Send(...wire.Message) error
	Queue(...wire.Message) error
	Flush() error
}

// runner runs the tasks of one slot, one after another: commands in a process of
// its own, functions in the worker's.
type runner struct {
	n       int
	out     sender
	exec    *exec.Runner // of commands
	output  Output
	scratch string
	failed  bool          // a task has, and the worker did not know when it sent what comes now
	streams *rng.Sequence // of tasks that bring none
	dir     string        // where tasks run instead of their own directory, if an everywhere said so

	functions map[string]Function
	calls     *sync.RWMutex // read-locked while a function runs
	clear     func()        // ends what functions left behind
	leave     func()        // sends what has been said, before this process ends

	mu      sync.Mutex // guards all below; nothing is sent while it is held
	cond    sync.Cond
	waiting []wire.Message // Assign, State and Ack, in order
	running *wire.Assign   // nil if nothing runs
	ctx     context.Context
	stop    context.CancelCauseFunc // ends ctx, which is that of what runs
	windows map[wire.Ref]*window
	over    bool
}

var errWorkerGone = &task.ErrorValue{Kind: task.KindReset, Code: task.CodeReset, Message: task.TextReset}

func newRunner(n int, out sender, output Output) *runner {
	r := &runner{n: n, out: out, output: output, streams: rng.Streams{}.Sequence(), windows: map[wire.Ref]*window{}}
	r.cond.L = &r.mu
	return r
}

// serve runs what the worker sends until the connection ends, and returns when
// nothing is left of it.
func (r *runner) serve(conn io.Reader) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.work()
	}()
	in := wire.NewReader(conn)
	for {
		m, err := in.Read()
		if err != nil {
			break
		}
		r.handle(m)
	}
	r.end()
	<-done
	return proctree.Clear(0, func(int) bool { return false })
}

// handle takes one frame from the worker, and answers it. A Ping is answered
// whatever the task does.
func (r *runner) handle(m wire.Message) {
	switch m := m.(type) {
	case *wire.Assign:
		r.add(m)
		r.wake()
	case *wire.State, *wire.Ack:
		r.follow(m)
	case *wire.Credit:
		r.credit(m.Ref, int(m.Bytes))
	case *wire.Cancel:
		if r.cancel(m.Ref, m.Err) {
			r.out.Send(&wire.Result{Ref: m.Ref, Slot: uint32(r.n), Err: m.Err})
		}
	case *wire.Recall:
		if r.recall(m.Ref) {
			r.out.Send(&wire.Returned{Ref: m.Ref})
		}
	case *wire.Ping:
		r.out.Send(&wire.Pong{Seq: m.Seq})
	}
}

// add has a task run after those that are here.
func (r *runner) add(m *wire.Assign) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, m)
	r.windows[m.Ref] = newWindow(int(m.Window))
}

// wake has it begin what was added.
func (r *runner) wake() { r.cond.Signal() }

// follow takes what counts for the tasks that come after it: what an everywhere left
// behind, or that the worker knows of a failure.
func (r *runner) follow(m wire.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, m)
	r.cond.Signal()
}

// credit lets a task send n bytes more.
func (r *runner) credit(ref wire.Ref, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.windows[ref]; w != nil {
		w.add(n)
	}
}

// cancel stops a task that runs, or takes one out that waits, which it reports.
func (r *runner) cancel(ref wire.Ref, why *task.ErrorValue) (waited bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running != nil && r.running.Ref == ref {
		r.stop(why)
		r.windows[ref].close()
		return false
	}
	return r.unqueue(ref)
}

// recall takes a task out, and reports whether it was here and had not begun.
func (r *runner) recall(ref wire.Ref) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unqueue(ref)
}

// unqueue takes a task out of those that wait. The caller holds mu.
func (r *runner) unqueue(ref wire.Ref) bool {
	i := slices.IndexFunc(r.waiting, func(m wire.Message) bool {
		a, ok := m.(*wire.Assign)
		return ok && a.Ref == ref
	})
	if i < 0 {
		return false
	}
	r.waiting = slices.Delete(r.waiting, i, i+1)
	delete(r.windows, ref)
	return true
}

// end stops what runs, and what waits will not run.
func (r *runner) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over, r.waiting = true, nil
	if r.running != nil {
		r.stop(errWorkerGone)
	}
	for _, w := range r.windows {
		w.close()
	}
	r.cond.Signal()
}

// work runs what has been added, until end.
func (r *runner) work() {
	for {
		switch m := r.next().(type) {
		case *wire.State:
			r.exec.SetEnv(m.Env)
			r.dir = m.Dir
		case *wire.Ack:
			r.failed = false
		case *wire.Assign:
			if r.failed && m.OnlyAfterSuccess {
				r.finish(m)
				r.out.Queue(&wire.Returned{Ref: m.Ref})
			} else if !r.run(m) {
				r.failed = r.exec != nil
				r.handBack()
			}
		default:
			return
		}
	}
}

// lull is how long what a slot has to say waits for its next task, which may have
// come and not been read yet, so that both are said together.
const lull = 100 * time.Microsecond

// next waits for something to do, nil after end. What was said is sent when
// nothing comes soon; else it goes with what the next task has to say.
func (r *runner) next() wire.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.waiting) > 0 || r.over:
	case r.exec == nil: // in this process nothing is on its way
		r.mu.Unlock()
		r.out.Flush()
		r.mu.Lock()
	default:
		flush := time.AfterFunc(lull, func() { r.out.Flush() })
		defer flush.Stop()
	}
	for len(r.waiting) == 0 && !r.over {
		r.cond.Wait()
	}
	if r.over {
		return nil
	}
	m := r.waiting[0]
	r.waiting = slices.Delete(r.waiting, 0, 1)
	if a, ok := m.(*wire.Assign); ok {
		r.running = a
		r.ctx, r.stop = context.WithCancelCause(context.Background())
	}
	return m
}

// handBack returns what was to run only after a success.
func (r *runner) handBack() {
	var back []wire.Message
	r.mu.Lock()
	r.waiting = slices.DeleteFunc(r.waiting, func(m wire.Message) bool {
		a, ok := m.(*wire.Assign)
		if ok = ok && a.OnlyAfterSuccess; ok {
			delete(r.windows, a.Ref)
			back = append(back, &wire.Returned{Ref: a.Ref})
		}
		return ok
	})
	r.mu.Unlock()
	r.out.Queue(back...)
}

// run runs a task, and reports whether the next one may run.
func (r *runner) run(m *wire.Assign) bool {
	r.mu.Lock()
	ctx, win := r.ctx, r.windows[m.Ref]
	r.mu.Unlock()
	spec, given := r.specOf(m)
	rep, state := r.execute(ctx, m, spec, func(stream int, p []byte) error {
		if r.output != OutputCollect && r.output != "" {
			r.echo(stream, p)
			if r.output == OutputDiscard {
				return nil
			}
		}
		if err := win.take(len(p)); err != nil {
			return err
		}
		return r.out.Send(&wire.Output{Ref: m.Ref, Stream: uint8(stream), Data: p})
	})
	r.finish(m)
	if rep.Lack != nil {
		r.out.Queue(&wire.Returned{Ref: m.Ref, Lack: rep.Lack})
		return true
	}
	r.echo(1, rep.Stdout)
	r.echo(2, rep.Stderr)
	if r.output == OutputDiscard {
		rep.Stdout, rep.Stderr = nil, nil
	}
	// It goes with the next task's Started, if there is a next one.
	r.out.Queue(&wire.Result{Ref: m.Ref, Slot: uint32(r.n), Started: rep.Started, Elapsed: rep.Elapsed,
		Err: rep.Err, Stdout: rep.Stdout, Stderr: rep.Stderr, Stream: given, State: state, Note: rep.Note})
	return rep.Err == nil
}

func (r *runner) finish(m *wire.Assign) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop(nil)
	r.running = nil
	delete(r.windows, m.Ref)
}

// started says that the command has a process.
func (r *runner) started() {
	r.mu.Lock()
	ref := r.running.Ref
	r.mu.Unlock()
	r.out.Send(&wire.Started{Ref: ref, Slot: uint32(r.n)})
}

// echo prints what a task printed, if that is asked for.
func (r *runner) echo(stream int, p []byte) {
	if r.output == OutputEcho && len(p) > 0 {
		[]*os.File{os.Stdout, os.Stderr}[stream-1].Write(p)
	}
}

// specOf returns a task as it runs here, and the stream that it was given for want of
// one.
func (r *runner) specOf(m *wire.Assign) (spec task.Spec, given rng.Stream) {
	spec = m.Spec.InSlot(r.n)
	if r.dir != "" {
		spec.Dir = r.dir
	}
	if spec.Stream.IsZero() {
		given = r.streams.Next()
		spec.Stream = given
	}
	return spec, given
}

// execute runs a command, a function, or an everywhere.
func (r *runner) execute(ctx context.Context, m *wire.Assign, spec task.Spec, out func(int, []byte) error) (exec.Report, *wire.State) {
	spec, lack := readable(spec)
	if lack != nil {
		return exec.Report{Started: time.Now(), Lack: lack}, nil
	}
	switch {
	case spec.Func != "":
		r.out.Queue(&wire.Started{Ref: m.Ref, Slot: uint32(r.n)})
		return r.call(ctx, &spec, out), nil
	case spec.Everywhere:
		return r.everywhere(ctx, m, spec, out)
	}
	return r.exec.Run(ctx, m.Task, spec, out), nil
}
