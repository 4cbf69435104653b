package http

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	maxPause = 30 * time.Second // after an answer that does not say when to come again
	quietFor = 10 * time.Second // that is waited before the user is told
)

// errBusy is that the service is busy for longer than one may wait.
var errBusy = errors.New("it is busy for longer than is waited")

// gate holds the requests of a Client back while its service says that it is busy.
// Once the time is over they pass first come, first served: one, and one more for
// each that was answered.
type gate struct {
	mu     sync.Mutex // guards all that follows
	until  time.Time  // before which nobody passes
	width  int        // how many may be under way; 0 is any number
	flying int        // how many are
	queue  []*waiter
	turn   int           // how often it was shut
	pause  time.Duration // the last of a service that does not say when to come again
	since  time.Time     // when it was shut first; zero while the service is not busy
	status string        // of the answer that shut it
	named  bool          // the service said when to come again
	told   bool          // the user knows
}

// waiter is a request that waits to pass.
type waiter struct {
	passed chan struct{} // closed when it may pass
	turn   int           // of the gate as it passed
}

// open reports whether one more may pass.
func (g *gate) open() bool {
	return time.Until(g.until) <= 0 && (g.width == 0 || g.flying < g.width)
}

// wake lets pass who may.
func (g *gate) wake() {
	for len(g.queue) > 0 && g.open() {
		w := g.queue[0]
		g.queue = g.queue[1:]
		g.flying++
		w.turn = g.turn
		close(w.passed)
	}
}

// pass waits until a request may be sent, and takes the time for it from left. It
// returns the turn, with which leave is called after the request.
func (g *gate) pass(ctx context.Context, left *time.Duration, tell func(string)) (turn int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	begin := time.Now()
	defer func() { *left -= time.Since(begin) }()
	w := &waiter{passed: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = append(g.queue, w)
	for {
		g.wake()
		select {
		case <-w.passed:
			return w.turn, nil
		default:
		}
		rest := *left - time.Since(begin)
		shut := time.Until(g.until)
		if rest <= 0 || shut > rest {
			g.drop(w)
			return 0, errBusy
		}
		if shut > 0 {
			rest = shut
		}
		news := g.news(shut)
		g.mu.Unlock()
		if news != "" {
			tell(news)
		}
		timer := time.NewTimer(rest)
		select {
		case <-w.passed:
		case <-timer.C:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		timer.Stop()
		g.mu.Lock()
		if err != nil {
			g.drop(w)
			return 0, err
		}
	}
}

// drop takes away a waiter, who may have passed in the meantime.
func (g *gate) drop(w *waiter) {
	select {
	case <-w.passed:
		g.flying--
	default:
		g.queue = slices.DeleteFunc(g.queue, func(o *waiter) bool { return o == w })
	}
	g.wake()
}

// news is what the user is told before a wait, once in all the time that the service
// is busy; empty for nothing.
func (g *gate) news(shut time.Duration) string {
	if g.told || shut <= 0 || g.until.Sub(g.since) <= quietFor {
		return ""
	}
	g.told = true
	seconds := (shut + time.Second - 1).Truncate(time.Second)
	if g.named {
		return fmt.Sprintf("is busy (%s) and says to come again in %s", g.status, seconds)
	}
	return fmt.Sprintf("is busy (%s) and is asked again in %s", g.status, seconds)
}

// leave ends a request that the service has not refused. If it was answered, one more
// may be under way.
func (g *gate) leave(turn int, answered bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flying--
	if answered && turn == g.turn && g.width > 0 {
		g.width++
		g.pause = 0
		if len(g.queue) == 0 {
			g.width, g.since, g.told = 0, time.Time{}, false
		}
	}
	g.wake()
}

// shut ends a request that the service has refused because it is busy. after is when
// it says to come again, 0 if it does not: of several that were under way at the same
// time, the first then decides.
func (g *gate) shut(turn int, after time.Duration, status string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.flying--
	g.width = 1
	g.status, g.named = status, after > 0
	if g.since.IsZero() {
		g.since = now
	}
	if turn == g.turn {
		g.turn++
		if after == 0 {
			g.pause = min(max(2*g.pause, time.Second), maxPause)
			after = g.pause
		}
	}
	if until := now.Add(after); until.After(g.until) {
		g.until = until
	}
}
