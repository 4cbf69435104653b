package proctree

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// proc is a line of the process table: the fields of proc(5)'s /proc/PID/stat
// that matter here.
type proc struct {
	pid, ppid, pgrp int
	state           byte
	threads         int
	start           uint64 // clock ticks since boot; with pid, it names a process for good
	comm            string
}

// dead reports whether the process has ended and waits to be reaped. The
// first thread of a program may be a zombie while others run on.
func (p *proc) dead() bool {
	return (p.state == 'Z' || p.state == 'X' || p.state == 'x') && p.threads <= 1
}

// still reports whether the process exists and runs, and its number has not
// passed to another one.
func (p *proc) still() bool {
	now, ok := readProc(p.pid, make([]byte, 1024))
	return ok && now.start == p.start && !now.dead()
}

// readProc reads one process; it is not ok if there is none.
func readProc(pid int, buf []byte) (proc, bool) {
	fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/stat", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return proc{}, false
	}
	defer syscall.Close(fd)
	n, err := syscall.Read(fd, buf)
	if err != nil {
		return proc{}, false
	}
	return parseStat(buf[:n])
}

// parseStat understands a stat line. The command's name, in parentheses, may
// hold anything, parentheses and newlines too; nothing after it does.
func parseStat(b []byte) (p proc, ok bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return proc{}, false
	}
	f := bytes.Fields(b[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return proc{}, false
	}
	p.comm, p.state, ok = string(b[open+1:end]), f[0][0], true
	number := func(b []byte) uint64 {
		n, err := strconv.ParseUint(string(b), 10, 64)
		ok = ok && err == nil
		return n
	}
	p.pid = int(number(bytes.TrimSpace(b[:open])))
	p.ppid, p.threads, p.start = int(number(f[1])), int(number(f[17])), number(f[19])
	if pgrp, err := strconv.Atoi(string(f[2])); err == nil { // -1 for a process that is just going
		p.pgrp = pgrp
	}
	return p, ok
}

// table is every process that could be seen.
type table []proc

func scan() (table, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: read /proc: %w", err)
	}
	t := make(table, 0, len(names))
	buf := make([]byte, 1024)
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := readProc(pid, buf); ok {
			t = append(t, p)
		}
	}
	return t, nil
}

// below returns what descends from root, parents before their children and
// the dead among them, without the children of root that keep picks and what
// descends from those. The table is no snapshot: a parent that is younger than
// its child has inherited a number and not the child.
func (t table) below(root int, keep func(pid int) bool) []proc {
	children := make(map[int][]proc, len(t))
	var from proc
	for _, p := range t {
		children[p.ppid] = append(children[p.ppid], p)
		if p.pid == root {
			from = p
		}
	}
	first := slices.DeleteFunc(slices.Clone(children[root]), func(p proc) bool {
		return p.start < from.start || keep(p.pid)
	})
	found := first
	for i := 0; i < len(found); i++ {
		for _, c := range children[found[i].pid] {
			if c.start >= found[i].start && c.pid != root {
				found = append(found, c)
			}
		}
	}
	return found
}

// Inherited returns a keep function for Clear that is true for the children
// that this process has now: a shell that started some in the background and
// then became this process left them to it, and they are not its to end.
func Inherited() (keep func(pid int) bool, err error) {
	t, err := scan()
	if err != nil {
		return nil, err
	}
	theirs := map[int]bool{}
	for _, p := range t {
		if p.ppid == os.Getpid() {
			theirs[p.pid] = true // not reaped by us, so the number stays theirs
		}
	}
	return func(pid int) bool { return theirs[pid] }, nil
}

// Descendants returns the living descendants of pid, parents before their
// children. Zombies do not live.
func Descendants(pid int) ([]int, error) {
	t, err := scan()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, p := range t.below(pid, func(int) bool { return false }) {
		if !p.dead() {
			pids = append(pids, p.pid)
		}
	}
	return pids, nil
}

// Threads returns how many threads the processes of a user have: what RLIMIT_NPROC
// of getrlimit(2) bounds.
func Threads(uid int) (int, error) {
	t, err := scan()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, p := range t {
		var st syscall.Stat_t
		if syscall.Stat("/proc/"+strconv.Itoa(p.pid), &st) == nil && int(st.Uid) == uid {
			n += p.threads
		}
	}
	return n, nil
}
