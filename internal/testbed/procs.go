package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// descendants lists the processes below a process.
func descendants(pid int) []int {
	var list []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				list = append(append(list, child), descendants(child)...)
			}
		}
	}
	return list
}

// Running lists the command lines, words joined by spaces, of the processes of
// this machine that a pattern matches, but for the test's own.
func Running(re *regexp.Regexp) []string {
	var list []string
	commandLines(func(line string) {
		if re.MatchString(line) {
			list = append(list, line)
		}
	})
	return list
}

// commandLines gives every process's, but for zombies, which have none.
func commandLines(each func(line string)) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range paths {
		if strings.Split(p, "/")[2] == strconv.Itoa(os.Getpid()) {
			continue
		}
		if b, err := os.ReadFile(p); err == nil && len(b) > 0 {
			each(strings.TrimSuffix(strings.ReplaceAll(string(b), "\x00", " "), " "))
		}
	}
}

// ArgsWatch looks at the command lines of all processes again and again, as
// whoever lies in wait for a secret with ps(1) would. What is there for less than
// a few milliseconds can escape it.
type ArgsWatch struct {
	done, over chan struct{}
	once       sync.Once
	mu         sync.Mutex // guards lines and bytes
	lines      map[string]bool
	bytes      int
}

// watchBytes bounds what an ArgsWatch remembers.
const watchBytes = 64 << 20

// WatchArgs starts one. Stop has to follow.
func WatchArgs() *ArgsWatch {
	w := &ArgsWatch{done: make(chan struct{}), over: make(chan struct{}), lines: map[string]bool{}}
	w.look()
	go w.watch()
	return w
}

func (w *ArgsWatch) watch() {
	defer close(w.over)
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-tick.C:
			w.look()
		}
	}
}

func (w *ArgsWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	commandLines(func(line string) {
		if !w.lines[line] && w.bytes < watchBytes {
			w.lines[line] = true
			w.bytes += len(line)
		}
	})
}

// Seen returns a command line that a pattern matches, of those that there have
// been since the start, or "".
func (w *ArgsWatch) Seen(re *regexp.Regexp) string {
	w.look()
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range w.lines {
		if re.MatchString(line) {
			return line
		}
	}
	return ""
}

// Stop ends it.
func (w *ArgsWatch) Stop() {
	w.once.Do(func() { close(w.done) })
	<-w.over
}
