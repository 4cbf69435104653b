package state_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/internal/state"
)

// TestMain makes the test binary serve as a process that owns a run.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STATE_TEST_OWN"); dir != "" {
		r, err := state.NewRun(dir, time.Now())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(r.Dir)
		os.Stdin.Read(make([]byte, 1)) // until it is killed
	}
	os.Exit(m.Run())
}

func env(vars ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(vars); i += 2 {
			if vars[i] == name {
				return vars[i+1]
			}
		}
		return ""
	}
}

func TestDirIsFoundInTheEnvironment(t *testing.T) {
	tmp := t.TempDir()
	for _, c := range []struct {
		env  []string
		want string
	}{
		{[]string{"MUSTER_STATE", tmp + "/a", "XDG_STATE_HOME", tmp + "/b", "HOME", tmp}, tmp + "/a"},
		{[]string{"XDG_STATE_HOME", tmp + "/b", "HOME", tmp}, tmp + "/b/muster"},
		{[]string{"HOME", tmp}, tmp + "/.local/state/muster"},
	} {
		got, err := state.Dir(env(c.env...))
		if err != nil || got != c.want {
			t.Errorf("%v: %q, %v; want %q", c.env, got, err, c.want)
		}
		if st, err := os.Stat(c.want); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v, want mode 0700", c.want, st, err)
		}
	}
}

// TestDirElsewhere: variables that point nowhere, or to another user's, do not keep muster
// from its work. What is wrong is said, and where the state is instead.
func TestDirElsewhere(t *testing.T) {
	tmp := t.TempDir()
	home := filepath.Join(tmp, "home")
	for _, dir := range []string{home, filepath.Join(tmp, "theirs")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(tmp, "file"), nil, 0o600)
	inHome := filepath.Join(home, ".local", "state", "muster")
	for _, c := range []struct {
		xdg, remark string
	}{
		{"relative", "XDG_STATE_HOME cannot be used: relative: it is no absolute path; what muster keeps is in " + inHome},
		{filepath.Join(tmp, "file"), "not a directory"},
		{"/proc/nowhere", "no such file or directory"},
	} {
		vars := env("XDG_STATE_HOME", c.xdg, "HOME", home)
		if dir, err := state.Dir(vars); err != nil || dir != inHome {
			t.Errorf("XDG_STATE_HOME=%s: %s, %v", c.xdg, dir, err)
		}
		if remark := state.Remark(vars); !strings.Contains(remark, c.remark) || !strings.HasSuffix(remark, inHome) {
			t.Errorf("XDG_STATE_HOME=%s: %q", c.xdg, remark)
		}
	}
	if remark := state.Remark(env("HOME", home)); remark != "" {
		t.Errorf("nothing is wrong: %q", remark)
	}
	if os.Chown(filepath.Join(tmp, "theirs"), 12345, 12345) != nil {
		os.Remove(filepath.Join(tmp, "theirs")) // only root can give it away
	}
	for _, bad := range []string{"", "relative", filepath.Join(tmp, "file"), filepath.Join(tmp, "nowhere"), filepath.Join(tmp, "theirs")} {
		vars := env("HOME", bad)
		dir, err := state.Dir(vars)
		if err != nil || !filepath.IsAbs(dir) || strings.HasPrefix(dir, tmp) {
			t.Errorf("HOME=%s: %s, %v", bad, dir, err)
		}
		if remark := state.Remark(vars); !strings.HasPrefix(remark, "HOME cannot be used: ") || !strings.HasSuffix(remark, dir) {
			t.Errorf("HOME=%s: %q", bad, remark)
		}
	}
}

func TestUnsafeDirectoriesAreRefused(t *testing.T) {
	tmp := t.TempDir()
	os.Mkdir(tmp+"/open", 0o700)
	os.Chmod(tmp+"/open", 0o777)
	os.Symlink("open", tmp+"/link")
	os.MkdirAll(tmp+"/runs-open/runs", 0o700)
	os.Chmod(tmp+"/runs-open/runs", 0o777)
	os.WriteFile(tmp+"/file", nil, 0o600)
	for dir, want := range map[string]string{
		"open": "/open is open to everybody, who may write to it (mode 0777); chmod go-w that", "link": "/open is open to everybody", "open/state": "/open is open to everybody",
		"open/more/state": "MUSTER_STATE", "runs-open": "/runs-open/runs is open to everybody", "file": "not a directory",
	} {
		if _, err := state.Dir(env("MUSTER_STATE", filepath.Join(tmp, dir))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
	// A neighbour may read a state directory, never reach a socket.
	own := fmt.Sprintf("%s/run/muster-%d", tmp, os.Getuid())
	for _, dir := range []string{tmp + "/state", own} {
		os.MkdirAll(dir, 0o755)
		os.Chmod(dir, 0o755)
	}
	if _, err := state.Dir(env("MUSTER_STATE", tmp+"/state")); err != nil {
		t.Error(err)
	}
	if _, err := state.SocketDirIn(tmp+"/run", tmp+"/state"); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("sockets where others may enter: %v", err)
	}
	if os.Getuid() == 0 {
		os.Mkdir(tmp+"/theirs", 0o700)
		os.Chown(tmp+"/theirs", 12345, 12345)
		if _, err := state.Dir(env("MUSTER_STATE", tmp+"/theirs")); err == nil || !strings.Contains(err.Error(), "user 12345, to whom it belongs") {
			t.Errorf("another's directory: %v", err)
		}
	}
}

// TestSocketsOfAStateDirectory: what a shell's environment says of other things does not
// matter; each state directory has sockets of its own, whatever its name in a command;
// and their paths stay short.
func TestSocketsOfAStateDirectory(t *testing.T) {
	tmp := t.TempDir()
	long := filepath.Join(tmp, strings.Repeat("x", 200))
	dirs := map[string]bool{}
	for _, c := range []struct {
		vars  []string
		other bool // than those before
	}{
		{[]string{"MUSTER_STATE", long}, true},
		{[]string{"MUSTER_STATE", long, "XDG_RUNTIME_DIR", tmp, "TMPDIR", tmp}, false},
		{[]string{"MUSTER_STATE", tmp + "/link"}, false},
		{[]string{"MUSTER_STATE", tmp + "/other"}, true},
	} {
		os.Symlink(long, tmp+"/link")
		dir, err := state.SocketDir(env(c.vars...))
		if want := fmt.Sprintf("/tmp/muster-%d/", os.Getuid()); err != nil || !strings.HasPrefix(dir, want) || len(dir) > len(want)+12 {
			t.Fatalf("%v: %q, %v; want %sHASH", c.vars, dir, err, want)
		}
		if c.other == dirs[dir] {
			t.Errorf("%v: %q, before it %v", c.vars, dir, dirs)
		}
		if !dirs[dir] {
			t.Cleanup(func() { os.Remove(dir) })
		}
		dirs[dir] = true
		os.Remove(dir)
		if err := state.RemakeSocketDir(dir); err != nil {
			t.Error(err)
		}
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%v: %v, %v", dir, st, err)
		}
	}
}

func TestRunLeavesOnlyWhatItKept(t *testing.T) {
	dir := t.TempDir()
	r, err := state.NewRun(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil || exists(r.Dir) {
		t.Errorf("%s is still there (%v)", r.Dir, err)
	}
	r, err = state.NewRun(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(r.Out(), "1.err")
	os.WriteFile(output, []byte("why"), 0o600)
	if err := r.Close(); err != nil || !exists(output) {
		t.Errorf("%s is gone (%v)", output, err)
	}
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// owned makes a run whose folder is left as its owner was changed to be.
func owned(t *testing.T, dir string, change func(o map[string]any), outputs int64, age time.Duration) string {
	t.Helper()
	r, err := state.NewRun(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir, "owner")
	b, _ := os.ReadFile(path)
	var o map[string]any
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	change(o)
	b, _ = json.Marshal(o)
	os.WriteFile(path, b, 0o600)
	if outputs > 0 {
		f, err := os.Create(filepath.Join(r.Out(), "1.out"))
		if err != nil {
			t.Fatal(err)
		}
		f.Truncate(outputs) // sparse: it takes no room
		f.Close()
	}
	then := time.Now().Add(-age)
	os.Chtimes(r.Dir, then, then)
	return r.Dir
}

func TestPrune(t *testing.T) {
	const day = 24 * time.Hour
	mine := func(map[string]any) {}
	otherBoot := func(o map[string]any) { o["boot"] = "another" }
	otherHost := func(o map[string]any) { o["host"] = "another" }
	// The process that runs now under the owner's number is another one.
	reused := func(o map[string]any) { o["start"] = "1" }
	for _, c := range []struct {
		name    string
		change  func(map[string]any)
		outputs int64
		age     time.Duration
		stays   bool
	}{
		{"it runs", mine, 0, 0, true},
		{"it has run for long", mine, 1, 30 * day, true},
		{"the machine was restarted", otherBoot, 0, 0, false},
		{"its number was given to another", reused, 0, 0, false},
		{"it was killed and had kept output", reused, 1, day, true},
		{"what it kept is old", reused, 1, 15 * day, false},
		{"it may run on another host", otherHost, 0, day, true},
		{"another host has not renewed it", otherHost, 1, 15 * day, false},
		{"the owner is no process", func(o map[string]any) { o["pid"] = -1 }, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			run := owned(t, dir, c.change, c.outputs, c.age)
			state.Prune(dir, time.Now())
			if exists(run) != c.stays {
				t.Errorf("it stayed: %v, want %v", !c.stays, c.stays)
			}
		})
	}
}

// TestKept: what runs have left that are over, and not what one has that lives.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	over := func(o map[string]any) { o["boot"] = "another" }
	owned(t, dir, over, 1000, 0)
	owned(t, dir, over, 2000, 0)
	owned(t, dir, func(map[string]any) {}, 4000, 0)
	runs, bytes := state.Kept(dir)
	if runs != 2 || bytes < 3000 || bytes >= 4000 {
		t.Errorf("%d runs, %d bytes", runs, bytes)
	}
}

// TestOutputThatIsStillToCome: a scheduler copies what a job printed into a folder of
// its launch when the job has ended, and the run with it.
func TestOutputThatIsStillToCome(t *testing.T) {
	dir := t.TempDir()
	r, err := state.NewRun(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(r.Launches(), "l-abc.out")
	if err := os.Mkdir(output, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil || !exists(output) {
		t.Errorf("it is gone with the run (%v)", err)
	}
	state.Forget(dir, r.ID)
	if !exists(output) {
		t.Error("it is gone when the run is forgotten")
	}
	run := owned(t, dir, func(o map[string]any) { o["boot"] = "another" }, 0, 0)
	output = filepath.Join(run, "launches", "l-abc.out")
	os.Mkdir(output, 0o700)
	state.Prune(dir, time.Now())
	if !exists(output) {
		t.Error("it is gone with what other runs have left")
	}
	state.Prune(dir, time.Now().Add(2*time.Hour))
	if exists(run) {
		t.Error("it stays for ever")
	}
}

func TestPruneKeepsTheYoungest(t *testing.T) {
	dir := t.TempDir()
	dead := func(o map[string]any) { o["boot"] = "another" }
	var runs []string
	for i := range 4 {
		runs = append(runs, owned(t, dir, dead, 2<<30, time.Duration(i)*time.Hour))
	}
	state.Prune(dir, time.Now())
	for i, want := range []bool{true, true, false, false} {
		if exists(runs[i]) != want {
			t.Errorf("run %d of 2 GiB, %d hours old, stayed: %v, want %v", i, i, !want, want)
		}
	}
}

func TestDeadSocketsAreRemoved(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // short: unix(7) allows 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	listen := func(name string) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name)})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		return l
	}
	defer listen("live.sock").Close()
	listen("dead.sock").Close()
	state.PruneSockets(dir, time.Now())
	if !exists(dir + "/dead.sock") {
		t.Error("a socket that may be about to be listened on was removed")
	}
	state.PruneSockets(dir, time.Now().Add(time.Hour))
	if exists(dir+"/dead.sock") || !exists(dir+"/live.sock") {
		t.Error("want the dead one gone and the live one there")
	}
}

// TestLaunchRecordsKeepAFolder: what a run has with schedulers outlives it.
func TestLaunchRecordsKeepAFolder(t *testing.T) {
	dir := t.TempDir()
	run, err := state.NewRun(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(run.Launches(), "job.json")
	if err := os.WriteFile(record, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list := state.Ended(dir); len(list) != 0 {
		t.Errorf("a run that lives is listed as ended: %v", list)
	}
	if err := run.Close(); err != nil || !exists(record) {
		t.Fatalf("the record is gone: %v", err)
	}
	old := owned(t, dir, func(o map[string]any) { o["pid"] = 1 << 30 }, 0, 30*24*time.Hour)
	if err := os.MkdirAll(filepath.Join(old, "launches"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, "launches", "job.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	state.Prune(dir, time.Now())
	list := state.Ended(dir)
	if got := list[filepath.Base(old)]; len(list) != 2 || got != filepath.Join(old, "launches") || list[filepath.Base(run.Dir)] != run.Launches() {
		t.Errorf("ended: %v, want %s and %s", list, old, run.Dir)
	}
	state.Forget(dir, filepath.Base(old))
	if !exists(old) {
		t.Error("a folder with a record was forgotten")
	}
	os.Remove(filepath.Join(old, "launches", "job.json"))
	state.Forget(dir, filepath.Base(old))
	if exists(old) {
		t.Error("the folder is still there")
	}
}

func TestBinaryIsCopiedOnce(t *testing.T) {
	dir := t.TempDir()
	exe := filepath.Join(dir, "program")
	if err := os.WriteFile(exe, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := state.Binary(dir, exe)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
	again, err := state.Binary(dir, exe)
	if st2, _ := os.Stat(again); err != nil || again != path || !st2.ModTime().Equal(st.ModTime()) {
		t.Errorf("copied again to %s: %v", again, err)
	}
	os.WriteFile(exe, []byte("#!/bin/sh\ntrue\n"), 0o755)
	if other, err := state.Binary(dir, exe); err != nil || other == path {
		t.Errorf("another program lies in the same place: %s, %v", other, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "bin", "*", ".new-*")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// TestSocketsStepAside: somebody who takes the name of a user's directory of sockets
// first does not shut that user out, and all commands of that user find the same other
// one.
func TestSocketsStepAside(t *testing.T) {
	for name, take := range map[string]func(path string){
		"file": func(path string) { os.WriteFile(path, nil, 0o600) },
		"link": func(path string) { os.Symlink("/tmp", path) },
		"user": func(path string) { os.Mkdir(path, 0o777); os.Chown(path, 12345, 12345) },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "user" && os.Getuid() != 0 {
				t.Skip("only root can make it")
			}
			tmp, err := os.MkdirTemp("", "m") // short
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(tmp)
			stateDir := filepath.Join(tmp, "state")
			if err := os.Mkdir(stateDir, 0o700); err != nil {
				t.Fatal(err)
			}
			take(fmt.Sprintf("%s/muster-%d", tmp, os.Getuid()))
			found := make(chan string)
			for range 8 {
				go func() {
					dir, err := state.SocketDirIn(tmp, stateDir)
					if err != nil {
						t.Error(err)
					}
					found <- dir
				}()
			}
			dir := <-found
			for range 7 {
				if other := <-found; other != dir {
					t.Errorf("two commands find %s and %s", dir, other)
				}
			}
			if st, err := os.Lstat(dir); err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 || filepath.Dir(filepath.Dir(dir)) != tmp {
				t.Fatalf("%s: %v %v", dir, st, err)
			}
			os.RemoveAll(filepath.Dir(dir)) // as those do who clear /tmp
			if again, err := state.SocketDirIn(tmp, stateDir); err != nil || again != dir {
				t.Errorf("after it was removed: %s, %v; want %s", again, err, dir)
			}
			os.RemoveAll(filepath.Dir(dir))
			take(filepath.Dir(dir))
			if again, err := state.SocketDirIn(tmp, stateDir); err != nil || again == dir || filepath.Dir(filepath.Dir(again)) != tmp {
				t.Errorf("after the other was taken too: %s, %v", again, err)
			}
		})
	}
}
