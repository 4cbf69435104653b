package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dir returns the state directory, which it makes if it must: $MUSTER_STATE, else the
// first of these that can be used: $XDG_STATE_HOME/muster, ~/.local/state/muster by HOME,
// the same by what the system says of the user, /tmp/muster-UID/state. Jobs, su and cron
// have variables that point nowhere, or to what is another user's.
func Dir(getenv func(string) string) (string, error) {
	dir, _, err := choose(getenv)
	return dir, err
}

// Remark says which variables the state directory would go by that cannot be used, and
// where it is instead; "" if there is nothing to say. Commands say it once.
func Remark(getenv func(string) string) string {
	_, remark, _ := choose(getenv)
	return remark
}

// place is where a state directory may be, below a folder that something names.
type place struct {
	from, base string
	below      string
	mustBe     bool // base is not made: it is a home
}

func choose(getenv func(string) string) (dir, remark string, err error) {
	if named := getenv("MUSTER_STATE"); named != "" {
		if dir, err = filepath.Abs(named); err != nil {
			return "", "", fmt.Errorf("find the state directory: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", "", fmt.Errorf("make the state directory: %w; MUSTER_STATE names another", err)
		}
		return dir, "", judge(dir)
	}
	for _, p := range places(getenv) {
		dir = filepath.Join(p.base, p.below)
		err := p.make(dir)
		if err == nil {
			if remark != "" {
				remark += "; what muster keeps is in " + dir
			}
			return dir, remark, judge(dir)
		}
		if !unusable(err) {
			return "", "", fmt.Errorf("make the state directory: %w; MUSTER_STATE names another", err)
		}
		if remark != "" {
			remark += "; "
		}
		remark += fmt.Sprintf("%s cannot be used: %v", p.from, err)
	}
	return "", "", fmt.Errorf("make the state directory: %s; MUSTER_STATE names another", remark)
}

// places lists where the state directory may be, the best first. HOME counts where it is
// not set: it should be.
func places(getenv func(string) string) []place {
	var list []place
	if base := getenv("XDG_STATE_HOME"); base != "" {
		list = append(list, place{"XDG_STATE_HOME", base, "muster", false})
	}
	below := filepath.Join(".local", "state", "muster")
	list = append(list, place{"HOME", getenv("HOME"), below, true})
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil && u.HomeDir != getenv("HOME") {
		list = append(list, place{"the home of user " + u.Username, u.HomeDir, below, true})
	}
	return append(list, place{"/tmp", filepath.Join("/tmp", "muster-"+strconv.Itoa(os.Getuid())), "state", false})
}

// Errors of a place that is passed over.
var (
	errUnset    = errors.New("it is not set")
	errRelative = errors.New("it is no absolute path")
	errOthers   = errors.New("it is another user's")
)

// make makes the directory of a place, if that is one for this user's state.
func (p place) make(dir string) error {
	switch {
	case p.base == "":
		return errUnset
	case !filepath.IsAbs(p.base):
		return fmt.Errorf("%s: %w", p.base, errRelative)
	}
	st, err := os.Stat(p.base)
	switch {
	case err != nil && (p.mustBe || !errors.Is(err, fs.ErrNotExist)):
		return err
	case err == nil && others(st):
		return fmt.Errorf("%s: %w", p.base, errOthers)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}

// others reports whether a folder is neither this user's nor root's.
func others(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) != os.Geteuid() && sys.Uid != 0
}

// unusable reports whether an error says that a place will never do, as opposed to a disk
// that is full or does not answer.
func unusable(err error) bool {
	for _, e := range []error{errUnset, errRelative, errOthers, fs.ErrNotExist, fs.ErrPermission, syscall.ENOTDIR, syscall.EROFS, syscall.ELOOP} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
