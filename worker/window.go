package worker

import (
	"errors"
	"sync"
)

// window is how much output a task may still send.
type window struct {
	mu     sync.Mutex // guards all below
	cond   sync.Cond
	left   int
	closed bool
}

func newWindow(n int) *window {
	w := &window{left: n}
	w.cond.L = &w.mu
	return w
}

var errWindowClosed = errors.New("the task was stopped")

// take waits until n bytes may be sent.
func (w *window) take(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.left < n && !w.closed {
		w.cond.Wait()
	}
	if w.closed {
		return errWindowClosed
	}
	w.left -= n
	return nil
}

func (w *window) add(n int) {
	w.mu.Lock()
	w.left += n
	w.cond.Broadcast()
	w.mu.Unlock()
}

func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	w.cond.Broadcast()
	w.mu.Unlock()
}
