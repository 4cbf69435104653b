package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// way is one way to run a command for each line of standard input.
type way struct {
	name string
	argv []string
	env  []string
}

// cost is what a run took: of the clock, and of the CPU in all of its processes.
type cost struct{ wall, cpu time.Duration }

// throughput compares what a command that does nothing costs when it is run so many
// times: the ways take turns, and ratios are of runs in the same round.
func (b *bench) throughput(tasks, slots, rounds int) error {
	inputs := filepath.Join(b.dir, "inputs")
	if err := os.WriteFile(inputs, lines(tasks), 0o600); err != nil {
		return err
	}
	ways, err := b.ways(slots)
	if err != nil {
		return err
	}
	if err := adoptOrphans(); err != nil {
		return err
	}
	costs := make([][]cost, len(ways))
	for range rounds {
		for i, w := range ways {
			c, err := b.cost(inputs, w)
			if err != nil {
				return err
			}
			costs[i] = append(costs[i], c)
		}
	}
	fmt.Printf("%d × true, %d at once, median of %d rounds\n", tasks, slots, rounds)
	for i, w := range ways {
		fmt.Printf("  %-9s CPU %5.2f s, wall %5.2f s: xargs' CPU is %.2f of that, its wall %.2f\n", w.name,
			medianOf(costs[i], func(c cost) float64 { return c.cpu.Seconds() }), medianOf(costs[i], func(c cost) float64 { return c.wall.Seconds() }),
			medianRatio(costs[0], costs[i], func(c cost) time.Duration { return c.cpu }), medianRatio(costs[0], costs[i], func(c cost) time.Duration { return c.wall }))
	}
	return nil
}

// ways returns xargs first, which the others are held against.
func (b *bench) ways(slots int) ([]way, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	n := strconv.Itoa(slots)
	ways := []way{
		{name: "xargs", argv: []string{"xargs", "-P" + n, "-n1", "true"}},
		{name: "muster", argv: []string{b.muster, "run", "-n" + n, "--", "true"}},
		{name: "the floor", argv: []string{exe}, env: []string{envPeer + "=floor", envWorkers + "=" + n}},
	}
	if _, err := exec.LookPath("parallel"); err != nil {
		fmt.Fprintln(os.Stderr, "bench: GNU parallel is not installed; it is left out")
		return ways, nil
	}
	return append(ways, way{name: "parallel", argv: []string{"parallel", "-j" + n, "true"}}), nil
}

// cost runs a way once. Of a process that outlives its parent this process is told
// too, see adoptOrphans, so that nobody's CPU is left out.
func (b *bench) cost(inputs string, w way) (c cost, err error) {
	in, err := os.Open(inputs)
	if err != nil {
		return c, err
	}
	defer in.Close()
	before, err := childrensCPU()
	if err != nil {
		return c, err
	}
	cmd := b.command(w.argv[0], w.argv[1:]...)
	cmd.Env = append(cmd.Env, w.env...)
	cmd.Stdin = in
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return c, fmt.Errorf("%s: %w", strings.Join(w.argv, " "), err)
	}
	c.wall = time.Since(start)
	reapOrphans()
	after, err := childrensCPU()
	c.cpu = after - before
	return c, err
}

// childrensCPU is the time of all children that have ended and been waited for, and
// of theirs (getrusage(2)).
func childrensCPU() (time.Duration, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &r); err != nil {
		return 0, fmt.Errorf("read what CPU the children have used: %w", err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), nil
}

// reapOrphans waits until this process has no children, which no call of this
// program is waiting for.
func reapOrphans() {
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// medianRatio is the median of a's values over b's, round by round.
func medianRatio(a, b []cost, of func(cost) time.Duration) float64 {
	var ratios []float64
	for i := range a {
		ratios = append(ratios, of(a[i]).Seconds()/of(b[i]).Seconds())
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// runFloor runs `true` for each line of standard input, so many at once, and does
// nothing that a program could leave out that is to know what a command has printed
// and how it has ended.
func runFloor() error {
	slots, err := strconv.Atoi(os.Getenv(envWorkers))
	if err != nil {
		return err
	}
	path, err := exec.LookPath("true")
	if err != nil {
		return err
	}
	inputs, failed := make(chan string), make(chan error, slots)
	var wg sync.WaitGroup
	for range slots {
		wg.Go(func() {
			runtime.LockOSThread()
			for in := range inputs {
				if err := runOne(path, in); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		select {
		case inputs <- in.Text():
		case err := <-failed:
			return err
		}
	}
	close(inputs)
	wg.Wait()
	return nil
}

// runOne runs a program with one argument, reads what it prints and waits for it.
func runOne(path, arg string) error {
	out, err := newPipe()
	if err != nil {
		return err
	}
	errs, err := newPipe()
	if err != nil {
		return err
	}
	pid, err := syscall.ForkExec(path, []string{"true", arg}, &syscall.ProcAttr{Files: []uintptr{0, out.w, errs.w}})
	if err != nil {
		return fmt.Errorf("run %s: %w", path, err)
	}
	out.drain()
	errs.drain()
	var st syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &st, 0, nil); err != nil || st != 0 {
		return fmt.Errorf("wait for %s: status %d, %w", path, st, err)
	}
	return nil
}

type pipe struct{ r, w uintptr }

func newPipe() (pipe, error) {
	var fds [2]int
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := syscall.Pipe(fds[:]); err != nil {
		return pipe{}, fmt.Errorf("make a pipe: %w", err)
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	return pipe{uintptr(fds[0]), uintptr(fds[1])}, nil
}

// drain reads what the child writes, to its end.
func (p pipe) drain() {
	syscall.Close(int(p.w))
	var b [4 << 10]byte
	for {
		if n, err := syscall.Read(int(p.r), b[:]); n <= 0 && err != syscall.EINTR {
			break
		}
	}
	syscall.Close(int(p.r))
}
