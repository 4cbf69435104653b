package worker_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/spool"
	"muster/task"
	mtls "muster/tls"
	"muster/worker"
)

// TestMain makes the test binary the slot process that its workers start.
func TestMain(m *testing.M) {
	if os.Getenv("_MUSTER_SLOT")+os.Getenv("_MUSTER_SAVE") != "" {
		if err := worker.RunSlot(); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func options(t *testing.T, join mtls.Join) worker.Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return worker.Options{Join: join, Element: "w", Slots: 1, Scratch: t.TempDir(), Log: hclog.NewNullLogger(),
		Build: "test", SlotCommand: []string{exe}, Keep: func(int) bool { return false }}
}

func listen(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serve starts a dispatcher on l and returns it, and what joins it.
func serve(t *testing.T, l net.Listener) (*dispatcher.Dispatcher, *dispatcher.Pool, mtls.Join) {
	t.Helper()
	id, err := mtls.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := dispatcher.New(dispatcher.Options{Identity: id, Spool: spool.Open(t.TempDir()), Log: hclog.NewNullLogger()})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		d.Close(ctx)
	})
	launch := mtls.NewLaunch("test", mtls.Terms{Uses: 1})
	pool, err := d.NewPool("default", dispatcher.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pool.AddLaunch(launch, dispatcher.LaunchOptions{})
	go d.Serve(l)
	return d, pool, mtls.Join{Pin: id.Pin(), Launch: launch.ID(), Token: launch.Token()}
}

// TestEveryAddressIsTried: one that refuses, one where nobody answers and one
// that is somebody else's do not keep the worker from the one that is right,
// even where that is there twice; and the worker works.
func TestEveryAddressIsTried(t *testing.T) {
	good := listen(t, "tcp", "127.0.0.1:0")
	d, pool, join := serve(t, good)
	silent := listen(t, "tcp", "127.0.0.1:0") // accepted by the kernel, answered by nobody
	closed := listen(t, "tcp", "127.0.0.1:0")
	closed.Close()
	foreign := listen(t, "tcp", "127.0.0.1:0")
	serve(t, foreign)
	join.Addrs = []string{"tcp:" + silent.Addr().String(), "tcp:" + closed.Addr().String(), "tcp:" + foreign.Addr().String(),
		"tcp:" + good.Addr().String(), "tcp:" + good.Addr().String()}
	b, err := pool.NewRun(dispatcher.RunOptions{Render: func(row []string, index int) task.Spec {
		return task.Spec{Argv: row, Index: index, Dir: t.TempDir()}
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.Submit([][]string{{"echo", "hello"}})
	b.Seal()
	ended := make(chan error, 1)
	go func() {
		_, err := worker.Run(context.Background(), options(t, join))
		ended <- err
	}()
	<-b.Done()
	done, _, _ := b.Result(0)
	out, err := done.Output.Reader(1)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(out)
	if done.Err != nil || string(text) != "hello\n" {
		t.Errorf("the task wrote %q: %v", text, done.Err)
	}
	out.Close()
	done.Release()
	if n, ever, _ := pool.Workers(); n != 1 || ever != 1 {
		t.Errorf("%d workers, %d ever", n, ever)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d.Close(ctx)
	if err := <-ended; err != nil {
		t.Errorf("after the dispatcher's goodbye: %v", err)
	}
}

// TestEachFailureIsNamed, whichever way an address fails.
func TestEachFailureIsNamed(t *testing.T) {
	mine := listen(t, "tcp", "127.0.0.1:0")
	_, _, join := serve(t, mine)
	foreign := listen(t, "tcp", "127.0.0.1:0")
	serve(t, foreign)
	closed := listen(t, "tcp", "127.0.0.1:0")
	closed.Close()
	missing := filepath.Join(t.TempDir(), "no.sock")
	join.Token = mtls.NewToken()
	join.Addrs = []string{"tcp:" + closed.Addr().String(), "unix:" + missing, "udp:1.2.3.4:5",
		"tcp:" + foreign.Addr().String(), "tcp:" + mine.Addr().String()}
	_, err := worker.Run(context.Background(), options(t, join))
	if err == nil {
		t.Fatal("it joined")
	}
	for _, want := range []string{
		closed.Addr().String() + ": connect: connection refused",
		missing + ": connect: no such file",
		"udp:1.2.3.4:5: an address is tcp:HOST:PORT or",
		"tcp:" + foreign.Addr().String() + ": ",
		"tcp:" + mine.Addr().String() + ": the dispatcher refused this worker: its join token is wrong",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if bytes.Contains([]byte(err.Error()), []byte(join.Token.Encode())) {
		t.Error("the error holds the token")
	}
}

// TestStoppedWhileDialling does not wait for an address where nobody answers.
func TestStoppedWhileDialling(t *testing.T) {
	silent := listen(t, "tcp", "127.0.0.1:0")
	_, _, join := serve(t, listen(t, "tcp", "127.0.0.1:0"))
	join.Addrs = []string{"tcp:" + silent.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		c, err := silent.Accept()
		if err == nil {
			defer c.Close()
			io.ReadFull(c, make([]byte, 1)) // the worker has begun to shake hands
		}
		cancel()
	}()
	if _, err := worker.Run(ctx, options(t, join)); err == nil {
		t.Error("it joined")
	}
}
