package future

import (
	"context"
	"errors"
	"fmt"

	"muster/rng"
	"muster/task"
)

// Mapping is the futures of one Map: its results come one by one. It is safe for
// concurrent use.
type Mapping[T any] struct {
	h    handle
	turn turn // held by the call that reads on; guards all below

	n       int // how many results there are; -1 while that is not known
	results []Result[T]
	dropped bool // of the dispatcher: all are in results
}

func newMapping[T any](h handle, n int) *Mapping[T] {
	return &Mapping[T]{h: h, turn: newTurn(), n: n}
}

func (m *Mapping[T]) waits() handle { return m.h }

// Result is what one task of a map, or one worker of an everywhere, resolved to.
type Result[T any] struct {
	Index  int    // from 0
	Name   string // of the input; of the worker for an everywhere
	Value  T
	Stream rng.Stream // of its random numbers; the zero one as Future.Stream says
	Err    error      // nil if it succeeded
}

// MapError is the first failure of a map, by index.
type MapError struct {
	Index int // from 0
	Name  string
	Err   error
}

func (e *MapError) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("in index %d, with name %s: %v", e.Index, e.Name, e.Err)
	}
	return fmt.Sprintf("in index %d: %v", e.Index, e.Err)
}

// Unwrap returns what the task resolved to.
func (e *MapError) Unwrap() error { return e.Err }

// Map queues a call of fn for each input, and returns when all are queued,
// which takes as long as a limit on memory makes it.
func Map[In, Out any](ctx context.Context, s *Session, fn Func[In, Out], inputs []In, opts ...CallOption) (*Mapping[Out], error) {
	c := options(opts)
	if len(c.names) > 0 && len(c.names) != len(inputs) {
		return nil, fmt.Errorf("there are %d inputs and %d names", len(inputs), len(c.names))
	}
	h, err := s.mapping(ctx, c, func(yield func(task.Spec) error) error {
		for i, in := range inputs {
			spec, err := specOf(fn, in)
			if err != nil {
				return err
			}
			spec.Timeout, spec.Index = c.timeout, i+1
			if len(c.names) > 0 {
				spec.Name = c.names[i]
			}
			if err := yield(spec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newMapping[Out](h, len(inputs)), nil
}

// Everywhere calls fn in every worker of the profile, once in each process:
// before anything that is submitted later starts, and in workers that join
// later before they take anything. The results are one a worker.
func Everywhere[In, Out any](ctx context.Context, s *Session, fn Func[In, Out], in In) (*Mapping[Out], error) {
	spec, err := specOf(fn, in)
	if err != nil {
		return nil, err
	}
	h, err := s.everywhere(ctx, spec)
	if err != nil {
		return nil, err
	}
	return newMapping[Out](h, -1), nil
}

// EverywhereCommand runs shell text on every worker; the environment and the
// directory that it leaves behind are those of later commands.
func EverywhereCommand(ctx context.Context, s *Session, text string) (*Mapping[Output], error) {
	spec, err := commandSpec([]string{text}, call{})
	if err != nil {
		return nil, err
	}
	h, err := s.everywhere(ctx, spec)
	if err != nil {
		return nil, err
	}
	return newMapping[Output](h, -1), nil
}

// Collect waits for all and returns them in the order of the inputs. The error
// is ctx's or the connection's; those of tasks are in the results.
func (m *Mapping[T]) Collect(ctx context.Context) ([]Result[T], error) {
	return m.Progress(ctx, nil)
}

// Progress is Collect that calls report after each result in turn, with how
// many there are of how many; that is -1 for an Everywhere until all are there.
func (m *Mapping[T]) Progress(ctx context.Context, report func(done, total int)) ([]Result[T], error) {
	for i := 0; ; i++ {
		all, total, err := m.reach(ctx, i)
		switch {
		case err != nil:
			return nil, err
		case i == total:
			return all, nil
		case report != nil:
			report(i+1, total)
		}
	}
}

// reach waits until the i-th result is there, or it is known that there are no
// more than i, and returns what is there and how many there will be.
func (m *Mapping[T]) reach(ctx context.Context, i int) (there []Result[T], total int, err error) {
	if err := m.turn.take(ctx); err != nil {
		return nil, 0, err
	}
	defer m.turn.give()
	if i == len(m.results) && i != m.n {
		if err := m.next(ctx, i); err != nil {
			return nil, 0, err
		}
	}
	if len(m.results) == m.n && !m.dropped {
		m.dropped = true
		m.h.forget(ctx)
	}
	n := len(m.results)
	return m.results[:n:n], m.n, nil
}

// next takes the i-th result from the handle, or notes that there is none. The
// caller has the turn.
func (m *Mapping[T]) next(ctx context.Context, i int) error {
	r, err := m.h.result(ctx, i)
	switch {
	case errors.Is(err, errNoMore) && m.n >= 0:
		return ErrForgotten
	case errors.Is(err, errNoMore):
		m.n = i
		return nil
	case err != nil:
		return err
	}
	one := Result[T]{Index: i, Name: r.name, Stream: r.stream, Err: r.err}
	if r.err == nil {
		one.Err = decode(r.output, &one.Value)
	}
	m.results = append(m.results, one)
	return nil
}

// Flat waits for all and returns their values in the order of the inputs, or
// the first failure as a *MapError.
func (m *Mapping[T]) Flat(ctx context.Context) ([]T, error) {
	results, err := m.Collect(ctx)
	if err != nil {
		return nil, err
	}
	values := make([]T, 0, len(results))
	var first *MapError
	for _, r := range results {
		var v *task.ErrorValue
		switch cancelled := errors.As(r.Err, &v) && v.Kind == task.KindCancelled; {
		case r.Err == nil:
			values = append(values, r.Value)
		case first == nil, !cancelled && errors.As(first, &v) && v.Kind == task.KindCancelled:
			// With StopOnFailure the one that failed is told, not those that were
			// cancelled for it.
			first = &MapError{r.Index, r.Name, r.Err}
		}
	}
	if first != nil {
		return nil, first
	}
	return values, nil
}

// Stop waits until all have succeeded, or one has failed: then the others are
// cancelled, and the failure is returned as a *MapError.
func (m *Mapping[T]) Stop(ctx context.Context) ([]T, error) {
	index, err := m.h.failed(ctx)
	if err != nil && !errors.Is(err, ErrForgotten) { // others may have collected all
		return nil, err
	}
	if err == nil && index >= 0 {
		m.h.cancel()
	}
	return m.Flat(ctx)
}

// Unresolved reports whether a value is not there yet. It does not wait for any,
// nor for those that do.
func (m *Mapping[T]) Unresolved() bool { return m.h.unresolved() }

// Done returns a channel that is closed when all are resolved.
func (m *Mapping[T]) Done() <-chan struct{} { return m.h.done() }

// Cancel ends all that is unresolved, and reports whether anything was.
func (m *Mapping[T]) Cancel() bool { return m.h.cancel() }

// Forget drops results that nobody will collect.
func (m *Mapping[T]) Forget() { m.h.forget(context.Background()) }
