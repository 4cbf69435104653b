package self_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"muster/internal/self"
)

// TestMain makes the test binary serve as a program whose file goes while it runs, and
// which starts itself again.
func TestMain(m *testing.M) {
	switch os.Getenv("SELF_TEST") {
	case "":
		os.Exit(m.Run())
	case "again":
		fmt.Print("started again")
		return
	case "replaced":
		os.WriteFile(os.Args[0]+".new", []byte("#!/bin/sh\necho another program\n"), 0o755)
		os.Rename(os.Args[0]+".new", os.Args[0])
	case "removed":
		os.Remove(os.Args[0])
	}
	path, err := self.Path()
	if err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), "SELF_TEST=again")
	out, err := cmd.CombinedOutput()
	fmt.Print(string(out), err)
}

func TestProgramIsStartedAgain(t *testing.T) {
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"kept", "replaced", "removed"} {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path)
		cmd.Env = append(os.Environ(), "SELF_TEST="+what)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "started again<nil>" {
			t.Errorf("%s: %s, %v", what, out, err)
		}
	}
}

// TestOthers: a path is the program's own or is left as it is.
func TestOthers(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{own, "/bin/sh", "false", filepath.Join(t.TempDir(), "none")} {
		if got := self.Current(path); got != path {
			t.Errorf("%s became %s", path, got)
		}
	}
}
