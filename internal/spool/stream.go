package spool

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// stream is one of the two: first its piece of a segment, then what is in its
// file, then what is in memory.
type stream struct {
	shared *piece // nil if there is none
	path   string // of the file; empty while there is none
	inFile int64  // bytes of the file that count
	mem    []byte
	kept   bool
}

// onDisk is how many bytes of the stream are on the disk.
func (s *stream) onDisk() int64 {
	if s.shared == nil {
		return s.inFile
	}
	return s.shared.length + s.inFile
}

// remember appends p to the memory. The first piece is taken at its own size,
// since most outputs are a single one. Under mu.
func (o *Output) remember(s *stream, p []byte) {
	need := len(s.mem) + len(p)
	if need > cap(s.mem) {
		room := max(need, 2*cap(s.mem))
		if need <= memoryLimit {
			room = min(room, memoryLimit)
		}
		grown := make([]byte, len(s.mem), room)
		copy(grown, s.mem)
		s.mem = grown
	}
	s.mem = append(s.mem, p...)
	o.dir.memory.Add(int64(len(p)))
}

// forget lets go of a stream's memory. Under mu.
func (o *Output) forget(s *stream) {
	o.dir.memory.Add(-int64(len(s.mem)))
	s.mem = nil
}

// flush moves a stream's memory to its file, and makes that file if need be. The
// memory is used again. Under mu.
func (o *Output) flush(n int) error {
	s := o.stream(n)
	if err := o.appendFile(n, s.mem); err != nil {
		return err
	}
	o.dir.memory.Add(-int64(len(s.mem)))
	s.mem = s.mem[:0]
	if cap(s.mem) > memoryLimit {
		s.mem = nil
	}
	return nil
}

// appendFile writes p behind what counts of the file, so that a write that
// failed half-way is overwritten by the next. The file is opened each time:
// a dispatcher may hold more outputs than it may have files open. Under mu.
func (o *Output) appendFile(n int, p []byte) error {
	s := o.stream(n)
	f, err := o.openFile(n)
	if err != nil {
		return o.dir.explain(err)
	}
	_, err = f.WriteAt(p, s.inFile)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return o.dir.explain(err)
	}
	s.inFile += int64(len(p))
	o.dir.disk.Add(int64(len(p)))
	return nil
}

func (o *Output) openFile(n int) (*os.File, error) {
	s := o.stream(n)
	if s.path != "" {
		return os.OpenFile(s.path, os.O_WRONLY, 0)
	}
	f, err := o.dir.create(fileName(o.name), [...]string{Stdout: ".stdout", Stderr: ".stderr"}[n])
	if err == nil {
		s.path = f.Name()
	}
	return f, err
}

// unshare moves a stream that has a piece of a segment into memory, from where it
// may go to a file of its own. Under mu.
func (o *Output) unshare(n int) error {
	s := o.stream(n)
	if s.shared == nil {
		return nil
	}
	r, err := o.open(s, 0)
	if err != nil {
		return err
	}
	all, err := io.ReadAll(r)
	r.closeFiles()
	if err != nil {
		return err
	}
	old := *s
	o.forget(s)
	o.dir.disk.Add(-s.onDisk())
	*s = stream{}
	o.remember(s, all)
	return o.dir.remove([2]stream{old})
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

// readFrom reads a stream from an offset that is not beyond its end.
func (o *Output) readFrom(n int, from int64) (io.ReadCloser, error) {
	if o.Bytes(n) == 0 {
		return nothing{}, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, fmt.Errorf("read output: %w", ErrClosed)
	}
	r, err := o.open(o.stream(n), from)
	if err != nil {
		return nil, err
	}
	r.out = o
	o.readers++
	return r, nil
}

// open opens what there is of a stream from an offset on. Under mu.
func (o *Output) open(s *stream, from int64) (*reader, error) {
	r := &reader{}
	if s.shared != nil {
		if err := r.add(s.shared.path, s.shared.offset, s.shared.length, &from); err != nil {
			return nil, err
		}
	}
	if err := r.add(s.path, 0, s.inFile, &from); err != nil {
		return nil, err
	}
	r.mem = s.mem[from:]
	return r, nil
}

// reader reads parts of files and then the memory.
type reader struct {
	out   *Output // nil once closed
	files []part
	mem   []byte
}

// part is what is left to read of one file.
type part struct {
	*os.File
	left int64
}

// add appends length bytes of a file at an offset, without the first skip of
// them, and takes those from skip.
func (r *reader) add(path string, offset, length int64, skip *int64) error {
	skipped := min(*skip, length)
	*skip -= skipped
	if length -= skipped; length == 0 {
		return nil
	}
	f, err := os.Open(path)
	if err == nil {
		r.files = append(r.files, part{f, length})
		_, err = f.Seek(offset+skipped, io.SeekStart)
	}
	if err != nil {
		r.closeFiles()
		return fmt.Errorf("read output: %w", err)
	}
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.files) > 0 {
		return r.readFile(p)
	}
	if len(r.mem) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.mem)
	r.mem = r.mem[n:]
	return n, nil
}

func (r *reader) readFile(p []byte) (int, error) {
	f := &r.files[0]
	n, err := f.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	if err == io.EOF {
		return n, fmt.Errorf("read output: %s: somebody cut it short: %w", f.Name(), io.ErrUnexpectedEOF)
	}
	if f.left == 0 {
		f.Close()
		r.files = r.files[1:]
	}
	return n, err
}

func (r *reader) closeFiles() {
	for _, f := range r.files {
		f.Close() // it was only read from
	}
	r.files = nil
}

// Close ends the reading. The last reader of an output that has been closed
// removes its files.
func (r *reader) Close() error {
	r.closeFiles()
	if r.out == nil {
		return nil
	}
	o := r.out
	r.out, r.mem = nil, nil
	return o.left()
}

// nothing reads a stream that is empty, without an allocation.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }
func (nothing) Close() error             { return nil }
