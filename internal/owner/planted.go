package owner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Planted names somebody who could have made a user write elsewhere than at path: the
// owner of a link on the way in a folder that is everybody's, as /tmp is, or of a file
// that is there already. at is that link or file. It is empty if there is none, or
// nothing at path yet.
func Planted(path string) (who, at string, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return "", "", err
	}
	return new(trail).follow(path)
}

// trail goes along a path, and where its links lead.
type trail struct{ links int }

func (t *trail) follow(path string) (who, at string, err error) {
	parent, err := os.Lstat("/")
	if err != nil {
		return "", "", err
	}
	at = "/"
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		at = strings.TrimSuffix(at, "/") + "/" + name
		st, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return "", "", nil
		}
		if err != nil {
			return "", "", err
		}
		link := st.Mode()&fs.ModeSymlink != 0
		if (link || !st.IsDir()) && planted(parent, st) {
			return userName(st.Sys().(*syscall.Stat_t).Uid), at, nil
		}
		if link {
			if t.links++; t.links > mostLinks {
				return "", "", &fs.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
			}
			to, err := os.Readlink(at)
			if err != nil {
				return "", "", err
			}
			if !filepath.IsAbs(to) {
				to = filepath.Dir(at) + "/" + to
			}
			if strings.HasPrefix(at, "/proc/") { // to what it leads is no name
				return "", "", nil
			}
			if who, at, err := t.follow(to); who != "" || err != nil {
				return who, at, err
			}
			if st, err = os.Stat(at); err != nil {
				return "", "", nil // it leads nowhere yet
			}
		}
		parent = st
	}
	return "", "", nil
}

// planted reports whether what is in a folder for everybody belongs to another than the
// user, root and whoever made the folder, as Linux does where fs.protected_symlinks and
// fs.protected_regular are on (proc_sys_fs(5)).
func planted(folder, st fs.FileInfo) bool {
	in, ok := folder.Sys().(*syscall.Stat_t)
	of, is := st.Sys().(*syscall.Stat_t)
	return ok && is && folder.Mode()&fs.ModeSticky != 0 && folder.Mode()&0o022 != 0 && of.Uid != 0 && int(of.Uid) != os.Geteuid() && of.Uid != in.Uid
}

// Create opens a file to write at the path that a user has named, and makes it if it is
// not there; flag may be os.O_APPEND and os.O_TRUNC. It refuses one that somebody else
// has planted.
func Create(path string, flag int, perm fs.FileMode) (*os.File, error) {
	if err := Unplanted(path); err != nil {
		return nil, err
	}
	how := os.O_WRONLY | os.O_CREATE | flag&^os.O_TRUNC
	f, err := os.OpenFile(path, how|syscall.O_NOFOLLOW, perm)
	if errors.Is(err, syscall.ELOOP) { // a link of their own
		f, err = os.OpenFile(path, how, perm)
	}
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		err = stillAt(path, st)
	}
	if err == nil && flag&os.O_TRUNC != 0 && st.Mode().IsRegular() {
		err = f.Truncate(0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// stillAt fails if what was opened is not what path leads to, or if somebody else has
// made it lead there.
func stillAt(path string, opened fs.FileInfo) error {
	if err := Unplanted(path); err != nil {
		return err
	}
	now, err := os.Stat(path)
	if err == nil && !os.SameFile(now, opened) {
		err = fmt.Errorf("%s has become something else as it was opened", path)
	}
	return err
}

// Unplanted fails if Planted names somebody.
func Unplanted(path string) error {
	who, at, err := Planted(path)
	if err == nil && who != "" {
		err = fmt.Errorf("%s belongs to %s, who may have put it in this folder, which is everybody's, to have you write elsewhere or to read it: choose another name", at, who)
	}
	return err
}

// MakeFolder makes the folders down to the path that a user has named, as os.MkdirAll
// does, and opens the last. It refuses what Create does.
func MakeFolder(path string, perm fs.FileMode) (*os.Root, error) {
	if err := Unplanted(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, perm); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	st, err := root.Stat(".")
	if err == nil {
		err = stillAt(path, st)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}
