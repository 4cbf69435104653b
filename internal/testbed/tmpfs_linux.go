package testbed

import (
	"os"
	"syscall"
	"testing"
)

// Tmpfs mounts a file system of a size, as of tmpfs(5), at a directory until the test
// ends. A test that needs one is skipped where that is not possible, but not on CI.
func Tmpfs(t testing.TB, dir, size string) {
	t.Helper()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700")
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("CI has to run the tests as root: mount a tmpfs: %v", err)
	case err != nil:
		t.Skipf("needs root that may mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}
