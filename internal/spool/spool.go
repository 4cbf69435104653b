// Package spool holds the output of tasks until somebody has read it: small
// outputs in memory, large ones in a file each. Small ones that wait for long
// move from memory to segments, files that many outputs share.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// The two streams of a task, as Output's methods take them.
const (
	Stdout = 1
	Stderr = 2
)

// memoryLimit is how much of one stream is held in memory, in bytes, as long as
// the disk has room. It is the largest piece that a worker sends at once, so that
// every write to a file is of at least about that size.
const memoryLimit = 64 << 10

// ErrClosed says that an output was closed before it was to be read.
var ErrClosed = errors.New("the output has been thrown away")

// Output is what one task wrote. One goroutine may write to it; once that one
// has finished, and has passed the Output on, any number of others may read. Park,
// ReadAt and Close may be called at any time. A nil Output is that of a task that wrote
// nothing: it can be read, kept from, and closed.
type Output struct {
	dir   *Dir
	name  string
	sizes [2]atomic.Int64 // of the streams, all that was ever written

	mu      sync.Mutex // guards all below; Dir's is taken after it
	streams [2]stream
	readers int
	closed  bool // the last reader to be closed removes what is left
}

func (o *Output) stream(n int) *stream {
	if o == nil || n != Stdout && n != Stderr {
		return nil
	}
	return &o.streams[n-1]
}

// Write appends p to a stream. If the disk is full, it keeps p in memory and
// returns a FullError: the caller has to see to it that not much more comes until
// Park succeeds. When it fails otherwise, nothing of p was taken, and what was
// written before is still there.
func (o *Output) Write(stream int, p []byte) error {
	s := o.stream(stream)
	if s == nil {
		return fmt.Errorf("write output: no stream %d", stream)
	}
	if len(p) == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return fmt.Errorf("write output: %w", ErrClosed)
	}
	err := o.take(stream, p)
	full := IsFull(err)
	if full {
		o.remember(s, p)
	}
	if err == nil || full {
		o.sizes[stream-1].Add(int64(len(p)))
	}
	return err
}

// take puts p behind what there is of a stream, in memory or in the stream's file.
func (o *Output) take(n int, p []byte) error {
	s := o.stream(n)
	if len(s.mem)+len(p) <= memoryLimit {
		o.remember(s, p)
		return nil
	}
	if err := o.flush(n); err != nil {
		return err
	}
	if len(p) < memoryLimit {
		o.remember(s, p)
		return nil
	}
	return o.appendFile(n, p)
}

// Bytes returns the length of a stream, also when the output has been closed. It
// never waits for the disk.
func (o *Output) Bytes(stream int) int64 {
	if o.stream(stream) == nil {
		return 0
	}
	return o.sizes[stream-1].Load()
}

// Memory returns how many bytes of the output are held in memory.
func (o *Output) Memory() int64 {
	if o == nil {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return int64(len(o.streams[0].mem) + len(o.streams[1].mem))
}

// Reader reads a stream from its start to its end. The stream stays as it is
// until the reader is closed, even if the output is closed before. Of an output
// that has been closed already it returns ErrClosed.
func (o *Output) Reader(stream int) (io.ReadCloser, error) {
	return o.readFrom(stream, 0)
}

// ReadAt fills p with what a stream has from an offset on, as far as it goes, and
// returns how much that is. Unlike a Reader it may be called while the stream grows.
func (o *Output) ReadAt(stream int, p []byte, from int64) (int, error) {
	if from >= o.Bytes(stream) {
		return 0, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0, fmt.Errorf("read output: %w", ErrClosed)
	}
	r, err := o.open(o.stream(stream), from)
	if err != nil {
		return 0, err
	}
	defer r.closeFiles()
	n, err := io.ReadFull(r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF { // as they are: that is all there is yet
		err = nil
	}
	return n, err
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
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return "", fmt.Errorf("keep output: %w", ErrClosed)
	}
	if err := o.unshare(stream); err != nil {
		return "", err
	}
	if err := o.flush(stream); err != nil {
		return "", err
	}
	o.forget(s)
	s.kept = true
	return s.path, nil
}

// Park moves what is in memory to the disk, for outputs that wait long: what is
// small into a segment, the rest into a file of the stream's own.
func (o *Output) Park() error {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for n := Stdout; n <= Stderr; n++ {
		if err := o.park(n); err != nil {
			return err
		}
	}
	return nil
}

func (o *Output) park(n int) error {
	s := o.stream(n)
	switch {
	case len(s.mem) == 0:
		return nil
	case s.path != "" || s.shared != nil || len(s.mem) > memoryLimit:
		if err := o.flush(n); err != nil {
			return err
		}
	default:
		piece, err := o.dir.share(s.mem)
		if err != nil {
			return err
		}
		s.shared = piece
		o.dir.disk.Add(piece.length)
	}
	o.forget(s)
	return nil
}

// Close throws the output away and removes its files, except those kept. What is
// being read goes when its last reader is closed. Closing again does nothing.
func (o *Output) Close() error {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	first := !o.closed
	o.closed = true
	if !first || o.readers > 0 {
		o.mu.Unlock()
		return nil
	}
	gone := o.empty()
	o.mu.Unlock()
	return o.dir.remove(gone)
}

// left says that a reader has been closed.
func (o *Output) left() error {
	o.mu.Lock()
	o.readers--
	if o.readers > 0 || !o.closed {
		o.mu.Unlock()
		return nil
	}
	gone := o.empty()
	o.mu.Unlock()
	return o.dir.remove(gone)
}

// empty takes the streams out. Under mu.
func (o *Output) empty() [2]stream {
	gone := o.streams
	for i := range o.streams {
		s := &o.streams[i]
		o.forget(s)
		o.dir.disk.Add(-s.onDisk())
		*s = stream{}
	}
	return gone
}

// remove deletes the files of streams that nobody reads, without a lock.
func (d *Dir) remove(gone [2]stream) error {
	var first error
	for _, s := range gone {
		var err error
		if s.shared != nil {
			err = d.removePiece(s.shared)
		}
		if s.path != "" && !s.kept {
			err = errors.Join(err, os.Remove(s.path))
		}
		if err != nil && first == nil {
			first = fmt.Errorf("remove output: %w", err)
		}
	}
	return first
}
