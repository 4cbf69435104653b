package worker

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"muster/internal/proctree"
	"muster/internal/quiet"
	"muster/internal/wire"
)

// slot is the worker's end of one slot process.
type slot struct {
	n      int // from 1
	cmd    *exec.Cmd
	conn   net.Conn
	w      *wire.Writer
	exited chan struct{} // closed when the process is gone and reaped
}

// startSlot starts slot n's process with one end of a socket pair as its
// standard input and output both: descriptor 3 in the child.
func (s *session) startSlot(n int) (*slot, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start slot %d: %w", n, err)
	}
	defer theirs.Close()
	cmd := exec.Command(s.o.SlotCommand[0], s.o.SlotCommand[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = append(os.Environ(),
		envSlot+"="+strconv.Itoa(n), envSlotWorker+"="+s.id, envSlotScratch+"="+s.o.Scratch,
		"MUSTER_TASK_PROFILE="+s.profile, envSlotOptions+"="+slotOptions{s.o.KeepScratch, s.o.Output}.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start slot %d: %w", n, err)
	}
	sl := &slot{n: n, cmd: cmd, conn: ours, w: wire.NewWriter(ours), exited: make(chan struct{})}
	s.readers.Add(1)
	go s.serveSlot(sl)
	return sl, nil
}

// socketPair returns the two ends of a connected stream socket.
func socketPair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "slot")
	defer f.Close()
	conn, err := net.FileConn(f)
	theirs := os.NewFile(uintptr(fds[1]), "worker")
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return quiet.Conn(conn), theirs, nil
}

// serveSlot passes the slot's reports on until it is gone, and reaps it.
func (s *session) serveSlot(sl *slot) {
	defer s.readers.Done()
	r := wire.NewReader(sl.conn)
	for {
		m, err := r.Read()
		if err != nil {
			break
		}
		s.forward(m)
	}
	sl.conn.Close()
	sl.w.Close()
	sl.cmd.Wait()
	close(sl.exited)
	s.died <- sl
}

// forward sends a slot's frame to the dispatcher as it is.
func (s *session) forward(m wire.Message) {
	switch m := m.(type) {
	case *wire.Result:
		if !s.settle(m) {
			return
		}
		s.release(m.Ref)
	case *wire.Returned:
		s.release(m.Ref)
	case *wire.Output:
		s.mu.Lock()
		finish := s.finish
		s.mu.Unlock()
		if finish {
			s.toOwner(m.Ref, &wire.Credit{Ref: m.Ref, Bytes: uint32(len(m.Data))})
			return
		}
	case *wire.Started:
	default:
		return
	}
	s.out.Send(m)
	if s.drained() {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}

func (s *session) release(r wire.Ref) {
	s.mu.Lock()
	delete(s.owner, r)
	s.lastBusy = time.Now()
	s.mu.Unlock()
}

// settle spreads what an everywhere left behind, and reports whether the
// result is the one to pass on: that of the last slot to run it.
func (s *session) settle(m *wire.Result) bool {
	s.mu.Lock()
	if m.State != nil {
		s.state = m.State
		to := slices.Clone(s.slots)
		s.mu.Unlock()
		for _, sl := range to {
			sl.w.Send(m.State)
		}
		m.State = nil
		return true
	}
	defer s.mu.Unlock()
	e := s.syncs[m.Ref]
	if e == nil {
		return true
	}
	if e.err == nil {
		e.err = m.Err
	}
	if e.left--; e.left > 0 {
		return false
	}
	delete(s.syncs, m.Ref)
	m.Err = e.err
	return true
}

// replace clears what a dead slot left, reports its tasks lost and starts
// another in its place.
func (s *session) replace(dead *slot) error {
	s.log.Warn("slot died", "slot", dead.n, "how", dead.cmd.ProcessState.String())
	s.clear()
	sl, err := s.startSlot(dead.n)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots[dead.n-1] = sl
	if s.state != nil {
		sl.w.Send(s.state)
	}
	for ref := range s.syncs {
		delete(s.syncs, ref) // the others' answers may be dropped
		if s.owner[ref] != dead {
			delete(s.owner, ref)
			s.out.Send(&wire.Lost{Ref: ref, Reason: fmt.Sprintf("slot %d of worker %s died: %s", dead.n, s.id, dead.cmd.ProcessState)})
		}
	}
	for _, m := range s.replay {
		sl.w.Send(m) // the dispatcher has had its answer and drops another
	}
	for ref, owner := range s.owner {
		if owner == dead {
			delete(s.owner, ref)
			s.out.Send(&wire.Lost{Ref: ref, Reason: fmt.Sprintf("slot %d of worker %s died: %s", dead.n, s.id, dead.cmd.ProcessState)})
		}
	}
	return nil
}

// clear ends every descendant of the worker that is not a living slot's. Slots
// are os/exec's to reap.
func (s *session) clear() {
	keep := map[int]bool{}
	for _, sl := range s.slots {
		select {
		case <-sl.exited:
		default:
			keep[sl.cmd.Process.Pid] = true
		}
	}
	if err := proctree.Clear(0, func(pid int) bool { return keep[pid] || s.o.Keep(pid) }); err != nil {
		s.log.Error("processes may be left", "error", err)
	}
}
