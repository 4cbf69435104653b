package relay_test

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"muster/ssh/relay"
)

// drain reads all and says so.
func drain(r io.Reader) chan struct{} {
	done := make(chan struct{})
	go func() {
		io.Copy(io.Discard, r)
		close(done)
	}()
	return done
}

// pump writes b.N times 64 KiB from w to r.
func pump(b *testing.B, w, r net.Conn) {
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	done := drain(r)
	for b.Loop() {
		if _, err := w.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	w.(interface{ CloseWrite() error }).CloseWrite()
	<-done
}

// BenchmarkTCP is what Up and Down are to be compared with: two TCP connections
// with a copy between them, as a proxy in another process has.
func BenchmarkTCP(b *testing.B) {
	in, first := loopback(b)
	second, out := loopback(b)
	go func() {
		io.CopyBuffer(struct{ io.Writer }{second}, struct{ io.Reader }{first}, make([]byte, 64<<10))
		second.(*net.TCPConn).CloseWrite()
	}()
	pump(b, in, out)
}

func loopback(b *testing.B) (x, y net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if x, err = net.Dial("tcp", l.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if y, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { x.Close(); y.Close() })
	return x, y
}

// BenchmarkUp is from a peer through the far side, another process, to here.
func BenchmarkUp(b *testing.B) {
	c, _ := subprocess(b, relay.Options{})
	near, peer := connection(b, listen(b, c))
	pump(b, peer, near)
}

// BenchmarkDown is the other direction.
func BenchmarkDown(b *testing.B) {
	c, _ := subprocess(b, relay.Options{})
	near, peer := connection(b, listen(b, c))
	pump(b, near, peer)
}

// BenchmarkRoundTrip is 100 bytes there and back.
func BenchmarkRoundTrip(b *testing.B) {
	c, _ := subprocess(b, relay.Options{})
	near, peer := connection(b, listen(b, c))
	go io.Copy(peer, peer)
	buf := make([]byte, 100)
	for b.Loop() {
		near.Write(buf)
		if _, err := io.ReadFull(near, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdle is the memory that 1000 connections take that have carried
// 100 KiB each way once: both sides and the peer, all in this process.
func BenchmarkIdle(b *testing.B) {
	for b.Loop() {
		const keepalive = time.Second
		x, y := net.Pipe()
		c := inProcess(b, x, y, relay.WithKeepalive(relay.Options{}, keepalive), relay.ServeWithKeepalive(relay.ServeOptions{}, keepalive))
		l := listen(b, c)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		buf := make([]byte, 100<<10)
		for range 1000 {
			near, peer := connection(b, l)
			go peer.Write(buf)
			io.ReadFull(near, buf)
			go near.Write(buf)
			io.ReadFull(peer, buf)
		}
		time.Sleep(2 * keepalive) // buffers are let go as often
		runtime.GC()
		runtime.GC() // pools are emptied in two rounds
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/1000, "B/conn")
	}
}
