package future

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"muster/dispatcher"
	"muster/internal/control"
)

// remoteHandle is a future of a dispatcher in another process. One goroutine
// reads its results, each once, as they resolve; it begins with the first call
// that needs one and ends with the last result, with forget or with the session.
// Everybody else looks at what it has read.
type remoteHandle struct {
	r     *remote
	id    dispatcher.ID
	total int // of its results; -1 if nobody knows

	ctx      context.Context // of the reader
	stop     context.CancelFunc
	resolved chan struct{} // closed when all are resolved, or err is set

	mu       sync.Mutex // guards all below; nobody waits while holding it
	reading  bool       // the reader has begun
	settled  bool       // resolved is closed
	ended    bool       // nothing more is read
	err      error      // why, if results are missing
	results  []*control.Result
	received int           // how many of results there are; in between are nils
	failure  int           // the index of the first to fail, -1
	changed  chan struct{} // closed and replaced when something above has changed
	gone     bool          // forget has been called
}

// pollPatience bounds how long unresolved asks.
const pollPatience = 100 * time.Millisecond

var errSessionClosed = errors.New("the session is closed")

func newRemoteHandle(r *remote, id dispatcher.ID, total int) *remoteHandle {
	h := &remoteHandle{r: r, id: id, total: total, failure: -1, resolved: make(chan struct{}), changed: make(chan struct{})}
	h.ctx, h.stop = context.WithCancel(r.ctx)
	return h
}

// read starts the reader, unless it has been.
func (h *remoteHandle) read() {
	h.mu.Lock()
	begins := !h.reading && !h.ended
	h.reading = true
	h.mu.Unlock()
	if begins && !h.r.start(func() { h.end(h.readAll()) }) {
		h.end(errSessionClosed)
	}
}

// How often a stream that breaks is begun again without a result in between.
const (
	maxBreaks  = 5
	firstBreak = 50 * time.Millisecond // to wait; doubled each time
)

// readAll reads until there are no more results. A stream that breaks is read on
// from where it was.
func (h *remoteHandle) readAll() error {
	for breaks := 0; ; breaks++ {
		had := h.count()
		err := h.r.client.ResultsFrom(h.ctx, h.id, had, h.add)
		if h.count() > had {
			breaks = 0
		}
		var refused *control.Error
		switch {
		case err == nil:
			return h.whole()
		case h.ctx.Err() != nil:
			return errSessionClosed // or forget has said why before it stopped this
		case errors.As(err, &refused), errors.Is(err, errForeign), breaks == maxBreaks:
			return h.asForgotten(err)
		}
		select {
		case <-time.After(firstBreak << breaks):
		case <-h.ctx.Done():
			return errSessionClosed
		}
	}
}

// asForgotten gives an error of the dispatcher its name.
func (h *remoteHandle) asForgotten(err error) error {
	var refused *control.Error
	if errors.As(err, &refused) && refused.Code == "unknown" {
		return ErrForgotten
	}
	return fromServer(err)
}

// whole checks, when the dispatcher has ended the stream, that all has come: the
// stream of a future that another client forgets ends too.
func (h *remoteHandle) whole() error {
	total := h.total
	if total < 0 {
		st, err := h.r.client.Future(h.ctx, h.id)
		if err != nil {
			return h.asForgotten(err)
		}
		total = st.Total
	}
	if n := h.count(); n != total {
		return fmt.Errorf("%w: %d of %d results came", ErrForgotten, n, total)
	}
	return nil
}

var errForeign = errors.New("the dispatcher sent a result that the future cannot have")

// add takes one result from the stream.
func (h *remoteHandle) add(r *control.Result) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := r.Index - 1
	if h.gone {
		return ErrForgotten
	}
	if i < 0 || h.total >= 0 && i >= h.total || i < len(h.results) && h.results[i] != nil {
		return errForeign
	}
	for len(h.results) <= i {
		h.results = append(h.results, nil)
	}
	h.results[i] = r
	h.received++
	if r.Error != nil && h.failure < 0 {
		h.failure = i
	}
	h.change()
	return nil
}

// change wakes everybody who waits. Under mu.
func (h *remoteHandle) change() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *remoteHandle) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.received
}

// end notes that nothing more is read, and why if results are missing. The first
// call counts.
func (h *remoteHandle) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	h.ended, h.err = true, err
	h.change()
	h.settle()
}

// settle closes resolved. Under mu.
func (h *remoteHandle) settle() {
	if !h.settled {
		h.settled = true
		close(h.resolved)
	}
}

// done starts the reader: an error is told by whoever collects.
func (h *remoteHandle) done() <-chan struct{} {
	h.read()
	return h.resolved
}

// unresolved answers from what has been read. If nobody reads it asks, for which
// it waits no longer than pollPatience: the future is unresolved then as far as
// anybody here knows.
func (h *remoteHandle) unresolved() bool {
	h.mu.Lock()
	known, unresolved := h.reading || h.settled, !h.settled
	h.mu.Unlock()
	if known {
		return unresolved
	}
	ctx, cancel := context.WithTimeout(h.ctx, pollPatience)
	defer cancel()
	a, err := h.r.client.Wait(ctx, control.WaitRequest{IDs: []dispatcher.ID{h.id}, Poll: true})
	switch {
	case ctx.Err() != nil:
		return h.r.ctx.Err() == nil
	case err != nil:
		h.read() // which tries harder, and tells whoever collects
		return true
	case len(a.Resolved) != 1 || !a.Resolved[0]:
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle()
	return false
}

func (h *remoteHandle) result(ctx context.Context, i int) (outcome, error) {
	h.read()
	for {
		r, changed, err := h.look(i)
		switch {
		case r != nil:
			return h.outcome(ctx, r)
		case err != nil:
			return outcome{}, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return outcome{}, context.Cause(ctx)
		}
	}
}

// look returns the i-th result if it is there, and why it will never be.
func (h *remoteHandle) look(i int) (r *control.Result, changed <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i < len(h.results) {
		r = h.results[i]
	}
	switch {
	case r != nil || !h.ended:
	case h.err != nil:
		err = h.err
	default:
		err = errNoMore
	}
	return r, h.changed, err
}

// outcome makes an outcome of a result, whose output may have to be fetched.
func (h *remoteHandle) outcome(ctx context.Context, r *control.Result) (outcome, error) {
	t := r.Result()
	o := outcome{name: t.Name, stream: t.Stream}
	switch {
	case t.Err != nil:
		o.err = t.Err
	case r.Stdout.Text != nil:
		o.output = []byte(*r.Stdout.Text)
	case r.Stdout.Base64 != nil:
		o.output = r.Stdout.Base64
	case r.Stdout.Bytes > 0:
		var b bytes.Buffer
		if err := h.r.client.Stream(ctx, h.id, r.Index, "stdout", &b); err != nil {
			return o, h.asForgotten(err)
		}
		o.output = b.Bytes()
	}
	return o, nil
}

func (h *remoteHandle) failed(ctx context.Context) (int, error) {
	h.read()
	for {
		h.mu.Lock()
		index, ended, err, changed := h.failure, h.ended, h.err, h.changed
		h.mu.Unlock()
		switch {
		case index >= 0:
			return index, nil
		case ended:
			return -1, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return -1, context.Cause(ctx)
		}
	}
}

func (h *remoteHandle) cancel() bool {
	ctx, cancel := context.WithTimeout(h.r.ctx, callPatience)
	defer cancel()
	a, err := h.r.client.Cancel(ctx, h.id)
	return err == nil && a.Found
}

// forget stops the reader and tells the dispatcher, for which it waits no longer
// than ctx allows; that goes on nevertheless.
func (h *remoteHandle) forget(ctx context.Context) {
	if !h.drop() {
		return
	}
	told := make(chan struct{})
	tell := func() {
		defer close(told)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(h.r.ctx), callPatience)
		defer cancel()
		h.r.client.Forget(ctx, h.id) // a dispatcher that is gone has forgotten too
	}
	if !h.r.start(tell) {
		return
	}
	select {
	case <-told:
	case <-ctx.Done():
	}
}

// drop drops what has been read and stops the reader. It reports false if that
// has been done.
func (h *remoteHandle) drop() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return false
	}
	h.gone, h.ended, h.err, h.results = true, true, ErrForgotten, nil
	h.change()
	h.settle()
	h.stop()
	return true
}
