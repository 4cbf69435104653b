package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// Binary keeps a copy of the program exe in the state directory, under the
// SHA-256 of its contents, and returns the copy's path: what a scheduler starts
// hours later must not have been rebuilt or, as after `go run`, be gone.
func Binary(stateDir, exe string) (string, error) {
	path, err := BinaryPath(stateDir, exe)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		now := time.Now()
		os.Chtimes(filepath.Dir(path), now, now) // pruneBinaries goes by it
		return path, nil
	}
	if err := copyProgram(path, exe); err != nil {
		return "", fmt.Errorf("keep a copy of muster for its jobs: %w", err)
	}
	return path, nil
}

// mostBinaries is how many copies are kept beside those that launches need.
const mostBinaries = 8

// pruneBinaries removes the copies of the program that nothing has used for as long as
// results are kept, or which are not among the last few that were used. One that a
// launch's record or job script names stays.
func pruneBinaries(stateDir string, now time.Time) {
	entries, _ := os.ReadDir(filepath.Join(stateDir, "bin"))
	type kept struct {
		name string
		used time.Time
	}
	var list []kept
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() {
			list = append(list, kept{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(list, func(a, b kept) int { return b.used.Compare(a.used) })
	for i, k := range list {
		if i < mostBinaries && now.Sub(k.used) < keepFor || named(stateDir, k.name) {
			continue
		}
		os.RemoveAll(filepath.Join(stateDir, "bin", k.name))
	}
}

// named reports whether a file of a launch holds a name, or cannot be read.
func named(stateDir, name string) bool {
	found := errors.New("found")
	dirs, _ := filepath.Glob(filepath.Join(stateDir, "runs", "*", launches))
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			if info, err := e.Info(); err != nil || info.Size() > maxRecord {
				return err // it is what a job has printed
			}
			text, err := os.ReadFile(path)
			if err == nil && bytes.Contains(text, []byte(name)) {
				err = found
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// maxRecord is longer than the files that are written for a launch, in bytes.
const maxRecord = 1 << 20

// BinaryPath is where Binary keeps the copy.
func BinaryPath(stateDir, exe string) (string, error) {
	f, err := os.Open(exe)
	if err != nil {
		return "", fmt.Errorf("read muster's own program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read muster's own program: %w", err)
	}
	return filepath.Join(stateDir, "bin", hex.EncodeToString(h.Sum(nil)), "muster"), nil
}

func copyProgram(path, exe string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	from, err := os.Open(exe)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(to.Name())
	_, err = io.Copy(to, from)
	if err == nil {
		err = to.Chmod(0o700)
	}
	if cerr := to.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(to.Name(), path)
}

// Program returns the path of a copy of muster for a system and architecture,
// in Go's words: the program that wanted names, else exe if it is for them, else
// one in $XDG_DATA_HOME/muster/bin or ~/.local/share/muster/bin that is called
// muster-OS-ARCH. The folder of the copy is called by its SHA-256.
func Program(stateDir, exe, system, arch, wanted string, getenv func(string) string) (string, error) {
	if wanted != "" {
		return Binary(stateDir, wanted)
	}
	if system == runtime.GOOS && arch == runtime.GOARCH {
		return Binary(stateDir, exe)
	}
	base := getenv("XDG_DATA_HOME")
	if base == "" {
		base = filepath.Join(getenv("HOME"), ".local", "share")
	}
	path := filepath.Join(base, "muster", "bin", "muster-"+system+"-"+arch)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the muster for it is missing: put one for %[1]s/%[2]s at %[3]s, or name it with binary in the launcher; `GOOS=%[1]s GOARCH=%[2]s CGO_ENABLED=0 go build` makes one", system, arch, path)
	}
	return Binary(stateDir, path)
}
