package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"

	"muster/hpc"
	"muster/internal/plan"
	"muster/internal/remote"
	"muster/internal/terminal"
)

// place is a machine: where commands of launches are run, and where files are kept
// that workers and jobs see. Places are compared.
type place interface {
	login() remote.Login // zero for this machine
	runner() hpc.Runner
	user() string
	dir() string // for the files of launches
	program() (string, error)
	hasDir(ctx context.Context, path string) (bool, error)
	makeDir(ctx context.Context, path string) error
	writeFile(ctx context.Context, path string, data []byte) error
	remove(ctx context.Context, paths ...string) error
	// prune removes a folder if it is empty and nobody else does.
	prune(ctx context.Context, path string)
	tail(ctx context.Context, path string, n int) ([]byte, error)
}

var (
	_ place = (*here)(nil)
	_ place = there{}
)

// open returns the place of a login, which is logged in to if it is not this machine.
// Its link stays until leave is called, and longer if something is left there. socket
// is where questions of a login are answered, empty if nobody can be asked.
func (f *Fleet) open(ctx context.Context, l remote.Login, socket string) (at place, leave func(), err error) {
	if (plan.Place{Login: l}).Here() {
		f.lock()
		defer f.mu.Unlock()
		return f.this, func() {}, nil
	}
	site, err := f.Sites.Open(ctx, l, socket)
	if err != nil {
		return nil, nil, err
	}
	return there{site}, func() { f.Sites.Leave(site) }, nil
}

// here is this machine.
type here struct{ f *Fleet }

func (h *here) login() remote.Login      { return remote.Login{} }
func (h *here) runner() hpc.Runner       { return h.f.Run }
func (h *here) user() string             { return h.f.User }
func (h *here) dir() string              { return h.f.Dir }
func (h *here) program() (string, error) { return h.f.Program() }

// hasDir believes in every folder: its jobs see other file systems than this machine.
func (h *here) hasDir(context.Context, string) (bool, error) { return true, nil }

func (h *here) makeDir(_ context.Context, path string) error { return os.MkdirAll(path, 0o700) }

func (h *here) writeFile(_ context.Context, path string, data []byte) error {
	return os.WriteFile(path, data, 0o600)
}

func (h *here) remove(_ context.Context, paths ...string) error {
	var failed []error
	for _, p := range paths {
		failed = append(failed, os.RemoveAll(p))
	}
	return errors.Join(failed...)
}

func (h *here) prune(context.Context, string) {} // it is the run's, which goes with the run

func (h *here) tail(_ context.Context, path string, n int) ([]byte, error) { return tailOf(path, n) }

// tailOf returns the last n bytes of a file of this machine.
func tailOf(path string, n int) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	from := max(0, st.Size()-int64(n))
	return io.ReadAll(io.NewSectionReader(file, from, int64(n)))
}

// there is a machine behind SSH.
type there struct{ *remote.Site }

func (t there) login() remote.Login { return t.Login() }
func (t there) user() string        { return t.User() }
func (t there) dir() string         { return t.Dir() }

func (t there) program() (string, error) { return t.Program(), nil }

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

func (t there) hasDir(ctx context.Context, path string) (bool, error) { return t.HasDir(ctx, path) }

func (t there) makeDir(ctx context.Context, path string) error { return t.MakeDir(ctx, path) }

func (t there) writeFile(ctx context.Context, path string, data []byte) error {
	return t.WriteFile(ctx, path, data)
}

func (t there) remove(ctx context.Context, paths ...string) error { return t.Remove(ctx, paths...) }

// sweepText removes the folders of runs that are over and have left nothing but what a
// scheduler was yet to put there: none of their join files is left, and nothing in them
// has changed for an hour. OpenPBS tries for half a minute to copy what a job has
// printed.
const sweepText = `cd "$1" 2>/dev/null || exit 0
for d in *; do
	test -d "$d" && test -z "$(find "$d" \( -name "*.join" -o -mmin -60 \) -print | head -n 1)" && rm -rf "./$d"
done
true`

// sweep removes what other runs have left on the machine.
func (t there) sweep(ctx context.Context) error {
	o, err := t.runner()(ctx, []string{"sh", "-c", sweepText, "sh", path.Dir(t.dir())}, "")
	if err == nil && o.Code != 0 {
		err = fmt.Errorf("exit status %d: %s", o.Code, terminal.Safe(string(o.Stderr)))
	}
	return err
}

func (t there) prune(ctx context.Context, path string) {
	if path == t.dir() {
		return // it is the link's, which goes with that
	}
	t.runner()(ctx, []string{"rmdir", path}, "")
}

func (t there) tail(ctx context.Context, path string, n int) ([]byte, error) {
	return t.Tail(ctx, path, n)
}

// checkDir says if workers have no folder to start in. said is what the launcher says,
// empty if it says nothing.
func checkDir(ctx context.Context, at place, launcher, dir, said string) error {
	if dir == "" {
		return nil
	}
	is, err := at.hasDir(ctx, dir)
	if err != nil || is {
		return err
	}
	l := at.login()
	name := l.Name()
	if said != "" {
		return fmt.Errorf("launcher %s: its workdir %s is no directory on %s", launcher, said, name)
	}
	return fmt.Errorf("launcher %s: %s, where you are, is no directory on %s: set workdir to one that is there", launcher, dir, name)
}
