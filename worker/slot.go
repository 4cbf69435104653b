package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"muster/internal/proctree"
	"muster/internal/quiet"
	"muster/internal/wire"
	"muster/task"
	"muster/worker/internal/exec"
)

// What a worker tells a slot process, in its environment. Tasks do not see it.
const (
	envSlot        = "_MUSTER_SLOT"
	envSlotWorker  = "_MUSTER_SLOT_WORKER"
	envSlotScratch = "_MUSTER_SLOT_SCRATCH"
	envSlotOptions = "_MUSTER_SLOT_OPTIONS"
	slotFd         = 3
)

// slotOptions are the worker's options that its slots need to know.
type slotOptions struct {
	KeepScratch bool
	Output      Output
}

func (o slotOptions) String() string {
	return strconv.FormatBool(o.KeepScratch) + " " + string(o.Output)
}

func parseSlotOptions(text string) (o slotOptions) {
	keep, output, _ := strings.Cut(text, " ")
	o.KeepScratch = keep == "true"
	o.Output = Output(output)
	return o
}

// Function is a function of the worker's program that tasks name. It should
// return soon after ctx is done.
type Function func(ctx context.Context, input []byte) (output []byte, err *task.ErrorValue)

// RunSlot is the whole life of a slot process. It returns when the worker has
// closed its end, after everything it started is gone.
func RunSlot() error {
	if file := os.Getenv(envSave); file != "" {
		return saveState(file)
	}
	n, err := strconv.Atoi(os.Getenv(envSlot))
	if err != nil {
		return errors.New("a slot is started by a worker, not by hand")
	}
	options := parseSlotOptions(os.Getenv(envSlotOptions))
	f := os.NewFile(slotFd, "worker")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return fmt.Errorf("slot %d: descriptor %d: %w", n, slotFd, err)
	}
	conn = quiet.Conn(conn)
	runtime.GOMAXPROCS(1) // it does one thing at a time, and a node may have a hundred slots
	scratch := filepath.Join(os.Getenv(envSlotScratch), "slot"+strconv.Itoa(n))
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return fmt.Errorf("slot %d: %w", n, err)
	}
	defer os.RemoveAll(scratch)
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "_MUSTER_") })
	s := &slotRunner{
		n: n, conn: conn, out: wire.NewWriter(conn), windows: map[wire.Ref]*window{},
		tasks: make(chan wire.Message, 64), output: options.Output, scratch: scratch,
		runner: exec.New(exec.Options{ScratchDir: scratch, Env: env,
			WorkerID: os.Getenv(envSlotWorker), Slot: n, KeepScratch: options.KeepScratch}),
	}
	return s.run()
}

// sender takes what a slot has to say: a connection to the worker, or the
// worker itself.
type sender interface {
	Send(...wire.Message) error
	Queue(...wire.Message) error
	Flush() error
}

// slotRunner runs the tasks of one slot, one after another: commands in a
// process of its own, functions in the worker's.
type slotRunner struct {
	n      int
	conn   net.Conn // nil in the worker's process
	out    sender
	runner *exec.Runner
	tasks  chan wire.Message // Assign and State, in order

	functions map[string]Function
	calls     *sync.RWMutex // read-locked while a function runs
	clear     func()        // ends what functions left behind
	leave     func()        // sends what has been said, before this process ends
	output    Output
	scratch   string
	dir       string // where tasks run instead of their own directory, if an everywhere said so

	mu      sync.Mutex     // guards all below
	waiting []*wire.Assign // not started
	running wire.Ref
	stop    context.CancelCauseFunc // of what runs; nil if nothing does
	windows map[wire.Ref]*window
}

var errWorkerGone = &task.ErrorValue{Kind: task.KindReset, Code: task.CodeReset, Message: task.TextReset}

func (s *slotRunner) run() error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.work()
	}()
	r := wire.NewReader(s.conn)
	for {
		m, err := r.Read()
		if err != nil {
			break
		}
		s.handle(m)
	}
	s.end()
	<-done
	return proctree.Clear(0, func(int) bool { return false })
}

// work runs what handle has queued, until end.
func (s *slotRunner) work() {
	for m := range s.tasks {
		switch m := m.(type) {
		case *wire.State:
			s.adopt(m)
		case *wire.Assign:
			if !s.runTask(m) {
				s.handBack()
			}
		}
		if len(s.tasks) == 0 {
			s.out.Flush()
		}
	}
}

// end stops what runs, and what waits will not run. Nothing may be handled
// after it.
func (s *slotRunner) end() {
	s.mu.Lock()
	s.waiting = nil
	if s.stop != nil {
		s.stop(errWorkerGone)
	}
	for _, w := range s.windows {
		w.close()
	}
	s.mu.Unlock()
	close(s.tasks)
}

// handle takes one frame from the worker.
func (s *slotRunner) handle(m wire.Message) {
	s.mu.Lock()
	switch m := m.(type) {
	case *wire.Assign:
		s.waiting = append(s.waiting, m)
		s.windows[m.Ref] = newWindow(int(m.Window))
		s.mu.Unlock()
		s.tasks <- m
		return
	case *wire.State:
		s.mu.Unlock()
		s.tasks <- m
		return
	case *wire.Credit:
		if w := s.windows[m.Ref]; w != nil {
			w.add(int(m.Bytes))
		}
	case *wire.Cancel:
		s.cancel(m)
	case *wire.Recall:
		if s.unqueue(m.Ref) {
			delete(s.windows, m.Ref)
			s.out.Send(&wire.Returned{Ref: m.Ref})
		}
	}
	s.mu.Unlock()
}

// cancel stops what runs, or resolves what waits. Under mu.
func (s *slotRunner) cancel(m *wire.Cancel) {
	switch {
	case s.stop != nil && s.running == m.Ref:
		s.stop(m.Err)
		s.windows[m.Ref].close()
	case s.unqueue(m.Ref):
		delete(s.windows, m.Ref)
		s.out.Send(&wire.Result{Ref: m.Ref, Slot: uint32(s.n), Err: m.Err})
	}
}

func (s *slotRunner) unqueue(r wire.Ref) bool {
	i := slices.IndexFunc(s.waiting, func(m *wire.Assign) bool { return m.Ref == r })
	if i < 0 {
		return false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return true
}

// begin takes a task from those that wait, unless it was taken back meanwhile.
func (s *slotRunner) begin(m *wire.Assign) (context.Context, *window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.unqueue(m.Ref) {
		return nil, nil
	}
	ctx, stop := context.WithCancelCause(context.Background())
	s.running, s.stop = m.Ref, stop
	if m.Spec.Func != "" {
		s.out.Queue(&wire.Started{Ref: m.Ref}) // call says it soon, or the result does
	} else {
		s.out.Send(&wire.Started{Ref: m.Ref})
	}
	return ctx, s.windows[m.Ref]
}

// handBack returns what was to run only after a success.
func (s *slotRunner) handBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(m *wire.Assign) bool {
		if m.OnlyAfterSuccess {
			delete(s.windows, m.Ref)
			s.out.Queue(&wire.Returned{Ref: m.Ref})
		}
		return m.OnlyAfterSuccess
	})
}

// runTask runs a task, unless it was taken back, and reports whether the next
// one may run.
func (s *slotRunner) runTask(m *wire.Assign) bool {
	ctx, win := s.begin(m)
	if ctx == nil {
		return true
	}
	rep, state := s.execute(ctx, m, func(stream int, p []byte) error {
		if s.output != OutputCollect && s.output != "" {
			s.echo(stream, p)
			if s.output == OutputDiscard {
				return nil
			}
		}
		if err := win.take(len(p)); err != nil {
			return err
		}
		return s.out.Send(&wire.Output{Ref: m.Ref, Stream: uint8(stream), Data: p})
	})
	s.echo(1, rep.Stdout)
	s.echo(2, rep.Stderr)
	if s.output == OutputDiscard {
		rep.Stdout, rep.Stderr = nil, nil
	}
	s.mu.Lock()
	s.stop(nil)
	s.stop = nil
	delete(s.windows, m.Ref)
	s.mu.Unlock()
	// It goes with the next task's Started, if there is a next one.
	s.out.Queue(&wire.Result{Ref: m.Ref, Slot: uint32(s.n), Started: rep.Started, Elapsed: rep.Elapsed,
		Err: rep.Err, Stdout: rep.Stdout, Stderr: rep.Stderr, State: state})
	return rep.Err == nil
}

// echo prints what a task printed, if that is asked for.
func (s *slotRunner) echo(stream int, p []byte) {
	if s.output == OutputEcho && len(p) > 0 {
		[]*os.File{os.Stdout, os.Stderr}[stream-1].Write(p)
	}
}

// execute runs a command, a function, or an everywhere.
func (s *slotRunner) execute(ctx context.Context, m *wire.Assign, out func(int, []byte) error) (exec.Report, *wire.State) {
	spec := m.Spec
	if s.dir != "" {
		spec.Dir = s.dir
	}
	switch {
	case spec.Func != "":
		return s.call(ctx, &spec, out), nil
	case spec.Everywhere:
		return s.everywhere(ctx, m, spec, out)
	}
	return s.runner.Run(ctx, m.Task, spec, out), nil
}

// window is how much output a task may still send.
type window struct {
	mu     sync.Mutex // guards all below
	cond   sync.Cond
	left   int
	closed bool
}

func newWindow(n int) *window {
	w := &window{left: n}
	w.cond.L = &w.mu
	return w
}

var errWindowClosed = errors.New("the task was stopped")

// take waits until n bytes may be sent.
func (w *window) take(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.left < n && !w.closed {
		w.cond.Wait()
	}
	if w.closed {
		return errWindowClosed
	}
	w.left -= n
	return nil
}

func (w *window) add(n int) {
	w.mu.Lock()
	w.left += n
	w.cond.Broadcast()
	w.mu.Unlock()
}

func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	w.cond.Broadcast()
	w.mu.Unlock()
}
