package dispatcher

import (
	"errors"
	"sync"
	"time"

	"muster/internal/spool"
)

// diskRetry is how often a full disk is tried again.
const diskRetry = 2 * time.Second

// disk is what the dispatcher knows of the disk that its spool is on. While that is
// full, outputs stay in memory, their tasks get no credit to write more, and nothing
// new is started. A timer tries whether there is room again.
type disk struct {
	d *Dispatcher

	mu     sync.Mutex // guards all below; nothing is locked after it
	full   bool
	where  string // the folder that has no room, when it is full
	closed bool
	timer  *time.Timer
	// waiting are outputs that are in memory because the disk is full, each with
	// what is to be called, without locks, when it has been written.
	waiting map[*spool.Output]func()
}

// diskFull reports whether nothing new is to be started for want of room.
func (d *Dispatcher) diskFull() bool {
	d.disk.mu.Lock()
	defer d.disk.mu.Unlock()
	return d.disk.full
}

// fullDisk is the folder for which there is no room, empty if there is.
func (d *Dispatcher) fullDisk() string {
	d.disk.mu.Lock()
	defer d.disk.mu.Unlock()
	if !d.disk.full {
		return ""
	}
	return d.disk.where
}

// NewOutput returns the empty output of a task, for one whose caller runs it.
func (d *Dispatcher) NewOutput(name string) *spool.Output { return d.store.New(name) }

// keep takes an output that is complete. It is called without locks.
func (d *Dispatcher) keep(out *spool.Output) {
	err := d.store.Keep(out)
	switch {
	case spool.IsFull(err):
		d.disk.filled(err, out, func() {})
	case err != nil:
		d.log.Warn("a result stays in memory", "error", err)
	}
}

// filled notes that the disk had no room for an output. It is called without locks.
func (k *disk) filled(err error, out *spool.Output, written func()) {
	var full *spool.FullError
	errors.As(err, &full)
	k.mu.Lock()
	if k.waiting == nil {
		k.waiting = map[*spool.Output]func(){}
	}
	k.waiting[out] = written
	first := !k.full && !k.closed
	if first {
		k.full, k.where = true, full.Dir
		k.timer = time.AfterFunc(diskRetry, k.retry)
	}
	k.mu.Unlock()
	if first {
		k.tell(full)
	}
}

// tell says that the disk is full.
func (k *disk) tell(full *spool.FullError) {
	memory, _ := k.d.store.Usage()
	k.d.opt.Say("%v; %d results and what runs wait in memory, %.1f MB, and nothing new is started until there is room",
		full, k.d.store.Results(), float64(memory)/1e6)
}

// retry writes what waits to the disk and, if that has room for more, lets the work
// go on.
func (k *disk) retry() {
	err := k.writeWaiting()
	if err == nil {
		err = k.d.store.Room()
	}
	if k.stillFull(spool.IsFull(err)) {
		return
	}
	k.d.opt.Say("there is room for outputs again: the work goes on")
	for _, p := range k.d.Pools() {
		p.tick()
	}
}

// writeWaiting writes what waits until the disk is full again. A task whose output
// cannot be written for another reason goes on, and learns that reason.
func (k *disk) writeWaiting() error {
	for {
		out, written := k.next()
		if out == nil {
			return nil
		}
		if err := out.Park(); spool.IsFull(err) {
			k.filled(err, out, written)
			return err
		}
		written()
	}
}

// next takes out an output that waits, nil if there is none.
func (k *disk) next() (*spool.Output, func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for out, written := range k.waiting {
		delete(k.waiting, out)
		return out, written
	}
	return nil, nil
}

// stillFull notes what a retry has come to, and reports whether it changed nothing.
func (k *disk) stillFull(full bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if full && !k.closed {
		k.timer.Reset(diskRetry)
	}
	k.full = full
	return full || k.closed
}

// close ends the retries.
func (k *disk) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
}
