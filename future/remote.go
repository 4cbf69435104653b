package future

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/host"
	"muster/task"
	mtls "muster/tls"
	"muster/worker"
)

// remote is the way to a dispatcher in another process.
type remote struct {
	client *control.Client
	ctx    context.Context // of what nobody waits for

	mu      sync.Mutex // guards all below
	workers []*worker.Local
}

func (r *remote) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		w.End(endPatience)
	}
	r.workers = nil
	r.client.Close()
	return nil
}

func (r *remote) up(ctx context.Context, spec host.Spec) error {
	spec.Workers = 0 // which would be muster's, not this program
	_, err := r.client.Up(ctx, control.UpRequest{Profiles: []host.Spec{spec}})
	return fromServer(err)
}

// fromServer gives the server's errors the names that this package has for them.
func fromServer(err error) error {
	var e *control.Error
	if errors.As(err, &e) {
		switch e.Code {
		case "full":
			return ErrFull
		case "closed":
			return ErrClosed
		}
	}
	return err
}

func taskOf(spec task.Spec, c call) control.Task {
	t := control.NewTask(spec)
	if c.timeout > 0 {
		t.Timeout = control.Duration(c.timeout)
	}
	return t
}

func (r *remote) submit(ctx context.Context, spec task.Spec, c call) (handle, error) {
	a, err := r.client.Submit(ctx, profileOf(ctx), control.SubmitRequest{Task: taskOf(spec, c), Try: c.try})
	if err != nil {
		return nil, fromServer(err)
	}
	return r.handle(a.ID), nil
}

func (r *remote) mapping(ctx context.Context, c call, each func(func(task.Spec) error) error) (handle, error) {
	body, w := io.Pipe()
	go func() {
		enc := json.NewEncoder(w)
		w.CloseWithError(each(func(spec task.Spec) error { return enc.Encode(taskOf(spec, c)) }))
	}()
	a, err := r.client.Map(ctx, profileOf(ctx), c.stop, body)
	if err != nil {
		return nil, fromServer(err)
	}
	return r.handle(a.ID), nil
}

func (r *remote) everywhere(ctx context.Context, spec task.Spec) (handle, error) {
	t := control.NewTask(spec)
	a, err := r.client.Everywhere(ctx, profileOf(ctx), control.EverywhereRequest{Task: &t})
	if err != nil {
		return nil, fromServer(err)
	}
	return r.handle(a.ID), nil
}

func (r *remote) info(ctx context.Context) (Info, error) {
	i, err := r.client.Info(ctx, profileOf(ctx))
	return i, fromServer(err)
}

func (r *remote) status(ctx context.Context) (Status, error) {
	st, err := r.client.Status(ctx)
	if err != nil {
		return Status{}, fromServer(err)
	}
	for _, p := range st.Profiles {
		if p.Profile == profileOf(ctx) {
			return p.PoolStatus, nil
		}
	}
	return Status{}, fmt.Errorf("there is no profile %q", profileOf(ctx))
}

// launch starts workers that are this program, and end with it.
func (r *remote) launch(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	if insideTask() || !mainCalled {
		return errors.New("workers that are this program are started outside tasks, after main has called future.Main")
	}
	a, err := r.client.Join(ctx, profileOf(ctx), control.JoinRequest{Uses: n})
	if err != nil {
		return fromServer(err)
	}
	join, err := mtls.ParseJoin(a.Text)
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's path: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range n {
		w, err := worker.StartLocal([]string{exe, "worker", "--join-file", "-", "--tether", "--slots", "1", "--element", fmt.Sprintf("go-%d-%d", os.Getpid(), i+1)},
			append(os.Environ(), envFuture+"=1"), join, os.Stderr)
		if err != nil {
			return err
		}
		r.workers = append(r.workers, w)
	}
	return nil
}

func (r *remote) retire(ctx context.Context, n int) error {
	_, err := r.client.Retire(ctx, profileOf(ctx), n)
	return fromServer(err)
}

func (r *remote) handle(id dispatcher.ID) handle {
	return &remoteHandle{r: r, id: id}
}

// remoteHandle is a future of a dispatcher in another process.
type remoteHandle struct {
	r  *remote
	id dispatcher.ID

	mu       sync.Mutex // guards all below
	resolved chan struct{}
	results  []*control.Result // what has been read
	gone     bool
}

// done waits in a goroutine from the first call on.
func (h *remoteHandle) done() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.resolved == nil {
		h.resolved = make(chan struct{})
		go func() {
			// An error is told by whoever collects.
			h.r.client.Wait(h.r.ctx, control.WaitRequest{IDs: []dispatcher.ID{h.id}})
			close(h.resolved)
		}()
	}
	return h.resolved
}

// read fetches the results in input order, up to the i-th.
func (h *remoteHandle) read(ctx context.Context, i int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i < len(h.results) {
		return nil
	}
	n := 0
	err := h.r.client.InOrder(ctx, h.id, func(r *control.Result) error {
		if n++; n > len(h.results) {
			h.results = append(h.results, r)
		}
		if n > i && n%64 == 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return fromServer(err)
}

var errEnough = errors.New("enough")

func (h *remoteHandle) result(ctx context.Context, i int) (outcome, error) {
	if err := h.read(ctx, i); err != nil {
		return outcome{}, err
	}
	h.mu.Lock()
	if i >= len(h.results) {
		h.mu.Unlock()
		return outcome{}, errNoMore
	}
	r := h.results[i]
	h.mu.Unlock()
	t := r.Result()
	o := outcome{name: t.Name}
	switch {
	case t.Err != nil:
		o.err = t.Err
	case r.Stdout.Text != nil:
		o.output = []byte(*r.Stdout.Text)
	case r.Stdout.Base64 != nil:
		o.output = r.Stdout.Base64
	case r.Stdout.Bytes > 0:
		var b bytes.Buffer
		if err := h.r.client.Stream(ctx, h.id, r.Index, "stdout", &b); err != nil {
			return o, fromServer(err)
		}
		o.output = b.Bytes()
	}
	return o, nil
}

func (h *remoteHandle) failed(ctx context.Context) (int, error) {
	index := -1
	err := h.r.client.Results(ctx, h.id, func(r *control.Result) error {
		if r.Error != nil {
			index = r.Index - 1
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return index, fromServer(err)
}

func (h *remoteHandle) cancel() bool {
	a, err := h.r.client.Cancel(h.r.ctx, h.id)
	return err == nil && a.Found
}

func (h *remoteHandle) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.gone {
		h.gone = true
		h.r.client.Forget(h.r.ctx, h.id) // a dispatcher that is gone has forgotten too
	}
}
