package owner

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Way names somebody beside the user and root who could write in a folder, or put
// another in its place, and the folder or link on the way there that is open to them.
// who is empty if nobody could. A folder on the way may be open to others if it is
// sticky, as /tmp is; dir itself may not.
func Way(dir string) (who, open string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", "", err
	}
	return new(way).down(dir, true)
}

type way struct{ links int }

// mostLinks is how many links are followed, as many as Linux follows (path_resolution(7)).
const mostLinks = 40

// down looks at every folder down to path; last says that path is the one that was
// asked about.
func (w *way) down(path string, last bool) (who, open string, err error) {
	at := "/"
	rest := strings.Split(strings.Trim(path, "/"), "/")
	for i := 0; ; i++ {
		if who, open, err = w.look(at, last && i == len(rest)); who != "" || err != nil || i == len(rest) {
			return who, open, err
		}
		at = strings.TrimSuffix(at, "/") + "/" + rest[i] // .. stays: it leads on from where a link ends
	}
}

func (w *way) look(path string, last bool) (who, open string, err error) {
	st, err := os.Lstat(path)
	if err != nil {
		return "", "", err
	}
	link := st.Mode()&fs.ModeSymlink != 0
	mask := fs.FileMode(0o022)
	if link || st.Mode()&fs.ModeSticky != 0 && !last { // a link's mode means nothing
		mask = 0
	}
	n, err := unix.Lgetxattr(path, accessList, nil)
	who = others(st, err == nil && n > 0, mask, "write to it")
	if who != "" && (last || st.Mode()&mask != 0 || !unmapped(st)) {
		return who, path, nil
	}
	if !link {
		return "", "", nil
	}
	if w.links++; w.links > mostLinks {
		return "", "", &fs.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
	}
	to, err := os.Readlink(path)
	if err != nil {
		return "", "", err
	}
	if !filepath.IsAbs(to) {
		to = filepath.Dir(path) + "/" + to
	}
	return w.down(to, last)
}

// unmapped reports whether a file belongs to one of those who have no number in this
// process's user namespace, as root has none in a container of an ordinary user
// (user_namespaces(7)).
func unmapped(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	b, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil || string(bytes.TrimSpace(b)) != strconv.FormatUint(uint64(sys.Uid), 10) {
		return false
	}
	ranges, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(ranges)) {
		var inside, outside, n uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &n); err != nil || uint64(sys.Uid)-inside < n || outside == 0 {
			return false // it is mapped, or root is
		}
	}
	return true
}
