package state

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Run is the folder of one run: out/ for spooled output, and a file that says
// which process owns it.
type Run struct {
	ID   string // sorts by the time of its start
	Dir  string
	over chan struct{}
}

const (
	ownerFile = "owner"
	// unfinished starts the name of a folder that is still being made, so that
	// no folder without an owner is ever seen under a run's name.
	unfinished = ".new-"
)

// NewRun makes the folder of a run that begins now and that this process owns.
func NewRun(stateDir string, now time.Time) (*Run, error) {
	var salt [4]byte
	rand.Read(salt[:])
	r := &Run{ID: now.UTC().Format("20060102-150405") + "-" + hex.EncodeToString(salt[:])}
	runs := filepath.Join(stateDir, "runs")
	r.Dir = filepath.Join(runs, r.ID)
	made := filepath.Join(runs, unfinished+r.ID)
	if err := makeRun(made, r.Dir); err != nil {
		os.RemoveAll(made)
		return nil, fmt.Errorf("make the run's folder: %w", err)
	}
	r.over = make(chan struct{})
	go r.renew()
	return r, nil
}

// renew keeps the folder's time of change recent, by which other hosts that
// share the directory know that the run goes on.
func (r *Run) renew() {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-r.over:
			return
		case now := <-t.C:
			os.Chtimes(r.Dir, now, now)
		}
	}
}

func makeRun(made, dir string) error {
	for _, d := range []string{"out", launches} {
		if err := os.MkdirAll(filepath.Join(made, d), 0o700); err != nil {
			return err
		}
	}
	if err := own(made, self()); err != nil {
		return err
	}
	return os.Rename(made, dir)
}

// own writes in a run's folder whose it is, in one step.
func own(dir string, o process) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, ownerFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Out is the folder of spooled output.
func (r *Run) Out() string { return filepath.Join(r.Dir, "out") }

// Launches is the folder of records of what was sent to schedulers.
func (r *Run) Launches() string { return filepath.Join(r.Dir, launches) }

const launches = "launches"

// Close ends the run. Its folder is removed unless output was kept in it, or a
// job is still with a scheduler, or a scheduler may yet copy output into it.
func (r *Run) Close() error {
	close(r.over)
	if launched(r.Dir) { // whoever takes that back need not wait until the process has ended
		o := self()
		o.Over = true
		if err := own(r.Dir, o); err != nil {
			return fmt.Errorf("note that the run has ended: %w", err)
		}
	}
	return removeEmpty(r.Dir, time.Now())
}

// removeEmpty removes a run's folder if no output was kept in it, no launch is on
// record, and no scheduler may yet copy output into it.
func removeEmpty(dir string, now time.Time) error {
	if launched(dir) || awaits(dir, now) {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, "out")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil // not empty
	}
	return os.RemoveAll(dir)
}

// launched reports whether a folder has launch records.
func launched(dir string) bool {
	records, _ := filepath.Glob(filepath.Join(dir, launches, "*.json"))
	return len(records) > 0
}

// delivery is how long a scheduler may take to copy a job's output into the folder of
// a launch that has no record any more: OpenPBS tries for half a minute, and a node
// that does not answer is waited for longer.
const delivery = time.Hour

// awaits reports whether a launch without a record has left a folder for output that a
// scheduler may yet copy.
func awaits(dir string, now time.Time) bool {
	left, _ := os.ReadDir(filepath.Join(dir, launches))
	return slices.ContainsFunc(left, func(e fs.DirEntry) bool {
		info, err := e.Info()
		return err == nil && e.IsDir() && now.Sub(info.ModTime()) < delivery
	})
}

// Ended returns the folders of launch records of runs whose process is certain
// to be gone, by the runs' ids.
func Ended(stateDir string) map[string]string {
	list := map[string]string{}
	paths, _ := filepath.Glob(filepath.Join(stateDir, "runs", "*"))
	for _, dir := range paths {
		if strings.HasPrefix(filepath.Base(dir), unfinished) || !launched(dir) {
			continue
		}
		if _, over := fate(dir); over {
			list[filepath.Base(dir)] = filepath.Join(dir, launches)
		}
	}
	return list
}

// Forget removes what is left of a run that is over, if nothing was kept in it.
func Forget(stateDir, id string) { removeEmpty(filepath.Join(stateDir, "runs", id), time.Now()) }

// What is kept of runs that are over.
const (
	keepFor   = 14 * 24 * time.Hour
	keepBytes = 5 << 30
)

// Prune removes the folders of runs that are over: at once what was killed
// before it kept anything, then what is older than 14 days, then the oldest
// beyond 5 GiB in all. It never touches a run whose process may still live, that has
// jobs with a scheduler, or into which one may yet copy output. Copies of the program go
// too that nothing has used for long.
func Prune(stateDir string, now time.Time) {
	defer pruneBinaries(stateDir, now)
	runs := filepath.Join(stateDir, "runs")
	entries, _ := os.ReadDir(runs)
	type kept struct {
		dir   string
		ended time.Time
		bytes int64
	}
	var list []kept
	for _, e := range entries {
		dir := filepath.Join(runs, e.Name())
		info, err := e.Info()
		if err != nil {
			continue
		}
		old := now.Sub(info.ModTime()) > keepFor
		if strings.HasPrefix(e.Name(), unfinished) {
			if old {
				os.RemoveAll(dir)
			}
			continue
		}
		here, over := fate(dir)
		switch {
		case !over && (here || !old), launched(dir), awaits(dir, now):
		case old || removeEmpty(dir, now) != nil:
			os.RemoveAll(dir)
		default:
			if n, err := size(dir); err == nil {
				list = append(list, kept{dir, info.ModTime(), n})
			}
		}
	}
	slices.SortFunc(list, func(a, b kept) int {
		return cmp.Or(b.ended.Compare(a.ended), cmp.Compare(b.dir, a.dir))
	})
	room := int64(keepBytes)
	for _, k := range list {
		if room -= k.bytes; room < 0 {
			os.RemoveAll(k.dir)
		}
	}
}

// Kept returns how many runs that are over have left output or records, and how many
// bytes that is.
func Kept(stateDir string) (runs int, bytes int64) {
	dirs, _ := filepath.Glob(filepath.Join(stateDir, "runs", "[0-9]*"))
	for _, dir := range dirs {
		if _, over := fate(dir); !over {
			continue
		}
		if n, err := size(dir); err == nil {
			runs, bytes = runs+1, bytes+n
		}
	}
	return runs, bytes
}

// size adds up the files of dir, in bytes. It fails if there is no dir.
func size(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if path == dir {
				return err
			}
			return nil // removed meanwhile
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total, err
}

// process names a process so that no other, now or later, on this machine or
// another that shares the directory, is taken for it.
type process struct {
	Host  string `json:"host"`
	Boot  string `json:"boot"` // of this start of the machine; empty off Linux
	Pid   int    `json:"pid"`
	Start string `json:"start"`          // of the process, in the kernel's ticks; empty off Linux
	Over  bool   `json:"over,omitempty"` // the run has ended, though the process may live
}

func self() process {
	host, _ := os.Hostname()
	return process{Host: host, Boot: bootID(), Pid: os.Getpid(), Start: startTime(os.Getpid())}
}

// fate tells whether the process that owns a run's folder belongs to this
// machine, and whether it is certain to be gone. What another host's process
// does can't be known here.
func fate(dir string) (here, over bool) {
	var o process
	b, err := os.ReadFile(filepath.Join(dir, ownerFile))
	if err != nil || json.Unmarshal(b, &o) != nil || o.Pid <= 0 {
		return true, true
	}
	me := self()
	switch {
	case o.Host != me.Host:
		return false, false
	case o.Boot != me.Boot || o.Over:
		return true, true
	}
	return true, syscall.Kill(o.Pid, 0) == syscall.ESRCH || startTime(o.Pid) != o.Start
}

// bootID names this machine's current boot, empty where there is no such thing.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// startTime returns field 22 of /proc/PID/stat (proc(5)), empty where there is no such
// file, and of a process that has ended and waits to be reaped (fields 3 and 20: the
// first thread may be a zombie while others run on): in a container nobody may ever.
func startTime(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	f := strings.Fields(rest)
	if len(f) < 20 || (f[0] == "Z" || f[0] == "X") && (f[17] == "0" || f[17] == "1") {
		return ""
	}
	return f[19]
}

// PruneSockets removes from dir the sockets that nobody listens on, which
// those who were killed left behind.
func PruneSockets(dir string, now time.Time) {
	paths, _ := filepath.Glob(filepath.Join(dir, "*.sock"))
	for _, p := range paths {
		// One that is young may have been bound and not be listened on yet.
		if st, err := os.Lstat(p); err != nil || now.Sub(st.ModTime()) < time.Minute {
			continue
		}
		c, err := net.Dial("unix", p)
		if err == nil {
			c.Close()
			continue
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			os.Remove(p)
		}
	}
}
