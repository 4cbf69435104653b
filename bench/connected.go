package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mtls "muster/tls"
)

const (
	joiners        = 128 // connections that are made at once
	tasksPerWorker = 20
	settleTime     = 6 * time.Second // a heartbeat, and some
	pause          = time.Second     // for what is under way to end
)

// connectedOptions say what runConnected measures.
type connectedOptions struct {
	workers, rounds int
	profile         string // a folder for profiles of the dispatcher; "" is none
}

// runConnected connects so many workers to a dispatcher in another process and
// gives each of them tasks, beside as many bare handshakes between two processes.
func runConnected(o connectedOptions) error {
	if err := raiseFileLimit(uint64(o.workers) + 1000); err != nil {
		return err
	}
	var all []connectedFigures
	for i := range o.rounds {
		f, err := connectedRound(o)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "round %d: %+v\n", i+1, f)
		all = append(all, f)
	}
	m := func(of func(connectedFigures) float64) float64 { return medianOf(all, of) }
	joins, bare := m(func(f connectedFigures) float64 { return f.joins }), m(func(f connectedFigures) float64 { return f.bare })
	fmt.Printf("%d workers of one dispatcher, median of %d rounds\n", o.workers, o.rounds)
	fmt.Printf("  joins        %7.0f a second, %.2f of %.0f bare handshakes a second; %.2f ms of the dispatcher's CPU each, beside %.2f ms\n",
		joins, m(func(f connectedFigures) float64 { return f.joins / f.bare }), bare,
		m(func(f connectedFigures) float64 { return f.joinCPU }), m(func(f connectedFigures) float64 { return f.bareCPU }))
	fmt.Printf("  memory       %7.1f KiB of the dispatcher a worker, %.1f KiB after their tasks; %.1f KiB a bare connection\n",
		m(func(f connectedFigures) float64 { return f.memory }), m(func(f connectedFigures) float64 { return f.memoryAfter }), m(func(f connectedFigures) float64 { return f.bareMemory }))
	fmt.Printf("  no-op tasks  %7.0f a second; at least %.0f for each worker, of %d\n",
		m(func(f connectedFigures) float64 { return f.tasks }), m(func(f connectedFigures) float64 { return f.fewest }), tasksPerWorker)
	fmt.Printf("  idle         %7.1f ms of the dispatcher's CPU a second for heartbeats\n", m(func(f connectedFigures) float64 { return f.idle }))
	return nil
}

// connectedFigures are of one round. Rates are a second, memory is in KiB a
// connection and CPU in ms of the other process, for each connection.
type connectedFigures struct {
	bare, bareCPU, bareMemory        float64
	joins, joinCPU, memory           float64
	tasks, fewest, memoryAfter, idle float64
}

func medianOf[T any](list []T, of func(T) float64) float64 {
	var values []float64
	for _, v := range list {
		values = append(values, of(v))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func connectedRound(o connectedOptions) (f connectedFigures, err error) {
	if err := bareHandshakes(o, &f); err != nil {
		return f, fmt.Errorf("bare handshakes: %w", err)
	}
	return f, manyWorkers(o, &f)
}

// bareHandshakes measures TLS 1.3 with the keys that workers and dispatchers have.
func bareHandshakes(o connectedOptions, f *connectedFigures) error {
	p, err := startPeer("bare", o)
	if err != nil {
		return err
	}
	defer p.stop()
	before := p.now()
	conns := make([]net.Conn, o.workers)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	took, err := side(o.workers, func(i int) error {
		raw, err := dialFrom(i, p.join.Addrs[0])
		if err == nil {
			conns[i], err = mtls.Client(context.Background(), raw, p.join.Pin)
		}
		return err
	})
	if err != nil {
		return err
	}
	time.Sleep(pause)
	n := float64(o.workers)
	after := p.now()
	f.bare, f.bareCPU, f.bareMemory = n/took.Seconds(), (after.cpu-before.cpu)/n, (after.memory-before.memory)/n
	return nil
}

func manyWorkers(o connectedOptions, f *connectedFigures) error {
	p, err := startPeer("dispatcher", o)
	if err != nil {
		return err
	}
	defer p.stop()
	before := p.now()
	workers := make([]*client, o.workers)
	defer func() {
		for _, w := range workers {
			if w != nil {
				w.conn.NetConn().Close()
			}
		}
	}()
	took, err := side(o.workers, func(i int) (err error) {
		workers[i], err = joinAs(i, p.join)
		return err
	})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	joined := p.now()
	stop := make(chan struct{})
	defer close(stop)
	go heartbeats(workers, stop)
	time.Sleep(settleTime)
	settled, n := p.now(), float64(o.workers)
	f.joins, f.joinCPU, f.memory = n/took.Seconds(), (joined.cpu-before.cpu)/n, (settled.memory-before.memory)/n
	time.Sleep(settleTime)
	f.idle = (p.now().cpu - settled.cpu) / settleTime.Seconds()
	if f.tasks, err = p.run(o.workers * tasksPerWorker); err != nil {
		return err
	}
	time.Sleep(pause)
	f.memoryAfter = (p.now().memory - before.memory) / n
	f.fewest = float64(slices.MinFunc(workers, func(a, b *client) int { return int(a.tasks.Load() - b.tasks.Load()) }).tasks.Load())
	for _, w := range workers {
		if err := w.failed.Load(); err != nil {
			return fmt.Errorf("a worker's session ended: %w", *err)
		}
	}
	return nil
}

// side calls f for 0 to n-1, so many side by side, and returns how long all took.
func side(n int, f func(int) error) (time.Duration, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, joiners)
	began := time.Now()
	for range joiners {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := f(int(i)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return time.Since(began), nil
	}
}

// perAddress is how many connections to one address come from one: that has some
// 28,000 ports.
const perAddress = 20_000

// dialFrom dials an address of this machine, tcp:HOST:PORT, for the i-th time. The
// kernel is quicker to find a port if it may choose the address too.
func dialFrom(i int, addr string) (net.Conn, error) {
	var d net.Dialer
	if i >= perAddress {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i/perAddress))}
	}
	return d.Dial("tcp", addr[len("tcp:"):])
}

// peer is the other process, which is this program too.
type peer struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	join mtls.Join
}

// envPeer says to a copy of this program what it is to be.
const envPeer = "_MUSTER_BENCH_PEER"

func startPeer(kind string, o connectedOptions) (*peer, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &peer{cmd: exec.Command(exe)}
	p.cmd.Env = append(os.Environ(), envPeer+"="+kind, envProfile+"="+o.profile, fmt.Sprintf("%s=%d", envWorkers, o.workers))
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if !p.out.Scan() {
		p.stop()
		return nil, errors.New("the other process did not start")
	}
	p.join, err = mtls.ParseJoin(p.out.Text())
	return p, err
}

// stop ends the other process.
func (p *peer) stop() {
	p.in.Close()
	p.cmd.Wait()
}

// run has the dispatcher run so many tasks and returns how many a second it did.
func (p *peer) run(tasks int) (float64, error) {
	if err := json.NewEncoder(p.in).Encode(tasks); err != nil {
		return 0, err
	}
	if !p.out.Scan() {
		return 0, errors.New("the dispatcher ended")
	}
	var rate float64
	return rate, json.Unmarshal(p.out.Bytes(), &rate)
}

// usage is what a process holds, in KiB, and has used, in ms.
type usage struct{ memory, cpu float64 }

func (p *peer) now() usage {
	pid := p.cmd.Process.Pid
	return usage{memory(pid) * 1024, cpu(pid)}
}
