package dispatcher

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/internal/wire"
	"muster/share"
	"muster/task"
)

// A worker that cannot read what a task shares hands the task back. If the pool spreads
// its shares, it is sent a copy of each, once, in pieces of which few are on their way at
// a time, so that heartbeats and tasks pass between them. Until it has all, the queue
// withholds from it what needs them, and nobody is blamed.

// copying is one share on its way to one worker, or there. All but of, text and over is
// guarded by Pool.mu.
type copying struct {
	of   share.Ref
	text string        // of, as tasks have it
	over chan struct{} // closed when the session or the share has ended
	wake chan struct{} // is told when the worker has said something

	sent, got uint64 // bytes
	done      bool   // the worker has all, or has failed
	err       string // why it has failed
}

// spread has the worker be sent what it lacks of the shares that a task needs, and
// reports whether it is: then the task waits. If a copy has failed, why says so. Under
// Pool.mu.
func (s *session) spread(spec *task.Spec) (waits bool, why string) {
	var fresh []*copying
	for _, sh := range spec.Shares {
		if !sh.Needed {
			continue
		}
		if c := s.copies[sh.Ref]; c != nil && c.done {
			return false, c.err
		} else if c != nil {
			continue
		}
		ref, err := share.ParseRef(sh.Ref)
		if err != nil {
			return false, err.Error()
		}
		fresh = append(fresh, &copying{of: ref, text: sh.Ref, over: make(chan struct{}), wake: make(chan struct{}, 1)})
	}
	for _, c := range fresh {
		if s.copies == nil {
			s.copies = map[string]*copying{}
		}
		s.copies[c.text] = c
		s.p.spreading++
	}
	if len(fresh) > 0 {
		go s.copyAll(fresh)
	}
	if needed := sharesOf(spec); !slices.Contains(s.waiting, needed) {
		s.waiting = append(s.waiting, needed)
	}
	s.p.queue.Expect(true)
	return true, ""
}

// copyAll sends the worker shares, one after another.
func (s *session) copyAll(list []*copying) {
	for _, c := range list {
		err := s.copy(c)
		s.p.mu.Lock()
		s.copied(c, err)
		s.p.mu.Unlock()
	}
}

// copy sends the worker a share, and returns when it has it.
func (s *session) copy(c *copying) error {
	view, err := share.Open(c.of)
	if err != nil {
		return err
	}
	defer view.Close()
	data := view.Bytes()
	for first := true; first || len(data) > 0; first = false {
		if err := s.awaitCopy(c, func() bool { return c.sent-c.got < wire.ShareWindow }); err != nil {
			return err
		}
		piece := data[:min(len(data), wire.MaxShareChunk)]
		data = data[len(piece):]
		s.p.mu.Lock()
		at := c.sent
		c.sent += uint64(len(piece))
		s.p.mu.Unlock()
		if err := s.w.Send(&wire.Share{ID: c.of.ID, At: at, Total: uint64(c.of.Bytes), Data: piece}); err != nil {
			return err
		}
	}
	return s.awaitCopy(c, func() bool { return c.done })
}

// awaitCopy waits until the worker has said so much that ok is true, which is called under
// Pool.mu. The error is that it has failed, or that nobody wants the copy any more.
func (s *session) awaitCopy(c *copying, ok func() bool) error {
	for {
		s.p.mu.Lock()
		enough, failed := ok(), c.err
		s.p.mu.Unlock()
		switch {
		case failed != "":
			return fmt.Errorf("%s has no copy of it: %s", s.host(), failed)
		case enough:
			return nil
		}
		select {
		case <-c.wake:
		case <-c.over:
			return errCopyOver
		}
	}
}

var (
	errCopyOver = errors.New("the worker or the share has gone")
	errShared   = errors.New("it says that more has come of a share than was sent")
)

// shared takes what the worker says of a copy. Under Pool.mu.
func (s *session) shared(m *wire.Shared) error {
	for _, c := range s.copies {
		if c.of.ID != m.ID {
			continue
		}
		if m.Bytes < c.got || m.Bytes > c.sent || m.Done && m.Bytes != uint64(c.of.Bytes) {
			return errShared
		}
		c.got, c.done, c.err = m.Bytes, c.done || m.Done, oneLine(m.Err)
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// copied notes that a share has come or not, and lets the worker have what waited for it.
// Under Pool.mu.
func (s *session) copied(c *copying, err error) {
	s.p.spreading--
	c.done = true
	if err != nil {
		c.err = err.Error()
		s.p.log.Warn("a share was not copied", "worker", s.id, "error", err)
	}
	if s.state == gone {
		return
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(needed string) bool {
		for ref, c := range s.copies {
			if !c.done && slices.Contains(strings.Split(needed, "\n"), ref) {
				return false
			}
		}
		s.p.queue.Gained(s.epoch, needed)
		return true
	})
	s.p.pump(time.Now())
}

// dropCopies ends the copies of a session that has ended. Under Pool.mu.
func (s *session) dropCopies() {
	for _, c := range s.copies {
		close(c.over)
	}
	s.copies = nil
}

// Unshare has workers give up their copies of a share, which no task needs any more.
func (p *Pool) Unshare(ref string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		if c := s.copies[ref]; c != nil {
			close(c.over)
			delete(s.copies, ref)
			s.send(&wire.Unshare{ID: c.of.ID})
		}
	}
}
