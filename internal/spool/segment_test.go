package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"muster/internal/spool"
)

// TestParkedOutputsShareFiles: ten thousand small outputs that wait are not
// twenty thousand files, and the last one to go takes the file with it.
func TestParkedOutputsShareFiles(t *testing.T) {
	const n = 10_000
	dir := t.TempDir()
	d := spool.Open(dir)
	var outputs []*spool.Output
	text := func(i, stream int) []byte { return []byte(fmt.Sprintf("output %d of %d\n", stream, i)) }
	for i := range n {
		o := d.New(fmt.Sprint(i))
		for stream := spool.Stdout; stream <= spool.Stderr; stream++ {
			if err := o.Write(stream, text(i, stream)); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.Park(); err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, o)
	}
	if names := files(t, dir); len(names) > 3 {
		t.Errorf("%d files", len(names))
	}
	if memory, _ := d.Usage(); memory != 0 {
		t.Errorf("%d bytes in memory", memory)
	}
	for i, o := range outputs {
		for stream := spool.Stdout; stream <= spool.Stderr; stream++ {
			if got := readAll(t, o, stream); !bytes.Equal(got, text(i, stream)) {
				t.Fatalf("output %d is %q", i, got)
			}
		}
		if tail, err := o.Tail(spool.Stdout, 3); err != nil || !bytes.Equal(tail, text(i, 1)[len(text(i, 1))-3:]) {
			t.Fatalf("the tail of %d is %q, %v", i, tail, err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if _, disk := d.Usage(); disk != 0 {
		t.Errorf("%d bytes on the disk", disk)
	}
}

// TestSegmentsGo as soon as nothing in them is wanted, though others are.
func TestSegmentsGo(t *testing.T) {
	dir := t.TempDir()
	d := spool.Open(dir)
	var outputs []*spool.Output
	for range 1000 { // 50 MB
		o := d.New("x")
		if err := o.Write(spool.Stdout, pattern(50_000)); err != nil {
			t.Fatal(err)
		}
		if err := o.Park(); err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, o)
	}
	most := len(files(t, dir))
	if most < 4 || most > 8 {
		t.Errorf("%d segments", most)
	}
	for _, o := range outputs[:900] {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(files(t, dir)); n > 2 {
		t.Errorf("%d of %d segments are left for a tenth of the outputs", n, most)
	}
	for _, o := range outputs[900:] {
		if !bytes.Equal(readAll(t, o, spool.Stdout), pattern(50_000)) {
			t.Fatal("an output is damaged")
		}
		o.Close()
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestWritesBehindAParkedPiece go into memory and then a file of its own; kept,
// all is in one file.
func TestWritesBehindAParkedPiece(t *testing.T) {
	dir := t.TempDir()
	o := spool.Open(dir).New("9")
	want := pattern(5 * limit)
	for _, end := range []int{10, 10 + limit/2, 3 * limit, 5 * limit} {
		from := int(o.Bytes(spool.Stdout))
		if err := o.Write(spool.Stdout, want[from:end]); err != nil {
			t.Fatal(err)
		}
		if err := o.Park(); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, o, spool.Stdout); !bytes.Equal(got, want[:end]) {
			t.Fatalf("%d bytes are damaged", end)
		}
	}
	if tail, err := o.Tail(spool.Stdout, 5*limit-5); err != nil || !bytes.Equal(tail, want[5:]) {
		t.Errorf("the tail is damaged: %v", err)
	}
	path, err := o.Keep(spool.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was kept is damaged: %v", err)
	}
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}

// TestCloseWaitsForReaders: whoever has begun to read an output reads all of it,
// wherever it lies; nobody else begins.
func TestCloseWaitsForReaders(t *testing.T) {
	for name, size := range map[string]int{"small": 1000, "large": 3*limit + 7} {
		for _, parked := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", parked), func(t *testing.T) {
				dir := t.TempDir()
				d := spool.Open(dir)
				o := d.New("9")
				want := pattern(size)
				if err := o.Write(spool.Stdout, want); err != nil {
					t.Fatal(err)
				}
				if parked {
					if err := o.Park(); err != nil {
						t.Fatal(err)
					}
				}
				var begun, ended sync.WaitGroup
				goOn := make(chan struct{})
				for range 4 {
					begun.Add(1)
					ended.Go(func() {
						r, err := o.Reader(spool.Stdout)
						begun.Done()
						if err != nil {
							t.Error(err)
							return
						}
						<-goOn
						if all, err := io.ReadAll(r); err != nil || !bytes.Equal(all, want) {
							t.Errorf("read %d of %d bytes, %v", len(all), size, err)
						}
						for range 2 {
							if err := r.Close(); err != nil {
								t.Error(err)
							}
						}
					})
				}
				begun.Wait()
				if err := o.Close(); err != nil {
					t.Error(err)
				}
				if _, err := o.Reader(spool.Stdout); !errors.Is(err, spool.ErrClosed) {
					t.Errorf("a reader that came too late: %v", err)
				}
				if _, err := o.Tail(spool.Stdout, 5); !errors.Is(err, spool.ErrClosed) {
					t.Errorf("a tail that came too late: %v", err)
				}
				if n := o.Bytes(spool.Stdout); n != int64(size) {
					t.Errorf("it says that it had %d bytes", n)
				}
				close(goOn)
				ended.Wait()
				if left := files(t, dir); len(left) > 0 {
					t.Errorf("left %v", left)
				}
				if memory, disk := d.Usage(); memory != 0 || disk != 0 {
					t.Errorf("%d and %d bytes are counted", memory, disk)
				}
			})
		}
	}
}
