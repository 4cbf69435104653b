// Package results keeps what tasks have resolved to until nobody wants it any
// more.
//
//	attempt ends ─ Store.Keep ─► Log.Put ─► order ─────► Cursor AsResolved ─► reader
//	               memory, or      │                                           │
//	               the disk        └─► by index ──────► Cursor ByIndex ──► reader
//	                                                                           │
//	        outputs are closed ◄── Forget, or the last cursor's Close ◄── Release
//
// A Log belongs to one future. It is append-only: each of the future's tasks
// resolves once, and what it resolved to stays as it is. Any number of cursors read
// it, each at its own pace, in the order of the tasks or in that in which they
// resolve. A cursor that is open keeps what it has not read: a log that is forgotten
// goes when its last cursor is closed. A reader who knows that nobody else wants a
// result releases it.
//
// Each word has one meaning here:
//
//	Release  gives one result up for everybody, and closes its output
//	Forget   gives all results of a log up; outputs are closed, with open cursors
//	         when the last of these is
//	Drop     says that a task will never start, nor resolve
//	Discard  closes the output of an attempt that came to no result
//	Close    ends a cursor; of an output (package spool) it removes the files
//
// Whoever puts results in may hold locks, so that nothing here blocks then: files are
// closed and removed by the reader who calls Release, Forget or Close, or by the
// Store's own goroutine.
package results

import (
	"errors"
	"sync"

	"muster/internal/spool"
	"muster/task"
)

// Bounds on the results of one log that are neither released nor forgotten. A log
// that is beyond one of them is full.
const (
	MaxBytes = 256 << 20
	MaxCount = 100_000
)

// ErrForgotten says that a log was forgotten before it was to be read.
var ErrForgotten = errors.New("the results have been thrown away")

// Done is what a task has resolved to.
type Done struct {
	task.Result
	Row    task.Row      // the input that the task was made from
	Output *spool.Output // nil if the task never ran

	log  *Log
	size int64 // what it counts of MaxBytes
}

// Log is the results of one future.
type Log struct {
	store *Store
	room  func() // called without locks when the log was full and is not any more

	mu        sync.Mutex // guards all below; only the Store's is taken after it
	byIndex   window[*Done]
	order     window[int] // indices, as they resolved
	total     int         // tasks that there are
	resolved  int
	failed    int
	dropped   int
	sealed    bool // no more tasks come
	forgotten bool
	cursors   int
	bytes     int64
	kept      int
	changed   chan struct{} // closed at the next change; nil if nobody waits
	over      chan struct{} // closed when all tasks have resolved; nil until asked for
}

// gone stands in a log for what has been released, or was dropped.
var gone = &Done{}

// NewLog returns an empty log. Its owner calls room, which may lock, when results
// have been released and the log is full no more.
func (s *Store) NewLog(room func()) *Log {
	return &Log{store: s, room: room, byIndex: window[*Done]{first: 1}}
}

// Add says that there are n more tasks, and returns the index of the first, from 1.
func (l *Log) Add(n int) (first int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total += n
	return l.total - n + 1
}

// Put takes what the task of an index has resolved to. Of a log that is forgotten
// it keeps nothing.
func (l *Log) Put(index int, done *Done) {
	done.log, done.Index = l, index
	done.Err = l.store.bounded(done.Err)
	done.size = done.Output.Bytes(spool.Stdout) + done.Output.Bytes(spool.Stderr) + int64(done.Err.Size())
	for _, value := range done.Row.Values {
		done.size += int64(len(value))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resolved++
	if done.Err != nil {
		l.failed++
	}
	if l.forgotten && l.cursors == 0 {
		l.byIndex.set(index, gone)
		l.store.Discard(done.Output)
	} else {
		l.byIndex.set(index, done)
		l.order.push(index)
		l.count(done, 1)
	}
	l.change()
}

// Drop says that the task of an index will never start, nor resolve.
func (l *Log) Drop(index int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped++
	l.byIndex.set(index, gone)
	l.trim()
	l.change()
}

// Seal says that no more tasks come.
func (l *Log) Seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = true
	l.change()
}

// change tells those who wait. Under mu.
func (l *Log) change() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	if l.over != nil && l.isOver() {
		select {
		case <-l.over:
		default:
			close(l.over)
		}
	}
}

// wait returns what the next change closes. Under mu.
func (l *Log) wait() <-chan struct{} {
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

func (l *Log) isOver() bool { return l.sealed && l.resolved+l.dropped == l.total }

// Over returns a channel that is closed when the log is sealed and all of its tasks
// have resolved or were dropped.
func (l *Log) Over() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over == nil {
		l.over = make(chan struct{})
		if l.isOver() {
			close(l.over)
		}
	}
	return l.over
}

// Counts is how many tasks of a log there are, and what became of them.
type Counts struct {
	Total    int
	Resolved int
	Failed   int // of those that resolved
	Dropped  int
	Over     bool // sealed, and nothing is open
}

// Open is how many tasks have neither resolved nor been dropped.
func (c Counts) Open() int { return c.Total - c.Resolved - c.Dropped }

// Counts returns how many tasks there are.
func (l *Log) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{Total: l.total, Resolved: l.resolved, Failed: l.failed, Dropped: l.dropped, Over: l.isOver()}
}

// Full reports whether more waits to be released than may.
func (l *Log) Full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isFull()
}

func (l *Log) isFull() bool { return l.bytes > MaxBytes || l.kept > MaxCount }

// count counts a result in with 1, and out with -1. Under mu.
func (l *Log) count(d *Done, n int) {
	l.bytes += int64(n) * d.size
	l.kept += n
	l.store.results.Add(int64(n))
	l.store.errors.Add(int64(n * d.Err.Size()))
}

// Release says that nobody wants the result any more, whose output it closes: who
// still reads that reads it to its end. Releasing again does nothing. It is called
// without locks.
func (d *Done) Release() {
	if d.log != nil {
		d.log.release(d)
	}
}

func (l *Log) release(d *Done) {
	l.mu.Lock()
	if there, _ := l.byIndex.at(d.Index); there != d {
		l.mu.Unlock()
		return
	}
	wasFull := l.isFull()
	l.byIndex.set(d.Index, gone)
	l.count(d, -1)
	l.trim()
	open := wasFull && !l.isFull()
	l.mu.Unlock()
	l.store.close(d.Output)
	if open {
		l.room()
	}
}

// trim shortens the log by the results at its start that are gone. Under mu.
func (l *Log) trim() {
	l.byIndex.trim(func(d *Done) bool { return d == gone })
	l.order.trim(func(index int) bool {
		d, there := l.byIndex.at(index)
		return !there || d == gone
	})
}

// Forget gives up all results, and those to come, and closes their outputs; with open
// cursors that is when the last of them is closed. It is called without locks.
func (l *Log) Forget() {
	l.mu.Lock()
	l.forgotten = true
	dead := l.empty()
	l.change()
	l.mu.Unlock()
	l.store.close(dead...)
}

// empty takes all outputs out of a log that is forgotten and not read. Under mu.
func (l *Log) empty() (dead []*spool.Output) {
	if !l.forgotten || l.cursors > 0 {
		return nil
	}
	for i, d := range l.byIndex.all() {
		if d != nil && d != gone {
			l.byIndex.set(i, gone)
			l.count(d, -1)
			dead = append(dead, d.Output)
		}
	}
	l.trim()
	return dead
}

// At returns the result of an index, from 1, or nil if the task is unresolved or
// not there; more says whether there is or may yet be one. changed is closed at the
// log's next change.
func (l *Log) At(index int) (done *Done, more bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.result(index, index <= l.total)
}

// AtResolved is At for the i-th task to resolve, from 1.
func (l *Log) AtResolved(i int) (done *Done, more bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	index, _ := l.order.at(i - 1)
	return l.result(index, l.resolved < l.total)
}

// result returns the result of an index; expected says that there is to be one.
// Under mu.
func (l *Log) result(index int, expected bool) (done *Done, more bool, changed <-chan struct{}) {
	done, _ = l.byIndex.at(index)
	switch {
	case done == gone || l.forgotten && l.cursors == 0:
		return nil, false, nil
	case done != nil:
		return done, true, nil
	case expected || !l.sealed:
		return nil, true, l.wait()
	}
	return nil, false, nil
}
