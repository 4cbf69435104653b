package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestScratchOfTheDeadGoes, and of the living stays, and what is nobody's stays.
func TestScratchOfTheDeadGoes(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	living, remove := makeScratch(hclog.NewNullLogger())
	dead := filepath.Join(tmp, scratchPrefix+hostLabel()+"-1")
	other := filepath.Join(tmp, scratchPrefix+"elsewhere-1") // its worker may live on that host
	for _, dir := range []string{dead, other} {
		if err := os.MkdirAll(filepath.Join(dir, "slot1", "task"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink(other, dead+"-link")
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	begun := filepath.Join(tmp, newPrefix+hostLabel()+"-")
	unlocked := fmt.Sprint(begun, ended.Process.Pid, "-1") // its worker was killed early
	making := fmt.Sprint(begun, os.Getpid(), "-1")
	for _, dir := range []string{unlocked, making} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mine, removeMine := makeScratch(hclog.NewNullLogger())
	for path, there := range map[string]bool{dead: false, living: true, unlocked: false, making: true, other + "/slot1": true, mine: true} {
		if _, err := os.Stat(path); (err == nil) != there {
			t.Errorf("%s: %v, want it there: %v", path, err, there)
		}
	}
	remove()
	removeMine()
	if _, err := os.Stat(mine); err == nil {
		t.Error("the worker's own folder is left")
	}
}

// TestUnusableTMPDIR: one in which no folder can be made, as sbatch may export it to a
// node, does not keep a worker from its work.
func TestUnusableTMPDIR(t *testing.T) {
	tmp := t.TempDir()
	file := filepath.Join(tmp, "file")
	os.WriteFile(file, nil, 0o600)
	locked := filepath.Join(tmp, "locked")
	os.Mkdir(locked, 0o500)
	if os.Getuid() == 0 {
		locked = "/proc" // where root too can make none
	}
	for _, c := range []struct{ tmpdir, parent string }{
		{filepath.Join(tmp, "nowhere"), "/tmp"},
		{"nowhere", "/tmp"},
		{file, "/tmp"},
		{locked, "/tmp"},
		{"", "/tmp"},
		{tmp, tmp},
		{".", tmp}, // where tasks find it, wherever they are
	} {
		t.Run(c.tmpdir, func(t *testing.T) {
			t.Chdir(tmp)
			t.Setenv("TMPDIR", c.tmpdir)
			dir, remove := makeScratch(hclog.NewNullLogger())
			defer remove()
			if st, err := os.Stat(dir); err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 || filepath.Dir(dir) != c.parent {
				t.Errorf("%s: %v, %v", dir, st, err)
			}
		})
	}
}

// TestNoScratch: a worker that can make no folder lives, and its slots try.
func TestNoScratch(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	dir, remove := makeScratchIn(nowhere, hclog.NewNullLogger())
	defer remove()
	if filepath.Dir(dir) != nowhere {
		t.Errorf("it is to be %s", dir)
	}
}
