package dispatcher

import (
	"context"
	"time"
)

// The queue counts the bytes of queued tasks; here is who waits until there is room.

// enter locks the pool when a task of a size may be queued. With try it returns
// ErrFull instead of waiting.
func (p *Pool) enter(ctx context.Context, size int64, try bool) error {
	p.mu.Lock()
	if p.closed || p.queue.Open() {
		return p.entered()
	}
	if try {
		p.mu.Unlock()
		return ErrFull
	}
	granted := make(chan struct{})
	place := p.queue.Wait(size)
	p.waiting[place] = granted
	p.mu.Unlock()
	var err error
	select {
	case <-granted:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	delete(p.waiting, place)
	p.queue.Quit(place)
	if err != nil {
		p.pump(time.Now()) // the room may be another's
		p.mu.Unlock()
		return err
	}
	return p.entered()
}

// entered unlocks a pool that was closed meanwhile.
func (p *Pool) entered() error {
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	return nil
}
