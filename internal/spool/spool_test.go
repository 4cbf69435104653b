package spool_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"muster/internal/spool"
)

const limit = 64 << 10

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7 >> 3)
	}
	return p
}

func readAll(t *testing.T, o *spool.Output, stream int) []byte {
	t.Helper()
	r, err := o.Reader(stream)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	for _, tc := range []struct {
		name   string
		pieces []int
		file   bool
	}{
		{"nothing", nil, false},
		{"one small piece", []int{10}, false},
		{"many small pieces", []int{1, 2, 3, 1000, 5}, false},
		{"the limit to the byte", []int{limit}, false},
		{"the limit in two", []int{limit - 1, 1}, false},
		{"one byte beyond", []int{limit, 1}, true},
		{"a piece beyond", []int{limit + 1}, true},
		{"a piece that does not fit the rest", []int{10, limit}, true},
		{"large, small, large", []int{3 * limit, 5, limit - 1, 5, 2 * limit}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			o := spool.Open(dir).New("7")
			total := 0
			for _, n := range tc.pieces {
				total += n
			}
			want := pattern(total)
			rest := want
			for _, n := range tc.pieces {
				if err := o.Write(spool.Stderr, rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if got := o.Bytes(spool.Stderr); got != int64(total) {
				t.Errorf("Bytes = %d, want %d", got, total)
			}
			if o.Bytes(spool.Stdout) != 0 || len(readAll(t, o, spool.Stdout)) != 0 {
				t.Error("the other stream is not empty")
			}
			for range 2 {
				if !bytes.Equal(readAll(t, o, spool.Stderr), want) {
					t.Error("what was read is not what was written")
				}
			}
			for _, n := range []int{0, 1, 4, 100, limit, limit + 7, 10 * limit} {
				tail, err := o.Tail(spool.Stderr, int64(n))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(tail, want[max(0, total-n):]) {
					t.Errorf("Tail(%d) is wrong", n)
				}
			}
			if got := len(files(t, dir)) > 0; got != tc.file {
				t.Errorf("has a file: %v, want %v", got, tc.file)
			}
			if o.Memory() > limit {
				t.Errorf("holds %d bytes in memory", o.Memory())
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("Close left %v", left)
			}
		})
	}
}

func TestFilesAreOursAlone(t *testing.T) {
	dir := t.TempDir()
	d := spool.Open(dir)
	big := pattern(2 * limit)
	for range 3 {
		for stream := spool.Stdout; stream <= spool.Stderr; stream++ {
			if err := d.New("../a b/1").Write(stream, big); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.New(strings.Repeat("x", 1000)).Write(spool.Stdout, big); err != nil {
		t.Fatal(err)
	}
	names := files(t, dir)
	if len(names) != 7 {
		t.Fatalf("want 7 files, have %v", names)
	}
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestKeepSurvivesClose(t *testing.T) {
	for _, size := range []int{0, 5, limit + 5} {
		dir := t.TempDir()
		o := spool.Open(dir).New("9")
		want := pattern(size)
		for _, stream := range []int{spool.Stdout, spool.Stderr} {
			if err := o.Write(stream, want); err != nil {
				t.Fatal(err)
			}
		}
		path, err := o.Keep(spool.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readAll(t, o, spool.Stdout), want) {
			t.Error("a kept stream reads differently")
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("size %d: kept file: %d bytes, %v", size, len(got), err)
		}
		if left := files(t, dir); len(left) != 1 {
			t.Errorf("size %d: left %v, want only the kept one", size, left)
		}
		if err := o.Close(); err != nil {
			t.Errorf("closing again: %v", err)
		}
	}
}

func TestParkEmptiesMemory(t *testing.T) {
	o := spool.Open(t.TempDir()).New("9")
	if err := o.Write(spool.Stdout, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if o.Memory() != 3 {
		t.Errorf("Memory = %d, want 3", o.Memory())
	}
	if err := o.Park(); err != nil {
		t.Fatal(err)
	}
	if o.Memory() != 0 {
		t.Errorf("Memory after Park = %d", o.Memory())
	}
	if err := o.Write(spool.Stdout, []byte("def")); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, o, spool.Stdout); string(got) != "abcdef" {
		t.Errorf("read %q", got)
	}
}

func TestNilIsNoOutput(t *testing.T) {
	var o *spool.Output
	if o.Bytes(spool.Stdout) != 0 || o.Memory() != 0 || len(readAll(t, o, spool.Stdout)) != 0 {
		t.Error("a nil output is not empty")
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if o.Write(spool.Stdout, []byte("x")) == nil {
		t.Error("a nil output took a write")
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	err := spool.Open(dir).New("9").Write(spool.Stdout, pattern(2*limit))
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v does not name %s", err, dir)
	}
	dir = t.TempDir()
	o := spool.Open(dir).New("9")
	if err := o.Write(spool.Stdout, pattern(2*limit)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, files(t, dir)[0])
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Tail(spool.Stdout, 2*limit); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file cut short: %v", err)
	}
}

func TestHandedFromWriterToReader(t *testing.T) {
	d := spool.Open(t.TempDir())
	want := pattern(3*limit + 11)
	var wg sync.WaitGroup
	for range 8 {
		ended := make(chan *spool.Output)
		wg.Go(func() {
			o := d.New("same")
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 5000)
				if err := o.Write(spool.Stdout, rest[:n]); err != nil {
					t.Error(err)
				}
				rest = rest[n:]
			}
			ended <- o
		})
		wg.Go(func() {
			o := <-ended
			if !bytes.Equal(readAll(t, o, spool.Stdout), want) {
				t.Error("outputs of one name are mixed up")
			}
			if err := o.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestReadAtWhileItGrows: whoever follows an output reads all of it, in order, while it
// moves from memory to files.
func TestReadAtWhileItGrows(t *testing.T) {
	o := spool.Open(t.TempDir()).New("9")
	want := pattern(5*limit + 11)
	var wg sync.WaitGroup
	wg.Go(func() {
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 3000)
			if err := o.Write(spool.Stderr, rest[:n]); err != nil {
				t.Error(err)
			}
			rest = rest[n:]
		}
	})
	var got []byte
	for buf := make([]byte, 4096); len(got) < len(want) && !t.Failed(); {
		n, err := o.ReadAt(spool.Stderr, buf, int64(len(got)))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	wg.Wait()
	if !bytes.Equal(got, want) {
		t.Error("what was followed is damaged")
	}
	if n, err := o.ReadAt(spool.Stderr, make([]byte, 1), int64(len(want))); n != 0 || err != nil {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	o.Close()
	if _, err := o.ReadAt(spool.Stderr, make([]byte, 1), 0); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAllocations(t *testing.T) {
	d := spool.Open(t.TempDir())
	o := d.New("9")
	if n := testing.AllocsPerRun(100, func() {
		o.Write(spool.Stdout, nil)
		r, _ := o.Reader(spool.Stdout)
		io.Copy(io.Discard, r)
		r.Close()
		o.Tail(spool.Stdout, 100)
		o.Close()
	}); n > 0 {
		t.Errorf("a task with no output costs %v allocations", n)
	}
	small := []byte("hello\n")
	perTask := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.New("9").Write(spool.Stdout, small)
		}
	}).AllocedBytesPerOp()
	if perTask > 512 {
		t.Errorf("a small output costs %d bytes", perTask)
	}
}
