package worker

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"muster/internal/proctree"
	"muster/internal/wire"
	"muster/rng"
	"muster/task"
	"muster/worker/internal/exec"
)

// returnWithin is how long a function may take to return when it is to stop. One
// that does not takes the worker along.
const returnWithin = 2 * time.Second

// How much of a function's output goes with its result, in bytes, and in each of the
// pieces in which the rest is sent before it.
const (
	maxInline = 8 << 10
	pieceSize = 64 << 10
)

// call runs a function of this program.
func (r *runner) call(ctx context.Context, spec *task.Spec, out func(int, []byte) error) exec.Report {
	rep := exec.Report{Started: time.Now()}
	fn := r.functions[spec.Func]
	if fn == nil {
		rep.Err = &task.ErrorValue{Kind: task.KindSpawn, Code: 127, Message: fmt.Sprintf("this worker's program has no function %q", spec.Func),
			Evidence: "workers and their dispatcher must be the same program, which registers its functions before main begins"}
		return rep
	}
	if spec.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, spec.Timeout, task.Timeout(fmt.Sprintf("its limit was %v", spec.Timeout)))
		defer cancel()
	}
	ctx = rng.NewContext(ctx, spec.Stream)
	r.calls.RLock()
	watched := r.watch(ctx)
	output, err := returnOf(ctx, fn, spec.Input)
	watched()
	r.calls.RUnlock()
	rep.Elapsed = time.Since(rep.Started)
	if rep.Err = err; ctx.Err() != nil && rep.Err != nil {
		rep.Err = stopped(ctx)
	}
	for len(output) > maxInline {
		n := min(len(output), pieceSize)
		if err := out(1, output[:n]); err != nil {
			break
		}
		output = output[n:]
	}
	rep.Stdout = output
	if r.calls.TryLock() { // no function runs: what is below this process is nobody's
		r.clear()
		r.calls.Unlock()
	}
	return rep
}

// returnOf calls a function in a goroutine of its own, which it may end: the one that
// runs a slot's tasks must not end with it.
func returnOf(ctx context.Context, fn Function, input []byte) (output []byte, err *task.ErrorValue) {
	err = &task.ErrorValue{Kind: task.KindError, Code: 1, Message: "the function did not return: it has ended its goroutine (runtime.Goexit)"}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		output, err = fn(ctx, input)
	}()
	<-ended
	return output, err.Bounded()
}

// watch ends this worker if the function that begins now does not return in
// time when it is to stop; the result is on its way then. Whoever started the
// worker starts another. The function it returns says that it has returned.
func (r *runner) watch(ctx context.Context) (returned func()) {
	var mu sync.Mutex
	over := false
	unwatch := context.AfterFunc(ctx, func() {
		time.Sleep(returnWithin)
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		r.mu.Lock()
		ref := r.running.Ref
		r.mu.Unlock()
		r.out.Send(&wire.Result{Ref: ref, Slot: uint32(r.n), Err: stopped(ctx)})
		r.leave()
		proctree.Clear(0, func(int) bool { return false })
		os.Exit(1)
	})
	return func() {
		if !unwatch() {
			mu.Lock()
			over = true
			mu.Unlock()
		}
	}
}

func stopped(ctx context.Context) *task.ErrorValue {
	if e, ok := context.Cause(ctx).(*task.ErrorValue); ok && e != nil {
		return e
	}
	return task.Cancelled("")
}
