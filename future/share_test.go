package future_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"muster/future"
	"muster/share"
)

// page is the distance at which the tests touch memory.
const page = 4096

var (
	// total adds up elements that it has in place.
	total = future.Register("total", func(_ context.Context, r share.Ref) (float64, error) {
		v, err := share.Open(r)
		if err != nil {
			return 0, err
		}
		defer v.Close()
		list, err := share.Slice[float64](v)
		sum := 0.0
		for _, x := range list {
			sum += x
		}
		return sum, err
	})
	// produce shares what it returns, and says which process it is.
	produce = future.Register("produce", func(_ context.Context, n int) (produced, error) {
		s, err := share.Put(make([]byte, n))
		if err != nil {
			return produced{}, err
		}
		return produced{s.Ref(), os.Getpid()}, nil
	})
	// touchShared and touchHeld touch each page of what is shared, and of as much that
	// the worker holds by itself.
	touchShared = future.Register("touch shared", func(_ context.Context, r share.Ref) (int, error) {
		v, err := share.Open(r)
		if err != nil {
			return 0, err
		}
		defer v.Close()
		return touch(v.Bytes()), nil
	})
	touchHeld = future.Register("touch held", func(_ context.Context, n int) (int, error) {
		held.Do(func() { heldBytes = make([]byte, n); touchAll(heldBytes) })
		return touch(heldBytes), nil
	})
	held      sync.Once
	heldBytes []byte
)

type produced struct {
	Ref share.Ref
	Pid int
}

func touch(p []byte) (sum int) {
	for i := 0; i < len(p); i += page {
		sum += int(p[i])
	}
	return sum
}

func touchAll(p []byte) {
	for i := range p {
		p[i] = 1
	}
}

func TestShareAnArgument(t *testing.T) {
	s := session(t, future.Workers(2), future.Memory(10<<10))
	list := make([]float64, 1<<20)
	for i := range list {
		list[i] = float64(i % 3)
	}
	seg, err := share.PutSlice(list)
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Close()
	ctx := context.Background()
	m, err := future.Map(ctx, s, total, []share.Ref{seg.Ref(), seg.Ref(), seg.Ref(), seg.Ref()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Flat(ctx)
	if err != nil || len(got) != 4 || got[0] != 1<<20-1 {
		t.Errorf("%v: %v", got, err)
	}
	if st, err := s.Status(ctx); err != nil || st.Memory.Peak > 4<<10 {
		t.Errorf("%d bytes were queued: %v", st.Memory.Peak, err)
	}
	other := seg.Ref()
	other.Host, other.Machine = "node7", "another"
	f, err := future.Submit(ctx, s, total, other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Collect(ctx); err == nil || !future.IsError(err) {
		t.Errorf("of another machine: %v", err)
	}
}

func TestShareAResult(t *testing.T) {
	s := session(t, future.Workers(1))
	ctx := context.Background()
	f, err := future.Submit(ctx, s, produce, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Collect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v, err := share.Open(p.Ref)
	if err != nil || len(v.Bytes()) != 1<<20 || p.Ref.Pid != p.Pid || p.Pid == os.Getpid() {
		t.Fatalf("%+v: %v", p, err)
	}
	defer v.Close()
	s.Close()
	if sum := touch(v.Bytes()); sum != 0 {
		t.Errorf("the view of a worker that is gone has changed: %d", sum)
	}
	if err := p.Ref.Check(); !errors.Is(err, share.ErrGone) {
		t.Errorf("the share of a worker that is gone: %v", err)
	}
}

// BenchmarkShare has 1,000 tasks touch each page of 100 MB that are shared, and of as much
// that their workers hold already. The two take turns; what is reported is the median of
// the rounds.
func BenchmarkShare(b *testing.B) {
	const size, tasks = 100 << 20, 1000
	s := session(b, future.Workers(2))
	data := make([]byte, size)
	touchAll(data)
	seg, err := share.Put(data)
	if err != nil {
		b.Fatal(err)
	}
	defer seg.Close()
	ctx := context.Background()
	rounds := func(call func() (int, error)) func(int) {
		return func(int) {
			if n, err := call(); err != nil || n != size/page {
				b.Error(n, err)
			}
		}
	}
	shared := rounds(func() (int, error) {
		f, err := future.Submit(ctx, s, touchShared, seg.Ref())
		if err != nil {
			return 0, err
		}
		return f.Collect(ctx)
	})
	own := rounds(func() (int, error) {
		f, err := future.Submit(ctx, s, touchHeld, size)
		if err != nil {
			return 0, err
		}
		return f.Collect(ctx)
	})
	together(2, 20, own) // the first of each worker makes it
	var ratios []float64
	for b.ResetTimer(); len(ratios) < takeTurns; {
		ratios = append(ratios, rate(2, tasks, own)/rate(2, tasks, shared))
	}
	b.ReportMetric(0, "ns/op") // of both, which says nothing
	b.ReportMetric(middle(ratios), "of-held")
}
