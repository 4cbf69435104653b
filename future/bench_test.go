package future_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"muster/future"
	mtls "muster/tls"
)

var noop = future.Register("noop", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })

// inFlight are how many calls are under way at once.
var inFlight = []int{1, 8, 64}

// takeTurns is in how many rounds calls and messages take turns.
const takeTurns = 5

// BenchmarkNoop calls a function that does nothing in a worker with as many slots
// as there are calls under way, and holds that against as many messages on one TLS
// connection to another process, each answered by itself. The two take turns, and
// what is reported is the median of the rounds.
func BenchmarkNoop(b *testing.B) {
	for _, n := range inFlight {
		b.Run(fmt.Sprintf("inflight=%d", n), func(b *testing.B) {
			call, message := caller(b, n), pingPong(b, n)
			together(n, n, call)
			together(n, n, message)
			var calls, messages, ratios []float64
			total := max(b.N/takeTurns, n)
			for b.ResetTimer(); len(ratios) < takeTurns; {
				c, m := rate(n, total, call), rate(n, total, message)
				calls, messages, ratios = append(calls, c), append(messages, m), append(ratios, c/m)
			}
			b.ReportMetric(0, "ns/op") // of both, which says nothing
			b.ReportMetric(middle(calls), "calls/s")
			b.ReportMetric(middle(messages), "messages/s")
			b.ReportMetric(middle(ratios), "of-pingpong")
		})
	}
}

func middle(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// rate returns how many a second together did.
func rate(n, total int, call func(i int)) float64 {
	began := time.Now()
	together(n, total, call)
	return float64(total) / time.Since(began).Seconds()
}

// together does total calls, n at once; the i-th of n is the caller of call(i).
func together(n, total int, call func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for j := i; j < total; j += n {
				call(i)
			}
		})
	}
	wg.Wait()
}

// caller returns what calls noop and waits for its value.
func caller(b *testing.B, slots int) func(int) {
	s := session(b, future.Workers(1), future.Slots(slots))
	ctx := context.Background()
	return func(int) {
		f, err := future.Submit(ctx, s, noop, struct{}{})
		if err == nil {
			_, err = f.Collect(ctx)
		}
		if err != nil {
			b.Error(err)
		}
	}
}

// pingPong returns what sends a message and waits for its answer, for n callers.
func pingPong(b *testing.B, n int) func(int) {
	conn := echoing(b)
	answers := make([]chan struct{}, n)
	for i := range answers {
		answers[i] = make(chan struct{}, 1)
	}
	go func() {
		var m [64]byte
		for {
			if _, err := io.ReadFull(conn, m[:]); err != nil {
				return
			}
			answers[binary.BigEndian.Uint32(m[:])] <- struct{}{}
		}
	}()
	var mu sync.Mutex
	return func(i int) {
		var m [64]byte
		binary.BigEndian.PutUint32(m[:], uint32(i))
		mu.Lock()
		_, err := conn.Write(m[:])
		mu.Unlock()
		if err != nil {
			b.Fatal(err)
		}
		<-answers[i]
	}
}

// envEcho makes this program what answers messages: its value is a folder for the
// key.
const envEcho = "_MUSTER_TEST_ECHO"

// echoing returns a connection to another process that sends back what it gets.
func echoing(b *testing.B) net.Conn {
	dir := b.TempDir()
	id := got(mtls.LoadOrCreate(dir))(b)
	cmd := exec.Command(got(os.Executable())(b))
	cmd.Env, cmd.Stderr = append(os.Environ(), envEcho+"="+dir), os.Stderr
	in := got(cmd.StdinPipe())(b)
	out := got(cmd.StdoutPipe())(b)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	var addr string
	if _, err := fmt.Fscan(out, &addr); err != nil {
		b.Fatal(err)
	}
	conn := got(mtls.Client(context.Background(), got(net.Dial("tcp", addr))(b), id.Pin()))(b)
	b.Cleanup(func() { conn.Close() })
	return conn
}

// echo answers messages on one connection until its standard input ends.
func echo(dir string) error {
	id, err := mtls.LoadOrCreate(dir)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	raw, err := l.Accept()
	if err != nil {
		return err
	}
	conn, err := mtls.Server(context.Background(), raw, id)
	if err != nil {
		return err
	}
	for {
		var m [64]byte
		if _, err := io.ReadFull(conn, m[:]); err != nil {
			return nil // the benchmark is over
		}
		if _, err := conn.Write(m[:]); err != nil {
			return err
		}
	}
}
