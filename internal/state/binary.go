package state

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
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
		return path, nil
	}
	if err := copyProgram(path, exe); err != nil {
		return "", fmt.Errorf("keep a copy of muster for its jobs: %w", err)
	}
	return path, nil
}

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
