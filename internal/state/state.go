// Package state knows where muster keeps what outlives a command: its
// identity, the folders of runs, and the sockets of those that are under way.
package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Dir returns the state directory, which it makes if it must: $MUSTER_STATE,
// else $XDG_STATE_HOME/muster, else ~/.local/state/muster.
func Dir(getenv func(string) string) (string, error) {
	dir := getenv("MUSTER_STATE")
	if dir == "" {
		base := getenv("XDG_STATE_HOME")
		if base == "" {
			home := getenv("HOME")
			if home == "" {
				return "", errors.New("find the state directory: neither MUSTER_STATE nor XDG_STATE_HOME nor HOME is set")
			}
			base = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(base, "muster")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the state directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the state directory: %w; MUSTER_STATE names another", err)
	}
	return dir, private(dir, 0o022)
}

// SocketDir returns the directory of sockets: $XDG_RUNTIME_DIR/muster, else
// /tmp/muster-UID. Sockets never lie in the state directory, which may be on a
// network file system and whose path may be too long for one (108 bytes,
// unix(7)).
func SocketDir(getenv func(string) string) (string, error) {
	dir := filepath.Join("/tmp", "muster-"+strconv.Itoa(os.Getuid()))
	if base := getenv("XDG_RUNTIME_DIR"); base != "" && len(base) < 60 {
		dir = filepath.Join(base, "muster")
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make the socket directory: %w", err)
	}
	return dir, private(dir, 0o077)
}

// private refuses a directory that is a link, somebody else's, or open to
// others in a way that mask forbids.
func private(dir string, mask os.FileMode) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case ok && int(sys.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to user %d, not to you", dir, sys.Uid)
	case st.Mode().Perm()&mask != 0:
		return fmt.Errorf("%s is open to others (mode %04o): chmod 700 it", dir, st.Mode().Perm())
	}
	return nil
}

// Run is the folder of one run: out/ for spooled output.
type Run struct {
	ID  string
	Dir string
}

// NewRun makes the folder of a run that begins now.
func NewRun(stateDir string, now time.Time) (*Run, error) {
	var salt [4]byte
	rand.Read(salt[:])
	r := &Run{ID: now.UTC().Format("20060102-150405") + "-" + hex.EncodeToString(salt[:])}
	r.Dir = filepath.Join(stateDir, "runs", r.ID)
	if err := os.MkdirAll(r.Out(), 0o700); err != nil {
		return nil, fmt.Errorf("make the run's folder: %w", err)
	}
	owner := fmt.Sprintf("%d %s\n", os.Getpid(), bootID())
	if err := os.WriteFile(filepath.Join(r.Dir, ownerFile), []byte(owner), 0o600); err != nil {
		return nil, fmt.Errorf("make the run's folder: %w", err)
	}
	return r, nil
}

const ownerFile = "owner"

// Out is the folder of spooled output.
func (r *Run) Out() string { return filepath.Join(r.Dir, "out") }

// Close removes the run's folder unless output was kept in it.
func (r *Run) Close() error {
	os.Remove(r.Out())
	if _, err := os.Stat(r.Out()); err == nil {
		return nil
	}
	return os.RemoveAll(r.Dir)
}

// keepFor is how long a finished run's folder stays.
const keepFor = 14 * 24 * time.Hour

// Prune removes the folders of runs that ended long ago, or that were killed,
// on this machine or since it was last started, with nothing kept in them.
func Prune(stateDir string, now time.Time) {
	runs, _ := filepath.Glob(filepath.Join(stateDir, "runs", "*"))
	for _, dir := range runs {
		st, err := os.Stat(dir)
		if err != nil || alive(dir) {
			continue
		}
		if now.Sub(st.ModTime()) > keepFor {
			os.RemoveAll(dir)
		}
	}
}

// alive reports whether the process that made a run's folder still runs here,
// or may run on another host.
func alive(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, ownerFile))
	pid, boot, ok := strings.Cut(strings.TrimSpace(string(b)), " ")
	n, perr := strconv.Atoi(pid)
	if err != nil || !ok || perr != nil || boot != bootID() {
		return false
	}
	return syscall.Kill(n, 0) == nil
}

// bootID names this machine's current boot, empty where there is no such thing.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
