package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
)

// accounts are passwd(5), shadow(5) and group(5) as some nodes of a network have
// them: the machine's own, with another home for root and with more users. The
// machine's files stay as they are.
type accounts struct {
	dir, home string
	mu        sync.Mutex // guards the files and users
	users     int
}

func newAccounts(dir, home string) (*accounts, error) {
	for _, d := range []string{dir, home} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"passwd", "shadow", "group"} {
		b, err := os.ReadFile("/etc/" + name)
		if err != nil {
			return nil, err
		}
		mode := os.FileMode(0o644)
		if name == "shadow" {
			mode = 0o600
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(moveRoot(string(b), name, home)), mode); err != nil {
			return nil, err
		}
	}
	return &accounts{dir: dir, home: home}, nil
}

// moveRoot gives root another home, the sixth field of passwd's line, and a
// plain shell, the seventh.
func moveRoot(text, name, home string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		f := strings.Split(strings.TrimSuffix(l, "\n"), ":")
		if name == "passwd" && f[0] == "root" && len(f) == 7 {
			f[5], f[6] = home, "/bin/sh"
			lines[i] = strings.Join(f, ":") + "\n"
		}
	}
	return strings.Join(lines, "")
}

// User is one that AddUser has made.
type User struct {
	Name, Home string
	UID        int
}

// AddUser makes a user on every node but the laptop, with a home of their own
// there; shell is the full name of the login shell. Nobody outside of the
// network knows the user.
func (n *Network) AddUser(name, password, shell string) (*User, error) {
	a := n.site
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := user.Lookup(name); err == nil {
		return nil, fmt.Errorf("the machine has a user %s already: take another name", name)
	}
	hash, err := hashPassword(password)
	if err != nil {
		return nil, err
	}
	a.users++
	u := &User{Name: name, Home: filepath.Join(n.Dir, "home", name), UID: 52000 + a.users}
	if err := os.MkdirAll(u.Home, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chown(u.Home, u.UID, u.UID); err != nil {
		return nil, err
	}
	// In place: what is mounted is the file, not its name.
	for file, line := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::%s:%s\n", name, u.UID, u.UID, u.Home, shell),
		"shadow": fmt.Sprintf("%s:%s:19000:0:99999:7:::\n", name, hash),
		"group":  fmt.Sprintf("%s:x:%d:\n", name, u.UID),
	} {
		if err := appendTo(filepath.Join(a.dir, file), line); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// hashPassword makes a hash as crypt(5) has it. Every Debian has perl.
func hashPassword(password string) (string, error) {
	cmd := exec.Command("perl", "-e", `chomp($p = <STDIN>); print crypt($p, q($6$muster$))`)
	cmd.Stdin = strings.NewReader(password + "\n")
	out, err := cmd.Output()
	if err == nil && !strings.HasPrefix(string(out), "$6$") {
		err = fmt.Errorf("perl's crypt has no SHA-512")
	}
	return string(out), err
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
