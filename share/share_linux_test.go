package share

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is an owner that ends when it is told, too.
func TestMain(m *testing.M) {
	if size := os.Getenv("_SHARE_OWNER"); size != "" {
		s, err := Put(bytes.Repeat([]byte{7}, 10000))
		if err != nil {
			panic(err)
		}
		fmt.Println(s.Ref())
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func mustPut(t *testing.T, b []byte) *Segment {
	t.Helper()
	s, err := Put(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestPutAndOpen(t *testing.T) {
	page := os.Getpagesize()
	for _, n := range []int{0, 1, page - 1, page, page + 1, 1<<20 + 3} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i * 7)
		}
		s := mustPut(t, b)
		r, err := ParseRef(s.Ref().String())
		if err != nil || r != s.Ref() {
			t.Fatalf("%d bytes: reference %v became %v: %v", n, s.Ref(), r, err)
		}
		v, err := Open(r)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if !bytes.Equal(v.Bytes(), b) {
			t.Errorf("%d bytes: they are others in the view", n)
		}
		if got, err := os.ReadFile(r.Path()); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes: %s has %d bytes: %v", n, r.Path(), len(got), err)
		}
		v.Close()
		if v.Close(); len(v.Bytes()) > 0 {
			t.Errorf("%d bytes: a view that is closed has some", n)
		}
	}
}

func TestNobodyChangesASegment(t *testing.T) {
	s := mustPut(t, []byte("precious"))
	path := s.Ref().Path()
	if fd, err := unix.Open(path, unix.O_RDWR, 0); err == nil { // as root
		_, err := unix.Write(fd, []byte("x"))
		if err != unix.EPERM {
			t.Errorf("written to: %v", err)
		}
		for _, n := range []int64{0, 3, 100} {
			if err := unix.Ftruncate(fd, n); err != unix.EPERM {
				t.Errorf("cut to %d bytes: %v", n, err)
			}
		}
		if _, err := unix.Mmap(fd, 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
			t.Error("mapped for writing")
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL); err != unix.EPERM {
			t.Errorf("sealed anew: %v", err)
		}
		unix.Close(fd)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("it is %q now", b)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o400 {
		t.Errorf("its mode is %v: %v", st.Mode(), err)
	}
}

func TestAViewOutlivesItsOwner(t *testing.T) {
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), "_SHARE_OWNER=1")
	in, _ := owner.StdinPipe()
	defer in.Close()
	out, err := owner.StdoutPipe()
	if err == nil {
		err = owner.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var line strings.Builder
	for b := make([]byte, 1); b[0] != '\n'; line.Write(b) {
		if _, err := out.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	r, err := ParseRef(line.String())
	if err != nil {
		t.Fatal(err)
	}
	v, err := Open(r)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	adopted, err := Adopt(r)
	if err != nil {
		t.Fatal(err)
	}
	defer adopted.Close()
	owner.Process.Signal(syscall.SIGKILL)
	owner.Wait()
	if !bytes.Equal(v.Bytes(), bytes.Repeat([]byte{7}, 10000)) {
		t.Error("the view has changed")
	}
	if err := r.Check(); !errors.Is(err, ErrGone) {
		t.Errorf("checked after the owner's end: %v", err)
	}
	if b, err := os.ReadFile(adopted.Ref().Path()); err != nil || !bytes.Equal(b, v.Bytes()) || adopted.Ref().Pid != os.Getpid() {
		t.Errorf("adopted as %v, with %d bytes: %v", adopted.Ref(), len(b), err)
	}
	if _, err := Adopt(r); !errors.Is(err, ErrGone) {
		t.Errorf("adopted after the owner's end: %v", err)
	}
}

// TestASegmentNeedsNoValue has the garbage collector find that nobody has the segment.
func TestASegmentNeedsNoValue(t *testing.T) {
	r := func() Ref {
		s, err := Put([]byte("kept"))
		if err != nil {
			t.Fatal(err)
		}
		return s.Ref()
	}()
	defer unix.Close(r.FD)
	for range 3 {
		runtime.GC()
	}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

// TestADescriptorThatIsSomethingElse opens references whose descriptors are of other
// things by now.
func TestADescriptorThatIsSomethingElse(t *testing.T) {
	s := mustPut(t, []byte("mine"))
	other := mustPut(t, []byte("else"))
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[1])
	defer unix.Close(p[0])
	closed := mustPut(t, []byte("gone"))
	gone := closed.Ref()
	closed.Close()
	unsealed, err := memfd(prefix + s.Ref().ID)
	if err != nil {
		t.Fatal(err)
	}
	defer unsealed.Close()
	unsealed.Write([]byte("fake"))
	change := func(f func(*Ref)) Ref {
		r := s.Ref()
		f(&r)
		return r
	}
	for name, c := range map[string]struct {
		r    Ref
		want string
	}{
		"another segment":   {change(func(r *Ref) { r.FD = other.Ref().FD }), ErrGone.Error()},
		"a pipe":            {change(func(r *Ref) { r.FD = p[0] }), ErrGone.Error()},
		"a file":            {change(func(r *Ref) { r.FD = 0 }), ErrGone.Error()},
		"closed":            {gone, ErrGone.Error()},
		"no process":        {change(func(r *Ref) { r.Pid = 1 << 30 }), ErrGone.Error()},
		"not sealed":        {change(func(r *Ref) { r.FD = int(unsealed.Fd()) }), "not sealed"},
		"another size":      {change(func(r *Ref) { r.Bytes++ }), "has 4 bytes, and the reference says 5"},
		"no id":             {change(func(r *Ref) { r.ID = "../../etc/passwd" }), "names no"},
		"negative":          {change(func(r *Ref) { r.Bytes = -1 }), "names no"},
		"any file":          {change(func(r *Ref) { r.File = "/etc/passwd" }), "it is no share"},
		"another machine":   {change(func(r *Ref) { r.Host, r.Machine = "node7", "x" }), "it is on node7, and this is " + hostName()},
		"another container": {change(func(r *Ref) { r.Machine = "x" }), "another container"},
	} {
		_, err := Open(c.r)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if elsewhere := strings.HasPrefix(name, "another m") || strings.HasPrefix(name, "another c"); errors.Is(err, ErrElsewhere) != elsewhere {
			t.Errorf("%s: elsewhere is %v: %v", name, !elsewhere, err)
		}
	}
}

func TestWriterReservesFirst(t *testing.T) {
	w, err := Create()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Discard()
	if err := w.Reserve(40 << 20); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(w.f.Fd()), &st); err != nil || st.Blocks*512 < 40<<20 {
		t.Fatalf("%d bytes have room, want 40 MiB: %v", st.Blocks*512, err)
	}
	for range 3 {
		if _, err := w.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
	}
	s, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := unix.Fstat(s.ref.FD, &st); err != nil || st.Size != 9 || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes have %d of room: %v", st.Size, st.Blocks*512, err)
	}
	if b, err := os.ReadFile(s.Ref().Path()); err != nil || string(b) != "abcabcabc" {
		t.Errorf("it has %q: %v", b, err)
	}
}

// TestWhatMemoryCannotHold reserves more than any machine has.
func TestWhatMemoryCannotHold(t *testing.T) {
	w, err := Create()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Discard()
	if err := w.Reserve(math.MaxInt64 - 1<<20); err == nil || !strings.Contains(err.Error(), "reserve 9223372036853727231 bytes") {
		t.Errorf("reserved: %v", err)
	}
}

func TestSegmentsAreFreed(t *testing.T) {
	before := descriptors(t)
	for range 1000 {
		s, err := Put([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		v, err := Open(s.Ref())
		if err != nil {
			t.Fatal(err)
		}
		v.Close()
		s.Close()
		w, err := Create()
		if err != nil {
			t.Fatal(err)
		}
		w.Discard()
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range names {
		if what, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.Contains(what, prefix) {
			n++
		}
	}
	return n
}

// TestOthersCannotOpenASegment has another user of the machine read the path.
func TestOthersCannotOpenASegment(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	path := mustPut(t, []byte("secret")).Ref().Path()
	cat := exec.Command("cat", path)
	cat.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cat.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
		t.Errorf("cat %s as another user: %s: %v", path, out, err)
	}
	if out, err := exec.Command("cat", path).CombinedOutput(); err != nil || string(out) != "secret" {
		t.Errorf("cat %s: %s: %v", path, out, err)
	}
}
