package host_test

import (
	"syscall"
	"testing"
	"time"

	"muster/internal/host"
)

// TestWorkerIsReplaced, whatever happens to its process.
func TestWorkerIsReplaced(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(sig.String(), func(t *testing.T) {
			m := newHome(t)
			h := m.open(func(o *host.Options) { o.Heartbeat = 200 * time.Millisecond })
			p := m.up(h, "p", 1)
			was := m.worker(p)
			syscall.Kill(was, sig)
			if is := m.worker(p, was); is == was {
				t.Errorf("the worker is still process %d", is)
			}
			if done := m.run(p, "true"); done.Err != nil {
				t.Errorf("its task: %v", done.Err)
			}
			m.shut(h)
		})
	}
}

// TestWorkerThatWorksIsNotGivenUp: only deaths without a task between them count,
// and what others finish is no work of this one.
func TestWorkerThatWorksIsNotGivenUp(t *testing.T) {
	m := newHome(t)
	h := m.open()
	p := m.up(h, "p", 1)
	pid := 0
	for range 12 {
		pid = m.worker(p, pid)
		if done := m.run(p, "true"); done.Err != nil {
			t.Fatalf("its task: %v", done.Err)
		}
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if n := p.Locals(); n != 1 {
		t.Errorf("%d workers", n)
	}
	m.shut(h)
}

// TestWorkerIsGivenUp: one that cannot join, while another finishes tasks.
func TestWorkerIsGivenUp(t *testing.T) {
	m := newHome(t)
	h := m.open()
	p := m.up(h, "p", 1)
	failed := make(chan error, 1)
	l, err := p.StartLocal(1, func(err error) { failed <- err }, "--output", "nonsense")
	if err != nil {
		t.Fatal(err)
	}
	for gone := false; !gone; {
		select {
		case <-l.Gone():
			gone = true
		default:
			m.run(p, "true")
		}
	}
	const want = "the local worker ended 5 times before it could join, the last time: its process ended with exit status 2"
	if err := <-failed; err.Error() != want {
		t.Errorf("it was said: %v", err)
	}
	if n := p.Locals(); n != 1 {
		t.Errorf("%d workers are left, want the other one", n)
	}
	m.shut(h)
}
