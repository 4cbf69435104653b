package quiet

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// Conn returns c with quiet Read and Write methods, or c itself if it is no
// socket of the kernel's.
func Conn(c net.Conn) net.Conn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	return &conn{c, raw}
}

type conn struct {
	net.Conn
	raw syscall.RawConn
}

func (c *conn) Read(p []byte) (int, error) { return read(c.raw, nil, p) }

func (c *conn) Write(p []byte) (int, error) { return write(c.raw, nil, p) }

func read(raw syscall.RawConn, _ io.Reader, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var n uintptr
	var e syscall.Errno
	err := raw.Read(func(fd uintptr) bool {
		n, e = call(syscall.SYS_READ, fd, p)
		return e != syscall.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case e != 0:
		return 0, os.NewSyscallError("read", e)
	case n == 0:
		return 0, io.EOF
	}
	return int(n), nil
}

func write(raw syscall.RawConn, _ io.Writer, p []byte) (int, error) {
	done := 0
	for done < len(p) {
		var n uintptr
		var e syscall.Errno
		err := raw.Write(func(fd uintptr) bool {
			n, e = call(syscall.SYS_WRITE, fd, p[done:])
			return e != syscall.EAGAIN
		})
		if err != nil {
			return done, err
		}
		if e != 0 {
			return done, os.NewSyscallError("write", e)
		}
		done += int(n)
	}
	return done, nil
}

func call(trap, fd uintptr, p []byte) (uintptr, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if e != syscall.EINTR {
			return n, e
		}
	}
}
