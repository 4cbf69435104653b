package spool_test

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"

	"muster/internal/spool"
	"muster/internal/testbed"
)

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	testbed.Tmpfs(t, dir, "1m")

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
