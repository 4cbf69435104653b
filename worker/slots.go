package worker

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"

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
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = append(os.Environ(),
		envSlot+"="+strconv.Itoa(n), envSlotWorker+"="+s.id, envSlotScratch+"="+s.o.Scratch)
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
		s.release(m.Ref)
	case *wire.Returned:
		s.release(m.Ref)
	case *wire.Started, *wire.Output:
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
	s.mu.Unlock()
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
