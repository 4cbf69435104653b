package share

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

type point struct {
	X, Y float64
	Tag  [4]int8
}

// viewOf opens what has been put, unless that failed. Both are closed with the test.
func viewOf(t *testing.T, s *Segment, err error) *View {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	v, err := Open(s.Ref())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func TestSlices(t *testing.T) {
	points := []point{{1, 2, [4]int8{3}}, {4, 5, [4]int8{6}}}
	s, err := PutSlice(points)
	v := viewOf(t, s, err)
	if got, err := Slice[point](v); err != nil || !slices.Equal(got, points) {
		t.Errorf("%v: %v", got, err)
	}
	if _, err := Slice[float64](v); err == nil || !strings.Contains(err.Error(), "it has elements of share.point") {
		t.Errorf("read as float64: %v", err)
	}
	if got, err := Slice[float64](v); got != nil {
		t.Errorf("%v: %v", got, err)
	}
	v.Close()
	if got, err := Slice[point](v); !errors.Is(err, os.ErrClosed) {
		t.Errorf("of a view that is closed: %v: %v", got, err)
	}
}

// TestNoRefIsRefused: what names nothing is not said to be elsewhere, too.
func TestNoRefIsRefused(t *testing.T) {
	if _, err := Open(Ref{}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

func TestSlicesOfBytes(t *testing.T) {
	s, err := Put([]byte("12345678abcdefgh"))
	v := viewOf(t, s, err)
	if got, err := Slice[uint64](v); err != nil || len(got) != 2 {
		t.Errorf("%v: %v", got, err)
	}
	if _, err := Slice[[3]byte](v); err == nil || !strings.Contains(err.Error(), "it has 16 bytes, and each of these has 3") {
		t.Errorf("read as elements of 3 bytes: %v", err)
	}
}

func TestEmptySlice(t *testing.T) {
	s, err := PutSlice([]int32(nil))
	v := viewOf(t, s, err)
	if got, err := Slice[int32](v); err != nil || len(got) != 0 {
		t.Errorf("%v: %v", got, err)
	}
}

func TestPointersAreRefused(t *testing.T) {
	for name, put := range map[string]func() (*Segment, error){
		"strings":          func() (*Segment, error) { return PutSlice([]string{"x"}) },
		"pointers":         func() (*Segment, error) { return PutSlice([]*int{nil}) },
		"slices":           func() (*Segment, error) { return PutSlice([][]int{nil}) },
		"interfaces":       func() (*Segment, error) { return PutSlice([]any{1}) },
		"a struct of them": func() (*Segment, error) { return PutSlice([]struct{ P [2]*int }{{}}) },
		"uintptr":          func() (*Segment, error) { return PutSlice([]uintptr{1}) },
		"nothing":          func() (*Segment, error) { return PutSlice([]struct{}{{}}) },
	} {
		if _, err := put(); err == nil || !strings.Contains(err.Error(), "without pointers") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFiles is a segment where there is no memfd.
func TestFiles(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w := &Writer{id: newID()}
	var err error
	if w.f, w.file, err = createFile(prefix + w.id); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("on disk"))
	s, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	v, err := Open(s.Ref())
	if err != nil || string(v.Bytes()) != "on disk" {
		t.Fatalf("%v: %v", v, err)
	}
	v.Close()
	if st, err := os.Stat(s.Ref().Path()); err != nil || st.Mode().Perm() != 0o400 {
		t.Errorf("its mode is %v: %v", st.Mode(), err)
	}
	s.Close()
	if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if w.f, w.file, err = createFile(prefix + newID()); err != nil {
		t.Fatal(err)
	}
	w.done = false
	w.Discard()
	if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add(`{"host":"a","machine":"b","pid":1,"fd":3,"id":"0123456789abcdef0123456789abcdef","bytes":5}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRef(text)
		if err != nil {
			return
		}
		if again, err := ParseRef(r.String()); err != nil || again != r {
			t.Fatalf("%v became %v: %v", r, again, err)
		}
	})
}

// BenchmarkTouch touches each page of 100 MB once, in what is shared and in what the
// process holds by itself.
func BenchmarkTouch(b *testing.B) {
	const size = 100 << 20
	data := make([]byte, size)
	for i := range data {
		data[i] = 1
	}
	s, err := Put(data)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	touch := func(b *testing.B, p []byte) {
		sum := 0
		for i := 0; i < len(p); i += 4096 {
			sum += int(p[i])
		}
		if sum != (size+4095)/4096 {
			b.Fatal(sum)
		}
	}
	b.Run("held", func(b *testing.B) {
		for b.Loop() {
			touch(b, data)
		}
	})
	b.Run("shared", func(b *testing.B) {
		for b.Loop() {
			v, err := Open(s.Ref())
			if err != nil {
				b.Fatal(err)
			}
			touch(b, v.Bytes())
			v.Close()
		}
	})
}
