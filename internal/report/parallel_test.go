package report_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tree returns what the files beneath dir hold, by path.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = string(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func needParallel(t *testing.T) {
	t.Helper()
	out, err := exec.Command("parallel", "--version").Output()
	if err == nil && bytes.HasPrefix(out, []byte("GNU parallel")) {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs GNU parallel: apt-get install parallel")
	}
	t.Skip("needs GNU parallel: apt-get install parallel")
}

// parallel runs GNU parallel in a new directory, which it returns.
func parallel(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	needParallel(t)
	dir := t.TempDir()
	cmd := exec.Command("parallel", append([]string{"-j1", "--will-cite"}, args...)...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+dir, "PARALLEL_SHELL=/bin/sh", "PARALLEL=")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() > 100 || strings.Contains(errs.String(), "parallel: Error") {
		t.Fatalf("parallel: %v\n%s", err, errs.String())
	}
	return dir
}
