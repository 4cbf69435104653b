package state

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
