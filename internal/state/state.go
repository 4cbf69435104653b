// Package state knows where muster keeps what outlives a command: its
// identity, the folders of runs, and the sockets of those that are under way.
package state

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"muster/internal/owner"
)

// judge refuses a state directory in which others could put keys, records of jobs or
// programs: one that is open to them, or whose name could come to lead elsewhere.
func judge(dir string) error {
	for _, part := range []string{dir, filepath.Join(dir, "runs"), filepath.Join(dir, "bin")} {
		who, open, err := owner.Way(part)
		switch {
		case part != dir && errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("look who can write to the state directory: %w; MUSTER_STATE names another", err)
		case who != "":
			return fmt.Errorf("the state directory %s is not safe: %s is open to %s; chmod go-w that if it is yours, or name another state directory with MUSTER_STATE", dir, open, who)
		}
	}
	return nil
}

// SocketDir returns the directory of the sockets of the state directory: HASH, which is
// made of that directory's path, in /tmp/muster-UID. Sockets never lie in the state
// directory, which may be on a network file system and whose path may be too long for
// one (108 bytes, unix(7)); nor in $XDG_RUNTIME_DIR, which not all shells of a user have,
// and which goes with the user's last session while dispatchers stay.
func SocketDir(getenv func(string) string) (string, error) {
	dir, err := Dir(getenv)
	if err != nil {
		return "", err
	}
	return SocketDirIn("/tmp", dir)
}

// SocketDirIn is SocketDir in another folder than /tmp. If somebody else has taken the
// name muster-UID there, it is another that the file sockets in the state directory
// remembers.
func SocketDirIn(parent, stateDir string) (string, error) {
	base := filepath.Join(parent, "muster-"+strconv.Itoa(os.Getuid()))
	err := makeSocketDir(base)
	if errors.Is(err, errTaken) {
		base, err = otherSocketDir(stateDir, base)
	}
	if err != nil {
		return "", err
	}
	if stateDir, err = filepath.EvalSymlinks(stateDir); err != nil {
		return "", fmt.Errorf("find the state directory: %w", err)
	}
	sum := sha256.Sum256([]byte(stateDir))
	dir := filepath.Join(base, hex.EncodeToString(sum[:6]))
	return dir, makeSocketDir(dir)
}

// RemakeSocketDir makes a directory again that SocketDir has returned, as it was.
func RemakeSocketDir(dir string) error {
	if err := makeSocketDir(filepath.Dir(dir)); err != nil {
		return err
	}
	return makeSocketDir(dir)
}

// errTaken marks a name under which somebody else has put something.
var errTaken = errors.New("somebody else has taken this name")

func makeSocketDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the socket directory: %w", err)
	}
	return private(dir, 0o077)
}

// socketsFile is the file in the state directory that remembers another directory of
// sockets. It belongs to that directory's owner alone, as the state directory does.
const socketsFile = "sockets"

// otherSocketDir returns the directory of sockets for a user whose own name for it is
// taken, the same one for all commands. Its name cannot be guessed, so that nobody takes
// it first.
func otherSocketDir(stateDir, taken string) (string, error) {
	file := filepath.Join(stateDir, socketsFile)
	begin := taken + "-"
	for range 3 { // another command may do the same
		b, err := os.ReadFile(file)
		if name := strings.TrimSpace(string(b)); err == nil && strings.HasPrefix(name, begin) && !strings.Contains(name[len(begin):], "/") {
			if err := makeSocketDir(name); !errors.Is(err, errTaken) {
				return name, err
			}
			os.Remove(file) // whoever has read the name has taken it too
		}
		name := begin + rand.Text()[:12]
		if err := makeSocketDir(name); err != nil {
			return "", err
		}
		if err := writeOnce(file, name+"\n"); err == nil {
			return name, nil
		} else if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("remember the socket directory: %w", err)
		}
		os.Remove(name)
	}
	return "", fmt.Errorf("find a socket directory: %s is somebody else's, and %s does not hold a name of another", taken, file)
}

// writeOnce writes a file, whole, unless there is one.
func writeOnce(path, text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Link(tmp.Name(), path)
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
		return fmt.Errorf("%s is not a directory: %w", dir, errTaken)
	case ok && int(sys.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to user %d, not to you: %w", dir, sys.Uid, errTaken)
	case st.Mode().Perm()&mask != 0:
		return fmt.Errorf("%s is open to others (mode %04o): chmod 700 it", dir, st.Mode().Perm())
	}
	return nil
}
