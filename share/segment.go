package share

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// prefix begins the names of all segments.
const prefix = "muster-share-"

func newID() string {
	var b [16]byte
	rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func validID(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

// Segment is what a process shares, until Close or its own end, whether or not the
// program keeps the value.
type Segment struct {
	ref    Ref
	closed atomic.Bool
}

// Put shares a copy of b.
func Put(b []byte) (*Segment, error) { return put(b, "") }

func put(b []byte, elements string) (*Segment, error) {
	w, err := Create()
	if err != nil {
		return nil, err
	}
	defer w.Discard()
	if err := w.Reserve(int64(len(b))); err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	return w.seal(elements)
}

// Ref returns the segment's reference, for others to open.
func (s *Segment) Ref() Ref { return s.ref }

// Close gives the segment up. Its memory is freed when nobody has it mapped or open any
// more; who opens it later gets ErrGone.
func (s *Segment) Close() error {
	if s.closed.Swap(true) {
		return os.ErrClosed // its descriptor may be another's by now
	}
	if s.ref.File != "" {
		os.Remove(s.ref.File)
	}
	return unix.Close(s.ref.FD)
}

// Writer fills a segment that nobody else can see yet. Either Seal or Discard ends it.
type Writer struct {
	id   string
	f    *os.File
	file string // its path, if it is not in memory
	size int64  // written
	room int64  // reserved
	done bool
}

// Create begins a segment.
func Create() (*Writer, error) {
	w := &Writer{id: newID()}
	var err error
	if w.f, w.file, err = create(prefix + w.id); err != nil {
		return nil, fmt.Errorf("begin a share: %w", err)
	}
	return w, nil
}

// spare is the part of the available memory that no share takes: one in so many.
const spare = 8

// Reserve has the kernel set room aside for n bytes in all, so that none of them can
// fail to be written later. It refuses what there is no memory for, since the kernel
// would end processes to find some.
func (w *Writer) Reserve(n int64) error {
	if n <= w.room {
		return nil
	}
	left, err := Available()
	if err != nil {
		return fmt.Errorf("reserve %d bytes for a share: %w", n, err)
	}
	if left -= left / spare; n-w.room > left {
		return fmt.Errorf("reserve %d bytes for a share: %w: there are %d to be had", n, ErrNoMemory, w.room+left)
	}
	if err := reserve(w.f, w.room, n); err != nil {
		return fmt.Errorf("reserve %d bytes for a share: %w", n, err)
	}
	w.room = n
	return nil
}

// firstRoom and mostRoom bound how much is reserved at a time of what is written without
// a reservation, in bytes.
const (
	firstRoom = 1 << 20
	mostRoom  = 64 << 20
)

// Write appends p. Where nothing was reserved, it reserves as it goes.
func (w *Writer) Write(p []byte) (int, error) {
	if end := w.size + int64(len(p)); end > w.room {
		err := w.Reserve(max(end, w.room+min(max(w.room, firstRoom), mostRoom)))
		if errors.Is(err, ErrNoMemory) {
			err = w.Reserve(end)
		}
		if err != nil {
			return 0, err
		}
	}
	n, err := w.f.WriteAt(p, w.size)
	w.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write %d bytes into a share after %d: %w", len(p), w.size, err)
	}
	return n, nil
}

// Size is how many bytes have been written.
func (w *Writer) Size() int64 { return w.size }

// Seal ends the writing: from now on nobody can change the segment, and others can
// open it.
func (w *Writer) Seal() (*Segment, error) { return w.seal("") }

func (w *Writer) seal(elements string) (*Segment, error) {
	if err := w.f.Truncate(w.size); err != nil {
		return nil, fmt.Errorf("give the rest of a share's room back: %w", err)
	}
	if err := seal(w.f, w.file); err != nil {
		return nil, fmt.Errorf("seal a share: %w", err)
	}
	s, err := hold(w.f, Ref{Host: hostName(), Machine: thisMachine(), ID: w.id, Bytes: w.size, Type: elements, File: w.file})
	if err != nil {
		return nil, err
	}
	w.done = true
	w.f.Close()
	return s, nil
}

// hold has this process be the owner of a segment, by a descriptor that the garbage
// collector does not close.
func hold(f *os.File, r Ref) (s *Segment, err error) {
	r.Pid = os.Getpid()
	if r.FD, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("hold a share open: %w", err)
	}
	return &Segment{ref: r}, nil
}

// Adopt has this process own a segment of another one, too: by the reference of what
// Adopt returns it can be opened whatever becomes of the other.
func Adopt(r Ref) (*Segment, error) {
	if r.File != "" {
		return nil, fmt.Errorf("adopt the share at %s: it is a file, which its owner removes", r.File)
	}
	f, err := r.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return hold(f, r)
}

// Discard gives back what has been written, unless it was sealed.
func (w *Writer) Discard() {
	if w.done {
		return
	}
	w.done = true
	if w.file != "" {
		os.Remove(w.file)
	}
	w.f.Close()
}
