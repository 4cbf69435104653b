package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// A worker's scratch folder is "muster-worker-HOST-RANDOM" in TMPDIR. Its worker
// holds a lock on it (flock(2)), which ends with the process, however that ends. So
// a folder of this host that can be locked is nobody's any more. It gets that name
// when it is locked; until then it is "muster-new-HOST-PID-RANDOM" and empty, and
// nobody's when there is no such process.
const (
	scratchPrefix = "muster-worker-"
	newPrefix     = "muster-new-"
)

// makeScratch makes the scratch folder of this process, and removes those that
// workers of the same user have left that were killed. Where none can be made it
// returns the name of one that the slots will try to make, task by task. Remove
// ends it.
func makeScratch(log hclog.Logger) (dir string, remove func()) {
	return makeScratchIn(scratchParent(os.TempDir(), log), log)
}

func makeScratchIn(parent string, log hclog.Logger) (dir string, remove func()) {
	prefix := scratchNames(parent)
	sweep(prefix)
	dir, lock, err := lockedFolder(parent, prefix)
	if err != nil {
		log.Error("cannot make a scratch folder; no task can run here until that is possible", "in", parent, "error", err)
		dir = filepath.Join(parent, newPrefix+strconv.Itoa(os.Getpid()))
	}
	return dir, func() {
		os.RemoveAll(dir)
		lock.Close()
	}
}

// scratchNames returns how the paths of this host's scratch folders begin.
func scratchNames(parent string) string {
	return filepath.Join(parent, scratchPrefix+hostLabel()+"-")
}

// sweepScratch removes the scratch folders that workers of the same user have left
// that were killed. Host.Leave calls it, which kills its own.
func sweepScratch(log hclog.Logger) {
	sweep(scratchNames(scratchParent(os.TempDir(), log)))
}

// scratchParent is TMPDIR, or /tmp where no folder can ever be made in that. A disk that
// is full may have room again.
func scratchParent(tmp string, log hclog.Logger) string {
	parent, err := filepath.Abs(tmp) // tasks have other working directories
	if err == nil {
		err = tryFolder(parent)
	}
	if err == nil {
		return parent
	}
	log.Warn("no folder can be made in TMPDIR; scratch folders are in /tmp", "TMPDIR", tmp, "error", err)
	return "/tmp"
}

// tryFolder says why no folder can be made in parent; nil if one can, or could at
// another time.
func tryFolder(parent string) error {
	dir, err := os.MkdirTemp(parent, newPrefix+hostLabel()+"-"+strconv.Itoa(os.Getpid())+"-")
	if err == nil {
		os.Remove(dir)
		return nil
	}
	for _, never := range []error{fs.ErrNotExist, fs.ErrPermission, syscall.ENOTDIR, syscall.EROFS, syscall.ELOOP, syscall.ENAMETOOLONG} {
		if errors.Is(err, never) {
			return err
		}
	}
	return nil
}

// hostLabel is the host's name as part of a file's.
func hostLabel() string {
	name, _ := os.Hostname()
	return strings.ReplaceAll(name, "/", "_")
}

// lockedFolder makes a folder whose name begins with prefix, and locks it. Who does not
// see this process, in another container, may take the folder for left: then it is made
// again.
func lockedFolder(parent, prefix string) (dir string, lock *os.File, err error) {
	for range 3 {
		dir, lock, err = newFolder(parent, prefix)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return dir, lock, err
}

func newFolder(parent, prefix string) (string, *os.File, error) {
	making := newPrefix + hostLabel() + "-" + strconv.Itoa(os.Getpid()) + "-"
	dir, err := os.MkdirTemp(parent, making)
	if err != nil {
		return "", nil, err
	}
	lock, err := lockFolder(dir)
	if err == nil {
		name := prefix + strings.TrimPrefix(filepath.Base(dir), making)
		if err = os.Rename(dir, name); err == nil {
			return name, lock, nil
		}
		lock.Close()
	}
	os.Remove(dir)
	return "", nil, err
}

// lockFolder locks a folder of this user's, if nobody else has.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: dir, Err: err}
	}
	return f, nil
}

// sweep removes the scratch folders of workers of this user that are gone.
func sweep(prefix string) {
	sweepNew(filepath.Dir(prefix))
	dirs, _ := filepath.Glob(globbed(prefix) + "*")
	for _, dir := range dirs {
		lock, err := lockFolder(dir)
		if err != nil {
			continue
		}
		if st, err := lock.Stat(); err == nil && ownedByUs(st) {
			os.RemoveAll(dir)
		}
		lock.Close()
	}
}

// sweepNew removes the folders of workers that were killed before they had locked them.
func sweepNew(parent string) {
	prefix := filepath.Join(parent, newPrefix+hostLabel()+"-")
	dirs, _ := filepath.Glob(globbed(prefix) + "*-*")
	for _, dir := range dirs {
		text, _, _ := strings.Cut(strings.TrimPrefix(dir, prefix), "-")
		pid, err := strconv.Atoi(text)
		if err != nil || pid < 2 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		if st, err := os.Lstat(dir); err == nil && st.IsDir() && ownedByUs(st) {
			os.Remove(dir) // which has nothing in it
		}
	}
}

func ownedByUs(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid()
}

// globbed returns text as a pattern that matches it alone.
func globbed(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(text)
}
