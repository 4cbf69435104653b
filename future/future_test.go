package future_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/future"
	"muster/rng"
	"muster/task"
	mtls "muster/tls"
)

// The functions of these tests. Workers are this test binary.
var (
	square = future.Register("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	pid    = future.Register("pid", func(context.Context, struct{}) (int, error) { return os.Getpid(), nil })
	sleep  = future.Register("sleep", func(ctx context.Context, d time.Duration) (string, error) {
		select {
		case <-time.After(d):
			return "slept", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	stubborn = future.Register("stubborn", func(context.Context, struct{}) (int, error) { select {} })
	open     = future.Register("open", func(_ context.Context, name string) (int, error) {
		_, err := os.Open(name)
		return 0, fmt.Errorf("cannot go on: %w", err)
	})
	crash  = future.Register("crash", func(context.Context, struct{}) (int, error) { panic("at the disco") })
	die    = future.Register("die", func(context.Context, struct{}) (int, error) { os.Exit(3); return 0, nil })
	vanish = future.Register("vanish", func(context.Context, struct{}) (int, error) { runtime.Goexit(); return 0, nil })
	shout  = future.Register("shout", func(_ context.Context, n int) (int, error) { return 0, errors.New(strings.Repeat("x", n)) })
	big    = future.Register("big", func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil })
	length = future.Register("length", func(_ context.Context, s string) (int, error) { return len(s), nil })
	set    = future.Register("set", func(_ context.Context, n int64) (int64, error) { state.Store(n); return n, nil })
	get    = future.Register("get", func(context.Context, struct{}) (int64, error) { return state.Load(), nil })
	nested = future.Register("nested", func(ctx context.Context, _ struct{}) (int, error) {
		_, err := future.Up(ctx, future.Workers(2))
		return 0, err
	})
	leave = future.Register("leave", func(context.Context, struct{}) (int, error) {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	})
	state atomic.Int64
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envEcho); dir != "" {
		if err := echo(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	future.Main()
	os.Exit(m.Run())
}

// session starts a session that ends with the test.
func session(t testing.TB, opts ...future.Option) *future.Session {
	t.Helper()
	s, err := future.Up(t.Context(), append([]future.Option{future.StateDir(t.TempDir())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestNameDirAndLogger: a function has its name, a command its directory, and the
// session's logger is told what happens.
func TestNameDirAndLogger(t *testing.T) {
	var log bytes.Buffer
	s := session(t, future.Workers(1), future.Logger(hclog.New(&hclog.LoggerOptions{Output: &log})))
	if name := square.Name(); name != "square" {
		t.Errorf("square is called %q", name)
	}
	dir := got(filepath.EvalSymlinks(t.TempDir()))(t)
	f := got(future.Command(t.Context(), s, []string{"pwd", "-P"}, future.Dir(dir)))(t)
	if out := got(f.Collect(t.Context()))(t); strings.TrimSpace(string(out)) != dir {
		t.Errorf("the command ran in %s, want %s", out, dir)
	}
	if err := s.Close(); err != nil || !strings.Contains(log.String(), "worker joined") {
		t.Errorf("%v, and the logger was told:\n%s", err, log.String())
	}
}

func TestSubmit(t *testing.T) {
	s := session(t, future.Workers(2))
	ctx := t.Context()
	f := got(future.Submit(ctx, s, square, 7))(t)
	if n := got(f.Collect(ctx))(t); n != 49 {
		t.Errorf("7 squared is %d", n)
	}
	if n, err := f.Collect(ctx); n != 49 || err != nil || f.Unresolved() || f.Cancel() {
		t.Errorf("a second time %d, %v", n, err)
	}
	p, err := future.Submit(ctx, s, pid, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := p.Collect(ctx); n == os.Getpid() || err != nil {
		t.Errorf("it ran in process %d of %d: %v", n, os.Getpid(), err)
	}
}

// An error that does not fit into a frame is cut, and its worker goes on.
func TestErrorOfAnyLength(t *testing.T) {
	s := session(t, future.Workers(1))
	before := got(got(future.Submit(t.Context(), s, pid, struct{}{}))(t).Collect(t.Context()))(t)
	f := got(future.Submit(t.Context(), s, shout, 20<<20))(t)
	var v *task.ErrorValue
	if _, err := f.Collect(t.Context()); !errors.As(err, &v) || v.Kind != task.KindError || len(v.Message) > 64<<10 {
		t.Errorf("it resolved to %.100v", err)
	}
	if after := got(got(future.Submit(t.Context(), s, pid, struct{}{}))(t).Collect(t.Context()))(t); after != before {
		t.Errorf("the worker was process %d and is %d", before, after)
	}
}

// An everywhere that no worker could be sent is refused.
func TestEverywhereTooLarge(t *testing.T) {
	s := session(t, future.Workers(1))
	if _, err := future.Everywhere(t.Context(), s, length, strings.Repeat("x", 21<<20)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a function's argument of 21 MiB: %v", err)
	}
	if _, err := future.EverywhereCommand(t.Context(), s, strings.Repeat("x", 21<<20)); err == nil || !strings.Contains(err.Error(), "are possible") {
		t.Errorf("a command of 21 MiB: %v", err)
	}
	if n := got(got(future.Submit(t.Context(), s, square, 3))(t).Collect(t.Context()))(t); n != 9 {
		t.Errorf("3 squared is %d", n)
	}
}

// A function that ends its goroutine fails, and its worker goes on.
func TestFunctionEndsItsGoroutine(t *testing.T) {
	s := session(t, future.Workers(1))
	before := got(got(future.Submit(t.Context(), s, pid, struct{}{}))(t).Collect(t.Context()))(t)
	var v *task.ErrorValue
	f := got(future.Submit(t.Context(), s, vanish, struct{}{}, future.Timeout(time.Minute)))(t)
	if _, err := f.Collect(t.Context()); !errors.As(err, &v) || !strings.Contains(v.Message, "Goexit") {
		t.Errorf("it resolved to %v", err)
	}
	if after := got(got(future.Submit(t.Context(), s, pid, struct{}{}))(t).Collect(t.Context()))(t); after != before {
		t.Errorf("the worker was process %d and is %d", before, after)
	}
}

// got turns a value and an error into the value, or the end of the test.
func got[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestErrors(t *testing.T) {
	s := session(t, future.Workers(1), future.LostRetries(0))
	ctx := t.Context()
	f, _ := future.Submit(ctx, s, open, "/no/such/file")
	_, err := f.Collect(ctx)
	var v *task.ErrorValue
	if !errors.As(err, &v) || !future.IsError(err) || future.IsInterrupt(err) || !future.IsErrorValue(err) {
		t.Fatalf("%v", err)
	}
	if v.Message != "cannot go on: open /no/such/file: no such file or directory" {
		t.Errorf("message %q", v.Message)
	}
	for _, want := range []string{`"*fmt.wrapError"`, `"*fs.PathError"`, `"syscall.Errno"`, `"Path":"/no/such/file"`} {
		if !strings.Contains(string(v.Detail), want) {
			t.Errorf("the detail lacks %s: %s", want, v.Detail)
		}
	}
	f, _ = future.Submit(ctx, s, crash, struct{}{})
	if _, err = f.Collect(ctx); !errors.As(err, &v) || v.Message != "panic: at the disco" || !strings.Contains(string(v.Detail), "future_test.go") {
		t.Errorf("a panic is %v: %s", err, v.Detail)
	}
	// The slot's process dies: the task is lost, with 19, and the slot comes back.
	f, _ = future.Submit(ctx, s, die, struct{}{})
	if _, err = f.Collect(ctx); !errors.As(err, &v) || v.Code != task.CodeReset || future.IsError(err) || !future.IsErrorValue(err) {
		t.Errorf("a death is %v", err)
	}
	if f, _ = future.Submit(ctx, s, square, 2); got(f.Collect(ctx))(t) != 4 {
		t.Error("the slot did not come back")
	}
	if future.IsErrorValue(fs.ErrNotExist) {
		t.Error("any error is an error value")
	}
}

func TestTimeoutAndCancel(t *testing.T) {
	s := session(t, future.Workers(1))
	ctx := t.Context()
	var v *task.ErrorValue
	f, err := future.Submit(ctx, s, sleep, time.Hour, future.Timeout(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Collect(ctx); !errors.As(err, &v) || v.Code != task.CodeTimeout || v.Message != task.TextTimeout || future.IsError(err) {
		t.Errorf("a timeout is %v", err)
	}
	f, _ = future.Submit(ctx, s, sleep, time.Hour)
	queued, _ := future.Submit(ctx, s, square, 1)
	if !queued.Cancel() || queued.Cancel() || !f.Cancel() {
		t.Error("what was unresolved was not found once")
	}
	if _, err := f.Collect(ctx); !errors.As(err, &v) || v.Code != task.CodeCancelled {
		t.Errorf("a cancelled one is %v", err)
	}
	// One that does not listen loses its process, and the slot gets another.
	g, _ := future.Submit(ctx, s, stubborn, struct{}{}, future.Timeout(50*time.Millisecond))
	if _, err := g.Collect(ctx); !errors.As(err, &v) || v.Code != task.CodeTimeout {
		t.Errorf("a stubborn one is %v", err)
	}
	if h, _ := future.Submit(ctx, s, square, 3); got(h.Collect(ctx))(t) != 9 {
		t.Error("the slot did not come back")
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	f, _ = future.Submit(ctx, s, sleep, time.Hour)
	if _, err := f.Collect(short); !errors.Is(err, context.DeadlineExceeded) || !f.Unresolved() {
		t.Errorf("waiting is given up with %v", err)
	}
}

func TestWaitAndRace(t *testing.T) {
	s := session(t, future.Workers(2))
	ctx := t.Context()
	slow, _ := future.Submit(ctx, s, sleep, time.Hour)
	quick, _ := future.Submit(ctx, s, square, 1)
	if i, err := future.Race(ctx, slow, quick); i != 1 || err != nil {
		t.Errorf("%d won: %v", i, err)
	}
	if i, err := future.Race(ctx); i != -1 || err != nil {
		t.Errorf("of none %d won: %v", i, err)
	}
	slow.Cancel()
	if err := future.Wait(ctx, slow, quick); err != nil {
		t.Error(err)
	}
	<-slow.Done()
}

func TestMap(t *testing.T) {
	s := session(t, future.Workers(2))
	ctx := t.Context()
	m, err := future.Map(ctx, s, square, []int{1, 2, 3}, future.Names("a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	results, err := m.Progress(ctx, func(done, total int) { seen = append(seen, fmt.Sprintf("%d/%d", done, total)) })
	if err != nil || len(results) != 3 || results[2].Name != "c" || results[2].Value != 9 || !slices.Equal(seen, []string{"1/3", "2/3", "3/3"}) {
		t.Errorf("%+v %v %v", results, seen, err)
	}
	if values, err := m.Flat(ctx); err != nil || !slices.Equal(values, []int{1, 4, 9}) {
		t.Errorf("%v, %v", values, err)
	}
	// .stop names index and name, and what failed.
	e, _ := future.Map(ctx, s, sleep, []time.Duration{time.Hour, -1, time.Hour}, future.Names("a", "b", "c"))
	e.Cancel()
	_, err = e.Flat(ctx)
	var me *future.MapError
	if !errors.As(err, &me) || me.Index != 0 || me.Name != "a" {
		t.Errorf("%v", err)
	}
	p, _ := future.Map(ctx, s, open, []string{"/nowhere", "/else"}, future.Names("a", "b"))
	if _, err := p.Stop(ctx); !errors.As(err, &me) || !future.IsError(err) || !strings.Contains(err.Error(), "with name "+me.Name+": cannot go on") {
		t.Errorf("%v", err)
	}
	if _, err := future.Map(ctx, s, square, []int{1}, future.Names("a", "b")); err == nil {
		t.Error("two names for one input")
	}
	empty, err := future.Map(ctx, s, square, nil)
	if values := got(empty.Flat(ctx))(t); err != nil || len(values) != 0 {
		t.Errorf("an empty map is %v", values)
	}
}

func TestLargeValues(t *testing.T) {
	s := session(t, future.Workers(1))
	ctx := t.Context()
	f, _ := future.Submit(ctx, s, big, 3<<20)
	text := got(f.Collect(ctx))(t)
	if len(text) != 3<<20 {
		t.Fatalf("%d bytes came back", len(text))
	}
	g, err := future.Submit(ctx, s, length, text)
	if err != nil {
		t.Fatal(err)
	}
	if n := got(g.Collect(ctx))(t); n != 3<<20 {
		t.Errorf("%d bytes arrived", n)
	}
	if _, err := future.Submit(ctx, s, length, strings.Repeat("x", 17<<20)); err == nil || !strings.Contains(err.Error(), "at most 16777216") {
		t.Errorf("an argument that is too large: %v", err)
	}
}

func TestEverywhere(t *testing.T) {
	s := session(t, future.Workers(2), future.Slots(2))
	ctx := t.Context()
	e, err := future.Everywhere(ctx, s, set, 42)
	if err != nil {
		t.Fatal(err)
	}
	m, err := future.Map(ctx, s, get, make([]struct{}, 8))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range got(m.Flat(ctx))(t) {
		if n != 42 {
			t.Errorf("a slot has %d", n)
		}
	}
	if results := got(e.Collect(ctx))(t); len(results) == 0 || results[0].Value != 42 || results[0].Name == "" {
		t.Errorf("%+v", results)
	}
	// What dies has it again when it comes back, and so have those that join later.
	if f, _ := future.Submit(ctx, s, die, struct{}{}); f.Unresolved() {
		f.Collect(ctx)
	}
	if err := s.Scale(ctx, 3); err != nil {
		t.Fatal(err)
	}
	m, _ = future.Map(ctx, s, get, make([]struct{}, 12))
	for _, n := range got(m.Flat(ctx))(t) {
		if n != 42 {
			t.Errorf("a late slot has %d", n)
		}
	}
	if _, err := future.EverywhereCommand(ctx, s, "export GREETING=hello; cd /"); err != nil {
		t.Fatal(err)
	}
	f, _ := future.Command(ctx, s, []string{"sh", "-c", "echo $GREETING $PWD $NAME"}, future.Env("NAME=x"))
	if out := got(f.Collect(ctx))(t); string(out) != "hello / x\n" {
		t.Errorf("%q", out)
	}
}

func TestProfilesAndScaling(t *testing.T) {
	s := session(t, future.Workers(1))
	ctx := t.Context()
	if err := s.Add(ctx, future.Profile("gpu"), future.Workers(1), future.Memory(1), future.RoundRobin()); err != nil {
		t.Fatal(err)
	}
	gpu := future.WithProfile(ctx, "gpu")
	a, _ := future.Submit(ctx, s, pid, struct{}{})
	b, _ := future.Submit(gpu, s, pid, struct{}{})
	c, _ := future.Submit(future.WithProfile(gpu, "default"), s, pid, struct{}{})
	x, y, z := got(a.Collect(ctx))(t), got(b.Collect(ctx))(t), got(c.Collect(ctx))(t)
	if x == y || x != z {
		t.Errorf("default ran in %d and %d, gpu in %d", x, z, y)
	}
	st, err := s.Status(gpu)
	if err != nil || st.Profile != "gpu" || st.Scheduling != "round-robin" || st.Memory.Capacity == nil || *st.Memory.Capacity != 1 {
		t.Errorf("%+v %v", st, err)
	}
	// The gate: nothing more than what is queued.
	f, _ := future.Submit(gpu, s, sleep, time.Hour)
	for i := 0; ; i++ {
		g, err := future.TrySubmit(gpu, s, square, i)
		if errors.Is(err, future.ErrFull) {
			break
		}
		if err != nil || i > 2 {
			t.Fatalf("%d tasks are queued: %v", i, err)
		}
		defer g.Forget()
	}
	f.Cancel()
	if _, err := future.Submit(future.WithProfile(ctx, "tpu"), s, square, 1); err == nil {
		t.Error("a profile that is not there takes tasks")
	}
	if err := s.Scale(ctx, 0); err != nil {
		t.Fatal(err)
	}
	lonely, _ := future.Submit(ctx, s, square, 5)
	if err := s.Launch(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if n := got(lonely.Collect(ctx))(t); n != 25 {
		t.Errorf("%d", n)
	}
	if i, err := s.Info(ctx); err != nil || i.Cumulative != 2 {
		t.Errorf("%+v %v", i, err)
	}
}

func TestCloseResets(t *testing.T) {
	s, err := future.Up(t.Context(), future.StateDir(t.TempDir()), future.Workers(1))
	if err != nil {
		t.Fatal(err)
	}
	f, _ := future.Submit(t.Context(), s, sleep, time.Hour)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	var v *task.ErrorValue
	if _, err := f.Collect(t.Context()); !errors.As(err, &v) || v.Code != task.CodeReset {
		t.Errorf("%v", err)
	}
	if _, err := future.Submit(t.Context(), s, square, 1); err == nil {
		t.Error("a closed session takes tasks")
	}
}

func TestSync(t *testing.T) {
	s := session(t, future.Sync(), future.Workers(5))
	ctx := t.Context()
	m, err := future.Map(ctx, s, pid, make([]struct{}, 2))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range got(m.Flat(ctx))(t) {
		if n != os.Getpid() {
			t.Errorf("it ran in %d", n)
		}
	}
	f, _ := future.Submit(ctx, s, open, "/nowhere")
	if f.Unresolved() {
		t.Error("it is unresolved")
	}
	if _, err := f.Collect(ctx); !future.IsError(err) {
		t.Errorf("%v", err)
	}
	c, _ := future.Command(ctx, s, []string{"sh", "-c", "exit 3"})
	var v *task.ErrorValue
	if _, err := c.Collect(ctx); !errors.As(err, &v) || v.Code != 3 {
		t.Errorf("%v", err)
	}
	if err := s.Launch(ctx, 1); err == nil {
		t.Error("it launched a worker")
	}
}

func TestNothingIsLeft(t *testing.T) {
	s := session(t, future.Workers(1))
	ctx := t.Context()
	f, _ := future.Submit(ctx, s, leave, struct{}{})
	child := got(f.Collect(ctx))(t)
	if b, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat"); err == nil && !strings.Contains(string(b), ") Z ") {
		t.Errorf("process %d outlives its task: %s", child, b)
	}
}

func TestNestedSessionsStartNoWorkers(t *testing.T) {
	s := session(t, future.Workers(1))
	f, _ := future.Submit(t.Context(), s, nested, struct{}{})
	if _, err := f.Collect(t.Context()); err == nil || !strings.Contains(err.Error(), "this is a task already") {
		t.Errorf("%v", err)
	}
}

func TestOwnCertificate(t *testing.T) {
	dir := t.TempDir()
	if _, err := mtls.LoadOrCreate(dir); err != nil {
		t.Fatal(err)
	}
	cert := got(tls.LoadX509KeyPair(dir+"/identity.pem", dir+"/identity.pem"))(t)
	s := session(t, future.TLS(cert), future.Workers(1), future.URL("tls+tcp://127.0.0.1:0"))
	f, _ := future.Submit(t.Context(), s, square, 6)
	if n := got(f.Collect(t.Context()))(t); n != 36 {
		t.Errorf("%d", n)
	}
	if _, err := future.Up(t.Context(), future.TLS(tls.Certificate{})); err == nil {
		t.Error("an empty certificate was taken")
	}
}

// TestRunningDispatcher: the same calls by way of a dispatcher in another
// process.
func TestRunningDispatcher(t *testing.T) {
	muster := t.TempDir() + "/muster"
	if out, err := exec.Command("go", "build", "-o", muster, "muster").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sockets(t)
	if _, err := future.Connect(t.Context(), ""); err == nil {
		t.Error("connected to nobody")
	}
	up := exec.Command(muster, "up", "--detach", "--memory", "1GB")
	if out, err := up.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { exec.Command(muster, "down").Run() })
	ctx := t.Context()
	s := got(future.Connect(ctx, ""))(t)
	defer s.Close()
	if err := s.Launch(ctx, 2); err != nil {
		t.Fatal(err)
	}
	m, err := future.Map(ctx, s, square, []int{1, 2, 3}, future.Names("a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	if values := got(m.Flat(ctx))(t); !slices.Equal(values, []int{1, 4, 9}) {
		t.Errorf("%v", values)
	}
	seeded := got(future.Map(ctx, s, normals, []int{1, 2}, future.TaskSeed(1234)))(t)
	if r := got(seeded.Collect(ctx))(t); r[1].Value != "19.55834 22.30159" || r[1].Stream != rng.Seeded(1234).Of(2) {
		t.Errorf("with a seed: %+v", r)
	}
	one := got(future.Submit(ctx, s, normals, 1, future.TaskSeed(1234)))(t)
	if text := got(one.Collect(ctx))(t); text != "19.86409" || got(one.Stream(ctx))(t) != rng.Seed(1234) {
		t.Errorf("one with a seed: %s", text)
	}
	f, _ := future.Submit(ctx, s, sleep, time.Hour)
	quick, _ := future.Submit(ctx, s, big, 1<<20)
	if i, err := future.Race(ctx, f, quick); i != 1 || err != nil {
		t.Errorf("%d won: %v", i, err)
	}
	if text := got(quick.Collect(ctx))(t); len(text) != 1<<20 {
		t.Errorf("%d bytes", len(text))
	}
	if !f.Cancel() {
		t.Error("what runs was not found")
	}
	var v *task.ErrorValue
	if _, err := f.Collect(ctx); !errors.As(err, &v) || v.Code != task.CodeCancelled || future.IsError(err) {
		t.Errorf("%v", err)
	}
	p, _ := future.Map(ctx, s, open, []string{"/nowhere"}, future.StopOnFailure())
	if _, err := p.Stop(ctx); !future.IsError(err) {
		t.Errorf("%v", err)
	}
	e, err := future.Everywhere(ctx, s, set, 7)
	if err != nil {
		t.Fatal(err)
	}
	if results := got(e.Collect(ctx))(t); len(results) != 2 || results[1].Value != 7 {
		t.Errorf("%+v", results)
	}
	st, err := s.Status(ctx)
	if err != nil || len(st.Workers) != 2 || *st.Memory.Capacity != 1e9 {
		t.Errorf("%+v %v", st, err)
	}
	if i, err := s.Info(ctx); err != nil || i.Connections != 2 {
		t.Errorf("%+v %v", i, err)
	}
}
