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
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Skipf("needs root that may mount a tmpfs: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)

	d := spool.Open(dir)
	hog, o := d.New("hog"), d.New("9")
	if err := hog.Write(spool.Stdout, pattern(512<<10)); err != nil {
		t.Fatal(err)
	}
	want := pattern(2 << 20)
	taken, err := 0, error(nil)
	for err == nil && taken < len(want) {
		if err = o.Write(spool.Stdout, want[taken:taken+60000]); err == nil {
			taken += 60000
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d bytes: %v, want ENOSPC", taken, err)
	}
	for _, part := range []string{dir, "no space left", "make room"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	if o.Bytes(spool.Stdout) != int64(taken) || !bytes.Equal(readAll(t, o, spool.Stdout), want[:taken]) {
		t.Error("what was written before the disk was full is damaged")
	}

	if err := hog.Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.Write(spool.Stdout, want[taken:taken+60000]); err != nil {
		t.Errorf("with room again: %v", err)
	}
	taken += 60000
	if !bytes.Equal(readAll(t, o, spool.Stdout), want[:taken]) {
		t.Error("a write after a failed one left a gap or an overlap")
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
