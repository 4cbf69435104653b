package worker

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"muster/internal/proctree"
	mtls "muster/tls"
)

// Local is a worker process that this process started and that ends with it.
type Local struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	keep  func(pid int) bool
	done  chan struct{}
}

// StartLocal starts argv, which must be a worker that reads its join string
// from standard input and ends when that closes, in a session of its own: the
// terminal's Ctrl-C is for muster, not for its workers. keep is true for the
// children of this process that are not muster's to end.
func StartLocal(argv []string, join mtls.Join, stderr io.Writer, keep func(pid int) bool) (*Local, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a local worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a local worker: %w", err)
	}
	l := &Local{cmd: cmd, stdin: stdin, keep: keep, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(l.done)
	}()
	if _, err := io.WriteString(stdin, join.Encode()+"\n"); err != nil {
		l.End(0)
		return nil, fmt.Errorf("start a local worker: hand over its join string: %w", err)
	}
	return l, nil
}

// Done is closed when the process is gone.
func (l *Local) Done() <-chan struct{} { return l.done }

// Status says how the process ended, once Done is closed.
func (l *Local) Status() string { return l.cmd.ProcessState.String() }

// End tells the worker to stop, gives it patience to do so in order, and then
// ends it and everything below this process by force.
func (l *Local) End(patience time.Duration) error {
	l.stdin.Close()
	select {
	case <-l.done:
	case <-time.After(patience):
		l.cmd.Process.Signal(os.Kill)
		<-l.done
	}
	return l.Clear()
}

// Clear ends what a worker that is gone has left below this process.
func (l *Local) Clear() error {
	return proctree.Clear(time.Second, l.keep)
}
