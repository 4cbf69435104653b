package quiet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Pipes is a connection of two pipes, one each way. Where a socket tells a writer,
// who may not even wait, each time that its peer has read something, a pipe wakes
// only writers that wait: between processes that say little at a time that halves
// the wake-ups.
type Pipes struct {
	in, out        *os.File
	reader, writer syscall.RawConn
}

var _ io.ReadWriteCloser = (*Pipes)(nil)

// NewPipes makes a connection of the end of a pipe to read from and the end of
// another to write to, which it owns from then on.
func NewPipes(in, out *os.File) (*Pipes, error) {
	p := &Pipes{in: in, out: out}
	var err error
	if p.reader, err = in.SyscallConn(); err == nil {
		p.writer, err = out.SyscallConn()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Inherited makes a connection of two descriptors that were inherited.
func Inherited(in, out int) (*Pipes, error) {
	var files [2]*os.File
	for i, fd := range []int{in, out} {
		// Without it the runtime would wait in system calls, with a thread each.
		if err := syscall.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("descriptor %d: %w", fd, err)
		}
		files[i] = os.NewFile(uintptr(fd), "pipe")
	}
	return NewPipes(files[0], files[1])
}

// Read reads what has come.
func (p *Pipes) Read(b []byte) (int, error) { return read(p.reader, p.in, b) }

// Write writes all of b.
func (p *Pipes) Write(b []byte) (int, error) { return write(p.writer, p.out, b) }

// Close closes both pipes. It ends a Read or Write that waits.
func (p *Pipes) Close() error { return errors.Join(p.in.Close(), p.out.Close()) }
