package proctree

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	freezeRounds = 20              // looks for what was forked while others were being stopped
	killPatience = 5 * time.Second // for killed processes to be gone: exits can wait on a disk
	firstPause   = 200 * time.Microsecond
	longestPause = 20 * time.Millisecond
)

// Subreaper makes this process the one that adopts all orphans below it, in
// place of init.
func Subreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of child processes: %w", err)
	}
	return nil
}

// Clear ends every descendant of this process, which must be a subreaper. With
// a grace they get SIGTERM once and that long to go by themselves; what is
// left then, or at once without a grace, is frozen, so that nothing escapes by
// forking, and killed. When it returns nil they are gone and reaped.
//
// keep is asked about direct children: one for which it is true is not
// touched, nor is what descends from it, nor is it reaped when it is dead. It
// may be asked often and about the dead. Every other direct child is reaped
// here, so keep must be true for each child whose end somebody else will wait
// for, and nobody may start a process meanwhile that keep does not know: an
// os/exec command that was reaped here fails its Wait.
//
// The error names what could not be ended within 5 seconds, and why.
func Clear(grace time.Duration, keep func(pid int) bool) error {
	return ClearAwaited(grace, keep, func(int) bool { return false })
}

// ClearAwaited is Clear in a process that has started children whose end it
// waits for elsewhere, as os/exec does. awaited is asked about direct children as
// keep is: one for which it is true is ended with all below it, and is reaped by
// whoever started it. When ClearAwaited returns nil, such a child has ended and
// may not have been reaped yet.
func ClearAwaited(grace time.Duration, keep, awaited func(pid int) bool) error {
	if noChildren() {
		return nil
	}
	c := &clearing{self: os.Getpid(), awaited: awaited}
	c.keep = func(pid int) bool {
		k := keep(pid)
		c.others = c.others || k || awaited(pid)
		return k
	}
	if grace > 0 {
		if err := c.terminate(grace); err != nil {
			return err
		}
	}
	return c.kill()
}

// noChildren proves that nothing is left: a subreaper without children has no
// descendants.
func noChildren() bool {
	for { // it does not wait, so Go's scheduler need not know of it
		_, _, e := unix.RawSyscall6(unix.SYS_WAITID, unix.P_ALL, 0, 0, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, 0, 0)
		if e != unix.EINTR {
			return e == unix.ECHILD
		}
	}
}

// Adopted are orphans that a subreaper has adopted and lets live. The zero value knows
// none.
type Adopted struct{ started map[int]uint64 } // when each was, by pid

// Reap takes the status of those that are dead, and comes to know those direct children
// that live and for which orphan is true. Nobody else may wait for these.
func (a *Adopted) Reap(orphan func(pid int) bool) {
	t, err := scan()
	if err != nil {
		return // the next one finds them
	}
	known := map[int]uint64{}
	for _, p := range t {
		switch {
		case p.ppid != os.Getpid():
		case !p.dead():
			if a.started[p.pid] == p.start || orphan(p.pid) {
				known[p.pid] = p.start
			}
		case a.started[p.pid] == p.start:
			syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
		}
	}
	a.started = known
}

// Signal sends a signal to those that it knows.
func (a *Adopted) Signal(sig syscall.Signal) {
	for pid := range a.started { // none is reaped elsewhere, so the numbers are theirs
		syscall.Kill(pid, sig)
	}
}

// clearing is one call of Clear.
type clearing struct {
	self    int
	keep    func(pid int) bool
	awaited func(pid int) bool
	others  bool // some child is kept, or reaped by somebody else
	refused error
}

// victims are the processes to end, and the process groups that hold nobody
// else. A signal to a group cannot be outrun by forking.
type victims struct {
	procs  []proc
	groups map[int]bool
}

// look finds the victims and reaps those that are dead.
func (c *clearing) look() (victims, error) {
	t, err := scan()
	if err != nil {
		return victims{}, err
	}
	v := victims{groups: map[int]bool{}}
	ours := map[int]bool{}
	for _, p := range t.below(c.self, c.keep) {
		ours[p.pid] = true
		if p.pgrp > 1 {
			v.groups[p.pgrp] = true
		}
		if !p.dead() {
			v.procs = append(v.procs, p)
		} else if p.ppid == c.self {
			c.reap(p.pid)
		}
	}
	for _, p := range t {
		if !ours[p.pid] {
			delete(v.groups, p.pgrp)
		}
	}
	return v, nil
}

// reap takes the status of a dead child, unless somebody else will, and ignores
// everything that is no child.
func (c *clearing) reap(pid int) {
	for !c.awaited(pid) {
		if _, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); err != syscall.EINTR {
			return
		}
	}
}

// signal sends sig to each victim once. One that has changed its group since
// it was looked at may have missed the signal to the group.
func (c *clearing) signal(v victims, sig syscall.Signal) {
	for g := range v.groups {
		c.note(syscall.Kill(-g, sig))
	}
	buf := make([]byte, 1024)
	for i := range v.procs {
		p := &v.procs[i]
		now, ok := readProc(p.pid, buf)
		if ok && now.start == p.start && (now.pgrp != p.pgrp || !v.groups[p.pgrp]) {
			c.note(syscall.Kill(p.pid, sig))
		}
	}
}

func (c *clearing) note(err error) {
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		c.refused = err
	}
}

// terminate asks the victims to go and waits for that.
func (c *clearing) terminate(grace time.Duration) error {
	deadline := time.Now().Add(grace)
	v, err := c.look()
	if err != nil {
		return err
	}
	c.signal(v, syscall.SIGTERM)
	c.signal(v, syscall.SIGCONT) // a stopped process cannot heed it
	pause := firstPause
	for {
		began := time.Now()
		if v, err = c.look(); err != nil || len(v.procs) == 0 {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		// On a machine with many thousands of processes a look is not cheap.
		time.Sleep(min(left, max(pause, 4*time.Since(began))))
		pause = min(2*pause, longestPause)
	}
}

// kill freezes and kills until nothing is left. If all children are this call's
// to reap, only the kernel's word that there are none counts; else, that two
// looks in a row found nothing that lives.
func (c *clearing) kill() error {
	deadline := time.Now().Add(killPatience)
	pause := firstPause
	clean := 0
	for {
		v, err := c.freeze()
		if err != nil {
			return err
		}
		if len(v.procs) == 0 {
			if clean++; noChildren() || c.others && clean == 2 {
				return nil
			}
		} else {
			clean = 0
		}
		c.signal(v, syscall.SIGKILL)
		c.await(v, longestPause)
		if noChildren() {
			return nil
		}
		if time.Now().After(deadline) {
			return c.failure(v)
		}
		if clean != 1 {
			time.Sleep(pause)
			pause = min(2*pause, longestPause)
		}
	}
}

// freeze stops the victims until a look shows none that was not stopped before.
func (c *clearing) freeze() (victims, error) {
	stopped := map[int]uint64{}
	for round := 0; ; round++ {
		v, err := c.look()
		if err != nil {
			return v, err
		}
		fresh := false
		for _, p := range v.procs {
			fresh = fresh || stopped[p.pid] != p.start
			stopped[p.pid] = p.start
		}
		if !fresh || round == freezeRounds {
			return v, nil
		}
		c.signal(v, syscall.SIGSTOP)
	}
}

// await waits until the victims are gone, at most for patience.
func (c *clearing) await(v victims, patience time.Duration) {
	deadline := time.Now().Add(patience)
	for pause := firstPause; ; pause *= 2 {
		left := false
		for i := range v.procs {
			p := &v.procs[i]
			c.reap(p.pid) // it may have been adopted since; if not, this does nothing
			left = left || p.still()
		}
		if !left || time.Now().After(deadline) {
			return
		}
		time.Sleep(pause)
	}
}

func (c *clearing) failure(v victims) error {
	var names []string
	for _, p := range v.procs {
		names = append(names, fmt.Sprintf("%d (%s, state %c)", p.pid, p.comm, p.state))
	}
	if len(names) == 0 {
		names = []string{"some that /proc does not show"}
	}
	err := c.refused
	if err == nil {
		err = fmt.Errorf("still there %v after SIGKILL", killPatience)
	}
	return fmt.Errorf("end processes: %s: %w", strings.Join(names, ", "), err)
}
