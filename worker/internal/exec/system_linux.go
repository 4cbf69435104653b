package exec

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"muster/internal/proctree"
)

// havePidfds reports whether the kernel tells a process's end through a
// descriptor (Linux 5.3, and a sandbox that lets it).
func havePidfds() bool {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

func pipe(p *[2]int) error { return syscall.Pipe2(p[:], syscall.O_CLOEXEC) }

func forkExec(file string, argv []string, attr *syscall.ProcAttr, pidfds bool) (pid, pidfd int, err error) {
	pidfd = -1
	attr.Sys = &syscall.SysProcAttr{Setpgid: true}
	if pidfds {
		attr.Sys.PidFD = &pidfd
	}
	pid, err = syscall.ForkExec(file, argv, attr)
	return pid, pidfd, err
}

// stillThere is always false: a subreaper without children has no descendants.
func stillThere(int) bool { return false }

// endTree ends all that descends from this process.
func endTree(_ int, grace time.Duration) error {
	return proctree.Clear(grace, func(int) bool { return false })
}

// oomCounter is the file in which the kernel counts the processes of this
// cgroup that it killed for want of memory: memory.events in version 2,
// memory.oom_control in version 1 (cgroups(7), "oom_kill").
type oomCounter struct {
	fd   int
	path string
}

func findOOMCounter() *oomCounter {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for _, line := range strings.Split(string(text), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		var candidates []string
		switch {
		case f[0] == "0" && f[1] == "":
			candidates = []string{filepath.Join("/sys/fs/cgroup", f[2], "memory.events"), filepath.Join("/sys/fs/cgroup/unified", f[2], "memory.events")}
		case f[1] == "memory":
			candidates = []string{filepath.Join("/sys/fs/cgroup/memory", f[2], "memory.oom_control")}
		}
		for _, path := range candidates {
			if fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err == nil {
				c := &oomCounter{fd, path}
				if c.read() >= 0 {
					return c
				}
				syscall.Close(fd)
			}
		}
	}
	return nil
}

// read returns the count, or -1.
func (c *oomCounter) read() int64 {
	if c == nil {
		return -1
	}
	var buf [512]byte
	n := rawPread(c.fd, buf[:])
	for line := range bytes.Lines(buf[:n]) {
		if v, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return -1
}

// rose says so if the count has grown, and nothing otherwise.
func (c *oomCounter) rose(before int64) string {
	now := c.read()
	if before < 0 || now <= before {
		return ""
	}
	return fmt.Sprintf("oom_kill in %s rose from %d to %d while it ran", c.path, before, now)
}
