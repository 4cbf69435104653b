package remote

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pkg/sftp"

	mssh "muster/ssh"
)

// answerPart is the part of the time without progress that a server has until it
// speaks SFTP. Where a command is forced on logins it may be one that says nothing.
const answerPart = 3

// endTime is how long the end of a session may take of which the answers have
// ended.
const endTime = 5 * time.Second

// errRead says that the program here cannot be read.
var errRead = errors.New("read the program here")

// noSFTP says that a server cannot be written to by SFTP, though the link is well.
type noSFTP struct {
	err   error
	began bool // it has written some
}

func (e *noSFTP) Error() string { return e.err.Error() }
func (e *noSFTP) Unwrap() error { return e.err }

// input is a session's input. Close ends it, and with it the server.
type input struct{ *mssh.Session }

func (i input) Close() error { return i.CloseWrite() }

// sftp sends a file from an offset on. Its error is a *noSFTP where another way
// may work.
func (c *copying) sftp(ctx context.Context, f *os.File, from int64) error {
	c.at(from)
	var s *mssh.Session
	err := patiently(ctx, func() (err error) {
		s, err = c.client.Subsystem(ctx, "sftp")
		return err
	})
	switch {
	case errors.Is(err, mssh.ErrSubsystem):
		return &noSFTP{err: err}
	case err != nil:
		return err
	}
	defer s.Close()
	err = within(ctx, func() error { return c.speak(s, f, from) })
	var no *noSFTP
	if err == nil || errors.As(err, &no) {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errRead):
		return err
	}
	// It broke off: the server's end or the link's? A server that goes on, but has
	// said something that is no SFTP, is not waited for.
	defer time.AfterFunc(endTime, func() { s.Close() }).Stop()
	if lost := s.Wait(); errors.Is(lost, mssh.ErrLost) {
		return lost
	} else if lost != nil {
		err = fmt.Errorf("%w: %w", err, lost)
	}
	return &noSFTP{err: err, began: true}
}

// speak is a client of the SFTP server at the other end of a session.
func (c *copying) speak(s *mssh.Session, f *os.File, from int64) error {
	patience := c.o.patience / answerPart
	late := time.AfterFunc(patience, func() { s.Close() })
	client, err := sftp.NewClientPipe(s, input{s})
	if !late.Stop() {
		return &noSFTP{err: fmt.Errorf("start SFTP: no answer within %v", patience)}
	}
	if err != nil { // nothing there, something else, or a link that is lost, which the shell will notice
		return &noSFTP{err: fmt.Errorf("start SFTP: %w", err)}
	}
	// The shell has made the file. A server that shows other folders (chroot), or
	// lets nobody write, does not have it or does not open it.
	to, err := client.OpenFile(c.partial, os.O_WRONLY)
	if err != nil {
		return &noSFTP{err: fmt.Errorf("open %s by SFTP: %w", c.partial, err)}
	}
	if err := c.write(to, f, from); err != nil {
		return err
	}
	if err := to.Close(); err != nil {
		return refused(err)
	}
	return s.CloseWrite()
}

// write writes a file from an offset on, with a window of chunks on their way.
// They are sent in order, so that what is there when it breaks off has holes in
// its last window at most.
func (c *copying) write(to *sftp.File, f *os.File, from int64) error {
	type piece struct {
		n       int
		written chan error
	}
	pieces := make(chan piece, window-1)
	stop := make(chan struct{})
	defer close(stop)
	read := make(chan error, 1)
	go func() {
		defer close(pieces)
		for off := from; off < c.size; off += chunk {
			b := make([]byte, min(chunk, c.size-off))
			if _, err := f.ReadAt(b, off); err != nil {
				read <- fmt.Errorf("%w: %s: %w", errRead, c.file, err)
				return
			}
			p := piece{len(b), make(chan error, 1)}
			select {
			case pieces <- p:
			case <-stop:
				return
			}
			go func() {
				_, err := to.WriteAt(b, off)
				p.written <- err
			}()
		}
		read <- nil
	}()
	done := from
	for p := range pieces {
		if err := <-p.written; err != nil {
			return refused(err)
		}
		done += int64(p.n)
		c.at(done)
	}
	return <-read
}

// refused tells what a server refuses from a session that has ended.
func refused(err error) error {
	var status *sftp.StatusError
	if errors.As(err, &status) || errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		return &noSFTP{err: err, began: true}
	}
	return err
}

// readBack takes the SHA-256 of what is there by reading it.
func (c *copying) readBack(ctx context.Context) (sum string, err error) {
	mark := marker()
	command, err := mssh.LoginCommand(`echo ` + mark + `; exec cat "` + c.partial + `"`)
	if err != nil {
		return "", err
	}
	var s *mssh.Session
	if err := patiently(ctx, func() (err error) {
		s, err = c.client.Exec(ctx, command)
		return err
	}); err != nil {
		return "", err
	}
	defer s.Close()
	in := bufio.NewReaderSize(s, chunk)
	if noise, err := skip(in, []byte(mark+"\n")); err != nil {
		return "", strange(string(noise), s.Stderr())
	}
	h := sha256.New()
	r := &counted{io.LimitReader(in, c.size+1), func(int) { c.watch.moved() }}
	if _, err := io.Copy(h, r); err != nil {
		return "", fmt.Errorf("read %s: %w", c.partial, err)
	}
	if err := s.Wait(); err != nil {
		return "", fmt.Errorf("read %s: %w", c.partial, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
