package owner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestWay: who can write where on the way to a folder.
func TestWay(t *testing.T) {
	root := os.Getuid() == 0
	for _, c := range []struct {
		name string
		make func(t *testing.T, base string) string // returns the folder to ask about
		bad  string                                 // of base, what the error names; empty is no error
		why  string
	}{
		{"its own", func(t *testing.T, b string) string { return dirs(t, b, "a:755", "a/b:700") }, "", ""},
		{"writable by all", func(t *testing.T, b string) string { return dirs(t, b, "a:777") }, "a", "mode"},
		{"writable by a group", func(t *testing.T, b string) string {
			d := dirs(t, b, "a:770")
			os.Chown(d, -1, 65533)
			return d
		}, "a", "group 65533"},
		{"sticky itself", func(t *testing.T, b string) string { return dirs(t, b, "a:1777") }, "a", "mode"},
		{"below a sticky one", func(t *testing.T, b string) string { return dirs(t, b, "a:1777", "a/b:700") }, "", ""},
		{"below one that all can write to", func(t *testing.T, b string) string { return dirs(t, b, "a:777", "a/b:700", "a/b/c:700") }, "a", "mode"},
		{"somebody else's", func(t *testing.T, b string) string {
			d := dirs(t, b, "a:1777", "a/b:755", "a/b/c:700")
			chown(t, filepath.Join(b, "a/b"))
			return d
		}, "a/b", "user 65533, to whom"},
		{"a link of one's own", func(t *testing.T, b string) string {
			dirs(t, b, "a:1777", "c:700")
			link(t, "../c", filepath.Join(b, "a/l"))
			return filepath.Join(b, "a/l")
		}, "", ""},
		{"a link of somebody else", func(t *testing.T, b string) string {
			dirs(t, b, "a:1777", "c:700")
			link(t, "../c", filepath.Join(b, "a/l"))
			chown(t, filepath.Join(b, "a/l"))
			return filepath.Join(b, "a/l")
		}, "a/l", "user 65533, to whom"},
		{"a link to where all can write", func(t *testing.T, b string) string {
			dirs(t, b, "a:777", "a/c:700", "d:700")
			link(t, filepath.Join(b, "a/c"), filepath.Join(b, "d/l"))
			return filepath.Join(b, "d/l")
		}, "a", "mode"},
		{"a link to a sticky one", func(t *testing.T, b string) string {
			dirs(t, b, "a:1777", "d:700")
			link(t, "../a", filepath.Join(b, "d/l"))
			return filepath.Join(b, "d/l")
		}, "d/../a", "mode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.why, "65533") && !root {
				t.Skip("needs root, to give a file to somebody else")
			}
			base := t.TempDir()
			who, open, err := Way(c.make(t, base))
			want := ""
			if c.bad != "" {
				want = base + "/" + c.bad
			}
			if err != nil || open != want || !strings.Contains(who, c.why) {
				t.Errorf("%q at %q, %v; want %q at %q", who, open, err, c.why, want)
			}
		})
	}
}

// dirs makes folders of given modes, and returns the last.
func dirs(t *testing.T, base string, list ...string) (last string) {
	t.Helper()
	for _, d := range list {
		name, mode, _ := strings.Cut(d, ":")
		last = filepath.Join(base, name)
		if err := os.Mkdir(last, 0o700); err != nil {
			t.Fatal(err)
		}
		modes := map[string]os.FileMode{"700": 0o700, "755": 0o755, "770": 0o770, "777": 0o777, "1777": 0o777 | os.ModeSticky}
		if err := os.Chmod(last, modes[mode]); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func chown(t *testing.T, path string) {
	t.Helper()
	if err := os.Lchown(path, 65533, 65533); err != nil {
		t.Fatal(err)
	}
}

func TestWayInACircle(t *testing.T) {
	base := t.TempDir()
	link(t, "m", filepath.Join(base, "l"))
	link(t, "l", filepath.Join(base, "m"))
	if who, open, err := Way(filepath.Join(base, "l")); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("%q at %q, %v", who, open, err)
	}
}
