package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"muster/internal/config"
	"muster/internal/plan"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	env := func(name string) string {
		return map[string]string{"XDG_CONFIG_HOME": filepath.Join(dir, "xdg")}[name]
	}
	find := func(named string, want config.Source) {
		t.Helper()
		if got, err := config.Find(named, env); err != nil || got != want {
			t.Errorf("found %v, %v; want %v", got, err, want)
		}
	}
	find("", config.Source{})
	xdg := filepath.Join(dir, "xdg", "muster", "muster.hcl")
	os.MkdirAll(filepath.Dir(xdg), 0o700)
	os.WriteFile(xdg, nil, 0o600)
	find("", config.Source{Path: xdg})
	os.WriteFile("muster.hcl", nil, 0o600)
	find("", config.Source{Path: "muster.hcl"})
	find("other.hcl", config.Source{Path: "other.hcl", Named: true})
}

// within fails a test of something that may hang.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

// TestWhoseConfig: one that was found counts only if nobody else can have
// written it; one that was named counts.
func TestWhoseConfig(t *testing.T) {
	const other = 1
	me, root := os.Geteuid(), os.Geteuid() == 0
	for _, c := range []struct {
		name     string
		uid, gid int
		mode     os.FileMode
		want     string
	}{
		{"mine", me, me, 0o600, ""},
		{"all may read it", me, me, 0o644, ""},
		{"my own group may write to it", me, me, 0o664, ""},
		{"another group may read it", me, other, 0o640, ""},
		{"another group may write to it", me, other, 0o660, "for group daemon, who may write to it (mode 0660)"},
		{"everybody may write to it", me, me, 0o646, "for everybody, who may write to it (mode 0646)"},
		{"somebody else's", other, other, 0o600, "for user daemon, to whom it belongs"},
		{"somebody's who has no name", 54321, me, 0o644, "for user 54321, to whom it belongs"},
	} {
		if !root && (c.uid != me || c.gid != me || c.mode&0o020 != 0) {
			continue // files cannot be given away
		}
		for _, link := range []bool{false, true} {
			dir := t.TempDir()
			path := filepath.Join(dir, "muster.hcl")
			file := path
			if link {
				file = filepath.Join(dir, "target")
				if err := os.Symlink("target", path); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(file, []byte("profile \"p\" {}"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(file, c.uid, c.gid); root && err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
			f, err := config.Source{Path: path}.Load(plan.Schema())
			switch {
			case c.want == "" && (err != nil || len(f.Profiles) != 1):
				t.Errorf("%s (link %v): %v", c.name, link, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "name it (-c "+path+")")):
				t.Errorf("%s (link %v): %v, want %q", c.name, link, err, c.want)
			}
			if f, err := plan.Load(path); err != nil || len(f.Profiles) != 1 {
				t.Errorf("%s, named: %v", c.name, err)
			}
		}
	}
}

// TestWhoseLink: paths in a config count from the folder of a link to it, where
// another user's program may have the name of the user's.
func TestWhoseLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "muster.hcl")
	os.WriteFile(filepath.Join(dir, "target"), []byte("profile \"p\" {}"), 0o600)
	os.Symlink("target", path)
	load := func() error {
		_, err := config.Source{Path: path}.Load(plan.Schema())
		return err
	}
	if err := load(); err != nil {
		t.Error(err)
	}
	if os.Geteuid() != 0 {
		return // links cannot be given away
	}
	if err := os.Lchown(path, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := load(); err == nil || !strings.Contains(err.Error(), "for user daemon, to whom the link belongs: if you trust it, name it") {
		t.Error(err)
	}
	if _, err := plan.Load(path); err != nil {
		t.Errorf("named: %v", err)
	}
}

// TestAccessList: an access list may let others write where the mode speaks of the
// user's own group.
func TestAccessList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "muster.hcl")
	os.WriteFile(path, nil, 0o600)
	// Version 2; the owner rw, user 1 rw, the group none, the mask rw, others none.
	list := []byte("\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00\x01\x00\x00\x00" +
		"\x04\x00\x00\x00\xff\xff\xff\xff" + "\x10\x00\x06\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff")
	if err := unix.Setxattr(path, "system.posix_acl_access", list, 0); err != nil {
		if os.Getenv("CI") != "" && runtime.GOOS == "linux" {
			t.Fatalf("no access lists here: %v", err)
		}
		t.Skipf("no access lists here: %v", err)
	}
	if _, err := (config.Source{Path: path}).Load(plan.Schema()); err == nil || !strings.Contains(err.Error(), "for others whom its access list names, who may write to it (mode 0660)") {
		t.Error(err)
	}
}

// TestConfigOnADescriptor: paths in it count from where the command was typed.
func TestConfigOnADescriptor(t *testing.T) {
	t.Chdir(t.TempDir())
	os.WriteFile("options", []byte("true\n"), 0o600)
	os.WriteFile("c", []byte("launcher \"cluster\" \"a\" {\n scheduler = \"slurm\"\n options_file = \"options\"\n}"), 0o600)
	f, err := os.Open("c")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, path := range []string{fmt.Sprintf("/dev/fd/%d", f.Fd()), fmt.Sprintf("/proc/self/fd/%d", f.Fd())} {
		c, err := plan.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		var s plan.ClusterSettings
		if err := c.Evaluate(config.Options{}).Launcher(c.Launchers[0], &s); err != nil || s.OptionsFile.Text != "true\n" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestWhatIsNoConfig neither hangs nor fills the memory.
func TestWhatIsNoConfig(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Mkdir(path("folder"), 0o700)
	os.Symlink("/dev/zero", path("zero"))
	os.Symlink("fifo", path("link"))
	os.WriteFile(path("large"), make([]byte, 5<<20), 0o600)
	for _, c := range []struct {
		name  string
		named bool
		want  string
	}{
		{"fifo", false, "is a pipe, and no file"}, {"link", false, "is a pipe, and no file"}, {"fifo", true, "is a pipe into which nobody has written"},
		{"zero", false, "is a device, and no file"}, {"zero", true, "is a device, and no file"},
		{"folder", false, "is a folder, and no file"}, {"folder", true, "is a folder, and no file"},
		{"large", true, "has more than 1048576 bytes"}, {"large", false, "has more than 1048576 bytes"},
		{"nowhere", true, "no such file"},
	} {
		within(t, c.name, func() {
			if _, err := (config.Source{Path: path(c.name), Named: c.named}).Load(plan.Schema()); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "read the config: ") {
				t.Errorf("%s, named %v: %v, want %q", c.name, c.named, err, c.want)
			}
		})
	}
	// The same of files that a config names.
	f, err := config.Parse(path("muster.hcl"), []byte("launcher \"cluster\" \"a\" {\n  account = file(\"fifo\")\n  queue = file(\"zero\")\n  name = file(\"large\")\n  options_file = \"link\"\n}"), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	within(t, "file()", func() {
		var s plan.ClusterSettings
		err = f.Evaluate(config.Options{}).Launcher(f.Launchers[0], &s)
	})
	for _, want := range []string{":2:13: file(): " + path("fifo") + " is a pipe", ":3:11: file(): " + path("zero") + " is a device", ":4:10: file(): " + path("large") + " has more than 4194304", ":5:18: options_file: " + path("link") + " is a pipe"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

// TestConfigFromAPipe: as -c <(COMMAND) has it, also when the writer takes its time.
func TestConfigFromAPipe(t *testing.T) {
	t.Chdir(t.TempDir())
	os.WriteFile("here", []byte("x"), 0o600)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		defer w.Close()
		for _, part := range []string{"profile \"p\" {\n", "  everywhere = [file(\"here\"), exec([\"cat\", \"here\"])]\n}\n"} {
			time.Sleep(20 * time.Millisecond) // a slow writer
			w.WriteString(part)
		}
	}()
	within(t, "a pipe", func() {
		f, err := plan.Load(fmt.Sprintf("/dev/fd/%d", r.Fd()))
		if err != nil {
			t.Error(err)
			return
		}
		var p plan.ProfileSettings
		if err := f.Evaluate(config.Options{}).Profile(f.Profiles[0], &p); err != nil || !slices.Equal(p.Everywhere, []string{"x", "x"}) {
			t.Errorf("%+v, %v", p, err)
		}
	})
	if f, err := plan.Load(os.DevNull); err != nil || len(f.Profiles) != 0 {
		t.Errorf("no config: %v", err)
	}
}
