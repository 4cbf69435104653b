package config

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// judge says what is wrong with a config that was found and not named: others
// than the user and root can have written it. It asks the opened file, so that it does
// not matter what becomes of the name later. A link to it that is another's is theirs,
// since paths in the config count from the folder of the link.
//
// A group that may write to it is no other if it is the user's own: their
// primary group, of their name, which /etc/group gives no other member. With an access
// list (acl(5)) the bits of the group are those of everybody whom the list names.
func judge(path string, f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return nil // a system without owners
	}
	var who string
	switch mode := st.Mode(); {
	case int(sys.Uid) != os.Geteuid() && sys.Uid != 0:
		who = userName(sys.Uid) + ", to whom it belongs"
	case mode&0o002 != 0:
		who = fmt.Sprintf("everybody, who may write to it (mode %04o)", mode.Perm())
	case linkOfOthers(path) != "":
		who = linkOfOthers(path) + ", to whom the link belongs"
	case mode&0o020 != 0 && listed(f):
		who = fmt.Sprintf("others whom its access list names, who may write to it (mode %04o)", mode.Perm())
	case mode&0o020 != 0 && !ownGroup(sys.Gid):
		who = fmt.Sprintf("%s, who may write to it (mode %04o)", groupName(sys.Gid), mode.Perm())
	default:
		return nil
	}
	return fmt.Errorf("%s was found here and not named, and its expressions would run programs as you for %s: if you trust it, name it (-c %s); without a config: -c %s", path, who, path, os.DevNull)
}

// linkOfOthers names the user to whom the link path belongs, if it is one of another's.
func linkOfOthers(path string) string {
	st, err := os.Lstat(path)
	if err != nil || st.Mode()&os.ModeSymlink == 0 {
		return ""
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() && sys.Uid != 0 {
		return userName(sys.Uid)
	}
	return ""
}

// listed reports whether a file has an access list beside its mode.
func listed(f *os.File) bool {
	n, err := unix.Fgetxattr(int(f.Fd()), "system.posix_acl_access", nil)
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
