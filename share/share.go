// Package share puts bytes into the memory of one machine once, for all processes of
// one user there to read without a copy.
//
//	owner: Create ── Write ── Seal ─► Segment ── Ref ──┐ travels, a few bytes
//	others:                           View ◄── Open ◄──┘ maps the owner's memory
//
// A segment is a memfd: memory that the kernel counts as a file without a name. It
// is sealed, so that nobody can change or cut it any more, and its owner holds it
// open. Others of the same user open it as /proc/PID/fd/N, which needs no library: any
// program can read or map that path. A mapping outlives the owner, even if that is
// killed, and when the last process that has it is gone, so is the memory: nothing is
// left behind.
//
// Where there is no memfd, as on macOS, a segment is a file of mode 0400 in the
// folder for temporary files, which its owner removes; see InMemory.
package share

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Ref names a segment. It is what travels in the place of the bytes, as JSON.
type Ref struct {
	// Host is the name of the machine, for people, and Machine what tells it apart
	// from others, and one container on it from another.
	Host    string `json:"host"`
	Machine string `json:"machine"`
	// Pid is the owner, and FD its descriptor of the segment.
	Pid int `json:"pid"`
	FD  int `json:"fd"`
	// ID is random, and the segment's name, by which a descriptor that has become
	// something else is told from it.
	ID    string `json:"id"`
	Bytes int64  `json:"bytes"`
	// Type is the Go type of its elements; empty if it is bytes.
	Type string `json:"type,omitempty"`
	// File is where the segment is that is not in memory; empty for a memfd.
	File string `json:"file,omitempty"`
}

// ErrNoMemory says that there is no memory for a segment.
var ErrNoMemory = errors.New("there is not enough memory")

// Errors of Open.
var (
	// ErrElsewhere says that a segment is in the memory of another machine, or
	// of another container on this one.
	ErrElsewhere = errors.New("is in the memory of another machine")
	// ErrGone says that a segment's owner has ended, or has closed it.
	ErrGone = errors.New("is gone: its owner has ended or closed it")
)

// ParseRef reads a reference from its JSON. That it names a segment turns out when it
// is opened.
func ParseRef(text string) (Ref, error) {
	var r Ref
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Ref{}, fmt.Errorf("read the reference of a share: %w", err)
	}
	return r, r.check()
}

// String returns the reference as JSON.
func (r Ref) String() string {
	b, _ := json.Marshal(r) // strings and numbers can be encoded
	return string(b)
}

// check refuses what no owner makes.
func (r Ref) check() error {
	if r.Pid < 1 || r.FD < 0 || r.Bytes < 0 || !validID(r.ID) {
		return errors.New("read the reference of a share: it names no process, no descriptor or no id")
	}
	return nil
}

// Path is where programs of the machine open the segment.
func (r Ref) Path() string {
	if r.File != "" {
		return r.File
	}
	return fmt.Sprintf("/proc/%d/fd/%d", r.Pid, r.FD)
}

// here reports whether the reference is of this machine, and says where it is of if
// it is not.
func (r Ref) here() error {
	if r.Machine == thisMachine() {
		return nil
	}
	host := hostName()
	if r.Host == host {
		return fmt.Errorf("the share %w: it is in another container of %s", ErrElsewhere, host)
	}
	return fmt.Errorf("the share %w: it is on %s, and this is %s", ErrElsewhere, r.Host, host)
}

// Check reports whether this process could open the segment: it returns the error of
// Open, or nil.
func (r Ref) Check() error {
	f, err := r.open()
	if err != nil {
		return err
	}
	return f.Close()
}

// open opens the segment and verifies that it is the one that the reference names: the
// owner may have ended, and its number have passed to another process.
func (r Ref) open() (*os.File, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.here(); err != nil {
		return nil, err
	}
	open := openMemory
	if r.File != "" {
		open = openFile
	}
	f, err := open(r)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the share %w: process %d of %s", ErrGone, r.Pid, r.Host)
	}
	if err != nil {
		return nil, fmt.Errorf("open the share at %s: %w", r.Path(), err)
	}
	return f, nil
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
