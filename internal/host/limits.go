package host

import (
	"errors"
	"fmt"
	"syscall"
)

// What a worker's process needs of open files: each slot has a socket, and a task
// of it pipes, a folder and what it lends its output to.
const (
	filesOfWorker = 24
	filesOfSlot   = 8
)

// enoughFiles checks that a worker with so many slots may open as many files as
// it needs. Go's runtime raises the soft limit to the hard one when a program
// starts, and gives the children of os/exec and syscall.ForkExec the one that the
// user had.
func enoughFiles(slots int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil // it is not known
	}
	need := filesOfWorker + slots*filesOfSlot
	if limit.Max >= uint64(need) {
		return nil
	}
	fit := (int(limit.Max) - filesOfWorker) / filesOfSlot
	if fit < 1 {
		return fmt.Errorf("a worker needs %d open files and may have %d here: raise the limit with `ulimit -n %[1]d`", need, limit.Max)
	}
	return fmt.Errorf("a worker with %d slots needs %d open files and may have %d here: take at most %d slots (-n %[4]d), or raise the limit with `ulimit -n %[2]d`",
		slots, need, limit.Max, fit)
}

// explainStart says what to do about a process that could not be started.
func explainStart(err error) error {
	if errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("%w: this user may have no more processes; end some, or raise the limit with `ulimit -u`", err)
	}
	return err
}
