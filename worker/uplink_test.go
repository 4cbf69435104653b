package worker_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
	"muster/worker"
)

// inBubble lets a worker of functions in, in the time of a bubble, and returns the
// dispatcher's end of its connection.
func inBubble(t *testing.T, change func(*worker.Options)) (net.Conn, chan error) {
	t.Helper()
	id, err := mtls.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, mtls.Join{Pin: id.Pin(), Launch: "l", Token: mtls.NewToken(), Addrs: []string{"tcp:there:1"}})
	near, far := net.Pipe()
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	o.Keep = func(int) bool { return true }
	o.Functions = map[string]worker.Function{"print": func(context.Context, []byte) ([]byte, *task.ErrorValue) {
		return make([]byte, 1<<20), nil
	}}
	change(&o)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, err := worker.Run(ctx, o)
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		far.Close()
	})
	conn, err := mtls.Server(ctx, far, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.ReadHello(conn, &wire.Hello{}); err != nil {
		t.Fatal(err)
	}
	if err := wire.WriteHello(conn, &wire.Welcome{Version: wire.Version, WorkerID: "w", Heartbeat: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	return conn, ended
}

// TestADispatcherThatSaysNothing is given up after four heartbeats, but not by a
// worker on a tether, which would end with it.
func TestADispatcherThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ended := inBubble(t, func(*worker.Options) {})
		began := time.Now()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "fell silent") {
			t.Errorf("it ended with %v", err)
		}
		if d := time.Since(began); d < 20*time.Second || d > 30*time.Second {
			t.Errorf("after %v", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, ended := inBubble(t, func(o *worker.Options) { o.Tethered = true })
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Errorf("it ended with %v", err)
		default:
		}
	})
}

// TestASlowDispatcherIsHeard: while it takes nothing of what a task prints, what it
// says is read. In a net.Pipe nothing is said that nobody reads.
func TestASlowDispatcherIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := inBubble(t, func(*worker.Options) {})
		out, in := wire.NewWriter(conn), wire.NewReader(conn)
		ref := wire.Ref{Task: 1, Attempt: 1, Epoch: 1}
		out.Send(&wire.Assign{Ref: ref, Window: wire.MaxWindow, Spec: task.Spec{Argv: []string{"print"}, Func: "print"}})
		for range 20 {
			time.Sleep(5 * time.Second)
			out.Send(&wire.Credit{Ref: ref, Bytes: 1}, &wire.Ping{})
		}
		pongs, printed := 0, 0
		for {
			m, err := in.Read()
			if err != nil {
				t.Fatalf("after %d pongs: %v", pongs, err)
			}
			switch m := m.(type) {
			case *wire.Pong:
				pongs++
			case *wire.Output:
				printed += len(m.Data)
			case *wire.Result:
				if printed+len(m.Stdout) != 1<<20 {
					t.Errorf("%d bytes came", printed+len(m.Stdout))
				}
				return
			}
		}
	})
}
