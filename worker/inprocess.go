package worker

import "muster/internal/wire"

// inProcess is the sender of a slot's functions, which run in the worker's own
// process.
type inProcess struct {
	slots *slots
	slot  *slot
}

// Send is Queue: the worker flushes as it does for all slots.
func (p inProcess) Send(list ...wire.Message) error { return p.Queue(list...) }

// Queue hands over what the function's slot has to say.
func (p inProcess) Queue(list ...wire.Message) error {
	for _, m := range list {
		p.slots.heard(p.slot, m)
	}
	return nil
}

// Flush does nothing: see Send.
func (p inProcess) Flush() error { return nil }

// functionRunner runs the functions of a slot.
func (s *slots) functionRunner(sl *slot) *runner {
	r := newRunner(sl.n, inProcess{s, sl}, s.o.Output)
	r.functions, r.calls, r.clear, r.leave = s.o.Functions, &s.calls, s.clear, func() { s.link.close() }
	s.readers.Go(r.work)
	return r
}
