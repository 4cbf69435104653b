package spool_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"muster/internal/spool"
)

func TestFullDisk(t *testing.T) {
	dir := tmpfs(t, "1m")

	d := spool.Open(dir)
	hog, o := d.New("hog"), d.New("9")
	if err := hog.Write(spool.Stdout, pattern(512<<10)); err != nil {
		t.Fatal(err)
	}
	want := pattern(2 << 20)
	taken, err := 0, error(nil)
	write := func() {
		err = o.Write(spool.Stdout, want[taken:taken+60000])
		taken += 60000
	}
	for err == nil && taken < len(want)-180000 {
		write()
	}
	if !spool.IsFull(err) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d bytes: %v, want a full disk", taken, err)
	}
	for _, part := range []string{dir, "no space left", "make room"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	if write(); !spool.IsFull(err) {
		t.Errorf("a second time: %v", err)
	}
	if err := o.Park(); !spool.IsFull(err) {
		t.Errorf("parked on a full disk: %v", err)
	}
	small := d.New("small")
	if err := small.Write(spool.Stdout, pattern(50000)); err != nil {
		t.Errorf("a small output needs no disk: %v", err)
	}
	if err := small.Park(); !spool.IsFull(err) || !bytes.Equal(readAll(t, small, spool.Stdout), pattern(50000)) {
		t.Errorf("a small one, parked on a full disk: %v", err)
	}
	if err := d.Room(); !spool.IsFull(err) {
		t.Errorf("there is room on a full disk: %v", err)
	}
	if o.Bytes(spool.Stdout) != int64(taken) || !bytes.Equal(readAll(t, o, spool.Stdout), want[:taken]) {
		t.Error("what was written to a full disk is damaged")
	}

	if err := hog.Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.Park(); err != nil || o.Memory() != 0 {
		t.Errorf("with room again: %v, %d bytes in memory", err, o.Memory())
	}
	if write(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if !bytes.Equal(readAll(t, o, spool.Stdout), want[:taken]) {
		t.Error("a write after a failed one left a gap or an overlap")
	}
	for _, o := range []*spool.Output{o, small} {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if memory, disk := d.Usage(); memory != 0 || disk != 0 {
		t.Errorf("an empty spool holds %d and %d bytes", memory, disk)
	}
}

// tmpfs mounts a file system of a size. Tests that need one are skipped where that
// is not possible, but not on CI.
func tmpfs(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700")
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("CI has to run the tests as root: mount a tmpfs: %v", err)
	case err != nil:
		t.Skipf("needs root that may mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}
