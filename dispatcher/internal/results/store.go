package results

import (
	"sync"
	"sync/atomic"

	"muster/internal/spool"
	"muster/task"
)

// Store is what the logs of a dispatcher share: one spool, and a bound on what of
// it is in memory.
type Store struct {
	dir     *spool.Dir
	memory  int64
	fault   func(error)
	results atomic.Int64 // that are neither released nor forgotten
	errors  atomic.Int64 // bytes of their error values

	mu        sync.Mutex // guards all below; nothing is locked after it
	discarded []*spool.Output
	idle      chan struct{} // closed when discarded is empty; nil while it is
}

// NewStore returns a store of outputs in dir, which holds about so many bytes of
// them, and of error values, in memory. It calls fault, without locks, with what goes wrong when outputs
// are removed.
func NewStore(dir *spool.Dir, memory int64, fault func(error)) *Store {
	return &Store{dir: dir, memory: memory, fault: fault}
}

// New returns the empty output of a task.
func (s *Store) New(name string) *spool.Output { return s.dir.New(name) }

// Keep moves an output that is complete to the disk if as much as may be is in
// memory. When it fails, the output stays in memory.
func (s *Store) Keep(out *spool.Output) error {
	if memory, _ := s.Usage(); memory <= s.memory {
		return nil
	}
	return out.Park()
}

// bounded returns an error value of at most 64 KiB, or of 1 KiB if error values alone
// have as much memory as there is for results.
func (s *Store) bounded(e *task.ErrorValue) *task.ErrorValue {
	bounded := e.Bounded()
	if s.errors.Load()+int64(bounded.Size()) > s.memory {
		return e.Brief()
	}
	return bounded
}

// Room returns nil if the spool's disk has room for more.
func (s *Store) Room() error { return s.dir.Room() }

// Results returns how many results are neither released nor forgotten.
func (s *Store) Results() int { return int(s.results.Load()) }

// Usage returns how many bytes of results are in memory and on the disk.
func (s *Store) Usage() (memory, disk int64) {
	memory, disk = s.dir.Usage()
	return memory + s.errors.Load(), disk
}

// Discard closes the output of an attempt that came to no result, nil too. It does
// so in a goroutine of the store's: whoever calls it may hold locks.
func (s *Store) Discard(out *spool.Output) {
	if out == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discarded = append(s.discarded, out)
	if s.idle == nil {
		s.idle = make(chan struct{})
		go s.closeDiscarded()
	}
}

// closeDiscarded closes what has been discarded, and ends.
func (s *Store) closeDiscarded() {
	for {
		s.mu.Lock()
		list := s.discarded
		s.discarded = nil
		if len(list) == 0 {
			close(s.idle)
			s.idle = nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.close(list...)
	}
}

// Wait returns when all that has been discarded is closed.
func (s *Store) Wait() {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// close closes outputs. Under no lock.
func (s *Store) close(outputs ...*spool.Output) {
	for _, out := range outputs {
		if err := out.Close(); err != nil {
			s.fault(err)
		}
	}
}
