package future_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"muster/future"
)

// up is future.Up in a state directory of the example's own.
func up(opts ...future.Option) (*future.Session, func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	s, err := future.Up(context.Background(), append(opts, future.StateDir(dir))...)
	if err != nil {
		panic(err)
	}
	return s, func() {
		s.Close()
		os.RemoveAll(dir)
	}
}

func Example() {
	ctx := context.Background()
	s, end := up(future.Workers(2))
	defer end()
	f, err := future.Submit(ctx, s, square, 7)
	if err != nil {
		panic(err)
	}
	n, err := f.Collect(ctx)
	fmt.Println(n, err)
	// Output: 49 <nil>
}

func ExampleMap() {
	ctx := context.Background()
	s, end := up(future.Workers(3))
	defer end()
	m, err := future.Map(ctx, s, square, []int{1, 2, 3}, future.Names("a", "b", "c"))
	if err != nil {
		panic(err)
	}
	results, err := m.Collect(ctx)
	for _, r := range results {
		fmt.Println(r.Name, r.Value)
	}
	fmt.Println(err)
	// Output:
	// a 1
	// b 4
	// c 9
	// <nil>
}

func ExampleMapping_Stop() {
	ctx := context.Background()
	s, end := up(future.Workers(1))
	defer end()
	m, err := future.Map(ctx, s, open, []string{"/no/such/file", "/nor/this"}, future.Names("a", "b"))
	if err != nil {
		panic(err)
	}
	_, err = m.Stop(ctx)
	fmt.Println(err)
	// Output: in index 0, with name a: cannot go on: open /no/such/file: no such file or directory
}

func ExampleRace() {
	ctx := context.Background()
	s, end := up(future.Workers(2))
	defer end()
	slow, _ := future.Submit(ctx, s, sleep, time.Hour)
	quick, _ := future.Submit(ctx, s, sleep, time.Millisecond)
	i, err := future.Race(ctx, slow, quick)
	fmt.Println(i, err)
	// Output: 1 <nil>
}

func ExampleTimeout() {
	ctx := context.Background()
	s, end := up(future.Workers(1))
	defer end()
	f, _ := future.Submit(ctx, s, sleep, time.Hour, future.Timeout(time.Millisecond))
	_, err := f.Collect(ctx)
	fmt.Println(err, future.IsError(err), future.IsErrorValue(err))
	// Output: Timed out false true
}

func ExampleWithProfile() {
	ctx := context.Background()
	s, end := up(future.Profile("cpu"), future.Workers(1))
	defer end()
	if err := s.Add(ctx, future.Profile("gpu"), future.Workers(1)); err != nil {
		panic(err)
	}
	gpu := future.WithProfile(ctx, "gpu")
	f, _ := future.Command(gpu, s, []string{"echo", "on the gpu"})
	out, _ := f.Collect(ctx)
	fmt.Print(string(out))
	// Output: on the gpu
}

func ExampleSync() {
	ctx := context.Background()
	s, end := up(future.Sync())
	defer end()
	f, _ := future.Submit(ctx, s, pid, struct{}{})
	n, _ := f.Collect(ctx)
	fmt.Println(n == os.Getpid())
	// Output: true
}
