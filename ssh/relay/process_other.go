//go:build !linux

package relay

import "syscall"

// identify has no more than the number here.
func identify(pid int) Process { return Process{Pid: pid} }

// isAlive reports whether there is a process of that number.
func isAlive(p Process) bool {
	return p.Pid > 0 && syscall.Kill(p.Pid, 0) == nil
}

// isOurs leaves it to the kernel, which stops all but root.
func isOurs(pid int) bool { return true }

// isRelay is false: without a start time nobody can say who has the number now.
func isRelay(pid int) bool { return false }

func bootID() string { return "" }
