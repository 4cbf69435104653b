package results

import (
	"context"
	"io"
)

// Order is that in which a cursor reads a log.
type Order int

// The orders.
const (
	ByIndex    Order = iota // of the tasks, from the first
	AsResolved              // in which they resolve
)

// Cursor is a place in a log. It is for use by one goroutine, who closes it.
type Cursor struct {
	log   *Log
	order Order
	next  int  // the place: an index, or one of the log's order
	open  bool // it counts among the log's cursors
}

// Cursor returns a cursor before the first result. That of a log that has been
// forgotten reads nothing but ErrForgotten.
func (l *Log) Cursor(order Order) *Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &Cursor{log: l, order: order}
	if order == ByIndex {
		c.next = 1
	}
	if !l.forgotten || l.cursors > 0 {
		c.open = true
		l.cursors++
	}
	return c
}

// Skip passes over n results, which need not be there yet.
func (c *Cursor) Skip(n int) { c.next += n }

// Next returns the next result, for which it waits until ctx is done. After the
// last one it returns io.EOF. What has been released, or was dropped, it passes over.
func (c *Cursor) Next(ctx context.Context) (*Done, error) {
	for {
		done, changed, err := c.step()
		if done != nil || err != nil {
			return done, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Poll is Next for a reader who does not wait: it returns nil if the next result is
// not there yet.
func (c *Cursor) Poll() (*Done, error) {
	done, _, err := c.step()
	return done, err
}

// Rest returns what has resolved and was not read, in the cursor's order and over
// the gaps of tasks that have not resolved. It is for a reader who waits no more.
func (c *Cursor) Rest() (list []*Done) {
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; c.open && c.next < c.end(); c.next++ {
		if d, _ := l.byIndex.at(c.index()); d != nil && d != gone {
			list = append(list, d)
		}
	}
	return list
}

// end is the place behind the last result. Under the log's mu.
func (c *Cursor) end() int {
	if c.order == ByIndex {
		return c.log.byIndex.end()
	}
	return c.log.order.end()
}

// step returns the next result, or what to wait for.
func (c *Cursor) step() (done *Done, changed <-chan struct{}, err error) {
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.open {
		return nil, nil, ErrForgotten
	}
	for {
		index := c.index()
		done, there := l.byIndex.at(index)
		switch {
		case done == gone || !there && index > 0 && index < l.byIndex.first:
			c.next++
			continue
		case done != nil:
			c.next++
			return done, nil, nil
		case l.isOver():
			return nil, nil, io.EOF
		}
		return nil, l.wait(), nil
	}
}

// index is that of the next result, 0 if none has resolved. Under the log's mu.
func (c *Cursor) index() int {
	l := c.log
	if c.order == ByIndex {
		c.next = max(c.next, l.byIndex.first)
		return c.next
	}
	c.next = max(c.next, l.order.first)
	index, _ := l.order.at(c.next)
	return index
}

// Close ends the cursor. With the last one of a log that is forgotten the log's
// outputs are closed. Closing again does nothing. It is called without locks.
func (c *Cursor) Close() {
	l := c.log
	l.mu.Lock()
	if !c.open {
		l.mu.Unlock()
		return
	}
	c.open = false
	l.cursors--
	dead := l.empty()
	l.mu.Unlock()
	l.store.close(dead...)
}
