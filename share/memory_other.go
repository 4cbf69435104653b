//go:build !linux

package share

import (
	"errors"
	"math"
	"os"
)

// create begins a segment, which is a file: the system has no memfd.
func create(name string) (*os.File, string, error) { return createFile(name) }

// InMemory reports whether segments are in memory here, and not in files.
func InMemory() bool { return false }

// reserve does nothing: a write fails that there is no room for.
func reserve(*os.File, int64, int64) error { return nil }

func seal(f *os.File, _ string) error { return f.Chmod(0o400) }

func openMemory(Ref) (*os.File, error) {
	return nil, errors.New("this system has no shares in memory")
}

func thisMachine() string { return hostName() }

// Available returns how many bytes more can be shared: segments are on disk here,
// whose own limit counts.
func Available() (int64, error) { return math.MaxInt64, nil }
