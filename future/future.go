// Package future runs functions and commands on workers and hands out futures:
// values that will be there later. It is R's mirai for Go.
//
// A function is registered before main begins, and main calls [Main] first:
// workers are this same program, started again, and find the function by its
// name. Arguments and results travel as JSON.
//
//	var square = future.Register("square", func(ctx context.Context, n int) (int, error) {
//		return n * n, nil
//	})
//
//	func main() {
//		future.Main()
//		ctx := context.Background()
//		s, err := future.Up(ctx, future.Workers(4))
//		...
//		defer s.Close()
//		f, err := future.Submit(ctx, s, square, 7)
//		n, err := f.Collect(ctx)
//	}
//
// A [Session] is a dispatcher in this process ([Up]) or one that is running
// ([Connect]). It has one or more profiles, independent pools of workers, of
// which [WithProfile] chooses one; without it that is "default".
//
// What a task resolved to is a value or an error. An error of the task itself
// is a [*task.ErrorValue] for errors.As; [IsError], [IsInterrupt] and
// [IsErrorValue] tell them apart as mirai does. Indices count from 0.
package future

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"muster/rng"
	"muster/task"
	"muster/worker"
)

// Errors of submissions.
var (
	// ErrFull says that TrySubmit found the queue full.
	ErrFull = errors.New("the queue is full")
	// ErrClosed says that the session or the profile has been closed.
	ErrClosed = errors.New("the profile has been reset")
)

// ErrForgotten says that results were dropped by Forget, here or by another
// client of the same dispatcher.
var ErrForgotten = errors.New("the future has been forgotten, and its results with it")

// registered are the functions that tasks may name. Register fills it before
// main begins; nothing writes to it after.
var registered = map[string]worker.Function{}

// Func is a registered function.
type Func[In, Out any] struct {
	name string
	call func(context.Context, In) (Out, error)
}

// Name returns the name under which workers find the function.
func (f Func[In, Out]) Name() string { return f.name }

// Register makes fn known to workers as name, which must be unique in the
// program. It is called from a package's variables, so that every copy of the
// program has it. fn should return soon after its context is done; one that
// does not within 2 s takes its worker along, as one that ends the process does:
// what else runs there is tried again elsewhere. A panic is an error of its task, and
// so is the end of its goroutine.
func Register[In, Out any](name string, fn func(ctx context.Context, in In) (Out, error)) Func[In, Out] {
	if registered[name] != nil {
		panic(fmt.Sprintf("future: there are two functions %q", name))
	}
	f := Func[In, Out]{name, fn}
	registered[name] = func(ctx context.Context, input []byte) ([]byte, *task.ErrorValue) { return f.run(ctx, input) }
	return f
}

// run calls the function with JSON and returns JSON.
func (f Func[In, Out]) run(ctx context.Context, input []byte) (output []byte, failed *task.ErrorValue) {
	defer func() {
		if p := recover(); p != nil {
			failed = panicked(p, debug.Stack())
		}
	}()
	var in In
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, errorValue(fmt.Errorf("the argument of %s does not fit %T: %w", f.name, in, err))
	}
	out, err := f.call(ctx, in)
	if err != nil {
		return nil, errorValue(err)
	}
	if output, err = json.Marshal(out); err != nil {
		return nil, errorValue(fmt.Errorf("the result of %s has no JSON: %w", f.name, err))
	}
	return output, nil
}

// profileKey is the context's key of WithProfile.
type profileKey struct{}

// WithProfile returns a context in which submissions go to the profile; an
// inner one wins.
func WithProfile(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, profileKey{}, name)
}

func profileOf(ctx context.Context) string {
	if name, ok := ctx.Value(profileKey{}).(string); ok {
		return name
	}
	return "default"
}

// Future is a value of type T that will be there later. It is safe for
// concurrent use.
type Future[T any] struct {
	h    handle
	turn turn // held by the call that collects; guards all below

	got    bool
	value  T
	stream rng.Stream
	failed error
}

func newFuture[T any](h handle) *Future[T] { return &Future[T]{h: h, turn: newTurn()} }

// Waiter is any future, a map too.
type Waiter interface{ waits() handle }

func (f *Future[T]) waits() handle { return f.h }

// CallOption is an option of one submission.
type CallOption func(*call)

type call struct {
	timeout time.Duration
	try     bool
	stop    bool
	names   []string
	streams rng.Streams
	env     []string
	dir     string
}

// Timeout resolves a submission with code 5, Timed out, so long after it was
// submitted; each task of a map so long after it started.
func Timeout(d time.Duration) CallOption { return func(c *call) { c.timeout = d } }

// Names names the results of a map.
func Names(names ...string) CallOption { return func(c *call) { c.names = names } }

// StopOnFailure cancels the rest of a map when one of its tasks has failed.
func StopOnFailure() CallOption { return func(c *call) { c.stop = true } }

// TaskSeed numbers the random streams of a submission's tasks from 1, those of a seed,
// in the place of the profile's: see [Seed].
func TaskSeed(seed int32) CallOption { return func(c *call) { c.streams = rng.Seeded(seed) } }

// Env gives a command variables, NAME=VALUE.
func Env(kv ...string) CallOption { return func(c *call) { c.env = kv } }

// Dir runs a command in a directory, which must be absolute. Without it that
// is the one of this process.
func Dir(dir string) CallOption { return func(c *call) { c.dir = dir } }

func options(list []CallOption) call {
	var c call
	for _, o := range list {
		o(&c)
	}
	return c
}

// Submit queues a call of fn. It waits, until ctx is done, while the profile's
// limit on memory is reached.
func Submit[In, Out any](ctx context.Context, s *Session, fn Func[In, Out], in In, opts ...CallOption) (*Future[Out], error) {
	return submit(ctx, s, fn, in, options(opts))
}

// TrySubmit is Submit that does not wait: it returns ErrFull.
func TrySubmit[In, Out any](ctx context.Context, s *Session, fn Func[In, Out], in In, opts ...CallOption) (*Future[Out], error) {
	c := options(opts)
	c.try = true
	return submit(ctx, s, fn, in, c)
}

func submit[In, Out any](ctx context.Context, s *Session, fn Func[In, Out], in In, c call) (*Future[Out], error) {
	spec, err := specOf(fn, in)
	if err != nil {
		return nil, err
	}
	h, err := s.submit(ctx, spec, c)
	if err != nil {
		return nil, err
	}
	return newFuture[Out](h), nil
}

func specOf[In, Out any](fn Func[In, Out], in In) (task.Spec, error) {
	input, err := json.Marshal(in)
	if err != nil {
		return task.Spec{}, fmt.Errorf("the argument of %s has no JSON: %w", fn.name, err)
	}
	return task.Spec{Func: fn.name, Argv: []string{fn.name}, Input: input, Dir: "/"}, nil
}

// Command queues a command; its value is its standard output.
func Command(ctx context.Context, s *Session, argv []string, opts ...CallOption) (*Future[Output], error) {
	c := options(opts)
	spec, err := commandSpec(argv, c)
	if err != nil {
		return nil, err
	}
	h, err := s.submit(ctx, spec, c)
	if err != nil {
		return nil, err
	}
	return newFuture[Output](h), nil
}

// Output is what a command wrote to its standard output.
type Output []byte

// decode makes a value of what a task wrote.
func decode[T any](b []byte, to *T) error {
	if out, ok := any(to).(*Output); ok {
		*out = b
		return nil
	}
	return json.Unmarshal(b, to)
}

// Collect waits for the future and returns its value, or the error that it
// resolved to, or ctx's. It may be called again, and by several at once.
func (f *Future[T]) Collect(ctx context.Context) (T, error) {
	var none T
	if err := f.get(ctx); err != nil {
		return none, err
	}
	return f.value, f.failed
}

// Stream waits for the future and returns the stream of its random numbers; the zero
// one if there is no seed and the task never began or was lost.
func (f *Future[T]) Stream(ctx context.Context) (rng.Stream, error) {
	err := f.get(ctx)
	return f.stream, err
}

// get waits until the fields that tell of the result are set, which then never change.
func (f *Future[T]) get(ctx context.Context) error {
	if err := f.turn.take(ctx); err != nil {
		return err
	}
	defer f.turn.give()
	if f.got {
		return nil
	}
	r, err := f.h.result(ctx, 0)
	if errors.Is(err, errNoMore) {
		err = ErrForgotten
	}
	if err != nil {
		return err
	}
	f.got, f.stream, f.failed = true, r.stream, r.err
	if r.err == nil {
		f.failed = decode(r.output, &f.value)
	}
	f.h.forget(ctx)
	return nil
}

// Unresolved reports whether the value is not there yet. It does not wait for
// it, nor for those that do.
func (f *Future[T]) Unresolved() bool { return f.h.unresolved() }

// Done returns a channel that is closed when the future is resolved.
func (f *Future[T]) Done() <-chan struct{} { return f.h.done() }

// Cancel ends the task; the future resolves with code 20, Operation canceled.
// It reports whether the future was unresolved.
func (f *Future[T]) Cancel() bool { return f.h.cancel() }

// Forget drops the result of a future that nobody will collect.
func (f *Future[T]) Forget() { f.h.forget(context.Background()) }

// Wait waits until all of the futures are resolved.
func Wait(ctx context.Context, futures ...Waiter) error {
	for _, f := range futures {
		select {
		case <-f.waits().done():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Race waits until one of the futures is resolved, and returns its index, at
// once if one is already, and -1 if there are none.
func Race(ctx context.Context, futures ...Waiter) (int, error) {
	if len(futures) == 0 {
		return -1, nil
	}
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())}}
	for i, f := range futures {
		done := f.waits().done()
		select {
		case <-done:
			return i, nil
		default:
		}
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(done)})
	}
	chosen, _, _ := reflect.Select(cases)
	if chosen == 0 {
		return -1, context.Cause(ctx)
	}
	return chosen - 1, nil
}
