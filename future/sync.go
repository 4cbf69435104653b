package future

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"

	"muster/rng"
	"muster/task"
)

// syncBackend runs every task at once, in the goroutine of whoever submits it.
type syncBackend struct {
	mu        sync.Mutex // guards all below, and every sequence
	completed int
	streams   *rng.Sequence // of the session's tasks
	unseeded  *rng.Sequence // of what has no number among them
}

func newSyncBackend(seed rng.Streams) *syncBackend {
	return &syncBackend{streams: seed.Sequence(), unseeded: rng.Streams{}.Sequence()}
}

// sequence returns the streams of a submission's tasks.
func (b *syncBackend) sequence(c call) *rng.Sequence {
	if c.streams.IsZero() {
		return b.streams
	}
	return c.streams.Sequence()
}

func (b *syncBackend) run(ctx context.Context, spec task.Spec, streams *rng.Sequence) outcome {
	b.mu.Lock()
	b.completed++
	spec.Stream = streams.Next()
	b.mu.Unlock()
	o := outcome{name: spec.Name, stream: spec.Stream}
	if spec.Func != "" {
		ctx = rng.NewContext(ctx, spec.Stream)
		output, v := registered[spec.Func](ctx, spec.Input)
		if o.output = output; v != nil {
			o.err = v
		}
		return o
	}
	cmd := exec.CommandContext(ctx, spec.Argv[0], spec.Argv[1:]...)
	if spec.Everywhere {
		cmd = exec.CommandContext(ctx, "/bin/sh", "-c", spec.Argv[0])
	}
	var out bytes.Buffer
	seed, stream := spec.RandomEnv()
	cmd.Dir, cmd.Env = spec.Dir, append(append(os.Environ(), seed, stream), spec.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, &out, os.Stderr
	err := cmd.Run()
	o.output = out.Bytes()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		o.err = &task.ErrorValue{Kind: task.KindExit, Code: exit.ExitCode(), Message: exit.Error()}
	} else if err != nil {
		o.err = &task.ErrorValue{Kind: task.KindSpawn, Code: 127, Message: err.Error()}
	}
	return o
}

func (b *syncBackend) submit(ctx context.Context, spec task.Spec, c call) (handle, error) {
	return syncHandle{b.run(ctx, spec, b.sequence(c))}, nil
}

func (b *syncBackend) mapping(ctx context.Context, c call, each func(func(task.Spec) error) error) (handle, error) {
	h, streams := syncHandle{}, b.sequence(c)
	return &h, each(func(spec task.Spec) error {
		h = append(h, b.run(ctx, spec, streams))
		return nil
	})
}

func (b *syncBackend) everywhere(ctx context.Context, spec task.Spec) (handle, error) {
	spec.Everywhere = true
	return syncHandle{b.run(ctx, spec, b.unseeded)}, nil
}

func (b *syncBackend) info(context.Context) (Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Info{Completed: b.completed}, nil
}

func (b *syncBackend) status(ctx context.Context) (Status, error) {
	i, err := b.info(ctx)
	return Status{Profile: profileOf(ctx), Scheduling: "sync", Info: i}, err
}

var errSync = errors.New("a sync session has no workers: its tasks run where they are submitted")

func (b *syncBackend) launch(_ context.Context, n int) error {
	if n == 0 {
		return nil
	}
	return errSync
}

func (b *syncBackend) retire(context.Context, int) error { return errSync }

func (b *syncBackend) up(_ context.Context, st *settings) error {
	return fmt.Errorf("profile %s: %w", st.spec.Name, errSync)
}

func (b *syncBackend) close() error { return nil }

// syncHandle is results that are there.
type syncHandle []outcome

// closed is the channel of what is resolved.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (h syncHandle) done() <-chan struct{}  { return closed }
func (h syncHandle) unresolved() bool       { return false }
func (h syncHandle) cancel() bool           { return false }
func (h syncHandle) forget(context.Context) {}

func (h syncHandle) result(_ context.Context, i int) (outcome, error) {
	if i >= len(h) {
		return outcome{}, errNoMore
	}
	return h[i], nil
}

func (h syncHandle) failed(context.Context) (int, error) {
	for i, o := range h {
		if o.err != nil {
			return i, nil
		}
	}
	return -1, nil
}
