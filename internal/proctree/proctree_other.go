//go:build !linux

package proctree

import (
	"errors"
	"syscall"
	"time"
)

// Subreaper does nothing here: the system has no such thing.
func Subreaper() error { return nil }

// Descendants returns nothing here.
func Descendants(pid int) ([]int, error) { return nil, nil }

// Inherited returns a function that is always false.
func Inherited() (keep func(pid int) bool, err error) {
	return func(int) bool { return false }, nil
}

// Clear does nothing here; see KillGroup.
func Clear(grace time.Duration, keep func(pid int) bool) error { return nil }

// ClearAwaited does nothing here; see KillGroup.
func ClearAwaited(grace time.Duration, keep, awaited func(pid int) bool) error { return nil }

// Adopted are none here.
type Adopted struct{}

// Reap does nothing here: there are no orphans to adopt.
func (*Adopted) Reap(orphan func(pid int) bool) {}

// Threads is not known here.
func Threads(uid int) (int, error) { return 0, errors.ErrUnsupported }

// Signal does nothing.
func (*Adopted) Signal(sig syscall.Signal) {}
