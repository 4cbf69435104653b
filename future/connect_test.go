package future_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/future"
	"muster/internal/control"
	"muster/internal/host"
	states "muster/internal/state"
	"muster/task"
)

// running is a dispatcher whose tasks the test resolves, and a line to it that
// counts what passes and can be cut.
type running struct {
	*line
	client *control.Client // past the line
}

// start serves a dispatcher and a line to it, by which Connect finds it as "test".
func start(t *testing.T) *running {
	t.Helper()
	dir := sockets(t)
	r := &running{line: lay(t, control.Socket(dir, "test"))}
	r.serve(t, control.Socket(dir, "one"))
	return r
}

// sockets gives the test a state directory of its own, and returns where its sockets are.
func sockets(t *testing.T) string {
	t.Helper()
	t.Setenv("MUSTER_STATE", t.TempDir())
	dir := got(states.SocketDir(os.Getenv))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve starts a dispatcher and has the line lead to it.
func (r *running) serve(t *testing.T, socket string) {
	h, err := host.Open(host.Options{StateDir: t.TempDir(), SocketDir: t.TempDir(), Log: hclog.NewNullLogger(), Stderr: io.Discard,
		Worker: []string{"false"}, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	s := control.NewServer(got(host.ListenUnix(socket))(t), control.Options{Host: h, Name: "test", Kind: "up", Version: "test"})
	if _, err := h.Up(t.Context(), host.Spec{Name: "default", Sync: true}); err != nil {
		t.Fatal(err)
	}
	r.client = control.NewClient(socket)
	r.lead(socket)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx, time.Second); err != nil {
			t.Error(err)
		}
		s.Close(ctx)
	})
}

func (r *running) connect(t *testing.T) *future.Session {
	t.Helper()
	s := got(future.Connect(t.Context(), "test"))(t)
	t.Cleanup(func() { s.Close() })
	return s
}

// finish resolves the next n tasks of a future to what square returns.
func (r *running) finish(t *testing.T, id dispatcher.ID, inputs ...int) {
	t.Helper()
	for _, n := range inputs {
		if err := r.client.Finish(t.Context(), id, control.FinishRequest{Stdout: fmt.Append(nil, n*n)}); err != nil {
			t.Fatal(err)
		}
	}
}

// line passes bytes on between clients and a server.
type line struct {
	results atomic.Int64   // results that have passed to clients
	cut     atomic.Int64   // results after which a connection breaks, once for each; 0 is never
	silent  atomic.Bool    // nothing passes to the server any more
	open    sync.WaitGroup // connections

	mu     sync.Mutex // guards all below
	to     string     // the server's socket
	broken chan struct{}
}

// lead has the line lead to another server, and breaks what leads elsewhere.
func (l *line) lead(socket string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.broken)
	l.to, l.broken = socket, make(chan struct{})
}

func lay(t *testing.T, socket string) *line {
	l := &line{broken: make(chan struct{})}
	from := got(net.Listen("unix", socket))(t)
	t.Cleanup(func() { from.Close() })
	go func() {
		for {
			client, err := from.Accept()
			if err != nil {
				return
			}
			l.open.Go(func() { l.pass(client) })
		}
	}()
	return l
}

func (l *line) pass(client net.Conn) {
	defer client.Close()
	l.mu.Lock()
	to, broken := l.to, l.broken
	l.mu.Unlock()
	server, err := net.Dial("unix", to)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-broken:
			client.Close()
		case <-done:
		}
	}()
	go func() {
		defer close(done)
		io.Copy(muted{server, &l.silent}, client)
		server.Close()
	}()
	l.answer(client, server)
	client.Close()
	server.Close()
	<-done
}

// muted swallows what is written when it is silent.
type muted struct {
	io.Writer
	silent *atomic.Bool
}

func (m muted) Write(p []byte) (int, error) {
	if m.silent.Load() {
		return len(p), nil
	}
	return m.Writer.Write(p)
}

// answer passes answers on, and breaks the line in the middle of what follows the
// result after which it is to be cut.
func (l *line) answer(client, server net.Conn) {
	b := make([]byte, 4<<10)
	var passed int64
	var tail []byte // of what came before
	for {
		n, err := server.Read(b)
		if err != nil {
			return
		}
		text := append(tail, b[:n]...)
		results := int64(bytes.Count(text, mark))
		tail = bytes.Clone(text[max(0, len(text)-len(mark)+1):])
		l.results.Add(results)
		passed += results
		if cut := l.cut.Load(); cut > 0 && passed >= cut {
			client.Write(b[:n/2])
			return
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}

// mark is in every result, once.
var mark = []byte(`"argv":`)

func upTo(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

// squares checks what came of a map of upTo(n).
func squares(results []future.Result[int], n int, err error) error {
	if err != nil || len(results) != n {
		return fmt.Errorf("%d results of %d: %w", len(results), n, err)
	}
	for i, r := range results {
		if r.Index != i || r.Value != i*i || r.Err != nil {
			return fmt.Errorf("result %d is %+v", i, r)
		}
	}
	return nil
}

// TestResultsAreReadOnce: however many ask, of however many results.
func TestResultsAreReadOnce(t *testing.T) {
	const n = 1000
	run := start(t)
	s := run.connect(t)
	m := got(future.Map(t.Context(), s, square, upTo(n)))(t)
	run.finish(t, 1, upTo(n/2)...)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			results, err := m.Collect(t.Context())
			if err := squares(results, n, err); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		seen := 0
		results, err := m.Progress(t.Context(), func(done, total int) {
			if seen++; done != seen || total != n {
				t.Errorf("%d of %d is reported as %d of %d", seen, n, done, total)
			}
		})
		if err := squares(results, n, err); err != nil || seen != n {
			t.Errorf("%d were reported: %v", seen, err)
		}
	})
	wg.Go(func() {
		if i, err := future.Race(t.Context(), m); i != 0 || err != nil {
			t.Errorf("%d won: %v", i, err)
		}
	})
	run.finish(t, 1, upTo(n)[n/2:]...)
	wg.Wait()
	if _, err := m.Stop(t.Context()); err != nil {
		t.Errorf("once more: %v", err)
	}
	// A mark that two chunks of HTTP share is not seen.
	if passed := run.results.Load(); passed < n*9/10 || passed > n {
		t.Errorf("%d results were read of %d", passed, n)
	}
}

// TestBrokenStreams: what is read is read on from where it was.
func TestBrokenStreams(t *testing.T) {
	const n, cut = 1000, 100
	run := start(t)
	s := run.connect(t)
	m := got(future.Map(t.Context(), s, square, upTo(n)))(t)
	run.finish(t, 1, upTo(n)...)
	run.cut.Store(cut)
	results, err := m.Collect(t.Context())
	if err := squares(results, n, err); err != nil {
		t.Error(err)
	}
	// What was under way when the line broke comes again: a buffer's worth.
	if passed := run.results.Load(); passed < n || passed > 2*n {
		t.Errorf("%d results were read of %d", passed, n)
	}
}

// sessions are those in this process and in another one, without workers.
var sessions = []struct {
	name string
	open func(*testing.T) *future.Session
}{
	{"up", func(t *testing.T) *future.Session { return session(t) }},
	{"connected", func(t *testing.T) *future.Session { return start(t).connect(t) }},
}

// soon is longer than anything takes that does not wait, on a busy machine.
const soon = 5 * time.Second

func TestWaitersHonourTheirContexts(t *testing.T) {
	for _, c := range sessions {
		t.Run(c.name, func(t *testing.T) {
			s := c.open(t)
			f := got(future.Submit(t.Context(), s, square, 1))(t)
			m := got(future.Map(t.Context(), s, square, []int{1, 2}))(t)
			collected := make(chan error, 2)
			go func() { _, err := f.Collect(context.Background()); collected <- err }()
			go func() { _, err := m.Flat(context.Background()); collected <- err }()
			gaveUp := errors.New("gave up")
			for name, wait := range map[string]func(context.Context) error{
				"Collect":     func(ctx context.Context) error { _, err := f.Collect(ctx); return err },
				"Map.Collect": func(ctx context.Context) error { _, err := m.Collect(ctx); return err },
				"Stop":        func(ctx context.Context) error { _, err := m.Stop(ctx); return err },
				"Wait":        func(ctx context.Context) error { return future.Wait(ctx, f, m) },
				"Race":        func(ctx context.Context) error { _, err := future.Race(ctx, f, m); return err },
			} {
				ctx, cancel := context.WithCancelCause(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- wait(ctx) }()
				cancel(gaveUp)
				if err := within(ended); err != gaveUp {
					t.Errorf("%s beside a collector: %v", name, err)
				}
			}
			began := time.Now()
			if !f.Unresolved() || !m.Unresolved() || time.Since(began) > time.Second {
				t.Errorf("they are resolved, or it took %v to say that they are not", time.Since(began))
			}
			f.Cancel()
			m.Cancel()
			for range 2 {
				var v *task.ErrorValue
				if err := within(collected); !errors.As(err, &v) || v.Code != task.CodeCancelled {
					t.Errorf("the collector that stayed: %v", err)
				}
			}
		})
	}
}

var errNotSoon = errors.New("it still waits")

func within(ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-time.After(soon):
		return errNotSoon
	}
}

// TestCancelledCollectors: those that give up take nothing from those that stay.
func TestCancelledCollectors(t *testing.T) {
	const n = 200
	run := start(t)
	m := got(future.Map(t.Context(), run.connect(t), square, upTo(n)))(t)
	var wg sync.WaitGroup
	for i := range 8 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		wg.Go(func() {
			results, err := m.Progress(ctx, func(done, _ int) {
				if i%2 == 0 && done == 10*i+1 {
					cancel()
				}
			})
			if i%2 == 0 && errors.Is(err, context.Canceled) {
				return
			}
			if err := squares(results, n, err); err != nil {
				t.Error(err)
			}
		})
	}
	run.finish(t, 1, upTo(n)...)
	wg.Wait()
}

// TestUnresolved: it is right at once when nobody has asked before, and does not
// wait for a dispatcher that says nothing.
func TestUnresolved(t *testing.T) {
	run := start(t)
	s := run.connect(t)
	f := got(future.Submit(t.Context(), s, square, 3))(t)
	if !f.Unresolved() {
		t.Error("it is resolved before it is")
	}
	run.finish(t, 1, 3)
	if f.Unresolved() {
		t.Error("it is unresolved when it is resolved")
	}
	if n, err := f.Collect(t.Context()); n != 9 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	g := got(future.Submit(t.Context(), s, square, 4))(t)
	run.silent.Store(true)
	answered := make(chan error, 1)
	go func() {
		if !g.Unresolved() {
			answered <- errors.New("it is resolved")
		}
		close(answered)
	}()
	if err := within(answered); err != nil {
		t.Error(err)
	}
}

// TestForget: whoever waits is told, and so is whoever comes later, here and where
// another client has forgotten.
func TestForget(t *testing.T) {
	for _, c := range sessions {
		t.Run(c.name, func(t *testing.T) {
			s := c.open(t)
			m := got(future.Map(t.Context(), s, square, []int{1, 2}))(t)
			ended := make(chan error, 1)
			go func() { _, err := m.Collect(context.Background()); ended <- err }()
			m.Forget()
			m.Forget()
			if err := within(ended); !errors.Is(err, future.ErrForgotten) {
				t.Errorf("who waits: %v", err)
			}
			if results, err := m.Collect(t.Context()); !errors.Is(err, future.ErrForgotten) {
				t.Errorf("who comes later: %+v, %v", results, err)
			}
		})
	}
	run := start(t)
	m := got(future.Map(t.Context(), run.connect(t), square, []int{1, 2}))(t)
	run.finish(t, 1, 1, 2)
	if err := run.client.Forget(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if results, err := m.Collect(t.Context()); !errors.Is(err, future.ErrForgotten) {
		t.Errorf("forgotten by another: %+v, %v", results, err)
	}
}

// TestCloseEndsReaders: no goroutine and no connection is left, and who waits is
// told.
func TestCloseEndsReaders(t *testing.T) {
	run := start(t)
	s := run.connect(t)
	ended := make(chan error, 20)
	for i := range 20 {
		f := got(future.Submit(t.Context(), s, square, i))(t)
		f.Done() // begins to read
		go func() { _, err := f.Collect(context.Background()); ended <- err }()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range 20 {
		if err := within(ended); err == nil || err == errNotSoon {
			t.Errorf("a collector of a closed session: %v", err)
		}
	}
	run.open.Wait()
}

// TestAnotherDispatcher: one that took the place of the one that was connected to
// has other results under the same ids.
func TestAnotherDispatcher(t *testing.T) {
	run := start(t)
	f := got(future.Submit(t.Context(), run.connect(t), square, 3))(t)
	run.serve(t, t.TempDir()+"/s")
	other := got(future.Submit(t.Context(), run.connect(t), square, 4))(t)
	run.finish(t, 1, 4)
	if n, err := f.Collect(t.Context()); !errors.Is(err, future.ErrClosed) {
		t.Errorf("%d, %v", n, err)
	}
	if f.Cancel() {
		t.Error("it cancelled a future of another dispatcher")
	}
	f.Forget()
	if n, err := other.Collect(t.Context()); n != 16 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
