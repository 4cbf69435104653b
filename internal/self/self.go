// Package self knows by which path the program that runs can be started again, even
// if its file has been replaced or removed since: by an upgrade, or by go run, which
// removes it.
package self

import (
	"fmt"
	"os"
	"strconv"
)

// Path returns the path of this program: that of its file, or of the running image
// if another file, or none, is there now. The latter ends with this process.
func Path() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find muster's own path: %w", err)
	}
	return Current(path), nil
}

// Current returns path, or if that is the path of this program and its file is not
// there any more, that of the running image. Whoever keeps a command line for later
// asks each time.
func Current(path string) string {
	if own, err := os.Executable(); err != nil || own != path {
		return path
	}
	image := "/proc/" + strconv.Itoa(os.Getpid()) + "/exe" // not self: others are told it too
	running, err := os.Stat(image)
	if err != nil {
		return path // it is not known
	}
	if file, err := os.Stat(path); err == nil && os.SameFile(file, running) {
		return path
	}
	return image
}
