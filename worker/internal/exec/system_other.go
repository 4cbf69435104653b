//go:build !linux

package exec

import (
	"syscall"
	"time"

	"muster/internal/proctree"
)

func havePidfds() bool { return false }

func pipe(p *[2]int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := syscall.Pipe(p[:]); err != nil {
		return err
	}
	syscall.CloseOnExec(p[0])
	syscall.CloseOnExec(p[1])
	return nil
}

func forkExec(file string, argv []string, attr *syscall.ProcAttr, _ bool) (pid, pidfd int, err error) {
	attr.Sys = &syscall.SysProcAttr{Setpgid: true}
	pid, err = syscall.ForkExec(file, argv, attr)
	return pid, -1, err
}

// stillThere reports whether the task's process group has a member.
func stillThere(pid int) bool { return syscall.Kill(-pid, 0) == nil }

// endTree ends the task's process group; who left it is out of reach here.
func endTree(pid int, grace time.Duration) error {
	if err := proctree.KillGroup(pid, syscall.SIGTERM); err != nil {
		return err
	}
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if !stillThere(pid) {
			return nil
		}
	}
	return proctree.KillGroup(pid, syscall.SIGKILL)
}

// oomCounter does not exist here.
type oomCounter struct{}

func findOOMCounter() *oomCounter       { return nil }
func (c *oomCounter) read() int64       { return -1 }
func (c *oomCounter) rose(int64) string { return "" }
