package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
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

	runner *slotRunner // of functions, in this process; then there is nothing of the rest
}

// send hands the slot a frame.
func (sl *slot) send(m wire.Message) {
	if sl.runner != nil {
		sl.runner.handle(m)
		return
	}
	sl.w.Send(m) // if the slot has died, replace reports its tasks lost
}

// toDispatcher is the sender of slots in this process.
type toDispatcher struct{ s *session }

func (d toDispatcher) Send(list ...wire.Message) error {
	d.Queue(list...)
	return d.s.out.Flush()
}

func (d toDispatcher) Queue(list ...wire.Message) error {
	var err error
	for _, m := range list {
		d.s.note(m)
		err = errors.Join(err, d.s.report(m))
	}
	d.s.tellIdle()
	// One timer for all that gathers: one for each call would wake the thread
	// that waits for the network each time.
	if d.s.flushing.CompareAndSwap(false, true) {
		time.AfterFunc(announce, func() {
			d.s.flushing.Store(false)
			d.s.out.Flush()
		})
	}
	return err
}

func (d toDispatcher) Flush() error { return d.s.out.Flush() }

// functionSlot is where functions of slot n run: in this process.
func (s *session) functionSlot(n int) *slot {
	r := &slotRunner{n: n, out: toDispatcher{s}, windows: map[wire.Ref]*window{}, tasks: make(chan wire.Message, 64),
		functions: s.o.Functions, output: s.o.Output, calls: &s.calls, clear: s.clear, leave: func() { s.out.Close() }}
	go r.work()
	return &slot{n: n, runner: r}
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
	s.kids.Lock()
	defer s.kids.Unlock()
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start slot %d: %w", n, err)
	}
	sl := &slot{n: n, cmd: cmd, conn: ours, w: wire.NewWriter(ours), exited: make(chan struct{})}
	s.living[sl] = true
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
		if m.State != nil {
			s.spread(m.State)
			m.State = nil
		}
	case *wire.Output, *wire.Started, *wire.Returned:
	default:
		return
	}
	s.note(m)
	s.report(m)
	s.out.Flush()
	s.tellIdle()
}

// note forgets a task that has ended here.
func (s *session) note(m wire.Message) {
	var ref wire.Ref
	switch m := m.(type) {
	case *wire.Result:
		ref = m.Ref
	case *wire.Returned:
		ref = m.Ref
	default:
		return
	}
	s.mu.Lock()
	delete(s.owner, ref)
	s.lastBusy = time.Now()
	s.mu.Unlock()
}

// tellIdle wakes the worker if it is to leave and nothing runs any more.
func (s *session) tellIdle() {
	if s.drained() {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}

// spread gives every slot what an everywhere left behind.
func (s *session) spread(state *wire.State) {
	s.mu.Lock()
	s.state = state
	var to []*slot
	for _, sl := range s.slots {
		if sl != nil {
			to = append(to, sl)
		}
	}
	s.mu.Unlock()
	for _, sl := range to {
		sl.send(state)
	}
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
	s.slots[dead.n-1] = sl
	if s.state != nil {
		sl.send(s.state)
	}
	var had []wire.Ref
	for ref, owner := range s.owner {
		if owner == dead {
			delete(s.owner, ref)
			had = append(had, ref)
		}
	}
	s.mu.Unlock()
	for _, ref := range had {
		s.forget(ref)
		s.out.Send(&wire.Lost{Ref: ref, Reason: fmt.Sprintf("slot %d of worker %s died: %s", dead.n, s.id, dead.cmd.ProcessState)})
	}
	s.tellIdle()
	return nil
}

// clear ends every descendant of the worker that is not a living slot's. Slots
// are os/exec's to reap.
func (s *session) clear() {
	s.kids.Lock()
	defer s.kids.Unlock()
	keep := map[int]bool{}
	for sl := range s.living {
		select {
		case <-sl.exited:
			delete(s.living, sl)
		default:
			keep[sl.cmd.Process.Pid] = true
		}
	}
	if err := proctree.Clear(0, func(pid int) bool { return keep[pid] || s.o.Keep(pid) }); err != nil {
		s.log.Error("processes may be left", "error", err)
	}
}
