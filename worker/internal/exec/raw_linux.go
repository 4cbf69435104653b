package exec

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of every task's path are made here without telling Go's scheduler:
// none of them waits for anything. Told of a system call, the runtime wakes a
// thread that looks every 20 µs whether it has ended, all through the start of
// the next process; that would cost a short task a tenth of its time.

func rawRead(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

func rawClose(fd int) { syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0) }

func rawWait(pid int, status *syscall.WaitStatus) (int, error) {
	var s int32
	got, _, e := syscall.RawSyscall6(syscall.SYS_WAIT4, uintptr(pid), uintptr(unsafe.Pointer(&s)), syscall.WNOHANG, 0, 0, 0)
	*status = syscall.WaitStatus(s)
	if e != 0 {
		return -1, e
	}
	return int(got), nil
}

func rawEpollWait(fd int, events []syscall.EpollEvent) int {
	n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// rawPoll waits for descriptors for d at most, and holds its thread and with it its
// share of the scheduler meanwhile. It returns how many are ready.
func rawPoll(fds []unix.PollFd, d time.Duration) int {
	t := unix.NsecToTimespec(int64(d))
	n, _, e := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), uintptr(unsafe.Pointer(&t)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

func rawPread(fd int, p []byte) int {
	n, _, e := syscall.RawSyscall6(syscall.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// rawUnlink and rawOpenDir take paths that end in NUL.
func rawUnlink(path []byte) error {
	const cwd = -100 // AT_FDCWD
	at := cwd
	_, _, e := syscall.RawSyscall(syscall.SYS_UNLINKAT, uintptr(at), uintptr(unsafe.Pointer(&path[0])), 0)
	if e != 0 {
		return e
	}
	return nil
}

func rawOpenDir(path []byte) (int, error) {
	const cwd = -100 // AT_FDCWD
	at := cwd
	fd, _, e := syscall.RawSyscall6(syscall.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&path[0])),
		syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

func rawDirent(fd int, p []byte) int {
	n, _, e := syscall.RawSyscall(syscall.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if e != 0 {
		return -1
	}
	return int(n)
}

// canEnter reports whether a directory can be entered, before anything is started
// in it. The path "dir/." is no file's.
func canEnter(s *scratch, dir string) bool {
	return len(dir)+3 <= len(s.path) && rawAccess(append(append(s.path[:0], dir...), "/.\x00"...), unix.X_OK)
}

// canWrite reports whether files can be made in the scratch folder. That its file
// system is writable is not seen from a folder that is empty already.
func canWrite(s *scratch) bool {
	return len(s.dir) < len(s.path) && rawAccess(append(append(s.path[:0], s.dir...), 0), unix.W_OK|unix.X_OK)
}

// rawAccess is access(2) of a path that ends in NUL.
func rawAccess(path []byte, mode uintptr) bool {
	const cwd = -100 // AT_FDCWD
	at := cwd
	_, _, e := syscall.RawSyscall(syscall.SYS_FACCESSAT, uintptr(at), uintptr(unsafe.Pointer(&path[0])), mode)
	return e == 0
}
