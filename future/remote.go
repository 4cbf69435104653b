package future

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/units"
	"muster/task"
	mtls "muster/tls"
	"muster/worker"
)

// remote is the way to a dispatcher in another process.
type remote struct {
	client *control.Client
	ctx    context.Context // done when the session is closed
	end    context.CancelFunc

	mu         sync.Mutex // guards all below
	closed     bool
	goroutines sync.WaitGroup // none begins when closed is set
	workers    []*worker.Local
}

// callPatience bounds calls that nobody's context does.
const callPatience = 5 * time.Second

// openRemote finds the dispatcher that listens on a socket. What the session asks
// later, it asks that one only.
func openRemote(ctx context.Context, socket string) (*remote, error) {
	client := control.NewClient(socket)
	st, err := client.Status(ctx)
	if err != nil {
		client.Close()
		return nil, err
	}
	r := &remote{client: client.Of(st.Run)}
	r.ctx, r.end = context.WithCancel(context.WithoutCancel(ctx))
	return r, nil
}

func (r *remote) close() error {
	r.mu.Lock()
	r.closed = true
	workers := r.workers
	r.workers = nil
	r.mu.Unlock()
	r.end()
	for _, w := range workers {
		w.End(endPatience)
	}
	r.goroutines.Wait()
	r.client.Close()
	return nil
}

// start runs f, which close waits for. It reports false when the session is
// closed.
func (r *remote) start(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.goroutines.Go(f)
	}
	return !r.closed
}

func (r *remote) up(ctx context.Context, st *settings) error {
	spec := st.spec
	spec.Workers = 0 // which would be muster's, not this program
	a, err := r.client.Up(ctx, control.UpRequest{Profiles: []host.Spec{spec}})
	if err != nil || st.draft == nil || a.Profiles[spec.Name] == "same" {
		return fromServer(err)
	}
	if err := r.begin(ctx, spec.Name, st.draft); err != nil {
		_, down := r.client.Down(context.WithoutCancel(ctx), spec.Name)
		return errors.Join(fromServer(err), down)
	}
	return nil
}

// begin carries out a draft for a profile.
func (r *remote) begin(ctx context.Context, profile string, d *plan.Draft) error {
	a, err := r.client.Names(ctx, profile, control.NamesRequest{Plan: d.Plan})
	if err != nil {
		return err
	}
	p, err := d.Named(a.Names)
	if err != nil {
		return err
	}
	_, err = r.client.Launch(ctx, profile, control.LaunchRequest{Plans: []*plan.Plan{p}})
	return err
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
		t.Timeout = units.Duration(c.timeout)
	}
	return t
}

func (r *remote) submit(ctx context.Context, spec task.Spec, c call) (handle, error) {
	a, err := r.client.Submit(ctx, profileOf(ctx), control.SubmitRequest{Task: taskOf(spec, c), Seed: c.streams, Try: c.try})
	if err != nil {
		return nil, fromServer(err)
	}
	return newRemoteHandle(r, a.ID, a.Total), nil
}

func (r *remote) mapping(ctx context.Context, c call, each func(func(task.Spec) error) error) (handle, error) {
	body, w := io.Pipe()
	go func() {
		enc := json.NewEncoder(w)
		w.CloseWithError(each(func(spec task.Spec) error { return enc.Encode(taskOf(spec, c)) }))
	}()
	a, err := r.client.Map(ctx, profileOf(ctx), c.stop, c.streams, body)
	if err != nil {
		return nil, fromServer(err)
	}
	return newRemoteHandle(r, a.ID, a.Total), nil
}

func (r *remote) everywhere(ctx context.Context, spec task.Spec) (handle, error) {
	t := control.NewTask(spec)
	a, err := r.client.Everywhere(ctx, profileOf(ctx), control.EverywhereRequest{Task: &t})
	if err != nil {
		return nil, fromServer(err)
	}
	return newRemoteHandle(r, a.ID, -1), nil
}

func (r *remote) info(ctx context.Context) (Info, error) {
	i, err := r.client.Info(ctx, profileOf(ctx))
	return i.Info, fromServer(err)
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
	if r.closed {
		return errSessionClosed
	}
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
