package worker

import (
	"bytes"
	"errors"
	"sync"

	"muster/internal/wire"
	"muster/task"
)

// flow is the output of one task of a worker that has a lease. While the worker
// is away the output goes into a backlog, and the slot is given credit here, so
// that the task can go on:
//
//	the slot may send = allowed - backlog + debt
//
// The dispatcher's credit pays the debt first, and the rest of it is the slot's.
// When the worker is back the backlog is sent before anything new, as far as the
// dispatcher allows, and the result behind it.
type flow struct {
	ref wire.Ref

	mu      sync.Mutex // guards all below; not held while a slot is spoken to
	allowed int        // bytes that the dispatcher takes before it gives more credit
	debt    int        // bytes of credit that were given here
	backlog backlog
	result  *wire.Result // waits for the backlog
	damage  error        // why some of the backlog is missing
	over    bool         // nothing more is to be sent
}

var errInMemory = errors.New("what comes before it is in memory")

// output takes a chunk from the slot, and returns how many bytes of credit the
// slot is due for it.
func (f *flow) output(u *uplink, m *wire.Output) (credit int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	away := u.away.Load()
	switch {
	case f.over || len(m.Data) == 0:
		return 0
	case !away && f.backlog.left == 0 && len(m.Data) <= f.allowed:
		f.allowed -= len(m.Data)
		u.out.Send(m)
		return 0
	}
	err := f.backlog.add(u.o.Scratch, m)
	total := u.held.Add(int64(len(m.Data)))
	if err != nil && err != errInMemory && u.full.CompareAndSwap(false, true) {
		u.log.Warn("tasks that print much wait for the dispatcher: what they print cannot be kept here", "error", err)
	}
	if !away {
		f.pump(u)
		return 0
	}
	if err != nil || total > maxBacklog {
		return 0
	}
	f.debt += len(m.Data)
	return len(m.Data)
}

// grant returns the credit without which the task would wait for a dispatcher
// that does not answer.
func (f *flow) grant(u *uplink) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.backlog.mem) > 0 || u.held.Load() > maxBacklog {
		return 0 // a link that breaks again and again is no reason to keep more
	}
	n := max(0, wire.MinWindow-(f.allowed-f.backlog.left+f.debt))
	f.debt += n
	return n
}

// credit takes the dispatcher's, and returns what of it is the slot's.
func (f *flow) credit(u *uplink, n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.allowed += n
	paid := min(n, f.debt)
	f.debt -= paid
	f.pump(u)
	return n - paid
}

// finish sends the result, or keeps it until the backlog has been sent.
func (f *flow) finish(u *uplink, m *wire.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return
	}
	kept := *m
	if f.backlog.left > 0 {
		kept.Stdout, kept.Stderr = bytes.Clone(m.Stdout), bytes.Clone(m.Stderr)
	}
	f.result = &kept
	f.pump(u)
}

// resume sends what may be sent, when the worker is back.
func (f *flow) resume(u *uplink) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pump(u)
}

// pump sends what may be sent of the backlog, and then the result. Under mu.
func (f *flow) pump(u *uplink) {
	for f.backlog.left > 0 && f.allowed > 0 && !u.away.Load() {
		before := f.backlog.left
		m, err := f.backlog.next(min(f.allowed, wire.MaxChunk))
		if err != nil {
			f.damage = err
			f.backlog.close()
		} else {
			m.Ref = f.ref
			f.allowed -= len(m.Data)
			u.out.Send(m)
		}
		u.held.Add(int64(f.backlog.left - before))
	}
	if f.result == nil || f.backlog.left > 0 {
		return
	}
	if f.damage != nil && f.result.Err == nil {
		f.result.Err = &task.ErrorValue{Kind: task.KindError, Code: 1, Message: "its output could not be kept: " + f.damage.Error()}
	}
	u.out.Queue(f.result)
	f.end(u)
}

// end forgets what is left. Under mu.
func (f *flow) end(u *uplink) {
	u.held.Add(-int64(f.backlog.left))
	f.backlog.close()
	f.result, f.over = nil, true
}

// drop ends a flow whose task is not the worker's any more.
func (f *flow) drop(u *uplink) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(u)
}

// ended reports whether nothing more is to be sent.
func (f *flow) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over
}
