//go:build !linux

package exec

import (
	"time"

	"golang.org/x/sys/unix"
)

// What a poller watches.
const (
	watchStdout = iota
	watchStderr
	watchWake
	watchExit
	watched
)

// poller waits for descriptors.
type poller struct{ fds [watched]unix.PollFd }

func (p *poller) open() error {
	for i := range p.fds {
		p.fds[i] = unix.PollFd{Fd: -1, Events: unix.POLLIN}
	}
	return nil
}

// watch starts waiting for fd.
func (p *poller) watch(what, fd int) { p.fds[what].Fd = int32(fd) }

// unwatch stops waiting for fd.
func (p *poller) unwatch(what, _ int) { p.fds[what].Fd = -1 }

// wait returns when something can be read or has been closed by the other
// side, or at a time, unless that is zero.
func (p *poller) wait(until time.Time) (ready [watched]bool) {
	timeout := -1
	if !until.IsZero() {
		timeout = timeoutMillis(time.Until(until))
	}
	fds := p.fds
	if n, err := unix.Poll(fds[:], timeout); err != nil || n == 0 {
		return ready
	}
	for i := range fds {
		ready[i] = fds[i].Revents != 0
	}
	return ready
}
