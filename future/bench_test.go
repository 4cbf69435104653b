package future_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"muster/future"
	mtls "muster/tls"
)

var noop = future.Register("noop", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })

// inFlight are how many calls are under way at once.
var inFlight = []int{1, 8, 64}

// BenchmarkNoop calls a function that does nothing in a worker with as many
// slots as there are calls under way.
func BenchmarkNoop(b *testing.B) {
	for _, n := range inFlight {
		b.Run(fmt.Sprintf("inflight=%d", n), func(b *testing.B) {
			s := session(b, future.Workers(1), future.Slots(n))
			ctx := context.Background()
			call := func() {
				f, err := future.Submit(ctx, s, noop, struct{}{})
				if err == nil {
					_, err = f.Collect(ctx)
				}
				if err != nil {
					b.Error(err)
				}
			}
			together(n, n, call)
			b.ResetTimer()
			together(n, b.N, call)
		})
	}
}

// together does total calls, n at once.
func together(n, total int, call func()) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for j := i; j < total; j += n {
				call()
			}
		})
	}
	wg.Wait()
}

// BenchmarkPingPong is what BenchmarkNoop is held against: as many messages
// under way on one TLS connection, each answered by itself.
func BenchmarkPingPong(b *testing.B) {
	for _, n := range inFlight {
		b.Run(fmt.Sprintf("inflight=%d", n), func(b *testing.B) {
			id, err := mtls.LoadOrCreate(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			client, server := connected(b, id)
			go echo(server)
			answers := make([]chan struct{}, n)
			for i := range answers {
				answers[i] = make(chan struct{}, 1)
			}
			go func() {
				var m [64]byte
				for {
					if _, err := io.ReadFull(client, m[:]); err != nil {
						return
					}
					answers[binary.BigEndian.Uint32(m[:])] <- struct{}{}
				}
			}()
			b.ResetTimer()
			var mu sync.Mutex
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					var m [64]byte
					binary.BigEndian.PutUint32(m[:], uint32(i))
					for j := i; j < b.N; j += n {
						mu.Lock()
						_, err := client.Write(m[:])
						mu.Unlock()
						if err != nil {
							b.Error(err)
							return
						}
						<-answers[i]
					}
				})
			}
			wg.Wait()
		})
	}
}

func connected(b *testing.B, id *mtls.Identity) (client, server net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		conn, err := mtls.Server(context.Background(), raw, id)
		if err == nil {
			accepted <- conn
		}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	conn, err := mtls.Client(context.Background(), raw, id.Pin())
	if err != nil {
		b.Fatal(err)
	}
	server = <-accepted
	b.Cleanup(func() {
		l.Close()
		conn.Close()
		server.Close()
	})
	return conn, server
}

func echo(conn net.Conn) {
	var m [64]byte
	for {
		if _, err := io.ReadFull(conn, m[:]); err != nil {
			return
		}
		if _, err := conn.Write(m[:]); err != nil {
			return
		}
	}
}
