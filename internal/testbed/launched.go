package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// launcher starts processes for a service, as another machine would: each in a
// session of its own, with an environment that is not the client's. Their output
// is in dir/job-N.out.
type launcher struct {
	dir  string
	env  []string // NAME=VALUE; PATH is where programs are looked for
	work string   // where they start
	mu   sync.Mutex
	n    int // jobs that have been given a number
	// started counts those that were started, or should have been but for want of
	// their program.
	started int
	over    bool
	live    sync.WaitGroup
}

// launched is one of them.
type launched struct {
	l    *launcher
	id   string
	argv []string
	env  []string // beside that of all
	// These are guarded by l.mu.
	cmd   *exec.Cmd
	state string // QUEUED, RUNNING, DONE, FAILED; GONE is one that was taken back
}

// next gives a job its number, and starts nothing.
func (l *launcher) next(argv ...string) *launched {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return &launched{l: l, id: fmt.Sprintf("job-%d", l.n), argv: argv, state: "QUEUED"}
}

// output is the file with what the job has printed.
func (j *launched) output() string { return filepath.Join(j.l.dir, j.id+".out") }

// start starts it unless it was taken back. What cannot be started fails and says
// why in its output.
func (j *launched) start() {
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	if j.l.over || j.state != "QUEUED" {
		return
	}
	j.l.started++
	j.state = "FAILED"
	out, err := os.OpenFile(j.output(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	defer out.Close()
	path, err := j.l.find(j.argv[0])
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	cmd := &exec.Cmd{Path: path, Args: j.argv, Dir: j.l.work, Stdout: out, Stderr: out, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	cmd.Env = append(slices.Concat(j.l.env, j.env), j.l.mark(), "TESTBED_JOB="+j.id)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(out, err)
		return
	}
	j.cmd, j.state = cmd, "RUNNING"
	j.l.live.Go(func() { j.wait(cmd) })
}

func (j *launched) wait(cmd *exec.Cmd) {
	err := cmd.Wait()
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	if j.state != "RUNNING" {
		return
	}
	j.state = "DONE"
	if err != nil {
		j.state = "FAILED"
	}
}

// find looks for a program where the job's own PATH says.
func (l *launcher) find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range l.env {
		if dirs, ok := strings.CutPrefix(kv, "PATH="); ok {
			for _, dir := range filepath.SplitList(dirs) {
				if p := filepath.Join(dir, name); executable(p) {
					return p, nil
				}
			}
		}
	}
	return "", errors.New(name + ": not found")
}

// mark is in the environment of all that it starts.
func (l *launcher) mark() string { return "TESTBED_LAUNCHER=" + l.dir }

func (j *launched) status() string {
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	return j.state
}

// grace is between the two signals that end a job.
const grace = 2 * time.Second

// cancel takes a job back: SIGTERM to all that it has started, wherever that has
// gone, and SIGKILL after the grace.
func (j *launched) cancel() {
	j.l.mu.Lock()
	defer j.l.mu.Unlock()
	j.state = "GONE"
	if j.cmd == nil || j.l.over {
		return
	}
	own := func(environ string) bool { return strings.Contains(environ, "\x00TESTBED_JOB="+j.id+"\x00") }
	for _, pid := range marked(j.l.mark(), own) {
		syscall.Kill(pid, syscall.SIGTERM)
	}
	j.l.live.Go(func() {
		for end := time.Now().Add(grace); time.Now().Before(end) && len(marked(j.l.mark(), own)) > 0; {
			time.Sleep(20 * time.Millisecond)
		}
		endAll(j.l.mark(), own)
	})
}

// count is how many have been started.
func (l *launcher) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.started
}

// stop kills all that it has started, and starts nothing any more.
func (l *launcher) stop() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	endAll(l.mark(), func(string) bool { return true })
	l.live.Wait()
}
