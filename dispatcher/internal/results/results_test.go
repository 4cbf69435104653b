package results_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/dispatcher/internal/results"
	"muster/internal/spool"
	"muster/task"
)

// fixture is a store whose files lie in path.
type fixture struct {
	*results.Store
	t    *testing.T
	path string
}

func newFixture(t *testing.T, memory int64) *fixture {
	path := t.TempDir()
	return &fixture{results.NewStore(spool.Open(path), memory, func(err error) { t.Error(err) }), t, path}
}

func (f *fixture) files() int {
	f.t.Helper()
	entries, err := os.ReadDir(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	return len(entries)
}

// done is a result with an output.
func (f *fixture) done(text string) *results.Done {
	f.t.Helper()
	out := f.New("t")
	if err := out.Write(spool.Stdout, []byte(text)); err != nil {
		f.t.Fatal(err)
	}
	if err := f.Keep(out); err != nil {
		f.t.Fatal(err)
	}
	return &results.Done{Output: out}
}

func (f *fixture) log(n int) *results.Log {
	l := f.NewLog(func() {})
	l.Add(n)
	return l
}

func text(d *results.Done) string {
	r, err := d.Output.Reader(spool.Stdout)
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	return string(all)
}

// empty checks that nothing is counted and no file is left.
func (f *fixture) empty() {
	f.t.Helper()
	f.Wait()
	memory, disk := f.Usage()
	if memory != 0 || disk != 0 || f.Results() != 0 || f.files() != 0 {
		f.t.Errorf("%d bytes in memory and %d on the disk, %d results, %d files are left", memory, disk, f.Results(), f.files())
	}
}

// poll is what a cursor yields without waiting.
func poll(c *results.Cursor) string {
	var list []string
	for {
		d, err := c.Poll()
		switch {
		case err != nil:
			return strings.Join(append(list, err.Error()), " ")
		case d == nil:
			return strings.Join(list, " ")
		}
		list = append(list, fmt.Sprintf("%d:%s", d.Index, text(d)))
	}
}

func TestOrders(t *testing.T) {
	f := newFixture(t, 1<<20)
	l := f.log(3)
	byIndex, asResolved := l.Cursor(results.ByIndex), l.Cursor(results.AsResolved)
	check := func(when, index, resolved string) {
		t.Helper()
		if got := poll(byIndex); got != index {
			t.Errorf("%s: by index %q, want %q", when, got, index)
		}
		if got := poll(asResolved); got != resolved {
			t.Errorf("%s: as resolved %q, want %q", when, got, resolved)
		}
	}
	check("nothing", "", "")
	l.Put(3, f.done("c"))
	check("the last", "", "3:c")
	l.Put(1, f.done("a"))
	check("the first", "1:a", "1:a")
	l.Add(2)
	l.Drop(2)
	l.Drop(4)
	check("two dropped", "3:c", "")
	l.Put(5, f.done("e"))
	check("not sealed", "5:e", "5:e")
	if c := l.Counts(); c.Total != 5 || c.Resolved != 3 || c.Dropped != 2 || c.Open() != 0 || c.Over {
		t.Errorf("%+v", c)
	}
	l.Seal()
	check("sealed", "EOF", "EOF")
	<-l.Over()
	late := l.Cursor(results.ByIndex)
	if got := poll(late); got != "1:a 3:c 5:e EOF" {
		t.Errorf("a cursor that came late reads %q", got)
	}
	for _, c := range []*results.Cursor{byIndex, asResolved, late} {
		c.Close()
	}
	l.Forget()
	f.empty()
}

// TestRest is what a reader takes who waits for nothing more.
func TestRest(t *testing.T) {
	f := newFixture(t, 1<<20)
	l := f.log(6)
	byIndex, asResolved := l.Cursor(results.ByIndex), l.Cursor(results.AsResolved)
	for _, i := range []int{5, 1, 3} {
		l.Put(i, f.done("x"))
	}
	l.Drop(4)
	if got := poll(byIndex); got != "1:x" {
		t.Errorf("by index %q", got)
	}
	for c, want := range map[*results.Cursor]string{byIndex: "[3 5]", asResolved: "[5 1 3]"} {
		var got []int
		for _, d := range c.Rest() {
			got = append(got, d.Index)
		}
		if fmt.Sprint(got) != want || len(c.Rest()) != 0 {
			t.Errorf("the rest is %v, want %s", got, want)
		}
		c.Close()
		if _, err := c.Poll(); err == nil {
			t.Error("a cursor that was closed reads on")
		}
	}
	l.Forget()
	f.empty()
}

// TestNextWaits until there is something, there will be nothing, or its context is
// done; what is there it returns even then.
func TestNextWaits(t *testing.T) {
	f := newFixture(t, 1<<20)
	l := f.log(2)
	c := l.Cursor(results.AsResolved)
	got := make(chan string)
	next := func(ctx context.Context) {
		go func() {
			d, err := c.Next(ctx)
			if err != nil {
				got <- err.Error()
				return
			}
			got <- text(d)
		}()
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { l.Put(2, f.done("b")) }, "b"},
		{func() { l.Put(1, f.done("a")) }, "a"},
		{l.Seal, "EOF"},
	} {
		next(context.Background())
		select {
		case s := <-got:
			t.Fatalf("it did not wait: %q", s)
		case <-time.After(time.Millisecond):
		}
		step.do()
		if s := <-got; s != step.want {
			t.Errorf("got %q, want %q", s, step.want)
		}
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	l2 := f.log(1)
	c = l2.Cursor(results.ByIndex)
	next(ctx)
	if s := <-got; s != "enough" {
		t.Errorf("a context that is done: %q", s)
	}
	l2.Put(1, f.done("a"))
	next(ctx)
	if s := <-got; s != "a" {
		t.Errorf("what is there: %q", s)
	}
}

// TestForgetWhileOthersRead: of several who read a log at their own pace, each gets
// all of every result, although the first to end has it forgotten.
func TestForgetWhileOthersRead(t *testing.T) {
	for _, memory := range []int64{0, 1 << 30} {
		f := newFixture(t, memory)
		const n, size = 40, 200_000
		l := f.log(n)
		want := func(i int) string { return strings.Repeat(fmt.Sprintf("%06d\n", i), size/7) }
		var readers sync.WaitGroup
		fastest := make(chan struct{}) // closed when the log is forgotten
		for r, order := range []results.Order{results.ByIndex, results.AsResolved, results.ByIndex, results.AsResolved} {
			c := l.Cursor(order)
			readers.Go(func() {
				defer c.Close()
				seen := 0
				for {
					d, err := c.Next(context.Background())
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Errorf("reader %d, after %d: %v", r, seen, err)
						return
					}
					if got := text(d); got != want(d.Index) {
						t.Errorf("reader %d got %d of %d bytes of %d", r, len(got), len(want(d.Index)), d.Index)
					}
					if seen++; r > 0 && seen == 2 {
						<-fastest // the slow ones have most before them
					}
				}
				if seen != n {
					t.Errorf("reader %d got %d results", r, seen)
				}
				if r == 0 {
					l.Forget()
					close(fastest)
				}
			})
		}
		for i := n; i > 0; i-- {
			l.Put(i, f.done(want(i)))
		}
		l.Seal()
		readers.Wait()
		f.empty()
		c := l.Cursor(results.ByIndex)
		if _, err := c.Next(context.Background()); !errors.Is(err, results.ErrForgotten) {
			t.Errorf("of a forgotten log: %v", err)
		}
		c.Close()
	}
}

// TestForgetUnresolved: what comes after it is kept by nobody, and not counted.
func TestForgetUnresolved(t *testing.T) {
	f := newFixture(t, 0)
	l := f.log(3)
	l.Put(1, f.done("a"))
	kept, _, _ := l.At(1)
	_, more, changed := l.At(2)
	if !more {
		t.Error("the second result will not come")
	}
	l.Forget()
	<-changed
	l.Put(2, f.done(strings.Repeat("b", 300_000)))
	l.Drop(3)
	l.Seal()
	<-l.Over()
	for i := range 4 {
		if d, more, _ := l.At(i); d != nil || more {
			t.Errorf("result %d is there: %v, %v", i, d, more)
		}
	}
	if got := text(kept); !strings.Contains(got, spool.ErrClosed.Error()) {
		t.Errorf("a result that was thrown away reads %q", got)
	}
	f.empty()
}

// TestRelease: what is released counts no more and is passed over, but whoever
// reads it reads all of it.
func TestRelease(t *testing.T) {
	f := newFixture(t, 0)
	l := f.log(2)
	big := strings.Repeat("x", 300_000)
	l.Put(2, f.done(big))
	d, _, _ := l.At(2)
	r, err := d.Output.Reader(spool.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	d.Release()
	d.Release()
	if f.Results() != 0 {
		t.Errorf("%d results are counted", f.Results())
	}
	l.Put(1, f.done("a"))
	c := l.Cursor(results.AsResolved)
	if got := poll(c); got != "1:a" {
		t.Errorf("then a cursor reads %q", got)
	}
	if all, err := io.ReadAll(r); err != nil || !bytes.Equal(all, []byte(big)) {
		t.Errorf("its reader got %d bytes, %v", len(all), err)
	}
	r.Close()
	c.Close()
	l.Forget()
	f.empty()
}

// TestFull: a log is full beyond a number of bytes or of results, and whoever puts
// into it learns when it no longer is.
func TestFull(t *testing.T) {
	f := newFixture(t, 1<<30)
	rooms := 0
	l := f.NewLog(func() { rooms++ })
	for i := range results.MaxCount + 1 {
		if l.Full() {
			t.Fatalf("full with %d results", i)
		}
		l.Put(l.Add(1), &results.Done{})
	}
	if !l.Full() {
		t.Error("not full")
	}
	c := l.Cursor(results.ByIndex)
	for range 3 {
		d, err := c.Poll()
		if err != nil {
			t.Fatal(err)
		}
		d.Release()
	}
	if l.Full() || rooms != 1 {
		t.Errorf("full: %v, told %d times that there is room", l.Full(), rooms)
	}
	rows := f.log(0)
	long := strings.Repeat("x", 1<<20)
	for range results.MaxBytes>>20 + 1 {
		rows.Put(rows.Add(1), &results.Done{Row: task.Row{Values: []string{long}}})
	}
	if !rows.Full() {
		t.Error("what inputs take up is not counted")
	}
	rows.Forget()
	if rows.Full() {
		t.Error("a forgotten log is full")
	}
}

// TestMillionResults that are read and released as they come leave nothing behind.
func TestMillionResults(t *testing.T) {
	f := newFixture(t, 1<<20)
	l := f.NewLog(func() {})
	byIndex, asResolved := l.Cursor(results.ByIndex), l.Cursor(results.AsResolved)
	for i := range 1_000_000 / 4 {
		first := l.Add(4)
		for _, k := range []int{2, 0, 3, 1} {
			if i%1000 == 0 && k == 3 {
				l.Drop(first + k)
				continue
			}
			l.Put(first+k, &results.Done{})
		}
	}
	l.Seal()
	read := func(c *results.Cursor, release bool) (n int) {
		for last := 0; ; n++ {
			d, err := c.Poll()
			if err != nil {
				return n
			}
			if release {
				if d.Index <= last {
					t.Fatalf("%d after %d", d.Index, last)
				}
				last = d.Index
				d.Release()
			}
		}
	}
	if n := read(asResolved, false); n != 999_750 {
		t.Errorf("%d as they resolved", n)
	}
	if n := read(byIndex, true); n != 999_750 {
		t.Errorf("%d by index", n)
	}
	late := l.Cursor(results.AsResolved)
	if got := poll(late); got != "EOF" {
		t.Errorf("a log of which all is released reads %.40q", got)
	}
	f.empty()
}

// TestErrorsAreBounded, so that workers cannot fill the memory with them.
func TestErrorsAreBounded(t *testing.T) {
	f := newFixture(t, 1<<20)
	for name, e := range map[string]task.ErrorValue{
		"message":  {Message: strings.Repeat("é", 1<<20)},
		"evidence": {Message: "short", Evidence: strings.Repeat("x", 1<<20)},
		"signal":   {Message: "short", Signal: strings.Repeat("S", 1<<20)},
		"detail":   {Message: "short", Detail: []byte(`"` + strings.Repeat("x", 1<<20) + `"`)},
	} {
		l := f.log(2)
		l.Put(1, &results.Done{Result: task.Result{Err: &e}})
		d, _, _ := l.At(1)
		got := d.Err
		if n := len(got.Message) + len(got.Evidence) + len(got.Detail) + len(got.Signal); n > 64<<10 {
			t.Errorf("%s: %d bytes are kept", name, n)
		}
		if !strings.Contains(got.Evidence, "cut") || !strings.HasPrefix(got.Message, e.Message[:4]) {
			t.Errorf("%s: it is not said that it was cut: %.100q", name, got.Evidence)
		}
		small := &task.ErrorValue{Message: "a", Evidence: "b", Detail: []byte("{}")}
		l.Put(2, &results.Done{Result: task.Result{Err: small}})
		if d, _, _ := l.At(2); d.Err != small {
			t.Error("a short error was changed")
		}
	}
}

// TestErrorsAreCounted: they push outputs to the disk, fill a log, and are short where
// there are too many of them.
func TestErrorsAreCounted(t *testing.T) {
	const memory, n = 1 << 20, 5000
	f := newFixture(t, memory)
	l := f.log(n + 1)
	words := strings.Repeat("x", 70_000)
	for i := range n {
		l.Put(i+1, &results.Done{Result: task.Result{Err: &task.ErrorValue{Message: "m", Evidence: words}}})
	}
	if used, _ := f.Usage(); used > memory+n<<10 {
		t.Errorf("%d errors of 70,000 bytes hold %d", n, used)
	}
	for _, i := range []int{1, n} {
		d, _, _ := l.At(i)
		if !strings.HasSuffix(d.Err.Evidence, "[cut: the error had 70001 bytes]") {
			t.Errorf("error %d does not say that it was cut: %.200q", i, d.Err.Evidence)
		}
	}
	out := f.done("output")
	l.Put(n+1, out)
	if _, disk := f.Usage(); disk == 0 {
		t.Error("an output stays in memory beside errors that have all of it")
	}
	l.Forget()
	f.empty()

	f = newFixture(t, 1<<40)
	l = f.log(n)
	for i := range n {
		l.Put(i+1, &results.Done{Result: task.Result{Err: &task.ErrorValue{Message: words[:60_000]}}})
	}
	if !l.Full() {
		t.Errorf("%d errors of 60,000 bytes do not fill a log", n)
	}
	for i := range n {
		d, _, _ := l.At(i + 1)
		d.Release()
	}
	f.empty()
}
