package exec

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// What a poller watches.
const (
	watchStdout = iota
	watchStderr
	watchWake
	watchExit
	watched
)

// poller waits for descriptors. Go's own network poller waits for the epoll
// descriptor here, so that a goroutine sleeps and not a thread in a system
// call, which the runtime would look after every 20 µs.
type poller struct {
	epfd  int
	file  *os.File
	conn  syscall.RawConn
	until time.Time
	buf   [watched]syscall.EpollEvent
}

func (p *poller) open() error {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	p.epfd, p.file = fd, os.NewFile(uintptr(fd), "epoll")
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("wait for tasks: %w", err)
	}
	p.conn, err = p.file.SyscallConn()
	return err
}

// watch starts waiting for fd. What is closed is not waited for any more.
func (p *poller) watch(what, fd int) {
	syscall.EpollCtl(p.epfd, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(what)})
}

// unwatch stops waiting for fd, which stays open.
func (p *poller) unwatch(_, fd int) {
	syscall.EpollCtl(p.epfd, syscall.EPOLL_CTL_DEL, fd, &syscall.EpollEvent{})
}

// wait returns when something can be read or has been closed by the other
// side, or at a time, unless that is zero.
func (p *poller) wait(until time.Time) (ready [watched]bool) {
	if !until.Equal(p.until) {
		p.file.SetReadDeadline(until)
		p.until = until
	}
	n := 0
	err := p.conn.Read(func(fd uintptr) bool {
		n = rawEpollWait(int(fd), p.buf[:])
		return n > 0
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		n = rawEpollWait(p.epfd, p.buf[:])
	}
	for i := range n {
		ready[p.buf[i].Fd] = true
	}
	return ready
}
