package relay

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// A greeting is the first that each side sends, the far one before it has read
// anything: 12 bytes of magic, the version as a big-endian u32, and 48 bytes of
// build string, padded with NUL.
const (
	magic        = "muster-relay"
	greetingSize = 64
	maxBuild     = greetingSize - len(magic) - 4
	greetingWait = 30 * time.Second
)

// version of what follows the greetings. Both sides are the same file, copied,
// so another one is refused and never bargained with.
//
//	1  the first
const version = 1

type greeting struct {
	version uint32
	build   string
}

func (g greeting) encode() []byte {
	b := make([]byte, greetingSize)
	copy(b, magic)
	binary.BigEndian.PutUint32(b[len(magic):], g.version)
	copy(b[len(magic)+4:], g.build)
	return b
}

// readGreeting reads no byte too many, and says what came if it was none.
func readGreeting(r io.Reader) (greeting, error) {
	b := make([]byte, greetingSize)
	n, err := io.ReadAtLeast(r, b, len(magic))
	if n < len(magic) || string(b[:len(magic)]) != magic {
		return greeting{}, noGreeting(b[:n], err)
	}
	if _, err := io.ReadFull(r, b[n:]); err != nil {
		return greeting{}, fmt.Errorf("%w: its greeting was cut off: %w", errNoHello, err)
	}
	build, _, _ := bytes.Cut(b[len(magic)+4:], []byte{0})
	return greeting{binary.BigEndian.Uint32(b[len(magic):]), oneLine(string(build))}, nil
}

func noGreeting(came []byte, err error) error {
	switch {
	case len(came) > 0:
		return fmt.Errorf("%w: instead came %q; does something there print at login, or is the command a forced one", errNoHello, came)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it ended at once", errNoHello)
	}
	return fmt.Errorf("%w: %w", errNoHello, err)
}

// greet exchanges greetings. The far side speaks first, so that over pipes
// without buffers neither waits for the other. When ctx ends it closes rw, which
// is all that can end a read.
func greet(ctx context.Context, rw io.ReadWriteCloser, build string, far bool) (greeting, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, greetingWait, fmt.Errorf("no whole greeting within %v", greetingWait))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { rw.Close() })
	theirs, err := exchange(rw, greeting{version, build}, far)
	if !stop() {
		return greeting{}, fmt.Errorf("%w: %w", errNoHello, context.Cause(ctx))
	}
	if err == nil && theirs.version != version {
		err = fmt.Errorf("%w: the muster there (%s) speaks %d, this one (%s) %d; let both be the same file", errVersion, theirs.build, theirs.version, build, version)
	}
	return theirs, err
}

func exchange(rw io.ReadWriter, ours greeting, far bool) (greeting, error) {
	if far {
		if _, err := rw.Write(ours.encode()); err != nil {
			return greeting{}, fmt.Errorf("%w: %w", errNoHello, err)
		}
		return readGreeting(rw)
	}
	theirs, err := readGreeting(rw)
	if err != nil {
		return greeting{}, err
	}
	if _, err := rw.Write(ours.encode()); err != nil {
		return greeting{}, fmt.Errorf("%w: %w", errNoHello, err)
	}
	return theirs, nil
}
