package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// stream is one of the two: first what is in the file, then what is in memory.
type stream struct {
	mem    []byte
	path   string // of the file; empty while there is none
	inFile int64  // bytes of the file that count
	kept   bool
}

// remember appends p to the memory, which has room for it. The first piece is
// taken at its own size, since most outputs are a single one.
func (s *stream) remember(p []byte) {
	need := len(s.mem) + len(p)
	if need > cap(s.mem) {
		grown := make([]byte, len(s.mem), min(max(need, 2*cap(s.mem)), memoryLimit))
		copy(grown, s.mem)
		s.mem = grown
	}
	s.mem = append(s.mem, p...)
}

// flush moves a stream's memory to its file, and makes that file if need be.
func (o *Output) flush(n int) error {
	s := o.stream(n)
	if err := o.appendFile(n, s.mem); err != nil {
		return err
	}
	s.mem = s.mem[:0]
	return nil
}

// appendFile writes p behind what counts of the file, so that a write that
// failed half-way is overwritten by the next. The file is opened each time:
// a dispatcher may hold more outputs than it may have files open.
func (o *Output) appendFile(n int, p []byte) error {
	s := o.stream(n)
	f, err := o.openFile(n)
	if err != nil {
		return explain(err)
	}
	_, err = f.WriteAt(p, s.inFile)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return explain(err)
	}
	s.inFile += int64(len(p))
	return nil
}

func (o *Output) openFile(n int) (*os.File, error) {
	s := o.stream(n)
	if s.path != "" {
		return os.OpenFile(s.path, os.O_WRONLY, 0)
	}
	base := filepath.Join(o.dir, fileName(o.name))
	suffix := [...]string{Stdout: ".stdout", Stderr: ".stderr"}[n]
	path := base + suffix
	for i := 2; ; i++ {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			s.path = path
		}
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		path = fmt.Sprintf("%s-%d%s", base, i, suffix)
	}
}

// fileName makes a task's name fit for a file name, with room for a suffix.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, name)
	if name == "" || name[0] == '.' {
		name = "_" + name
	}
	return name[:min(len(name), 100)]
}

// explain adds to an error, which names the file, what can be done about it.
func explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("spool output: %w (outputs are kept there until they are read: "+
			"make room, or set MUSTER_STATE to a directory with more)", err)
	}
	return fmt.Errorf("spool output: %w", err)
}

// readFrom reads a stream from an offset that is not beyond its end.
func (o *Output) readFrom(n int, from int64) (io.ReadCloser, error) {
	s := o.stream(n)
	if s == nil || o.Bytes(n) == 0 {
		return nothing{}, nil
	}
	if from >= s.inFile {
		return &reader{mem: s.mem[from-s.inFile:]}, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("read output: %w", err)
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		f.Close()
		return nil, fmt.Errorf("read output: %w", err)
	}
	return &reader{file: f, left: s.inFile - from, mem: s.mem}, nil
}

// reader reads left bytes of a file and then the memory.
type reader struct {
	file *os.File
	left int64
	mem  []byte
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left > 0 && len(p) > 0 {
		n, err := r.file.Read(p[:min(int64(len(p)), r.left)])
		r.left -= int64(n)
		if err == io.EOF {
			err = fmt.Errorf("read output: %s: somebody cut it short: %w", r.file.Name(), io.ErrUnexpectedEOF)
		}
		return n, err
	}
	if len(r.mem) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.mem)
	r.mem = r.mem[n:]
	return n, nil
}

func (r *reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// nothing reads a stream that is empty, without an allocation.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }
func (nothing) Close() error             { return nil }
