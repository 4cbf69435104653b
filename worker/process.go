package worker

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"muster/internal/quiet"
	"muster/internal/self"
	"muster/internal/wire"
)

// process is the worker's end of one slot's process.
type process struct {
	cmd    *exec.Cmd
	conn   *quiet.Pipes
	out    *wire.Writer
	exited chan struct{} // closed when the process is gone and reaped
}

// startProcess starts slot n's process with the ends of two pipes as descriptors
// 3, from which it reads, and 4.
func startProcess(o *Options, n int, env []string) (*process, error) {
	ours, theirs, err := pipes()
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs)
	cmd := exec.Command(self.Current(o.SlotCommand[0]), o.SlotCommand[1:]...)
	cmd.Args[0] = o.SlotCommand[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = theirs
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

// pipes returns a connection and the two descriptors of its other end.
func pipes() (ours *quiet.Pipes, theirs []*os.File, err error) {
	toSlot, err := newPipe()
	if err != nil {
		return nil, nil, err
	}
	toWorker, err := newPipe()
	if err != nil {
		closeAll(toSlot[:])
		return nil, nil, err
	}
	theirs = []*os.File{toSlot[0], toWorker[1]}
	if ours, err = quiet.NewPipes(toWorker[0], toSlot[1]); err != nil {
		closeAll(theirs)
	}
	return ours, theirs, err
}

// newPipe returns the end of a pipe to read from and that to write to.
func newPipe() (ends [2]*os.File, err error) {
	if ends[0], ends[1], err = os.Pipe(); err != nil {
		err = fmt.Errorf("make a pipe to a slot: %w", err)
	}
	return ends, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
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
