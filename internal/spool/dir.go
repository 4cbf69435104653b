package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

// segmentSize is how long a segment grows before the next is begun, in bytes.
// One output that is still wanted keeps all of its segment on the disk.
const segmentSize = 8 << 20

// Dir is a directory that takes the files of outputs.
type Dir struct {
	path         string
	memory, disk atomic.Int64 // bytes of outputs that have not been closed

	mu      sync.Mutex // guards segment, the fields of every segment, and writes to it
	segment *segment   // the one that grows; nil if there is none
}

// segment is a file that outputs share. It is only ever appended to, and removed
// when none of its pieces is wanted any more.
type segment struct {
	path   string
	file   *os.File // nil when it is full
	size   int64
	pieces int
}

// piece is one stream's part of a segment.
type piece struct {
	*segment
	offset, length int64
}

// Open returns the spool in dir, which must exist and should be 0700.
func Open(dir string) *Dir { return &Dir{path: dir} }

// New returns the empty output of the task called name. The name shows in file
// names, with whatever is not fit for one replaced; it need not be unique.
func (d *Dir) New(name string) *Output { return &Output{dir: d, name: name} }

// Usage returns how many bytes of outputs are held in memory and on the disk. It
// goes down when outputs are closed.
func (d *Dir) Usage() (memory, disk int64) { return d.memory.Load(), d.disk.Load() }

// FullError says that a disk has no more room, or that its user may have no more
// of it.
type FullError struct {
	Dir string
	Err error // names the file
}

func (e *FullError) Error() string {
	return fmt.Sprintf("spool output: %v (outputs are kept there until they are read: "+
		"make room, or set MUSTER_STATE to a directory with more)", e.Err)
}

// Unwrap returns the error of the system.
func (e *FullError) Unwrap() error { return e.Err }

// IsFull reports whether err says that a disk has no more room.
func IsFull(err error) bool {
	var full *FullError
	return errors.As(err, &full)
}

// explain says what was tried, and tells a full disk from other faults. The error
// names the file.
func (d *Dir) explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &FullError{Dir: d.path, Err: err}
	}
	return fmt.Errorf("spool output: %w", err)
}

// roomSize is how many bytes a disk that was full has to take again, so that
// the next small output does not fill it at once.
const roomSize = 1 << 20

// Room returns nil if the disk takes a mebibyte, and else the error of that.
func (d *Dir) Room() error {
	f, err := d.create("room", "")
	if err != nil {
		return d.explain(err)
	}
	_, err = f.Write(make([]byte, roomSize))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if removeErr := os.Remove(f.Name()); err == nil {
		err = removeErr
	}
	if err != nil {
		return d.explain(err)
	}
	return nil
}

// create makes a file that is not there yet, called base, or base and a number.
func (d *Dir) create(base, suffix string) (*os.File, error) {
	path := filepath.Join(d.path, base)
	name := path + suffix
	for i := 2; ; i++ {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		name = fmt.Sprintf("%s-%d%s", path, i, suffix)
	}
}

// share appends p to the segment that grows.
func (d *Dir) share(p []byte) (*piece, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.segment == nil {
		f, err := d.create("segment", "")
		if err != nil {
			return nil, d.explain(err)
		}
		d.segment = &segment{path: f.Name(), file: f}
	}
	s := d.segment
	if _, err := s.file.WriteAt(p, s.size); err != nil {
		if s.pieces == 0 {
			d.finish()
			os.Remove(s.path) // the error that matters is the one at hand
		}
		return nil, d.explain(err)
	}
	at := &piece{segment: s, offset: s.size, length: int64(len(p))}
	s.size += int64(len(p))
	s.pieces++
	if s.size >= segmentSize {
		d.finish()
	}
	return at, nil
}

// finish lets the segment grow no more. Under mu.
func (d *Dir) finish() {
	d.segment.file.Close() // what it was written is complete: each write was waited for
	d.segment.file, d.segment = nil, nil
}

// removePiece removes a piece, and its segment with the last one.
func (d *Dir) removePiece(p *piece) error {
	d.mu.Lock()
	p.pieces--
	last := p.pieces == 0
	if last && d.segment == p.segment {
		d.finish()
	}
	d.mu.Unlock()
	if !last {
		return nil
	}
	return os.Remove(p.path)
}
