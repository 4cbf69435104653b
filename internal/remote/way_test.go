package remote

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	mssh "muster/ssh"
)

// TestWay: a shell there says who can write to a folder.
func TestWay(t *testing.T) {
	if _, err := mssh.LoginCommand(guard + strings.Repeat("x", 1500)); err != nil {
		t.Fatalf("not every login shell takes it: %v", err)
	}
	type entry struct {
		path string // with a / at its end for a folder, and = for a link
		mode os.FileMode
		uid  int
	}
	const sticky = os.ModeSticky
	for name, c := range map[string]struct {
		tree  []entry
		ask   string
		wants string // empty if it is safe
	}{
		"one's own":                   {[]entry{{"a/", 0o755, 0}, {"a/b/", 0o700, 0}}, "a/b", ""},
		"not there":                   {[]entry{{"a/", 0o755, 0}}, "a/b/c", ""},
		"with a blank":                {[]entry{{"a  b/", 0o755, 0}, {"a  b/*/", 0o700, 0}}, "a  b/*", ""},
		"writable":                    {[]entry{{"a/", 0o777, 0}}, "a", "others can write to BASE/a (drwxrwxrwx)"},
		"writable by another's group": {[]entry{{"a/", 0o775, 1}}, "a", "others can write to BASE/a (drwxrwxr-x)"},
		"writable by one's own group": {[]entry{{"a/", 0o775, 0}}, "a", ""},
		"below a writable one":        {[]entry{{"a/", 0o777, 0}, {"a/b/", 0o700, 0}}, "a/b", "others can write to BASE/a (drwxrwxrwx)"},
		"not there, below one":        {[]entry{{"a/", 0o777, 0}}, "a/b", "others can write to BASE/a (drwxrwxrwx)"},
		"sticky":                      {[]entry{{"a/", 0o777 | sticky, 0}}, "a", "others can write to BASE/a (drwxrwxrwt)"},
		"below a sticky one":          {[]entry{{"a/", 0o777 | sticky, 0}, {"a/b/", 0o700, 0}}, "a/b", ""},
		"somebody else's":             {[]entry{{"a/", 0o777 | sticky, 0}, {"a/b/", 0o755, 65533}}, "a/b", "BASE/a/b belongs to user 65533"},
		"in somebody else's":          {[]entry{{"a/", 0o755, 65533}, {"a/b/", 0o755, 0}}, "a/b", "BASE/a belongs to user 65533"},
		"a link":                      {[]entry{{"c/", 0o755, 0}, {"l=c", 0, 0}}, "l", ""},
		"somebody else's link":        {[]entry{{"a/", 0o777 | sticky, 0}, {"c/", 0o755, 0}, {"a/l=../c", 0, 65533}}, "a/l", "BASE/a/l belongs to user 65533"},
		"a link to a sticky one":      {[]entry{{"a/", 0o777 | sticky, 0}, {"l=a", 0, 0}}, "l", "others can write to BASE/a (drwxrwxrwt)"},
		"a link to a writable one":    {[]entry{{"a/", 0o777, 0}, {"a/b/", 0o700, 0}, {"l=BASE/a/b", 0, 0}}, "l", "others can write to BASE/a (drwxrwxrwx)"},
		"below a link":                {[]entry{{"a/", 0o777 | sticky, 0}, {"a/b/", 0o700, 0}, {"l=a", 0, 0}}, "l/b", ""},
		"links in a circle":           {[]entry{{"l=m", 0, 0}, {"m=l", 0, 0}}, "l", "too many links"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := exec.Command("sh", "-c", `test "$(id -un)" = "$(id -gn)"`).CombinedOutput(); err != nil && name == "writable by one's own group" {
				t.Skipf("the user's group is not called after the user: %s", out)
			}
			base, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range c.tree {
				if e.uid != 0 && os.Getuid() != 0 {
					t.Skip("needs root, to give a folder to somebody else")
				}
				uid := os.Getuid()
				if e.uid > 1 {
					uid = e.uid
				}
				gid := os.Getgid()
				if e.uid == 1 {
					gid = 65533
				}
				if at, to, link := strings.Cut(e.path, "="); link {
					check(os.Symlink(strings.Replace(to, "BASE", base, 1), filepath.Join(base, at)))
					check(os.Lchown(filepath.Join(base, at), uid, gid))
					continue
				}
				path := filepath.Join(base, e.path)
				check(os.Mkdir(path, 0o700))
				check(os.Lchown(path, uid, gid))
				check(os.Chmod(path, e.mode))
			}
			command, err := mssh.LoginCommand(`d="` + base + "/" + c.ask + `"; ` + guard + `echo safe`)
			check(err)
			out, err := exec.Command("sh", "-c", command).Output()
			check(err)
			p := &place{state: base + "/" + c.ask}
			err = p.guarded(string(out))
			if c.wants == "" {
				if err != nil || string(out) != "safe\n" {
					t.Errorf("it says %q, %v", out, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), strings.Replace(c.wants, "BASE", base, 1)) || !strings.Contains(err.Error(), "state = ") {
				t.Errorf("it says %q, %v; want %s", out, err, c.wants)
			}
		})
	}
}
