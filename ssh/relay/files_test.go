package relay_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"muster/ssh/relay"
)

func TestWriteFile(t *testing.T) {
	both(t, func(t *testing.T, c *relay.Conn) {
		dir := t.TempDir()
		data := bytes.Repeat([]byte("x\xff\x00"), 3<<20)
		path := dir + "/a/b \xff/file"
		for _, b := range [][]byte{data, []byte("shorter"), nil} {
			if err := c.WriteFile(t.Context(), path, b, 0o750); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes instead of %d, or others: %v", len(got), len(b), err)
			}
		}
		for name, mode := range map[string]fs.FileMode{path: 0o750, dir + "/a": 0o700, filepath.Dir(path): 0o700} {
			if st, err := os.Stat(name); err != nil || st.Mode().Perm() != mode {
				t.Errorf("%s: mode %v, %v", name, st.Mode(), err)
			}
		}
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
			t.Errorf("beside the file: %v", left)
		}
		if err := c.WriteFile(t.Context(), "file", data, 0o600); err == nil || !strings.Contains(err.Error(), "not absolute") {
			t.Errorf("a relative path: %v", err)
		}
		if err := c.WriteFile(t.Context(), path+"/x", data, 0o600); !errors.Is(err, syscall.ENOTDIR) && err == nil {
			t.Errorf("below a file: %v", err)
		}
	})
}

func TestWriteFileReplacesLinks(t *testing.T) {
	c, dir := piped(t), t.TempDir()
	if err := os.WriteFile(dir+"/other", []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("other", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteFile(t.Context(), dir+"/link", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(dir + "/other"); string(b) != "other" {
		t.Errorf("a link was followed: %q", b)
	}
}

func TestWriteFileOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		lacks(t, "root, to mount a small file system")
	}
	dir := t.TempDir()
	if err := mountSmall(dir); err != nil {
		lacks(t, "the right to mount: "+err.Error())
	}
	t.Cleanup(func() { unmount(dir) })
	c := piped(t)
	// Less than the window, and more: the near side must not wait for ever to send.
	for _, size := range []int{100 << 10, 10 << 20} {
		err := c.WriteFile(t.Context(), dir+"/file", make([]byte, size), 0o600)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir+"/file") || !strings.Contains(err.Error(), "make room") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left on the full disk: %v, %v", left, err)
	}
	if err := c.WriteFile(t.Context(), dir+"/file", []byte("small"), 0o600); err != nil {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	c, dir := piped(t), t.TempDir()
	for _, f := range []string{"tree/a/b", "file", "kept"} {
		if err := c.WriteFile(t.Context(), dir+"/"+f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(dir+"/kept", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(t.Context(), dir+"/tree", dir+"/none", dir+"/link", dir+"/file"); err != nil {
		t.Error(err)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 1 || left[0].Name() != "kept" {
		t.Errorf("left: %v", left)
	}
	for _, path := range []string{"file", ""} {
		if err := c.Remove(t.Context(), path); err == nil || !strings.Contains(err.Error(), "not absolute") {
			t.Errorf("Remove %q: %v", path, err)
		}
	}
}

// TestHoldsHome asks the rule and not Remove itself: a mistake would cost a home.
func TestHoldsHome(t *testing.T) {
	dir := t.TempDir()
	home := dir + "/homes/me"
	for _, d := range []string{home + "/sub", dir + "/homes/other"} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"/alias": dir + "/homes", "/link": home} {
		if err := os.Symlink(to, dir+link); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		path, home string
		want       bool
	}{
		{"/", home, true},
		{home, home, true},
		{dir + "/homes", home, true},
		{dir, home, true},
		{dir + "/alias/me", home, true},
		{home, dir + "/alias/me", true},
		{dir + "/homes", dir + "/alias/me", true},
		{home + "/sub", home, false},
		{dir + "/homes/other", home, false},
		{dir + "/link", home, false},
		{dir + "/none", home, false},
		{home, "", false},
	}
	for _, test := range tests {
		if got := relay.HoldsHome(test.path, test.home); got != test.want {
			t.Errorf("%s holds %s: %v", test.path, test.home, got)
		}
	}
}

func TestTailAndStat(t *testing.T) {
	c, dir := piped(t), t.TempDir()
	if err := c.WriteFile(t.Context(), dir+"/file", []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{4: "6789", 100: "0123456789", 0: "", -1: ""} {
		if b, err := c.Tail(t.Context(), dir+"/file", n); string(b) != want || err != nil {
			t.Errorf("last %d bytes: %q, %v", n, b, err)
		}
	}
	if _, err := c.Tail(t.Context(), dir+"/none", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("end of nothing: %v", err)
	}
	for _, name := range []string{dir, dir + "/fifo"} {
		if _, err := c.Tail(t.Context(), name, 1); err == nil || !strings.Contains(err.Error(), "no file") {
			t.Errorf("end of %s: %v", name, err)
		}
	}
	stats := map[string][2]bool{dir: {true, true}, dir + "/file": {true, false}, dir + "/none": {}, dir + "/file/x": {}}
	for path, want := range stats {
		if exists, isDir, err := c.Stat(t.Context(), path); exists != want[0] || isDir != want[1] || err != nil {
			t.Errorf("Stat %s: %v, %v, %v", path, exists, isDir, err)
		}
	}
}

// TestWriteFileWhereOthersCan: what is written may be a secret, or be believed.
func TestWriteFileWhereOthersCan(t *testing.T) {
	c := piped(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	err := c.WriteFile(t.Context(), dir+"/below/file", []byte("secret"), 0o600)
	if err == nil || !strings.Contains(err.Error(), dir+" is open to everybody, who may write to it (mode 0777); chmod go-w that") {
		t.Errorf("it is written: %v", err)
	}
	if left, _ := os.ReadDir(dir + "/below"); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteFile(t.Context(), dir+"/below/file", []byte("secret"), 0o600); err != nil {
		t.Error(err)
	}
}
