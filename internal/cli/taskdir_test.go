package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTaskDir: a directory that tasks cannot enter is named before any runs.
func TestTaskDir(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{filepath.Join(dir, "gone"): "/gone: no such file", file: "/file is not a directory", locked: "cannot enter " + locked + ": permission denied"}
	if os.Getuid() == 0 {
		delete(cases, locked) // root may enter anything
	}
	for dir, want := range cases {
		if _, err := taskDir(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", dir, err, want)
		}
	}
	t.Chdir(dir)
	if got, err := taskDir(""); err != nil || got != dir {
		t.Errorf("%s, %v", got, err)
	}
}
