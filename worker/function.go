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

// stubborn is how long a function may take to return when it is to stop. One
// that does not takes its slot's process along.
const stubborn = 2 * time.Second

// maxInline is how much of a function's output goes with its result, in bytes;
// what is longer is sent before it in pieces.
const (
	maxInline = 8 << 10
	pieceSize = 64 << 10
)

// call runs a function of this program.
func (s *slotProcess) call(ctx context.Context, spec *task.Spec, out func(int, []byte) error) exec.Report {
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
	type answer struct {
		output []byte
		err    *task.ErrorValue
	}
	answered := make(chan answer, 1)
	go func() {
		output, err := fn(ctx, spec.Input)
		answered <- answer{output, err}
	}()
	var got answer
	select {
	case got = <-answered:
	case <-ctx.Done():
		grace := time.NewTimer(stubborn)
		defer grace.Stop()
		select {
		case got = <-answered:
		case <-grace.C:
			rep.Elapsed = time.Since(rep.Started)
			rep.Err = stopped(ctx)
			go s.abandonShip()
			return rep
		}
	}
	rep.Elapsed = time.Since(rep.Started)
	if rep.Err = got.err; ctx.Err() != nil && rep.Err != nil {
		rep.Err = stopped(ctx)
	}
	for len(got.output) > maxInline {
		n := min(len(got.output), pieceSize)
		if err := out(1, got.output[:n]); err != nil {
			break
		}
		got.output = got.output[n:]
	}
	rep.Stdout = got.output
	proctree.Clear(stubborn, func(int) bool { return false })
	return rep
}

func stopped(ctx context.Context) *task.ErrorValue {
	if e, ok := context.Cause(ctx).(*task.ErrorValue); ok && e != nil {
		return e
	}
	return task.Cancelled("")
}

// abandonShip ends this process, in which a function runs that would not stop,
// once its result is on its way. The worker starts another in its place.
func (s *slotProcess) abandonShip() {
	s.out.Flush()
	s.mu.Lock()
	for s.stop != nil { // the result has not been queued
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
	}
	s.mu.Unlock()
	s.out.Close()
	proctree.Clear(0, func(int) bool { return false })
	os.Exit(1)
}
