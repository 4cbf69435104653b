package dispatcher

import (
	"sync"

	"muster/internal/spool"
)

// Printed is an attempt at a task of a live run that has printed something.
type Printed struct {
	Index  int
	Row    []string
	Slot   int // 0 if the worker has not said
	Output *spool.Output
	// Over says that the attempt has come to no result. Whoever takes it closes the
	// Output, which nobody else has.
	Over bool
}

// printing is what has been printed in a live run since somebody took it.
type printing struct {
	signal chan struct{} // holds one if there is something

	mu   sync.Mutex // guards all below; nothing is locked after it
	list []*Printed
	at   map[*spool.Output]*Printed // those of list
}

func newPrinting() *printing {
	return &printing{signal: make(chan struct{}, 1), at: map[*spool.Output]*Printed{}}
}

// add notes that an attempt has printed something, or is over.
func (p *printing) add(a *attempt, slot int, over bool) {
	if a.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	entry := p.at[a.out]
	if entry == nil {
		entry = &Printed{Index: a.job.index, Row: a.job.row, Output: a.out}
		p.at[a.out] = entry
		p.list = append(p.list, entry)
	}
	entry.Slot, entry.Over = slot, entry.Over || over
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *printing) take() []*Printed {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.list
	p.list = nil
	clear(p.at)
	return list
}

// Printing returns a channel that has something when TakePrinted has. It is nil if the
// run is not live.
func (r *Run) Printing() <-chan struct{} {
	if r.printing == nil {
		return nil
	}
	return r.printing.signal
}

// TakePrinted returns the attempts that have printed something since the last call,
// each once, in the order in which they did. What one has printed it has before its
// result is among the Results. The output of one that has a result may be closed.
func (r *Run) TakePrinted() []*Printed {
	if r.printing == nil {
		return nil
	}
	return r.printing.take()
}

// tellPrinted notes that an attempt at a task of a live run has printed something. It is
// called without locks by the session's reader.
func (s *session) tellPrinted(a *attempt) {
	if p := a.job.owner.live(); p != nil {
		s.p.mu.Lock()
		slot := a.slot
		s.p.mu.Unlock()
		p.add(a, slot, false)
	}
}

// discard throws away what an attempt that came to no result has printed, or hands it
// to whoever prints it as it comes. Under Pool.mu.
func (s *session) discard(a *attempt) {
	if p := a.job.owner.live(); p != nil && a.out != nil {
		p.add(a, a.slot, true)
		return
	}
	s.d.store.Discard(a.out)
}
