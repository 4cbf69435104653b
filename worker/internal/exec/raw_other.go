//go:build !linux

package exec

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func rawRead(fd int, p []byte) (int, error) { return syscall.Read(fd, p) }

func rawClose(fd int) { syscall.Close(fd) }

func rawWait(pid int, status *syscall.WaitStatus) (int, error) {
	return syscall.Wait4(pid, status, syscall.WNOHANG, nil)
}

func rawUnlink(path []byte) error { return syscall.Unlink(string(path[:len(path)-1])) }

func rawOpenDir(path []byte) (int, error) {
	return syscall.Open(string(path[:len(path)-1]), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
}

func rawDirent(fd int, p []byte) int {
	n, err := syscall.ReadDirent(fd, p)
	if err != nil {
		return -1
	}
	return n
}

// canEnter leaves it to lackOfDirectory to find out.
func canEnter(*scratch, string) bool { return false }

// rawPoll is for pidfds, of which there are none here.
func rawPoll([]unix.PollFd, time.Duration) int { return 0 }

// canWrite leaves it to prepare to find out.
func canWrite(*scratch) bool { return true }
