package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/internal/spool"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

// storm does at random what users and workers may do, hostile ones too.
type storm struct {
	*world
	*rand.Rand
	outputs *spool.Dir
	calm    chan struct{} // closed when nobody is to wait any more
	workers []*mate
	mates   []*mate                  // workers, and those that are left alone
	tasks   map[*peer][]*wire.Assign // that a worker was sent and has not ended
	asking  sync.WaitGroup           // submits and readers

	mu      sync.Mutex // guards all below
	futures []*dispatcher.Future
}

// TestStorm: whatever happens, and in whatever order, each task resolves once, and
// nothing is left behind, no task, byte, goroutine or one who waits.
func TestStorm(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			var outputs *spool.Dir
			leased(t, func(t *testing.T, w *world) {
				s := &storm{world: w, Rand: rand.New(rand.NewPCG(seed, 1)), outputs: outputs, calm: make(chan struct{}), tasks: map[*peer][]*wire.Assign{}}
				w.launch = mtls.NewLaunch("storm", mtls.Terms{Uses: 1000})
				w.d.AddLaunch(w.launch, dispatcher.LaunchOptions{Lease: lease, Fate: s.fate})
				for range 300 {
					s.step()
					synctest.Wait()
				}
				s.end(seed%3 == 0)
			}, func(o *options, _ *dispatcher.RunOptions) {
				outputs = o.Spool
				o.RoundRobin = seed%2 == 1
				o.Memory = int64(seed%4) * 50
				o.LostRetries = int(seed % 5)
			})
		})
	}
}

func (s *storm) fate(ctx context.Context, element string) dispatcher.Fate {
	switch len(element) % 3 {
	case 0:
		<-s.calm // whatever ctx says
	case 1:
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return dispatcher.Fate{Kind: task.KindPreempted, Text: "it was preempted"}
}

func (s *storm) step() {
	switch s.IntN(20) {
	case 0, 1:
		if len(s.workers) >= 6 { // one may go on unseen
			i := s.IntN(len(s.workers))
			s.workers = append(s.workers[:i], s.workers[i+1:]...)
		}
		m := s.mate(nil)
		s.workers, s.mates = append(s.workers, m), append(s.mates, m)
	case 2, 3:
		s.submit()
	case 4:
		s.addMap()
	case 5:
		if s.IntN(3) == 0 {
			if f, err := s.d.Everywhere(s.spec(), 1+s.IntN(2)); err == nil {
				s.add(f)
			}
		}
	case 6:
		if f := s.one(); f != nil && s.IntN(2) == 0 {
			f.Cancel(task.Cancelled("the storm"))
		}
	case 7:
		if f := s.one(); f != nil && s.IntN(4) == 0 {
			s.door.Forget(f)
		}
	case 8:
		if f := s.one(); f != nil {
			s.asking.Go(func() { s.collect(f) })
		}
	case 9:
		time.Sleep(time.Duration(s.ExpFloat64() * float64(time.Second)))
	case 10:
		if s.IntN(10) == 0 {
			time.Sleep(time.Duration(s.ExpFloat64() * float64(time.Minute)))
		}
	default:
		if len(s.workers) > 0 {
			s.work(s.IntN(len(s.workers)))
		}
	}
}

func (s *storm) spec() task.Spec {
	dirs := []string{"", "", "/a", "/b"}
	return task.Spec{Argv: []string{fmt.Sprint("program", s.IntN(3))}, Dir: dirs[s.IntN(len(dirs))]}
}

func (s *storm) add(f *dispatcher.Future) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.futures = append(s.futures, f)
}

// one returns a future, nil if there is none.
func (s *storm) one() *dispatcher.Future {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.futures) == 0 {
		return nil
	}
	return s.futures[s.IntN(len(s.futures))]
}

func (s *storm) submit() {
	var opt dispatcher.FutureOptions
	if s.IntN(3) == 0 {
		opt.Timeout = time.Duration(s.IntN(10_000)) * time.Millisecond
	}
	spec, try := s.spec(), s.IntN(2) == 0
	ctx, cancel := s.patience()
	s.asking.Go(func() {
		defer cancel()
		opt.Try = try
		f, err := s.d.Submit(ctx, spec, opt)
		if err == nil {
			s.add(f)
		} else if !errors.Is(err, dispatcher.ErrFull) && !errors.Is(err, dispatcher.ErrClosed) && ctx.Err() == nil {
			s.t.Errorf("submit: %v", err)
		}
	})
}

func (s *storm) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Duration(s.ExpFloat64()*float64(20*time.Second)))
}

func (s *storm) addMap() {
	f, err := s.d.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{StopOnFailure: s.IntN(3) == 0})
	if err != nil {
		s.t.Fatal(err)
	}
	s.add(f)
	var specs []task.Spec
	for range s.IntN(12) {
		specs = append(specs, s.spec())
	}
	ctx, cancel := s.patience()
	s.asking.Go(func() {
		defer cancel()
		for _, spec := range specs {
			if err := f.Add(ctx, spec); err != nil {
				s.door.Abort(f)
				return
			}
		}
		f.Seal()
	})
}

// collect reads a future to its end: each of its tasks resolves once.
func (s *storm) collect(f *dispatcher.Future) {
	order := dispatcher.AsResolved
	if f.ID()%2 == 0 {
		order = dispatcher.ByIndex
	}
	c := f.Results(order)
	defer c.Close()
	seen := map[int]bool{}
	for {
		done, err := c.Next(context.Background())
		switch {
		case errors.Is(err, dispatcher.ErrForgotten) && len(seen) == 0:
			return
		case err == io.EOF:
			if n := f.Status().Resolved; n != len(seen) {
				s.t.Errorf("future %d: %d results of %d were read", f.ID(), len(seen), n)
			}
			return
		case err != nil:
			s.t.Errorf("future %d: %v", f.ID(), err)
			return
		}
		if seen[done.Index] {
			s.t.Errorf("future %d: task %d resolved twice", f.ID(), done.Index)
		}
		seen[done.Index] = true
		if r, err := done.Output.Reader(spool.Stdout); err != nil {
			s.t.Errorf("future %d: task %d: %v", f.ID(), done.Index, err)
		} else {
			r.Close()
		}
	}
}

// work has a worker do something.
func (s *storm) work(i int) {
	w := s.workers[i]
	s.hear(w)
	switch s.IntN(40) {
	case 0:
		w.raw.Close()
	case 1:
		w.mute.Store(true)
	case 2:
		w.Send(&wire.Drain{Reason: []string{"SIGTERM", "walltime", "maxtasks"}[s.IntN(3)]})
	case 3:
		w.Send(&wire.Goodbye{Code: uint32(s.IntN(5))})
	case 4:
		s.d.Gone(s.launch, w.h.Element)
	case 5:
		w.raw.in.after(s.IntN(2000), func() { w.raw.Close() })
	case 6, 7, 8:
		if w.left() {
			s.comeBack(i)
		}
	default:
		s.say(w)
	}
}

// hear takes in what a worker was sent.
func (s *storm) hear(w *mate) {
	for {
		select {
		case m := <-w.in:
			if a, ok := m.(*wire.Assign); ok {
				s.tasks[w.peer] = append(s.tasks[w.peer], a)
			}
		default:
			return
		}
	}
}

// comeBack has a worker come back that has gone, or another in its place.
func (s *storm) comeBack(i int) {
	w := s.workers[i]
	s.workers = append(s.workers[:i], s.workers[i+1:]...)
	h := *w.h
	if s.IntN(3) == 0 {
		h.Restart++
		h.Resume = false
		if raw := s.l.dial(); s.IntN(2) == 0 {
			s.greet(raw, &h, s.launch.Token())
			raw.Close()
		} else {
			raw.Close()
		}
		return
	}
	if m, _, err := s.resume(w, &h, w.key); m != nil && err == nil {
		s.tasks[m.peer] = s.tasks[w.peer]
		s.workers, s.mates = append(s.workers, m), append(s.mates, m)
	}
	delete(s.tasks, w.peer)
}

// say has a worker say something of one of its tasks, true or not.
func (s *storm) say(w *mate) {
	list := s.tasks[w.peer]
	if len(list) == 0 {
		return
	}
	i := s.IntN(len(list))
	ref := list[i].Ref
	over := true
	switch s.IntN(14) {
	case 0, 1, 2:
		w.Send(&wire.Started{Ref: ref, Slot: 1})
		over = false
	case 3:
		w.Send(&wire.Output{Ref: ref, Stream: 1, Data: make([]byte, s.IntN(100))})
		over = false
	case 4:
		w.Send(&wire.Result{Ref: ref, Err: killed, Stdout: []byte("killed")})
		over = s.IntN(2) == 0
	case 5:
		w.Send(&wire.Result{Ref: ref, Err: failed, Elapsed: time.Duration(s.Int64())})
	case 6:
		w.Send(&wire.Returned{Ref: ref})
	case 7:
		w.Send(&wire.Returned{Ref: ref, Lack: &task.Lack{Kind: task.LackKind(s.IntN(6)), Code: 126, Message: "it lacks something"}})
	case 8:
		w.Send(&wire.Lost{Ref: ref, Reason: "its slot died"})
	default:
		w.Send(&wire.Result{Ref: ref, Elapsed: time.Millisecond, Stdout: []byte("well")})
	}
	if over {
		s.tasks[w.peer] = append(list[:i:i], list[i+1:]...)
	}
}

// end lets the storm pass, or resets the pool in the midst of it, and looks at what
// is left.
func (s *storm) end(reset bool) {
	if reset {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.d.Reset(ctx)
	} else {
		for _, w := range s.mates {
			w.raw.Close()
		}
		for range 2 {
			s.worker(4).works(time.Millisecond, healthy)
		}
		time.Sleep(30 * time.Minute)
	}
	synctest.Wait()
	resolved := 0
	for _, f := range s.futures {
		resolved += f.Status().Resolved
		if st := f.Status(); st.State != "resolved" || st.Resolved != st.Total && f.Kind() != dispatcher.KindEverywhere {
			s.t.Errorf("future %d: %+v", f.ID(), st)
		}
	}
	if !s.t.Failed() {
		s.asking.Wait()
	}
	st := s.d.Status()
	if st.Info.Awaiting+st.Info.Executing != 0 || st.Info.Completed != resolved || st.Memory.Used != 0 {
		s.t.Errorf("%d tasks have resolved, and left are %+v", resolved, st)
	}
	for _, f := range s.futures {
		s.door.Forget(f)
	}
	synctest.Wait()
	if memory, disk := s.outputs.Usage(); memory+disk != 0 {
		s.t.Errorf("%d bytes of output are left in memory, %d on the disk", memory, disk)
	}
	close(s.calm)
}
