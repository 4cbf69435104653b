package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/state"
)

const (
	clients = 64   // that submit and collect at once
	waiters = 1000 // that wait at once
	idle    = 2 * time.Second
)

// runSession submits tasks one by one to a dispatcher with many workers,
// collects each, and says how the dispatcher's memory went; then has many
// clients wait, and says what CPU that takes.
func runSession(tasks, workers int) error {
	dir, err := os.MkdirTemp("", "mb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, muster: filepath.Join(dir, "muster")}
	if err := b.build(); err != nil {
		return err
	}
	env := append(os.Environ(), "MUSTER_STATE="+dir+"/state")
	up := exec.Command(b.muster, "up", "-n", strconv.Itoa(workers), "--detach")
	up.Env, up.Stderr = env, os.Stderr
	if err := up.Run(); err != nil {
		return fmt.Errorf("muster up: %w", err)
	}
	sockets, err := state.SocketDir(func(name string) string {
		if name == "MUSTER_STATE" {
			return dir + "/state"
		}
		return os.Getenv(name)
	})
	if err != nil {
		return err
	}
	defer func() {
		down := exec.Command(b.muster, "down")
		down.Env = env
		down.Run()
		os.RemoveAll(sockets)
	}()
	ctx := context.Background()
	c := control.NewClient(control.Socket(sockets, "default"))
	st, err := allJoined(ctx, c, workers)
	if err != nil {
		return err
	}
	first, last, took, err := submitAll(ctx, c, st.Pid, tasks)
	if err != nil {
		return err
	}
	fmt.Printf("%d workers, %d submissions, %d clients: %.0f tasks/s\n", workers, tasks, clients, float64(tasks)/took.Seconds())
	fmt.Printf("memory of the dispatcher: %.1f MiB after a tenth, %.1f MiB at the end, ratio %.2f\n", first, last, last/first)
	used, err := waitAll(ctx, c, st.Pid)
	if err != nil {
		return err
	}
	fmt.Printf("%d clients waiting: %.1f ms of CPU a second in the dispatcher\n", waiters, used)
	return nil
}

// allJoined waits until the workers are there.
func allJoined(ctx context.Context, c *control.Client, workers int) (st *control.Status, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = c.Watch(ctx, func(s *control.Status) error {
		if st = s; s.Profiles[0].Info.Connections >= workers {
			stop()
		}
		return nil
	})
	return st, err
}

// submitAll runs all tasks and returns the dispatcher's memory after a tenth of
// them and at the end, in MiB.
func submitAll(ctx context.Context, c *control.Client, pid, tasks int) (first, last float64, took time.Duration, err error) {
	var next atomic.Int64
	var mu sync.Mutex
	var failed error
	began := time.Now()
	one := func() error {
		a, err := c.Submit(ctx, "default", control.SubmitRequest{Task: control.Task{Argv: []string{"true"}, Dir: "/"}})
		if err != nil {
			return err
		}
		err = c.InOrder(ctx, a.ID, func(r *control.Result) error {
			if !r.OK {
				return fmt.Errorf("a task failed: %s", r.Error.Message)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return c.Forget(ctx, a.ID)
	}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(tasks); n = next.Add(1) {
				err := one()
				mu.Lock()
				if err != nil && failed == nil {
					failed = err
				}
				if n == int64(max(tasks/10, 1)) {
					first = memory(pid)
				}
				over := failed != nil
				mu.Unlock()
				if over {
					return
				}
			}
		})
	}
	wg.Wait()
	return first, memory(pid), time.Since(began), failed
}

// waitAll has many clients wait for one task, and returns the dispatcher's CPU
// time in ms for each second of it.
func waitAll(ctx context.Context, c *control.Client, pid int) (float64, error) {
	a, err := c.Submit(ctx, "default", control.SubmitRequest{Task: control.Task{Argv: []string{"sleep", "1000"}, Dir: "/"}})
	if err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() { c.Wait(ctx, control.WaitRequest{IDs: []dispatcher.ID{a.ID}}) })
	}
	time.Sleep(idle) // until all have asked
	before := cpu(pid)
	time.Sleep(idle)
	used := cpu(pid) - before
	if _, err := c.Cancel(ctx, a.ID); err != nil {
		return 0, err
	}
	wg.Wait()
	return used / idle.Seconds(), nil
}

// memory is the resident memory of a process in MiB (proc(5), VmRSS).
func memory(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}

// cpu is the time that a process has used, in ms (proc(5), stat: utime and
// stime, in hundredths of a second).
func cpu(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(after)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) * 10
}
