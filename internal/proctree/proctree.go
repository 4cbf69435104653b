// Package proctree finds the descendants of a process and ends them.
//
// On Linux a process that calls Subreaper adopts every orphan below it, so
// that even a daemon with a session of its own and an empty environment stays
// among its descendants. Elsewhere a process that leaves its group is out of
// reach: there only KillGroup does anything.
package proctree

import (
	"errors"
	"fmt"
	"syscall"
)

// KillGroup sends sig to every process of the process group pgid. A group
// that has no process any more is not an error.
func KillGroup(pgid int, sig syscall.Signal) error {
	if pgid <= 1 {
		return fmt.Errorf("send %v to process group %d: not a group of our own", sig, pgid)
	}
	if err := syscall.Kill(-pgid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to process group %d: %w", sig, pgid, err)
	}
	return nil
}
