package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"muster/hpc"
	"muster/internal/remote"
	"muster/internal/terminal"
)

// machine is where a launch is made: where a scheduler's commands are and where
// files are kept that workers and jobs see.
type machine interface {
	runner() hpc.Runner
	user() string
	dir() string // of the run's launches
	mkdir(ctx context.Context, path string) error
	write(ctx context.Context, path string, data []byte) error
	remove(ctx context.Context, paths ...string) error
	tail(ctx context.Context, path string, n int) ([]byte, error)
}

// here is this machine.
type here struct {
	run  hpc.Runner
	name string // of the user
	path string
}

func (h here) runner() hpc.Runner { return h.run }
func (h here) user() string       { return h.name }
func (h here) dir() string        { return h.path }

func (h here) mkdir(_ context.Context, path string) error { return os.MkdirAll(path, 0o700) }

func (h here) write(_ context.Context, path string, data []byte) error {
	return os.WriteFile(path, data, 0o600)
}

func (h here) remove(_ context.Context, paths ...string) error {
	var failed []error
	for _, p := range paths {
		failed = append(failed, os.RemoveAll(p))
	}
	return errors.Join(failed...)
}

func (h here) tail(_ context.Context, path string, n int) ([]byte, error) {
	b, err := os.ReadFile(path)
	return b[max(0, len(b)-n):], err
}

// there is a machine behind SSH.
type there struct{ *remote.Site }

func (t there) user() string { return t.User() }
func (t there) dir() string  { return t.Dir() }

func (t there) runner() hpc.Runner {
	return func(ctx context.Context, argv []string, stdin string) (hpc.Output, error) {
		o, err := t.Run(ctx, argv, stdin)
		out := hpc.Output{Stdout: o.Stdout, Stderr: o.Stderr, Code: o.Code, Argv: argv}
		switch {
		case errors.Is(err, exec.ErrNotFound):
			return out, fmt.Errorf("on %s: %w; is it in the PATH of a login without a terminal, `ssh %[1]s command -v %[3]s`?", t.Login().Target.Host, &exec.Error{Name: argv[0], Err: exec.ErrNotFound}, argv[0])
		case err != nil:
			return out, fmt.Errorf("%s on %s: %w", argv[0], t.Login().Target.Host, err)
		case o.Signal != "":
			return out, fmt.Errorf("%s on %s was ended by %s", argv[0], t.Login().Target.Host, o.Signal)
		}
		return out, nil
	}
}

func (t there) mkdir(ctx context.Context, path string) error {
	o, err := t.runner()(ctx, []string{"sh", "-c", `umask 077; exec mkdir -p "$1"`, "sh", path}, "")
	if err == nil && o.Code != 0 {
		err = fmt.Errorf("mkdir %s on %s: %s", path, t.Login().Target.Host, terminal.Safe(string(o.Stderr)))
	}
	return err
}

func (t there) write(ctx context.Context, path string, data []byte) error {
	return t.WriteFile(ctx, path, data)
}

func (t there) remove(ctx context.Context, paths ...string) error { return t.Remove(ctx, paths...) }

func (t there) tail(ctx context.Context, path string, n int) ([]byte, error) {
	return t.Tail(ctx, path, n)
}
