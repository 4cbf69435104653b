package host

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"muster/internal/proctree"
)

// What a worker needs. Of open files each slot has two pipes in the worker, and a
// task pipes, a folder and what its output is lent to. A slot is a process with
// some six threads, and its task is one more.
const (
	filesOfWorker   = 24
	filesOfSlot     = 8
	threadsOfWorker = 12
	threadsOfSlot   = 8

	// Of a dispatcher: its own with those of commands that talk to it, and for each
	// worker on this machine a pipe, a process and a connection.
	filesOfHost  = 32
	filesOfLocal = 3

	addressSpace = 1_300_000_000 // bytes
	longFile     = 64 << 20      // what nobody calls short, in bytes

	// manyThreads is a limit that nobody comes near to by workers.
	manyThreads = 100_000
)

// enough checks that a worker with so many slots may have what it needs, so that
// what is short is said once and not by each task.
func enough(slots int) error {
	return errors.Join(enoughMemory(), enoughFiles(slots), enoughThreads(slots))
}

// enoughMemory checks that a process may reserve the address space that Go's runtime does
// when a program starts. One that may not crashes.
func enoughMemory() error {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) != nil {
		return nil // it is not known
	}
	return memoryFor(limit.Cur)
}

func memoryFor(limit uint64) error {
	if limit >= addressSpace {
		return nil
	}
	return fmt.Errorf("each of muster's processes reserves %d MB of address space, of which it uses little, and may have %d MB here: raise the limit with `ulimit -v %d`",
		addressSpace/1_000_000, limit/1_000_000, addressSpace/1024)
}

// shortFiles says that files may not become as long as those in which outputs are kept;
// "" if they may.
func shortFiles() string {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_FSIZE, &limit) != nil {
		return ""
	}
	return shortFilesText(limit.Cur)
}

func shortFilesText(limit uint64) string {
	if limit >= longFile {
		return ""
	}
	return fmt.Sprintf("files may have no more than %d KB here, so that longer outputs cannot be kept: raise the limit with `ulimit -f`", limit/1000)
}

// enoughFiles checks that a worker with so many slots may open as many files as
// it needs. Go's runtime raises the soft limit to the hard one when a program
// starts, and gives the children of os/exec and syscall.ForkExec the one that the
// user had.
func enoughFiles(slots int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil // it is not known
	}
	return filesFor(slots, limit.Max)
}

func filesFor(slots int, limit uint64) error {
	need := filesOfWorker + slots*filesOfSlot
	if limit >= uint64(need) {
		return nil
	}
	return fmt.Errorf("a worker with %s needs %d open files and may have %d here: %sraise the limit with `ulimit -n %[2]d`",
		slotsText(slots), need, limit, fewer((int(limit)-filesOfWorker)/filesOfSlot))
}

// enoughForLocals checks that this process may open as many files as so many workers on
// this machine need.
func enoughForLocals(workers int) error {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil // it is not known
	}
	return localsFor(workers, limit.Max)
}

func localsFor(workers int, limit uint64) error {
	need := filesOfHost + workers*filesOfLocal
	if workers == 0 || limit >= uint64(need) {
		return nil
	}
	advice := ""
	if most := (int(limit) - filesOfHost) / filesOfLocal; most > 0 {
		advice = fmt.Sprintf("take at most %[1]d of them (-n %[1]d), or ", most)
	}
	return fmt.Errorf("with %d workers on this machine the dispatcher needs %d open files and may have %d here: %sraise the limit with `ulimit -n %[2]d`", workers, need, limit, advice)
}

// fewer is the advice to take so many slots, if that is any.
func fewer(slots int) string {
	if slots < 1 {
		return ""
	}
	return fmt.Sprintf("take at most %s (-n %d), or ", slotsText(slots), slots)
}

// enoughThreads checks the processes and threads that a worker needs against what
// its user has already. A program of Go that may have no more threads crashes.
func enoughThreads(slots int) error {
	var limit unix.Rlimit
	if os.Getuid() == 0 || unix.Getrlimit(unix.RLIMIT_NPROC, &limit) != nil || limit.Cur > manyThreads {
		return nil
	}
	have, err := proctree.Threads(os.Getuid())
	if err != nil {
		return nil // it is not known
	}
	return threadsFor(slots, have, int(limit.Cur))
}

func threadsFor(slots, have, limit int) error {
	need, left := threadsOfWorker+slots*threadsOfSlot, max(limit-have, 0)
	if left >= need {
		return nil
	}
	return fmt.Errorf("a worker with %s needs some %d processes and threads, and its user may have %d more here (%d of %d are taken): %send something, or raise the limit with `ulimit -u`",
		slotsText(slots), need, left, have, limit, fewer((left-threadsOfWorker)/threadsOfSlot))
}

// explainStart says what to do about a process that could not be started.
func explainStart(err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("%w: this user may have no more processes; end some, or raise the limit with `ulimit -u`", err)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%w: the dispatcher may open no more; start it again where `ulimit -n` is higher", err)
	}
	return err
}

func slotsText(n int) string {
	if n == 1 {
		return "1 slot"
	}
	return fmt.Sprintf("%d slots", n)
}
