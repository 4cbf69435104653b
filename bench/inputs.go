package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// first measures the time from the start of a command to its first result, for
// one input and for a million, and the memory that a million takes.
func (b *bench) first(rounds int) error {
	for _, n := range []int{1, 1_000_000} {
		inputs := filepath.Join(b.dir, "inputs")
		if err := os.WriteFile(inputs, lines(n), 0o600); err != nil {
			return err
		}
		var took []time.Duration
		var peak int
		for range rounds {
			d, kb, err := b.untilFirst(inputs)
			if err != nil {
				return err
			}
			took, peak = append(took, d), max(peak, kb)
		}
		fmt.Printf("first result of %d: %v", n, median(took).Round(time.Millisecond))
		if peak > 0 {
			fmt.Printf(", at most %d MB of memory with all inputs read", peak/1000)
		}
		fmt.Println()
	}
	return nil
}

// untilFirst returns the time to the first result and, if the run then still
// goes on, its peak memory in kB once the log says that all inputs are read.
func (b *bench) untilFirst(inputs string) (time.Duration, int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := b.command(b.muster, "run", "--log-level", "info", "-a", inputs, "--", "echo")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	log, err := cmd.StderrPipe()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	r := bufio.NewReader(out)
	if _, err := r.ReadString('\n'); err != nil {
		return 0, 0, fmt.Errorf("no first result: %w", err)
	}
	took := time.Since(start)
	drained := make(chan struct{})
	go func() {
		io.Copy(io.Discard, r)
		close(drained)
	}()
	kb := 0
	for s := bufio.NewScanner(log); s.Scan(); {
		if strings.Contains(s.Text(), "inputs read") {
			kb = peakMemory(cmd.Process.Pid)
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	<-drained
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 130 {
		return 0, 0, err
	}
	return took, kb, nil
}

// peakMemory is VmHWM of proc(5), 0 where there is none.
func peakMemory(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		return 0
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb
}

const (
	longLines  = 200_000
	longLine   = 5_000           // bytes
	standstill = 2 * time.Second // in which nothing more is read
)

// ahead measures how much is read of long lines, and what memory that takes, while
// the first of them occupies the only slot.
func (b *bench) ahead(rounds int) error {
	var read, peak []float64
	for range rounds {
		r, p, err := b.readAhead()
		if err != nil {
			return err
		}
		read, peak = append(read, r), append(peak, p)
	}
	same := func(v float64) float64 { return v }
	fmt.Printf("%d lines of %d bytes behind a slow task: %.0f MiB are read ahead, and take at most %.0f MB of memory\n",
		longLines, longLine, medianOf(read, same), medianOf(peak, same))
	return nil
}

// readAhead returns how many MiB muster reads before it stops, and its peak memory
// in MB.
func (b *bench) readAhead() (read, peak float64, err error) {
	cmd := b.command(b.muster, "run", "-n1", "--", "sh", "-c", "sleep 1000")
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	var taken atomic.Int64
	go func() {
		line := append(bytes.Repeat([]byte("x"), longLine-1), '\n')
		for range longLines {
			if n, err := in.Write(line); err != nil || n < len(line) {
				return // muster has ended
			}
			taken.Add(longLine)
		}
		in.Close()
	}()
	for last := int64(-1); taken.Load() != last; time.Sleep(standstill) {
		last = taken.Load()
	}
	read, peak = float64(taken.Load())/(1<<20), float64(peakMemory(cmd.Process.Pid))/1000
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 130 {
		return 0, 0, errors.Join(errors.New("muster run, when told to end"), err)
	}
	return read, peak, nil
}
