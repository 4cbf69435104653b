package host

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUser returns whose process is at the other end of a socket (getpeereid(3)), as it
// was when that dialled.
func peerUser(c *net.UnixConn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *unix.Xucred
	if ctl := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED) }); ctl != nil {
		return -1, ctl
	}
	if err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}
