package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"muster/dispatcher"
	"muster/task"
	mtls "muster/tls"
	"muster/worker"
)

// proxy stands between a worker and its dispatcher, as a network that breaks.
type proxy struct {
	net.Listener
	to string

	mu    sync.Mutex // guards all below
	down  bool
	conns []net.Conn
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, to net.Addr) *proxy {
	p := &proxy{Listener: listen(t, "tcp", "127.0.0.1:0"), to: to.String()}
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		p.Close()
		p.set(true)
		p.wg.Wait()
	})
	return p
}

func (p *proxy) serve() {
	for {
		near, err := p.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.to)
		p.mu.Lock()
		if err != nil || p.down {
			near.Close()
			if far != nil {
				far.Close()
			}
			p.mu.Unlock()
			continue
		}
		p.conns = append(p.conns, near, far)
		for _, c := range [][2]net.Conn{{near, far}, {far, near}} {
			p.wg.Go(func() {
				io.Copy(c[0], c[1])
				c[0].Close()
			})
		}
		p.mu.Unlock()
	}
}

// set breaks all connections and lets none through, or does again.
func (p *proxy) set(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// await waits until the pool is as it should be.
func await(t *testing.T, pool *dispatcher.Pool, what string, ok func(dispatcher.PoolStatus) bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		_, _, changed := pool.Workers()
		if ok(pool.Status()) {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s: %+v", what, pool.Status())
		}
	}
}

func is(state string) func(dispatcher.PoolStatus) bool {
	return func(s dispatcher.PoolStatus) bool { return len(s.Workers) == 1 && s.Workers[0].State == state }
}

// TestSlotsOutliveTheConnection: a command goes on printing while its worker is
// away, ends, and all of it arrives when the link is back.
func TestSlotsOutliveTheConnection(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	d, pool, join := serve(t, l)
	launch := mtls.NewLaunch("leased", mtls.Terms{Uses: 1})
	pool.AddLaunch(launch, dispatcher.LaunchOptions{Lease: time.Minute})
	p := newProxy(t, l.Addr())
	join.Addrs, join.Launch, join.Token = []string{"tcp:" + p.Addr().String()}, launch.ID(), launch.Token()
	ended := make(chan error, 1)
	go func() {
		_, err := worker.Run(context.Background(), options(t, join))
		ended <- err
	}()
	dir := t.TempDir()
	begun, printed := fifo(t, dir, "begun"), fifo(t, dir, "printed")
	const size = 10_000_000
	f, err := pool.Submit(context.Background(), task.Spec{Dir: dir, Argv: []string{"sh", "-c",
		fmt.Sprintf("head -c 1000000 /dev/zero | tr '\\0' a; : >begun; cat go; head -c %d /dev/zero | tr '\\0' b; echo err >&2; : >printed", size)}},
		dispatcher.FutureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	goOn := fifo(t, dir, "go")
	openFile(t, begun, os.O_RDONLY).Close()
	p.set(true)
	await(t, pool, "the worker is not away", is("away"))
	openFile(t, goOn, os.O_WRONLY).Close()
	openFile(t, printed, os.O_RDONLY).Close() // which it comes to only if nothing held it up
	if s := f.Status(); s.State == "resolved" {
		t.Fatal("it was resolved while the worker was away")
	}
	p.set(false)
	select {
	case <-f.Done():
	case <-time.After(time.Minute):
		t.Fatalf("it has not come: %+v", pool.Status())
	}
	done, _, _ := f.Result(0)
	if done.Err != nil || done.Attempt != 1 {
		t.Fatalf("%v in attempt %d", done.Err, done.Attempt)
	}
	want := append(bytes.Repeat([]byte("a"), 1_000_000), bytes.Repeat([]byte("b"), size)...)
	if got := output(t, done, 1); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, not the %d that were printed", len(got), len(want))
	}
	if got := output(t, done, 2); string(got) != "err\n" {
		t.Errorf("stderr: %q", got)
	}
	await(t, pool, "the worker is not idle", is("idle"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d.Close(ctx)
	if err := <-ended; err != nil {
		t.Errorf("after the dispatcher's goodbye: %v", err)
	}
}

func output(t *testing.T, done *dispatcher.Done, stream int) []byte {
	t.Helper()
	r, err := done.Output.Reader(stream)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fifo makes a named pipe: opening one end waits for somebody at the other.
func fifo(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func openFile(t *testing.T, path string, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
