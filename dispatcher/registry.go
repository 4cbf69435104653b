package dispatcher

import (
	"cmp"
	"slices"

	"muster/task"
)

// registry is all futures that have not been forgotten.
type registry struct {
	all  map[ID]*Future
	last ID
}

// Future returns the future of an id, or nil if it is unknown or forgotten.
func (d *Dispatcher) Future(id ID) *Future {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.futures.all[id]
}

// Futures returns all futures that have not been forgotten, oldest first.
func (d *Dispatcher) Futures() []*Future {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*Future
	for _, f := range d.futures.all {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *Future) int { return cmp.Compare(a.id, b.id) })
	return list
}

// Forget drops a future and its results. Whoever reads them reads them to their end;
// nobody else finds them. A future that is unresolved runs on, and nobody else learns
// what became of it.
func (d *Dispatcher) Forget(f *Future) {
	d.mu.Lock()
	delete(d.futures.all, f.id)
	d.mu.Unlock()
	f.log.Forget()
}

// Abort cancels and forgets a future that was not submitted whole: nothing of it is
// to run, and whoever waits for it waits no more.
func (d *Dispatcher) Abort(f *Future) {
	f.Cancel(task.Cancelled("it was not submitted whole"))
	f.Seal()
	d.Forget(f)
}
