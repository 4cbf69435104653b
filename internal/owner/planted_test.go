package owner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlanted: what somebody else has put in a folder that is everybody's is not
// written to, nor followed; nothing is lost or made where it leads.
func TestPlanted(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, b string) string // returns the path that is named
		bad  string                              // of b, what is to blame; empty if it is written
	}{
		{"nothing there", func(t *testing.T, b string) string { return b + "/tmp/log" }, ""},
		{"one's own", func(t *testing.T, b string) string { return file(t, b+"/tmp/log") }, ""},
		{"one's own link", func(t *testing.T, b string) string { link(t, "../mine", b+"/tmp/log"); return b + "/tmp/log" }, ""},
		{"one's own link to nothing", func(t *testing.T, b string) string { link(t, "../new", b+"/tmp/log"); return b + "/tmp/log" }, ""},
		{"through one's own link", func(t *testing.T, b string) string { link(t, "../home", b+"/tmp/d"); return b + "/tmp/d/log" }, ""},
		{"another's link", func(t *testing.T, b string) string {
			link(t, "../mine", b+"/tmp/log")
			chown(t, b+"/tmp/log")
			return b + "/tmp/log"
		}, "tmp/log"},
		{"another's link to nothing", func(t *testing.T, b string) string {
			link(t, "../new", b+"/tmp/log")
			chown(t, b+"/tmp/log")
			return b + "/tmp/log"
		}, "tmp/log"},
		{"through another's link", func(t *testing.T, b string) string {
			link(t, "../home", b+"/tmp/d")
			chown(t, b+"/tmp/d")
			return b + "/tmp/d/log"
		}, "tmp/d"},
		{"through a link to another's", func(t *testing.T, b string) string {
			link(t, "../home", b+"/tmp/d")
			chown(t, b+"/tmp/d")
			link(t, "tmp/d", b+"/l")
			return b + "/l/log"
		}, "tmp/d"},
		{"another's file", func(t *testing.T, b string) string {
			f := file(t, b+"/tmp/log")
			chown(t, f)
			return f
		}, "tmp/log"},
		{"another's file in a folder that is not everybody's", func(t *testing.T, b string) string {
			f := file(t, b+"/home/log")
			chown(t, f)
			return f
		}, ""},
		{"standard error", func(t *testing.T, b string) string { return "/dev/stderr" }, ""},
		{"nothing at all", func(t *testing.T, b string) string { return "/dev/null" }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if os.Getuid() != 0 {
				t.Skip("needs root, to give files to somebody else")
			}
			base, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			dirs(t, base, "home:755", "tmp:1777")
			mine := file(t, base+"/mine")
			path := c.make(t, base)
			f, err := Create(path, os.O_APPEND|os.O_TRUNC, 0o666)
			if err == nil {
				f.Close()
			}
			text, _ := os.ReadFile(mine)
			if c.bad == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if at := base + "/" + c.bad; err == nil || !strings.Contains(err.Error(), at+" belongs to user 65533") {
				t.Errorf("it is opened: %v", err)
			}
			if string(text) != "mine" {
				t.Errorf("the user's own file holds %q", text)
			}
			if left, _ := os.ReadDir(base + "/home"); len(left) > 0 {
				t.Errorf("left is %v", left)
			}
			if _, err := os.Lstat(base + "/new"); err == nil {
				t.Error("a file was made where the link leads")
			}
			if root, err := MakeFolder(path+"/results", 0o777); err == nil {
				root.Close()
				t.Error("a folder is made")
			}
		})
	}
}

func file(t *testing.T, path string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
