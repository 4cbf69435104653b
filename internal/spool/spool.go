// Package spool holds the output of tasks until somebody has read it: small
// outputs in memory, large ones in files.
package spool

import (
	"fmt"
	"io"
	"os"
)

// The two streams of a task, as Output's methods take them.
const (
	Stdout = 1
	Stderr = 2
)

// memoryLimit is how much of one stream is held in memory, in bytes. It is the
// largest piece that a worker sends at once, so that every write to a file is
// of at least about that size.
const memoryLimit = 64 << 10

// Dir is a directory that takes the files of large outputs.
type Dir struct{ path string }

// Open returns the spool in dir, which must exist and should be 0700.
func Open(dir string) *Dir { return &Dir{path: dir} }

// New returns the empty output of the task called name. The name shows in file
// names, with whatever is not fit for one replaced; it need not be unique.
func (d *Dir) New(name string) *Output { return &Output{dir: d.path, name: name} }

// Output is what one task wrote. One goroutine may write to it; once that one
// has finished, and has passed the Output on, others may read. A nil Output is
// that of a task that wrote nothing: it can be read, kept from, and closed.
type Output struct {
	dir, name string
	streams   [2]stream
}

func (o *Output) stream(n int) *stream {
	if o == nil || n != Stdout && n != Stderr {
		return nil
	}
	return &o.streams[n-1]
}

// Write appends p to a stream. When it fails, nothing of p was taken, and what
// was written before is still there.
func (o *Output) Write(stream int, p []byte) error {
	s := o.stream(stream)
	if s == nil {
		return fmt.Errorf("write output: no stream %d", stream)
	}
	if len(p) == 0 {
		return nil
	}
	if len(s.mem)+len(p) <= memoryLimit {
		s.remember(p)
		return nil
	}
	if err := o.flush(stream); err != nil {
		return err
	}
	if len(p) < memoryLimit {
		s.remember(p)
		return nil
	}
	return o.appendFile(stream, p)
}

// Bytes returns the length of a stream.
func (o *Output) Bytes(stream int) int64 {
	s := o.stream(stream)
	if s == nil {
		return 0
	}
	return s.inFile + int64(len(s.mem))
}

// Memory returns how many bytes of the output are held in memory.
func (o *Output) Memory() int64 {
	if o == nil {
		return 0
	}
	return int64(len(o.streams[0].mem) + len(o.streams[1].mem))
}

// Reader reads a stream from its start. The Output must not be closed before
// the reader has been.
func (o *Output) Reader(stream int) (io.ReadCloser, error) {
	return o.readFrom(stream, 0)
}

// Tail returns the last n bytes of a stream, or all of a shorter one.
func (o *Output) Tail(stream int, n int64) ([]byte, error) {
	total := o.Bytes(stream)
	n = max(0, min(n, total))
	if n == 0 {
		return nil, nil
	}
	r, err := o.readFrom(stream, total-n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	tail := make([]byte, n)
	if _, err := io.ReadFull(r, tail); err != nil {
		return nil, err
	}
	return tail, nil
}

// Keep puts a stream into a file that Close leaves alone, and returns its path.
func (o *Output) Keep(stream int) (path string, err error) {
	s := o.stream(stream)
	if s == nil {
		return "", fmt.Errorf("keep output: there is no stream %d to keep", stream)
	}
	if err := o.flush(stream); err != nil {
		return "", err
	}
	s.mem, s.kept = nil, true
	return s.path, nil
}

// Park moves what is in memory into files, for outputs that wait long.
func (o *Output) Park() error {
	if o == nil {
		return nil
	}
	for n := Stdout; n <= Stderr; n++ {
		if len(o.streams[n-1].mem) == 0 {
			continue
		}
		if err := o.flush(n); err != nil {
			return err
		}
		o.streams[n-1].mem = nil
	}
	return nil
}

// Close forgets the output and removes its files, except those kept. Closing
// again does nothing.
func (o *Output) Close() error {
	if o == nil {
		return nil
	}
	var first error
	for i := range o.streams {
		s := o.streams[i]
		o.streams[i] = stream{}
		if s.path == "" || s.kept {
			continue
		}
		if err := os.Remove(s.path); err != nil && first == nil {
			first = fmt.Errorf("remove output: %w", err)
		}
	}
	return first
}
