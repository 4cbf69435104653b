package worker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"muster/internal/wire"
)

// maxBacklog bounds the output, in bytes, for which a worker that is away gives
// its tasks credit. Beyond it a task waits as it would for a slow dispatcher.
const maxBacklog = 1 << 30

// recordHead is the stream, one byte, and the length, big-endian, of a chunk in
// a backlog's file.
const recordHead = 5

// backlog is output that could not be sent yet, first in first out: in a file
// that has no name any more, and what that did not take in memory. The latter is
// bounded by the task's window, since it earns no credit.
type backlog struct {
	left      int      // bytes in it
	file      *os.File // nil until it is needed
	read, end int64    // offsets in file
	stream    int      // of the record that is being read
	rest      int      // bytes of that record
	mem       []*wire.Output
}

// add appends a chunk. It reports whether that is in the file.
func (b *backlog) add(dir string, m *wire.Output) error {
	b.left += len(m.Data)
	err := errInMemory
	if len(b.mem) == 0 {
		err = b.write(dir, m)
	}
	if err != nil {
		b.mem = append(b.mem, &wire.Output{Ref: m.Ref, Stream: m.Stream, Data: bytes.Clone(m.Data)})
	}
	return err
}

func (b *backlog) write(dir string, m *wire.Output) error {
	if b.file == nil {
		f, err := os.CreateTemp(dir, "backlog-*") // mode 0600
		if err != nil {
			return err
		}
		os.Remove(f.Name()) // it goes with the process
		b.file = f
	}
	record := binary.BigEndian.AppendUint32([]byte{m.Stream}, uint32(len(m.Data)))
	record = append(record, m.Data...)
	if _, err := b.file.WriteAt(record, b.end); err != nil {
		return err
	}
	b.end += int64(len(record))
	return nil
}

// next takes up to n bytes out, of one stream.
func (b *backlog) next(n int) (*wire.Output, error) {
	if b.rest == 0 && b.read < b.end {
		var head [recordHead]byte
		if _, err := b.file.ReadAt(head[:], b.read); err != nil {
			return nil, fmt.Errorf("read back what a task printed: %w", err)
		}
		b.stream, b.rest = int(head[0]), int(binary.BigEndian.Uint32(head[1:]))
		b.read += recordHead
	}
	if b.rest == 0 {
		return b.nextInMemory(n), nil
	}
	m := &wire.Output{Stream: uint8(b.stream), Data: make([]byte, min(n, b.rest))}
	if _, err := b.file.ReadAt(m.Data, b.read); err != nil {
		return nil, fmt.Errorf("read back what a task printed: %w", err)
	}
	b.read += int64(len(m.Data))
	b.rest -= len(m.Data)
	b.left -= len(m.Data)
	if b.read == b.end {
		b.read, b.end = 0, 0
		b.file.Truncate(0)
	}
	return m, nil
}

func (b *backlog) nextInMemory(n int) *wire.Output {
	first := b.mem[0]
	m := &wire.Output{Stream: first.Stream, Data: first.Data[:min(n, len(first.Data))]}
	if first.Data = first.Data[len(m.Data):]; len(first.Data) == 0 {
		b.mem = b.mem[1:]
	}
	b.left -= len(m.Data)
	return m
}

// close forgets what is left.
func (b *backlog) close() {
	if b.file != nil {
		b.file.Close()
	}
	*b = backlog{}
}
