package host_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"muster/internal/host"
	"muster/share"
)

func newShares(t *testing.T, limit int64) *host.Shares {
	t.Helper()
	return host.NewShares("p", limit, t.Logf)
}

// segments counts what this process holds of shares.
func segments(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range list {
		if what, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(what, "/memfd:muster-share-") {
			n++
		}
	}
	return n
}

func TestPutRefuses(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		share string
		size  int64
		from  io.Reader
		want  error
		text  string
	}{
		"a name":             {"../x", 1, strings.NewReader("x"), host.ErrShareName, `"../x"`},
		"a name that is new": {"there", 1, strings.NewReader("x"), host.ErrShareThere, "share there is there already, with 5 bytes"},
		"too much":           {"a", 96, strings.NewReader("x"), host.ErrShareLimit, "for 96 bytes of share a: profile p may share 100 bytes, and others have 5 of them"},
		"more than any":      {"a", 1 << 62, strings.NewReader("x"), host.ErrShareLimit, "for 4611686018427387904 bytes"},
		"too much, unknown":  {"a", -1, bytes.NewReader(make([]byte, 1000)), host.ErrShareLimit, "for 1000 bytes of share a"},
		"no end":             {"a", -1, zeros{}, host.ErrShareLimit, "of share a"},
		"broken off":         {"a", 50, io.MultiReader(strings.NewReader("123"), failing{broken}), broken, "read share a after 3 bytes"},
	} {
		s := newShares(t, 100)
		before := segments(t)
		if _, err := s.Put("there", 5, false, strings.NewReader("hello")); err != nil {
			t.Fatal(err)
		}
		_, err := s.Put(c.share, c.size, false, c.from)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
		if i := s.Info(); i.Bytes != 5 || i.Count != 1 {
			t.Errorf("%s: %+v is left", name, i)
		}
		if _, err := s.Put("a", 95, false, bytes.NewReader(make([]byte, 95))); err != nil {
			t.Errorf("%s: what there is room for: %v", name, err)
		}
		s.Remove([]string{"there", "a"})
		if n := segments(t); n != before {
			t.Errorf("%s: %d segments are left", name, n-before)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// TestPutsAtOnce has many come for room that is there for some, and for one name.
func TestPutsAtOnce(t *testing.T) {
	s := newShares(t, 10<<20)
	var all sync.WaitGroup
	errs := make(chan error, 40)
	for i := range 20 {
		all.Go(func() {
			_, err := s.Put(fmt.Sprintf("s%d", i), 1<<20, false, bytes.NewReader(make([]byte, 1<<20)))
			errs <- err
		})
	}
	all.Wait()
	refused := 0
	for range 20 {
		if err := <-errs; errors.Is(err, host.ErrShareLimit) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if i := s.Info(); refused != 10 || i.Count != 10 || i.Bytes != 10<<20 {
		t.Errorf("%d were refused, and %+v is there", refused, i)
	}
	if _, err := s.Put("s0", -1, true, strings.NewReader("")); err != nil && !errors.Is(err, host.ErrShareThere) {
		t.Error(err)
	}
}

// TestTwoPutOneName has a second come while the first is at it.
func TestTwoPutOneName(t *testing.T) {
	s := newShares(t, 100)
	r, w := io.Pipe()
	first := make(chan error)
	go func() {
		_, err := s.Put("a", -1, false, r)
		first <- err
	}()
	w.Write([]byte("one"))
	for _, replace := range []bool{false, true} {
		if _, err := s.Put("a", 3, replace, strings.NewReader("two")); !errors.Is(err, host.ErrSharePut) {
			t.Errorf("replace %v: %v", replace, err)
		}
	}
	w.Close()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(s.List()[0].Path); err != nil || string(b) != "one" {
		t.Errorf("%q: %v", b, err)
	}
}

func TestHoldKeepsWhatWasRemoved(t *testing.T) {
	s := newShares(t, 100)
	before := segments(t)
	for _, name := range []string{"a", "b"} {
		if _, err := s.Put(name, -1, false, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}
	one, err := s.Hold([]string{"a", "a"})
	if err != nil {
		t.Fatal(err)
	}
	two, _ := s.Hold([]string{"a"})
	if list := one.List(); len(list) != 2 || !list[0].Needed || list[1].Name != "b" || list[1].Needed {
		t.Errorf("a task gets %+v", list)
	}
	if _, err := s.Hold([]string{"ab"}); !errors.Is(err, host.ErrNoShare) || !strings.HasSuffix(err.Error(), "there are a, b") {
		t.Errorf("held what is not there: %v", err)
	}
	list, err := s.Remove([]string{"a"})
	if err != nil || len(list) != 1 || list[0].Futures != 2 {
		t.Errorf("removed: %+v: %v", list, err)
	}
	path := list[0].Path
	one.Release()
	if b, err := os.ReadFile(path); err != nil || string(b) != "a" {
		t.Errorf("held by one: %q: %v", b, err)
	}
	if i := s.Info(); i.Bytes != 2 {
		t.Errorf("held by one: %+v", i)
	}
	two.Release()
	if i := s.Info(); i.Bytes != 1 || segments(t) != before+1 {
		t.Errorf("held by nobody: %+v, %d segments", i, segments(t)-before)
	}
}

// TestDefaultLimit puts more than half of what is available.
func TestDefaultLimit(t *testing.T) {
	s := newShares(t, 0)
	if _, err := s.Put("a", 1, false, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	limit := s.Info().Limit
	if left, err := share.Available(); err != nil || limit < left/4 || limit > left*3/4 {
		t.Errorf("the limit is %d, and %d are available: %v", limit, left, err)
	}
	if _, err := s.Put("b", limit, false, zeros{}); !errors.Is(err, host.ErrShareLimit) {
		t.Errorf("one byte more than the limit: %v", err)
	}
}

func TestThousandShares(t *testing.T) {
	s := newShares(t, 1<<20)
	before := segments(t)
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("s%d", i))
		if _, err := s.Put(names[i], 1, false, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put("more", 1, false, strings.NewReader("x")); !errors.Is(err, host.ErrShareLimit) || !strings.Contains(err.Error(), "has 1000, which are the most") {
		t.Errorf("one more: %v", err)
	}
	if _, err := s.Hold([]string{"s99x"}); err == nil || !strings.Contains(err.Error(), "there are s99, ") || !strings.HasSuffix(err.Error(), ", and 990 more") {
		t.Errorf("a name that is not there: %v", err)
	}
	if _, err := s.Remove(names); err != nil || segments(t) != before {
		t.Errorf("%d segments are left: %v", segments(t)-before, err)
	}
}
