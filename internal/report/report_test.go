package report_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"muster/internal/report"
	"muster/internal/spool"
	"muster/task"
)

var started = time.Date(2026, 3, 4, 5, 6, 7, 890e6, time.UTC)

// maker makes items whose output lies in one spool.
type maker struct {
	t    *testing.T
	path string
	dir  *spool.Dir
}

func newMaker(t *testing.T) *maker {
	path := t.TempDir()
	return &maker{t, path, spool.Open(path)}
}

func (m *maker) item(index int, stdout, stderr string) report.Item {
	m.t.Helper()
	out := m.dir.New(fmt.Sprint(index))
	for stream, text := range map[int]string{spool.Stdout: stdout, spool.Stderr: stderr} {
		if err := out.Write(stream, []byte(text)); err != nil {
			m.t.Fatal(err)
		}
	}
	return report.Item{
		Result: task.Result{ID: task.ID(index), Index: index, Argv: []string{"echo", "x"}, Attempt: 1,
			Worker: "w1", Slot: 2, Started: started, Elapsed: 1500 * time.Millisecond},
		Output: out, Row: task.Row{Values: []string{fmt.Sprint(index)}}, Command: "echo x",
	}
}

// left is how many files the spool still has.
func (m *maker) left() int {
	m.t.Helper()
	entries, err := os.ReadDir(m.path)
	if err != nil {
		m.t.Fatal(err)
	}
	return len(entries)
}

func open(t *testing.T, opt report.Options) *report.Writer {
	t.Helper()
	w, err := report.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func put(t *testing.T, w *report.Writer, items ...report.Item) {
	t.Helper()
	for _, it := range items {
		if err := w.Write(it); err != nil {
			t.Fatal(err)
		}
	}
}

func closeIt(t *testing.T, w *report.Writer) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func failed(it report.Item, e *task.ErrorValue) report.Item {
	it.Result.Err = e
	return it
}

func TestPlainIsGroupedAsTasksEnd(t *testing.T) {
	m := newMaker(t)
	var both bytes.Buffer
	w := open(t, report.Options{Stdout: &both, Stderr: &both})
	put(t, w, m.item(2, "out2\n", "err2\n"), m.item(1, "out1", ""),
		failed(m.item(3, "", "err3\n"), &task.ErrorValue{Kind: task.KindExit, Code: 1}),
		report.Item{Result: task.Result{Index: 4, Err: task.Cancelled("")}})
	if got, want := both.String(), "out2\nerr2\nout1err3\n"; got != want {
		t.Errorf("before Close: %q, want %q", got, want)
	}
	closeIt(t, w)
}

func TestKeepPrintsInOrder(t *testing.T) {
	for _, tc := range []struct {
		order  []int
		before string // what is out before Close
		after  string
	}{
		{[]int{1, 2, 3}, "1;2;3;", "1;2;3;"},
		{[]int{3, 1, 2}, "1;2;3;", "1;2;3;"},
		{[]int{3, 2, 1}, "1;2;3;", "1;2;3;"},
		{[]int{4, 3, 1}, "1;", "1;3;4;"},
		{[]int{5, 2}, "", "2;5;"},
		{[]int{1, 1, 2}, "1;1;2;", "1;1;2;"},
	} {
		m := newMaker(t)
		var out bytes.Buffer
		w := open(t, report.Options{Stdout: &out, Keep: true})
		for _, i := range tc.order {
			put(t, w, m.item(i, fmt.Sprintf("%d;", i), ""))
		}
		if out.String() != tc.before {
			t.Errorf("%v: before Close %q, want %q", tc.order, out.String(), tc.before)
		}
		closeIt(t, w)
		if out.String() != tc.after {
			t.Errorf("%v: after Close %q, want %q", tc.order, out.String(), tc.after)
		}
	}
}

func TestHeldOutputsLeaveMemory(t *testing.T) {
	m := newMaker(t)
	var out counter
	w := open(t, report.Options{Stdout: &out, Keep: true})
	const n, size = 700, 60 << 10 // 42 MB in all, each small enough for memory
	text := strings.Repeat("x", size)
	outputs := make([]*spool.Output, 0, n)
	for i := n; i > 1; i-- {
		it := m.item(i, text, "")
		outputs = append(outputs, it.Output)
		put(t, w, it)
	}
	var memory int64
	for _, o := range outputs {
		memory += o.Memory()
	}
	if memory > 33<<20 {
		t.Errorf("%d bytes of held outputs are in memory", memory)
	}
	put(t, w, m.item(1, text, ""))
	closeIt(t, w)
	if out.n != n*size {
		t.Errorf("printed %d bytes, want %d", out.n, n*size)
	}
	if left := m.left(); left > 0 {
		t.Errorf("%d files are left", left)
	}
}

func TestHeldBrieflyStaysInMemory(t *testing.T) {
	m := newMaker(t)
	w := open(t, report.Options{Stdout: &counter{}, Keep: true})
	text := strings.Repeat("x", 60<<10)
	for i := 1; i < 1400; i += 2 { // 42 MB held in all, but one at a time
		late := m.item(i+1, text, "")
		put(t, w, late)
		if late.Output.Memory() == 0 {
			t.Fatalf("output %d was put into a file", i+1)
		}
		put(t, w, m.item(i, text, ""))
	}
	closeIt(t, w)
}

// counter counts what it is given.
type counter struct {
	n       int64
	largest int
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.largest = max(c.largest, len(p))
	return len(p), nil
}

func TestLargeOutputIsStreamed(t *testing.T) {
	m := newMaker(t)
	it := m.item(1, "", "")
	piece := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	const pieces = 800 // 50 MB
	for range pieces {
		if err := it.Output.Write(spool.Stdout, piece); err != nil {
			t.Fatal(err)
		}
	}
	var c counter
	w := open(t, report.Options{Stdout: &c})
	put(t, w, it)
	closeIt(t, w)
	if c.n != int64(pieces*len(piece)) || c.largest > 64<<10 {
		t.Errorf("wrote %d bytes in pieces of up to %d", c.n, c.largest)
	}
	if left := m.left(); left > 0 {
		t.Errorf("%d files are left", left)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}
