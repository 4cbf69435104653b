package state_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"muster/internal/state"
)

// TestProgram: which program goes to a machine, kept under its SHA-256.
func TestProgram(t *testing.T) {
	tmp := t.TempDir()
	program := func(path string) string {
		t.Helper()
		path = filepath.Join(tmp, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("program at "+path), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own, named := program("own"), program("named")
	xdg, home := program("xdg/muster/bin/muster-plan9-mips"), program("home/.local/share/muster/bin/muster-plan9-mips")
	otherArch := program("xdg/muster/bin/muster-" + runtime.GOOS + "-mips")
	both := env("XDG_DATA_HOME", tmp+"/xdg", "HOME", tmp+"/home")
	for name, c := range map[string]struct {
		system, arch, wanted string
		getenv               func(string) string
		want                 string
	}{
		"like this one":       {runtime.GOOS, runtime.GOARCH, "", both, own},
		"named":               {"plan9", "mips", named, both, named},
		"named, and like it":  {runtime.GOOS, runtime.GOARCH, named, both, named},
		"another":             {"plan9", "mips", "", both, xdg},
		"another, below home": {"plan9", "mips", "", env("HOME", tmp+"/home"), home},
		"like it in part":     {runtime.GOOS, "mips", "", both, otherArch},
	} {
		got, err := state.Program(tmp+"/state", own, c.system, c.arch, c.wanted, c.getenv)
		text, _ := os.ReadFile(got)
		sum := sha256.Sum256([]byte("program at " + c.want))
		if err != nil || string(text) != "program at "+c.want || got != filepath.Join(tmp, "state", "bin", hex.EncodeToString(sum[:]), "muster") {
			t.Errorf("%s: %q, which holds %q, %v", name, got, text, err)
		}
		if st, err := os.Stat(got); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	if left, _ := filepath.Glob(tmp + "/state/bin/*/.*"); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// TestProgramIsMissing says where it is looked for and how it is made.
func TestProgramIsMissing(t *testing.T) {
	tmp := t.TempDir()
	for name, c := range map[string]struct {
		wanted string
		getenv func(string) string
		wants  []string
	}{
		"nowhere": {"", env("XDG_DATA_HOME", tmp, "HOME", "/h"), []string{"put one for plan9/mips at " + tmp + "/muster/bin/muster-plan9-mips",
			"name it with binary in the launcher", "`GOOS=plan9 GOARCH=mips CGO_ENABLED=0 go build` makes one"}},
		"below home": {"", env("HOME", tmp), []string{tmp + "/.local/share/muster/bin/muster-plan9-mips"}},
		"named":      {tmp + "/none", env(), []string{tmp + "/none: no such file"}},
	} {
		got, err := state.Program(tmp+"/state", os.Args[0], "plan9", "mips", c.wanted, c.getenv)
		for _, want := range c.wants {
			if err == nil || got != "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q, %v; want %q", name, got, err, want)
			}
		}
	}
}

// TestOldProgramsGo: of the copies of the program stay those that were used last, and
// those that a launch needs which is not over.
func TestOldProgramsGo(t *testing.T) {
	dir := t.TempDir()
	const day = 24 * time.Hour
	now := time.Now()
	copyOf := func(i int, age time.Duration) string {
		t.Helper()
		exe := filepath.Join(dir, "program")
		if err := os.WriteFile(exe, fmt.Appendf(nil, "build %d", i), 0o755); err != nil {
			t.Fatal(err)
		}
		path, err := state.Binary(dir, exe)
		if err != nil {
			t.Fatal(err)
		}
		os.Chtimes(filepath.Dir(path), now.Add(-age), now.Add(-age))
		return path
	}
	var builds []string
	for i := range 12 {
		builds = append(builds, copyOf(i, time.Duration(i)*day))
	}
	old, waits := copyOf(12, 30*day), copyOf(13, 30*day)
	run, err := state.NewRun(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run.Launches(), "job.json"), fmt.Appendf(nil, "{\"program\": %q}", waits), 0o600); err != nil {
		t.Fatal(err)
	}
	copyOf(10, 0) // it is used again
	state.Prune(dir, now)
	for i, path := range builds {
		if want := i < 7 || i == 10; exists(path) != want {
			t.Errorf("the build that was used %d days ago is there: %v, want %v", i, !want, want)
		}
	}
	if exists(old) || !exists(waits) {
		t.Errorf("the old one is there: %v; the one that a job waits for: %v", exists(old), exists(waits))
	}
}
