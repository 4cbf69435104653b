// Package state knows where muster keeps what outlives a command: its
// identity, the folders of runs, and the sockets of those that are under way.
package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
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
