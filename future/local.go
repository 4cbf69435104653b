package future

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"muster/dispatcher"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/state"
	"muster/task"
)

// local is a dispatcher in this process.
type local struct {
	h *host.Host

	mu     sync.Mutex             // guards drafts
	drafts map[string]*plan.Draft // what launchers of profiles are asked for, by the profile's name
}

func openLocal(st *settings) (*local, error) {
	getenv := os.Getenv
	if st.stateDir != "" {
		getenv = func(name string) string {
			if name == "MUSTER_STATE" {
				return st.stateDir
			}
			return os.Getenv(name)
		}
	}
	dir, err := state.Dir(getenv)
	if err != nil {
		return nil, err
	}
	sockets, err := state.SocketDir(os.Getenv)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's path: %w", err)
	}
	// The program may have children of its own.
	h, err := host.Open(host.Options{StateDir: dir, SocketDir: sockets, Log: st.log, Stderr: os.Stderr, Worker: []string{exe, "worker"},
		Env: []string{envFuture + "=1"}, Shared: true, Identity: st.identity})
	if err != nil {
		return nil, err
	}
	return &local{h: h, drafts: map[string]*plan.Draft{}}, nil
}

func (l *local) profile(ctx context.Context) (*host.Profile, error) {
	name := profileOf(ctx)
	if p := l.h.Profile(name); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("there is no profile %q: Up or Add makes one", name)
}

func (l *local) up(ctx context.Context, st *settings) error {
	p, err := l.h.Up(ctx, st.spec)
	if err != nil || st.draft == nil {
		return err
	}
	if err := l.begin(ctx, p, st.draft); err != nil {
		return errors.Join(err, l.h.Down(context.WithoutCancel(ctx), p))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drafts[p.Spec.Name] = st.draft
	return nil
}

// begin carries out a draft for a profile.
func (l *local) begin(ctx context.Context, p *host.Profile, d *plan.Draft) error {
	names, err := p.Names(ctx, d.Plan, "")
	if err != nil {
		return err
	}
	pl, err := d.Named(names)
	if err != nil {
		return err
	}
	_, err = p.Launch(ctx, []*plan.Plan{pl}, "")
	l.h.Watch(nil)
	return err
}

func (l *local) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return l.h.Close(ctx, 10*time.Second)
}

// asOurs gives the dispatcher's errors the names that this package has for them.
func asOurs(err error) error {
	switch {
	case errors.Is(err, dispatcher.ErrFull):
		return ErrFull
	case errors.Is(err, dispatcher.ErrClosed):
		return ErrClosed
	}
	return err
}

func (l *local) submit(ctx context.Context, spec task.Spec, c call) (handle, error) {
	p, err := l.profile(ctx)
	if err != nil {
		return nil, err
	}
	f, err := p.Pool.Submit(ctx, spec, dispatcher.FutureOptions{Timeout: c.timeout, Streams: c.streams, Try: c.try})
	if err != nil {
		return nil, asOurs(err)
	}
	return newLocalHandle(l.h.D, f), nil
}

func (l *local) mapping(ctx context.Context, c call, each func(func(task.Spec) error) error) (handle, error) {
	p, err := l.profile(ctx)
	if err != nil {
		return nil, err
	}
	f, err := p.Pool.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{StopOnFailure: c.stop, Streams: c.streams})
	if err != nil {
		return nil, asOurs(err)
	}
	if err := each(func(spec task.Spec) error { return f.Add(ctx, spec) }); err != nil {
		l.h.D.Abort(f)
		return nil, asOurs(err)
	}
	f.Seal()
	return newLocalHandle(l.h.D, f), nil
}

func (l *local) everywhere(ctx context.Context, spec task.Spec) (handle, error) {
	p, err := l.profile(ctx)
	if err != nil {
		return nil, err
	}
	f, err := p.Pool.Everywhere(spec, 1)
	if err != nil {
		return nil, asOurs(err)
	}
	return newLocalHandle(l.h.D, f), nil
}

func (l *local) info(ctx context.Context) (Info, error) {
	p, err := l.profile(ctx)
	if err != nil {
		return Info{}, err
	}
	return p.Pool.Info(), nil
}

func (l *local) status(ctx context.Context) (Status, error) {
	p, err := l.profile(ctx)
	if err != nil {
		return Status{}, err
	}
	return p.Pool.Status(), nil
}

func (l *local) launch(ctx context.Context, n int) error {
	p, err := l.profile(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	draft := l.drafts[p.Spec.Name]
	l.mu.Unlock()
	if draft != nil && n > 0 {
		more, err := draft.Sized(n)
		if err != nil {
			return err
		}
		return l.begin(ctx, p, more)
	}
	for range n {
		if _, err := p.StartLocal(p.Spec.Slots, nil); err != nil {
			return err
		}
	}
	return nil
}

func (l *local) retire(ctx context.Context, n int) error {
	p, err := l.profile(ctx)
	if err == nil {
		p.Pool.Retire(n)
	}
	return err
}

// localHandle is a future of a dispatcher in this process.
type localHandle struct {
	d    *dispatcher.Dispatcher
	f    *dispatcher.Future
	gone chan struct{} // closed by forget
	once sync.Once     // of forget
}

func newLocalHandle(d *dispatcher.Dispatcher, f *dispatcher.Future) *localHandle {
	return &localHandle{d: d, f: f, gone: make(chan struct{})}
}

func (h *localHandle) done() <-chan struct{} { return h.f.Done() }
func (h *localHandle) cancel() bool          { return h.f.Cancel(task.Cancelled("")) }

func (h *localHandle) unresolved() bool {
	select {
	case <-h.f.Done():
		return false
	default:
		return true
	}
}

func (h *localHandle) forget(context.Context) {
	h.once.Do(func() {
		close(h.gone)
		h.d.Forget(h.f)
	})
}

func (h *localHandle) result(ctx context.Context, i int) (outcome, error) {
	for {
		done, more, changed := h.f.Result(i)
		switch {
		case h.forgotten():
			return outcome{}, ErrForgotten
		case done != nil:
			return outcomeOf(done)
		case !more:
			return outcome{}, errNoMore
		}
		if err := h.wait(ctx, changed); err != nil {
			return outcome{}, err
		}
	}
}

func (h *localHandle) forgotten() bool {
	select {
	case <-h.gone:
		return true
	default:
		return false
	}
}

// wait waits for a change of the future.
func (h *localHandle) wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-h.gone:
		return ErrForgotten
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func outcomeOf(done *dispatcher.Done) (outcome, error) {
	o := outcome{name: done.Name, stream: done.Stream}
	if done.Err != nil {
		o.err = done.Err
		return o, nil
	}
	r, err := done.Output.Reader(1)
	if err != nil {
		return o, err
	}
	defer r.Close()
	o.output, err = io.ReadAll(r)
	return o, err
}

func (h *localHandle) failed(ctx context.Context) (int, error) {
	for i := 0; ; {
		done, more, changed := h.f.Resolved(i)
		switch {
		case h.forgotten():
			return -1, ErrForgotten
		case done != nil && done.Err != nil:
			return done.Index - 1, nil
		case done != nil:
			i++
			continue
		case !more:
			return -1, nil
		}
		if err := h.wait(ctx, changed); err != nil {
			return -1, err
		}
	}
}
