//go:build !linux

package quiet

import (
	"io"
	"net"
	"syscall"
)

// Conn returns c: only Linux promises what is needed for more.
func Conn(c net.Conn) net.Conn { return c }

func read(_ syscall.RawConn, from io.Reader, p []byte) (int, error) { return from.Read(p) }

func write(_ syscall.RawConn, to io.Writer, p []byte) (int, error) { return to.Write(p) }
