package worker

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"muster/internal/quiet"
	"muster/internal/wire"
)

// process is the worker's end of one slot's process.
type process struct {
	cmd    *exec.Cmd
	conn   net.Conn
	out    *wire.Writer
	exited chan struct{} // closed when the process is gone and reaped
}

// startProcess starts slot n's process with one end of a socket pair as
// descriptor 3.
func startProcess(o *Options, n int, env []string) (*process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(o.SlotCommand[0], o.SlotCommand[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = append(os.Environ(), env...)
	cmd.Env = append(cmd.Env, envSlot+"="+strconv.Itoa(n), envSlotScratch+"="+o.Scratch,
		envSlotOptions+"="+slotOptions{o.KeepScratch, o.Output}.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, err
	}
	return &process{cmd: cmd, conn: ours, out: wire.NewWriter(ours), exited: make(chan struct{})}, nil
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

// kill ends the process, even if it is stopped.
func (p *process) kill() { p.cmd.Process.Kill() }

// wait reaps the process once its end of the connection is closed, and says how it
// ended.
func (p *process) wait() string {
	p.conn.Close()
	p.out.Close()
	p.cmd.Wait()
	close(p.exited)
	return p.cmd.ProcessState.String()
}

// waitsForDisk reports whether the process is in the kernel for something that no
// signal interrupts, such as a file server that does not answer: it cannot say that
// it lives, and another in its place would fare the same.
func (p *process) waitsForDisk() bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		if _, state, ok := bytes.Cut(b[bytes.LastIndexByte(b, ')')+1:], []byte(" ")); ok && bytes.HasPrefix(state, []byte("D")) {
			return true
		}
	}
	return false
}
