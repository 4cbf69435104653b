package share

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// createFile begins a segment that is a file.
func createFile(name string) (*os.File, string, error) {
	path := filepath.Join(os.TempDir(), name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return f, path, err
}

// openFile opens a segment that is a file.
func openFile(r Ref) (*os.File, error) {
	if filepath.Base(r.File) != prefix+r.ID {
		return nil, errors.New("it is no share")
	}
	f, err := os.OpenFile(r.File, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, bare(err)
	}
	if err := isSegment(f, r); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// isSegment checks what is open: a regular file of this user, or of root, that has as
// many bytes as the reference says.
func isSegment(f *os.File, r Ref) error {
	st, err := f.Stat()
	if err != nil {
		return bare(err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.Mode().IsRegular():
		return errors.New("it is no regular file")
	case ok && sys.Uid != uint32(os.Geteuid()) && sys.Uid != 0:
		return errors.New("it belongs to another user")
	case st.Size() != r.Bytes:
		return fmt.Errorf("it has %d bytes, and the reference says %d", st.Size(), r.Bytes)
	}
	return nil
}

// bare is an error without the path, which whoever returns it says.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
