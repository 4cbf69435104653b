// Package owner says who beside the user and root can read, write or replace a file. It
// asks the opened file, so that it does not matter what becomes of the name later.
package owner

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Writers names somebody beside the user and root who can write to a file; it is empty
// if nobody can. On a system without owners nobody else is known.
//
// A group that may write to it is no other if it is the user's own: their
// primary group, of their name, which /etc/group gives no other member. With an access
// list (acl(5)) the bits of the group are those of everybody whom the list names.
func Writers(f *os.File) (who string, err error) {
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	return others(st, listed(int(f.Fd())), 0o022, "write to it"), nil
}

// Readers names somebody beside the user and root who can read or write a file.
func Readers(f *os.File) (who string, err error) {
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	return others(st, listed(int(f.Fd())), 0o066, "read it or write to it"), nil
}

// Replacers names somebody beside the user and root who can put another file in the
// place of one in a folder. In a sticky folder, as /tmp is, only its owner can.
func Replacers(folder string) (who string, err error) {
	st, err := os.Stat(folder)
	if err != nil {
		return "", err
	}
	mask := fs.FileMode(0o022)
	if st.Mode()&fs.ModeSticky != 0 {
		mask = 0
	}
	n, err := unix.Getxattr(folder, accessList, nil)
	return others(st, err == nil && n > 0, mask, "write to it"), nil
}

// others names somebody else who may do with a file what the bits of mask say. listed
// says that it has an access list beside its mode.
func others(st fs.FileInfo, listed bool, mask fs.FileMode, may string) string {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	switch mode := st.Mode(); {
	case int(sys.Uid) != os.Geteuid() && sys.Uid != 0:
		return userName(sys.Uid) + ", to whom it belongs"
	case mode&mask&0o007 != 0:
		return fmt.Sprintf("everybody, who may %s (mode %04o)", may, mode.Perm())
	case mode&mask&0o070 != 0 && listed:
		return fmt.Sprintf("others whom its access list names, who may %s (mode %04o)", may, mode.Perm())
	case mode&mask&0o070 != 0 && !ownGroup(sys.Gid):
		return fmt.Sprintf("%s, who may %s (mode %04o)", groupName(sys.Gid), may, mode.Perm())
	}
	return ""
}

// OfLink names the user to whom the link path belongs, if it is one of another's.
func OfLink(path string) string {
	st, err := os.Lstat(path)
	if err != nil || st.Mode()&os.ModeSymlink == 0 {
		return ""
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() && sys.Uid != 0 {
		return userName(sys.Uid)
	}
	return ""
}

const accessList = "system.posix_acl_access"

// listed reports whether a file has an access list beside its mode.
func listed(fd int) bool {
	n, err := unix.Fgetxattr(fd, accessList, nil)
	return err == nil && n > 0
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return "user " + u.Username
	}
	return "user " + id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return "group " + g.Name
	}
	return "group " + id
}

// ownGroup reports whether a group is the user's own.
func ownGroup(gid uint32) bool {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil || u.Gid != strconv.FormatUint(uint64(gid), 10) {
		return false
	}
	f, err := os.Open("/etc/group")
	if err != nil {
		return false
	}
	defer f.Close()
	return alone(f, u)
}

// alone reports whether a list of groups has the user's primary group under the
// user's name, once, and gives it no other member. See group(5).
func alone(groups io.Reader, u *user.User) bool {
	found := false
	lines := bufio.NewScanner(groups)
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":")
		if len(f) != 4 || f[2] != u.Gid {
			continue
		}
		if f[0] != u.Username || f[3] != "" && f[3] != u.Username {
			return false
		}
		found = true
	}
	return found && lines.Err() == nil
}
