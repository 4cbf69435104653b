package relay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Stdio returns this process's standard input and output as one stream whose
// Close ends what waits for it, as Serve needs; os.Stdin's does not. They are not
// to be used for anything else.
func Stdio() (io.ReadWriteCloser, error) {
	in, err := polled(0, "standard input")
	if err != nil {
		return nil, err
	}
	out, err := polled(1, "standard output")
	if err != nil {
		in.Close()
		return nil, err
	}
	return &stdio{in, out}, nil
}

// polled returns a file descriptor's double that Go's poller waits for.
func polled(fd int, name string) (*os.File, error) {
	double, err := syscall.Dup(fd)
	if err != nil {
		return nil, fmt.Errorf("use the %s: %w", name, err)
	}
	syscall.CloseOnExec(double)
	if err := syscall.SetNonblock(double, true); err != nil {
		syscall.Close(double)
		return nil, fmt.Errorf("use the %s: %w", name, err)
	}
	return os.NewFile(uintptr(double), name), nil
}

type stdio struct{ in, out *os.File }

func (s *stdio) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *stdio) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s *stdio) Close() error                { return errors.Join(s.in.Close(), s.out.Close()) }
