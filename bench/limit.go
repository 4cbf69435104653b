package main

import (
	"fmt"
	"syscall"
)

// raiseFileLimit lets this process, and those that it starts, have so many files
// open, which only root can do beyond the hard limit.
func raiseFileLimit(n uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit on open files: %w", err)
	}
	if l.Cur >= n {
		n = l.Cur // but say it: Go lowers it again for children otherwise
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: max(l.Max, n)}); err != nil {
		return fmt.Errorf("raise the limit on open files to %d, from %d: %w: fewer workers need fewer", n, l.Max, err)
	}
	return nil
}
