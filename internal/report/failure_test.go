package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"muster/internal/report"
	"muster/internal/spool"
)

// broken fails once it has taken room bytes.
type broken struct {
	room   int
	short  bool // fails by taking less and saying nothing
	writes int
}

func (b *broken) Write(p []byte) (int, error) {
	b.writes++
	if len(p) <= b.room {
		b.room -= len(p)
		return len(p), nil
	}
	if b.short {
		return b.room, nil
	}
	return b.room, syscall.EPIPE
}

func TestFailedWriter(t *testing.T) {
	for _, opt := range []report.Options{{}, {Keep: true}, {JSON: true}, {Flat: true}, {Flat: true, JSON: true}} {
		for _, short := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v %v", opt, short), func(t *testing.T) {
				m := newMaker(t)
				dest := &broken{short: short}
				opt.Stdout = dest
				opt.JobLog = filepath.Join(t.TempDir(), "log")
				w := open(t, opt)
				want := syscall.EPIPE.Error()
				if short {
					want = io.ErrShortWrite.Error()
				}
				var errs []error
				for _, i := range []int{2, 1, 3} {
					errs = append(errs, w.Write(m.item(i, `"`+strings.Repeat("x", 100000)+`"`, "")))
				}
				errs = append(errs, w.Close())
				err := errs[2]
				if opt.Flat && opt.JSON {
					err = errs[3] // all of it is printed at the end
				}
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "stdout") {
					t.Errorf("errors %v, want %q about stdout", errs, want)
				}
				if !short && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("%v is not EPIPE", err)
				}
				if dest.writes != 1 {
					t.Errorf("%d writes to a broken pipe", dest.writes)
				}
				if left := m.left(); left > 0 {
					t.Errorf("%d files of the spool are left", left)
				}
				if log := read(t, opt.JobLog); strings.Count(log, "\n") != 4 {
					t.Errorf("the job log misses tasks:\n%s", log)
				}
			})
		}
	}
}

func TestSlowReader(t *testing.T) {
	m := newMaker(t)
	r, pipe := io.Pipe()
	w := open(t, report.Options{Stdout: pipe})
	want := strings.Repeat("line\n", 50000)
	wrote := make(chan error, 1)
	go func() {
		err := w.Write(m.item(1, want, ""))
		pipe.CloseWithError(io.EOF)
		wrote <- err
	}()
	var got strings.Builder
	if _, err := io.CopyBuffer(&got, io.MultiReader(r), make([]byte, 777)); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil || got.String() != want {
		t.Errorf("read %d bytes of %d, %v", got.Len(), len(want), err)
	}
}

func TestFilesAreOpenedFirst(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, opt := range []report.Options{
		{JobLog: filepath.Join(dir, "no", "log")},
		{JobLog: dir},
		{ResultsDir: file},
		{ResultsDir: filepath.Join(file, "sub")},
	} {
		_, err := report.New(opt)
		if err == nil || !strings.Contains(err.Error(), opt.JobLog+opt.ResultsDir) {
			t.Errorf("%+v: %v, want an error that names it", opt, err)
		}
	}
	if _, err := report.New(report.Options{JobLog: file}); err == nil || read(t, file) != "old" {
		t.Errorf("a file that is no job log: %v", err)
	}
}

// TestOutputLost shows that an output that cannot be read is no empty one.
func TestOutputLost(t *testing.T) {
	for _, opt := range []report.Options{{}, {JSON: true}, {Flat: true}} {
		m := newMaker(t)
		it := m.item(1, strings.Repeat("x", 3<<20), "")
		path, err := it.Output.Keep(spool.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 100); err != nil {
			t.Fatal(err)
		}
		opt.Stdout = &bytes.Buffer{}
		if err := open(t, opt).Write(it); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%+v: %v, want an error naming %s", opt, err, path)
		}
	}
}
