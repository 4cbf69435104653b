package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Reader reads frames. It is not safe for concurrent use.
//
// Its buffer is as large as what comes: a dispatcher has thousands of Readers, most
// of which see a heartbeat now and then.
type Reader struct {
	// Pace, if not nil, is called for each frame that has come, before anything is done
	// with it, and may wait.
	Pace func()

	r     io.Reader
	buf   []byte
	begin int // buf[begin:end] has come and not been looked at
	end   int
	small int // reads in a row that needed less than a quarter of buf
	count count
}

// How large a Reader's buffer is, in bytes, but for a frame that is larger.
const (
	minBuffer = 512
	maxBuffer = 2 * MaxChunk
)

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// More reports whether another frame has come whole, so that Read will not wait.
func (r *Reader) More() bool {
	come := r.buf[r.begin:r.end]
	return len(come) >= 4 && uint64(binary.BigEndian.Uint32(come)) <= uint64(len(come)-4)
}

// MalformedError is an error of Read that is the peer's and not the connection's:
// another connection would bring the same again.
type MalformedError struct{ error }

// Unwrap returns what is wrong.
func (m MalformedError) Unwrap() error { return m.error }

// Read returns the next message. Byte slices in it are valid until the next
// Read. A frame of an unknown type is skipped, or an error if it is required.
func (r *Reader) Read() (Message, error) {
	for {
		t, flags, body, err := r.frame()
		if err != nil {
			return nil, err
		}
		if r.Pace != nil {
			r.Pace()
		}
		r.count.frame(t, len(body)+6)
		m := newMessage(t)
		if m == nil {
			if flags&flagRequired != 0 {
				return nil, MalformedError{fmt.Errorf("the peer sent a frame of type %d, which this muster (protocol %d) does not know: use the same version on both sides", t, Version)}
			}
			continue
		}
		if err := m.parse(body); err != nil {
			return nil, MalformedError{fmt.Errorf("frame of type %d: %w", t, err)}
		}
		return m, nil
	}
}

func (r *Reader) frame() (Type, byte, []byte, error) {
	if r.begin == r.end {
		r.fit()
	}
	if err := r.fill(6); err != nil {
		return 0, 0, nil, err
	}
	head := r.buf[r.begin:]
	n := binary.BigEndian.Uint32(head)
	if n < 2 || n > MaxFrame {
		return 0, 0, nil, MalformedError{fmt.Errorf("the peer sent a frame of %d bytes; 2 to %d are allowed", n, MaxFrame)}
	}
	if err := r.fill(4 + int(n)); err != nil {
		return 0, 0, nil, err
	}
	f := r.buf[r.begin : r.begin+4+int(n)]
	r.begin += len(f)
	return Type(f[4]), f[5], f[6:], nil
}

// fill reads until n bytes are there. The buffer grows with what comes, not with
// what a peer says will come.
func (r *Reader) fill(n int) error {
	for r.end-r.begin < n {
		r.makeRoom(n)
		m, err := r.r.Read(r.buf[r.end:])
		if r.end += m; m > 0 {
			r.note()
			continue
		}
		if err == io.EOF && r.end > r.begin {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeRoom makes room for n bytes in a row, or as many as are worth it now: a buffer
// that a read has filled is doubled.
func (r *Reader) makeRoom(n int) {
	if r.begin+n <= len(r.buf) {
		return
	}
	if r.end == len(r.buf) && (r.begin == 0 || r.end < maxBuffer) {
		r.resize(max(minBuffer, 2*len(r.buf)))
		return
	}
	if r.begin > 0 {
		r.begin, r.end = 0, copy(r.buf, r.buf[r.begin:r.end])
	}
}

// smallReads is after how many small reads in a row a buffer is made smaller.
const smallReads = 8

// note counts reads that a smaller buffer would have done for.
func (r *Reader) note() {
	r.small++
	if r.end > len(r.buf)/4 {
		r.small = 0
	}
}

// fit gives an empty buffer another size if what came lately filled it, or was
// small.
func (r *Reader) fit() {
	size := len(r.buf)
	switch {
	case size > maxBuffer:
		size = maxBuffer
	case r.end == size && size > 0:
		size = min(2*size, maxBuffer)
	case r.small >= smallReads:
		size = max(size/2, minBuffer)
	}
	r.begin, r.end = 0, 0
	if size != len(r.buf) {
		r.resize(size)
	}
}

// resize gives the buffer another size; what has come stays.
func (r *Reader) resize(size int) {
	b := make([]byte, size)
	r.begin, r.end = 0, copy(b, r.buf[r.begin:r.end])
	r.buf, r.small = b, 0
}
