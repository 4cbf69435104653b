package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	mtls "muster/tls"
)

const (
	floodWorkers = 8
	floodTasks   = 100_000         // of one measurement
	floodHolds   = 4 * time.Second // how long the flood keeps a connection
	floodJoins   = time.Second / 4 // between two workers that join meanwhile
	floodBound   = 5 * time.Second // for one of them to join
	floodRises   = 2 * floodHolds  // until as much is open as will be
	floodDialers = 32              // at once
	floodAtOnce  = 20 * time.Millisecond
)

// floodOptions say what runFlood measures.
type floodOptions struct{ rate, rounds int }

// runFlood has workers run tasks, quietly and while a process opens so many connections
// a second to the same port and says nothing, or little, on them; and has others join.
func runFlood(o floodOptions) error {
	if err := raiseFileLimit(uint64(o.rate*int(floodHolds/time.Second)) + 1000); err != nil {
		return err
	}
	var all []floodFigures
	for i := range o.rounds {
		f, err := floodRound(o)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "round %d: %+v\n", i+1, f)
		all = append(all, f)
	}
	m := func(of func(floodFigures) float64) float64 { return medianOf(all, of) }
	worst := slices.MaxFunc(all, func(a, b floodFigures) int { return int(a.slowest - b.slowest) }).slowest
	fmt.Printf("a flood of half-open connections from one process, median of %d rounds\n", o.rounds)
	fmt.Printf("  flood        %7.0f a second, of %d that were to be; %.0f MiB of the dispatcher's memory, beside %.0f\n",
		m(func(f floodFigures) float64 { return f.flood }), o.rate, m(func(f floodFigures) float64 { return f.memory }), m(func(f floodFigures) float64 { return f.quietMemory }))
	fmt.Printf("  no-op tasks  %7.0f a second, %.2f of %.0f without it\n",
		m(func(f floodFigures) float64 { return f.flooded }), m(func(f floodFigures) float64 { return f.flooded / f.quiet }), m(func(f floodFigures) float64 { return f.quiet }))
	fmt.Printf("  joins        %7d of %d workers within %v, the slowest of all in %v\n", sum(all, func(f floodFigures) int { return f.joined }), sum(all, func(f floodFigures) int { return f.tried }), floodBound, worst.Round(time.Millisecond))
	return nil
}

// floodFigures are of one round: rates are a second, memory is in MiB.
type floodFigures struct {
	quiet, flooded, flood float64
	quietMemory, memory   float64
	tried, joined         int
	slowest               time.Duration
}

func sum(all []floodFigures, of func(floodFigures) int) (n int) {
	for _, f := range all {
		n += of(f)
	}
	return n
}

func floodRound(o floodOptions) (f floodFigures, err error) {
	p, err := startPeer("dispatcher", connectedOptions{workers: 1000})
	if err != nil {
		return f, err
	}
	defer p.stop()
	var workers []*client
	defer func() {
		for _, w := range workers {
			w.conn.NetConn().Close()
		}
	}()
	for i := range floodWorkers {
		w, err := joinAs(i, p.join)
		if err != nil {
			return f, err
		}
		workers = append(workers, w)
	}
	stop := make(chan struct{})
	defer close(stop)
	go heartbeats(workers, stop)
	if _, err := p.run(floodTasks); err != nil { // what is warm is compared
		return f, err
	}
	if f.quiet, err = p.run(floodTasks); err != nil {
		return f, err
	}
	f.quietMemory = p.now().memory / 1024
	flood, err := startFlood(p.join.Addrs[0], o.rate)
	if err != nil {
		return f, err
	}
	time.Sleep(floodRises)
	ctx, cancel := context.WithCancel(context.Background())
	joins := make(chan struct{})
	go func() {
		defer close(joins)
		f.join(ctx, p.join)
	}()
	f.flooded, err = p.run(floodTasks)
	time.Sleep(floodBound) // and joins go on
	cancel()
	<-joins
	f.memory = p.now().memory / 1024
	rate, floodErr := flood.stop()
	f.flood = rate
	for _, w := range workers {
		if why := w.failed.Load(); why != nil {
			err = errors.Join(err, fmt.Errorf("a worker's session ended: %w", *why))
		}
	}
	return f, errors.Join(err, floodErr)
}

// join joins one worker after another, from the address that the flood comes from.
func (f *floodFigures) join(ctx context.Context, join mtls.Join) {
	for i := floodWorkers; ctx.Err() == nil; i++ {
		began := time.Now()
		for {
			c, err := joinAs(i, join)
			if err == nil {
				f.joined++
				c.leave()
				break
			}
			if time.Since(began) > floodBound {
				fmt.Fprintln(os.Stderr, "bench: a worker did not join:", err)
				break
			}
			time.Sleep(10 * time.Millisecond) // and dials again, as workers do
		}
		f.tried++
		f.slowest = max(f.slowest, time.Since(began))
		time.Sleep(floodJoins)
	}
}

// flood is a process that opens connections.
type flood struct {
	cmd *exec.Cmd
	in  interface{ Close() error }
	out *bufio.Scanner
}

// What a flood is told by its environment.
const (
	envFloodAt   = "_MUSTER_BENCH_FLOOD_AT"
	envFloodRate = "_MUSTER_BENCH_FLOOD_RATE"
)

func startFlood(addr string, rate int) (*flood, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &flood{cmd: exec.Command(exe)}
	f.cmd.Env = append(os.Environ(), envPeer+"=flood", envFloodAt+"="+addr, envFloodRate+"="+strconv.Itoa(rate))
	f.cmd.Stderr = os.Stderr
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.out = bufio.NewScanner(out)
	return f, f.cmd.Start()
}

// stop ends the flood and returns how many connections it made a second.
func (f *flood) stop() (float64, error) {
	f.in.Close()
	f.out.Scan()
	rate, err := strconv.ParseFloat(f.out.Text(), 64)
	return rate, errors.Join(err, f.cmd.Wait())
}

// runFlooder makes connections until its standard input ends: every second one says the
// first bytes of a handshake. It closes each after a while.
func runFlooder() error {
	rate, err := strconv.Atoi(os.Getenv(envFloodRate))
	if err != nil {
		return err
	}
	addr := os.Getenv(envFloodAt)
	due := make(chan int, rate)
	var mu sync.Mutex
	made := 0
	for range floodDialers {
		go func() {
			for i := range due {
				c, err := dialFrom(0, addr)
				if err != nil {
					continue
				}
				mu.Lock()
				made++
				mu.Unlock()
				if i%2 == 0 {
					c.Write([]byte{22, 3, 1, 2, 0, 1}) // a record of 512 bytes, a client hello
				}
				time.AfterFunc(floodHolds, func() {
					c.(*net.TCPConn).SetLinger(0) // its port is free at once
					c.Close()
				})
			}
		}()
	}
	over := make(chan struct{})
	go func() {
		bufio.NewReader(os.Stdin).ReadByte()
		close(over)
	}()
	began, sent := time.Now(), 0
	t := time.NewTicker(floodAtOnce)
	for {
		select {
		case <-t.C:
			for ; sent < int(time.Since(began).Seconds()*float64(rate)); sent++ {
				select {
				case due <- sent:
				default: // it cannot keep up
				}
			}
		case <-over:
			mu.Lock()
			defer mu.Unlock()
			fmt.Println(float64(made) / time.Since(began).Seconds())
			return nil
		}
	}
}
