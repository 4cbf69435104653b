package report

import (
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"muster/internal/spool"
)

// copyBuffer is the memory that a copy of any length takes, in bytes.
const copyBuffer = 64 << 10

// destination is stdout or stderr; what goes to a nil writer is dropped.
type destination struct {
	name string
	w    io.Writer
}

func (d destination) write(p []byte) error {
	if d.w == nil || len(p) == 0 {
		return nil
	}
	n, err := d.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", d.name, err)
	}
	return nil
}

// copy writes one stream of an output whole.
func (d destination) copy(o *spool.Output, stream int, buf []byte) error {
	if d.w == nil {
		return nil
	}
	return eachPiece(o, stream, buf, d.write)
}

// eachPiece hands a stream to take, piece by piece.
func eachPiece(o *spool.Output, stream int, buf []byte, take func([]byte) error) error {
	if o.Bytes(stream) == 0 {
		return nil
	}
	r, err := o.Reader(stream)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		n, err := r.Read(buf)
		if takeErr := take(buf[:n]); takeErr != nil {
			return takeErr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// printable returns s, quoted if it holds what a terminal should not get.
func printable(s string) string {
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}
