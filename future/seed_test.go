package future_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"muster/future"
	"muster/rng"
)

// interval is what R's runif(n, low, high) is given.
type interval struct {
	N         int
	Low, High float64
}

var (
	// normals is R's rnorm(n, 20, 2), as R prints it.
	normals = future.Register("normals", func(ctx context.Context, n int) (string, error) {
		return printed(n, func() float64 { return 20 + 2*rng.FromContext(ctx).Norm() }), nil
	})
	uniforms = future.Register("uniforms", func(ctx context.Context, i interval) (string, error) {
		return printed(i.N, func() float64 { return i.Low + (i.High-i.Low)*rng.FromContext(ctx).Unif() }), nil
	})
	streamHere = future.Register("stream", func(ctx context.Context, _ int) (rng.Stream, error) {
		s := rng.FromContext(ctx).Stream()
		rand.New(rng.FromContext(ctx)).Float64() // which the next task does not notice
		return s, nil
	})
	// dieOnce ends its worker unless the file is there, and makes it.
	dieOnce = future.Register("dieOnce", func(ctx context.Context, file string) (rng.Stream, error) {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			f.Close()
			os.Exit(1)
		}
		return rng.FromContext(ctx).Stream(), nil
	})
)

func printed(n int, number func() float64) string {
	var list []string
	for range n {
		list = append(list, fmt.Sprintf("%.7g", number()))
	}
	return strings.Join(list, " ")
}

// TestSeed: what mirai's manual prints in section 5 comes out here, however many
// workers there are, and without any.
func TestSeed(t *testing.T) {
	for name, how := range map[string]future.Option{"3 workers": future.Workers(3), "1 worker": future.Workers(1), "sync": future.Sync()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := session(t, how, future.Seed(1234))
			ctx := t.Context()
			m := got(future.Map(ctx, s, normals, []int{1, 2, 3}))(t)
			want := []string{"19.86409", "19.55834 22.30159", "20.62193 23.06144 19.61896"}
			for i, r := range got(m.Collect(ctx))(t) {
				if r.Value != want[i] || r.Stream != rng.Seeded(1234).Of(uint64(i+1)) {
					t.Errorf("result %d is %s, of %v; want %s", i, r.Value, r.Stream, want[i])
				}
			}
			// A seed of its own changes nothing for the others.
			u := got(future.Map(ctx, s, uniforms, []interval{{1, 1, 3}, {2, 2, 6}, {3, 3, 9}}, future.TaskSeed(2345)))(t)
			want = []string{"2.637793", "2.328183 5.649959", "5.302906 3.531788 6.389231"}
			for i, value := range got(u.Flat(ctx))(t) {
				if value != want[i] {
					t.Errorf("of its own seed, result %d is %s; want %s", i, value, want[i])
				}
			}
			f := got(future.Submit(ctx, s, streamHere, 0))(t)
			if v := got(f.Collect(ctx))(t); v != rng.Seeded(1234).Of(4) || got(f.Stream(ctx))(t) != v {
				t.Errorf("the fourth task has %v", v)
			}
			if _, err := future.Everywhere(ctx, s, streamHere, 0); err != nil {
				t.Fatal(err)
			}
			c := got(future.Command(ctx, s, []string{"sh", "-c", "echo $MUSTER_SEED $MUSTER_RNG_STREAM"}))(t)
			fifth := rng.Seeded(1234).Of(5)
			if out := got(c.Collect(ctx))(t); strings.TrimSpace(string(out)) != fmt.Sprint(fifth.SmallSeed(), " ", fifth) {
				t.Errorf("the fifth task, a command, has %s", out)
			}
		})
	}
}

// TestRetriesHaveTheSameStream: the worker that had the task is no more.
func TestRetriesHaveTheSameStream(t *testing.T) {
	s := session(t, future.Workers(1), future.Seed(5))
	f := got(future.Submit(t.Context(), s, dieOnce, t.TempDir()+"/been"))(t)
	if v := got(f.Collect(t.Context()))(t); v != rng.Seed(5) {
		t.Errorf("the second attempt has %v", v)
	}
}

// TestWithoutSeed: no two tasks have the same numbers, and each result says its stream.
func TestWithoutSeed(t *testing.T) {
	for name, how := range map[string]future.Option{"workers": future.Workers(2), "sync": future.Sync()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := session(t, how)
			ctx := t.Context()
			m := got(future.Map(ctx, s, streamHere, make([]int, 12)))(t)
			seen := map[rng.Stream]bool{}
			for i, r := range got(m.Collect(ctx))(t) {
				if r.Value != r.Stream || !r.Stream.Valid() || seen[r.Stream] {
					t.Errorf("task %d had %v and says %v", i, r.Value, r.Stream)
				}
				seen[r.Stream] = true
			}
			e := got(future.Everywhere(ctx, s, streamHere, 0))(t)
			for _, r := range got(e.Collect(ctx))(t) {
				if r.Value != r.Stream || seen[r.Stream] {
					t.Errorf("an everywhere had %v and says %v", r.Value, r.Stream)
				}
				seen[r.Stream] = true
			}
		})
	}
}
