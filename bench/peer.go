package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/quiet"
	"muster/internal/spool"
	"muster/task"
	mtls "muster/tls"
)

// What a peer is told by its environment.
const (
	envProfile = "_MUSTER_BENCH_PROFILE"
	envWorkers = "_MUSTER_BENCH_WORKERS"
)

// runPeer is the other process of -connected. It writes a join string and serves
// until its standard input ends.
func runPeer(kind string) error {
	dir, err := os.MkdirTemp("", "mb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	id, err := mtls.LoadOrCreate(dir)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	workers, _ := strconv.Atoi(os.Getenv(envWorkers))
	launch := mtls.NewLaunch("bench", mtls.Terms{Uses: workers})
	join := mtls.Join{Addrs: []string{"tcp:" + l.Addr().String()}, Pin: id.Pin(), Launch: launch.ID(), Token: launch.Token()}
	if kind == "bare" {
		go shakeHands(l, id)
		fmt.Println(join.Encode())
		bufio.NewReader(os.Stdin).ReadByte()
		return nil
	}
	return dispatch(l, id, launch, join, dir)
}

// shakeHands does the handshakes of connections and keeps those.
func shakeHands(l net.Listener, id *mtls.Identity) {
	var mu sync.Mutex
	var kept []net.Conn
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			conn, err := mtls.Server(context.Background(), quiet.Conn(raw), id)
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				return
			}
			mu.Lock()
			kept = append(kept, conn)
			mu.Unlock()
			var b [1]byte
			conn.Read(b[:]) // to its end, as whoever serves it does
		}()
	}
}

// dispatch serves workers, and runs as many tasks as each line of its standard
// input says.
func dispatch(l net.Listener, id *mtls.Identity, launch *mtls.Launch, join mtls.Join, dir string) error {
	out := spool.Open(dir)
	d := dispatcher.New(dispatcher.Options{Identity: id, Spool: out, Log: hclog.NewNullLogger()})
	p, err := d.NewPool("bench", dispatcher.PoolOptions{})
	if err != nil {
		return err
	}
	p.AddLaunch(launch, dispatcher.LaunchOptions{Lease: 10 * time.Minute})
	go d.Serve(l)
	stop, err := profileCPU(os.Getenv(envProfile), "joins")
	if err != nil {
		return err
	}
	fmt.Println(join.Encode())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		stop()
		profileHeap(os.Getenv(envProfile))
		if stop, err = profileCPU(os.Getenv(envProfile), "tasks"); err != nil {
			return err
		}
		var tasks int
		if err := json.Unmarshal(in.Bytes(), &tasks); err != nil {
			return err
		}
		rate, err := runTasks(d, p, tasks)
		if err != nil {
			return err
		}
		stop()
		stop = func() {}
		fmt.Println(rate)
	}
	return nil
}

// runTasks runs tasks that workers end at once, and returns how many a second.
func runTasks(d *dispatcher.Dispatcher, p *dispatcher.Pool, n int) (float64, error) {
	f, err := p.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{})
	if err != nil {
		return 0, err
	}
	defer d.Forget(f)
	began := time.Now()
	for range n {
		if err := f.Add(context.Background(), task.Spec{Argv: []string{"true"}, Dir: "/"}); err != nil {
			return 0, err
		}
	}
	f.Seal()
	<-f.Done()
	if st := f.Status(); st.Failed > 0 {
		return 0, fmt.Errorf("%d of %d tasks failed", st.Failed, n)
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// profileCPU profiles until what it returns is called.
func profileCPU(dir, name string) (stop func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	f, err := os.Create(filepath.Join(dir, name+".cpu"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

// profileHeap writes what is in use, and says on stderr what the runtime holds.
func profileHeap(dir string) {
	if dir == "" {
		return
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(os.Stderr, "heap in use %d KiB, idle %d, released %d; stacks %d; goroutines %d; other %d\n",
		m.HeapInuse>>10, m.HeapIdle>>10, m.HeapReleased>>10, m.StackInuse>>10, runtime.NumGoroutine(), (m.Sys-m.HeapSys-m.StackSys)>>10)
	f, err := os.Create(filepath.Join(dir, "connected.heap"))
	if err != nil {
		return
	}
	defer f.Close()
	pprof.Lookup("heap").WriteTo(f, 0)
}
