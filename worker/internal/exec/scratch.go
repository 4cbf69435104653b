package exec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxErrorFile bounds what is read of MUSTER_ERROR_FILE, in bytes.
const maxErrorFile = 64 << 10

// scratch is the folder that each task finds empty, and the file in which it
// may describe its error.
type scratch struct {
	dir, errorFile string
	ready          bool
	path           [4096]byte // where a path is made ready for the kernel
}

// prepare makes the folder if the last task did not leave it in order.
func (s *scratch) prepare() error {
	if s.ready && canWrite(s) {
		return nil
	}
	if err := removeAll(s.dir); err != nil {
		return fmt.Errorf("empty its scratch folder: %w", err)
	}
	if err := removeAll(s.errorFile); err != nil {
		return fmt.Errorf("empty its scratch folder: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make its scratch folder: %w", err)
	}
	s.ready = true
	return nil
}

// empty removes what the task left. What cannot be removed now is tried again
// before the next task. Most tasks leave nothing, so that is what is fast.
func (s *scratch) empty() {
	err := rawUnlink(append(s.path[:0], s.errorFile+"\x00"...))
	if s.ready = s.isEmpty() && (err == nil || err == syscall.ENOENT); !s.ready {
		s.prepare()
	}
}

// isEmpty reports whether dir is still the folder that prepare made, with
// nothing in it.
func (s *scratch) isEmpty() bool {
	fd, err := rawOpenDir(append(s.path[:0], s.dir+"\x00"...))
	if err != nil {
		return false
	}
	defer rawClose(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil || st.Mode&0o7777 != 0o700 {
		return false
	}
	var entries [512]byte
	n := rawDirent(fd, entries[:])
	if n < 0 {
		return false
	}
	_, _, names := syscall.ParseDirent(entries[:n], 1, nil)
	return len(names) == 0
}

// input returns a file without a name that holds a task's standard input.
func (s *scratch) input(p []byte) (*os.File, error) {
	path := filepath.Join(filepath.Dir(s.dir), "stdin")
	os.Remove(path)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	os.Remove(path)
	if _, err = f.Write(p); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeAll removes folders too that their owner may not write to.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if err == nil {
		return nil
	}
	filepath.WalkDir(path, func(p string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}

// readError returns what the task wrote into its error file; nil if nothing.
func (s *scratch) readError() ([]byte, error) {
	st, err := os.Lstat(s.errorFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	if st.Size() > maxErrorFile {
		return nil, fmt.Errorf("it holds %d bytes; %d are allowed", st.Size(), maxErrorFile)
	}
	return os.ReadFile(s.errorFile)
}
