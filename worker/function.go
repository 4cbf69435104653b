package worker

import (
	"context"
	"fmt"
	"os"
	"time"

	"muster/internal/proctree"
	"muster/task"
	"muster/worker/internal/exec"
)

const (
	// stubborn is how long a function may take to return when it is to stop. One
	// that does not takes the worker along.
	stubborn = 2 * time.Second
	// announce is how long a function runs before it is said that it does: most
	// have ended by then, and that is said instead.
	announce = time.Millisecond
)

// maxInline is how much of a function's output goes with its result, in bytes;
// what is longer is sent before it in pieces.
const (
	maxInline = 8 << 10
	pieceSize = 64 << 10
)

// call runs a function of this program.
func (s *slotRunner) call(ctx context.Context, spec *task.Spec, out func(int, []byte) error) exec.Report {
	rep := exec.Report{Started: time.Now()}
	fn := s.functions[spec.Func]
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
	said := time.AfterFunc(announce, func() { s.out.Flush() })
	s.calls.RLock()
	output, err, returned := s.invoke(ctx, fn, spec.Input)
	s.calls.RUnlock()
	said.Stop()
	rep.Elapsed = time.Since(rep.Started)
	if !returned {
		rep.Err = stopped(ctx)
		go s.abandonShip()
		return rep
	}
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
	if s.calls.TryLock() { // no function runs: what is below this process is nobody's
		s.clear()
		s.calls.Unlock()
	}
	return rep
}

// invoke calls the function, and gives it up if it does not return in time
// when it is to stop.
func (s *slotRunner) invoke(ctx context.Context, fn Function, input []byte) (output []byte, err *task.ErrorValue, returned bool) {
	type answer struct {
		output []byte
		err    *task.ErrorValue
	}
	answered := make(chan answer, 1)
	go func() {
		output, err := fn(ctx, input)
		answered <- answer{output, err}
	}()
	select {
	case got := <-answered:
		return got.output, got.err, true
	case <-ctx.Done():
	}
	grace := time.NewTimer(stubborn)
	defer grace.Stop()
	select {
	case got := <-answered:
		return got.output, got.err, true
	case <-grace.C:
		return nil, nil, false
	}
}

func stopped(ctx context.Context) *task.ErrorValue {
	if e, ok := context.Cause(ctx).(*task.ErrorValue); ok && e != nil {
		return e
	}
	return task.Cancelled("")
}

// abandonShip ends this worker, in which a function runs that would not stop,
// once its result is on its way. Whoever started the worker starts another.
func (s *slotRunner) abandonShip() {
	for {
		s.mu.Lock()
		queued := s.stop == nil
		s.mu.Unlock()
		if queued {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.out.Flush()
	proctree.Clear(0, func(int) bool { return false })
	os.Exit(1)
}
