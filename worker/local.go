package worker

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"muster/internal/self"
	mtls "muster/tls"
)

// Local is a worker process that this process started and that ends with it.
type Local struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{}
}

// StartLocal starts argv, which must be a worker that reads its join string
// from standard input and ends when that closes, in a session of its own: the
// terminal's Ctrl-C is for muster, not for its workers.
func StartLocal(argv, env []string, join mtls.Join, stderr io.Writer) (*Local, error) {
	cmd := exec.Command(self.Current(argv[0]), argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Env, cmd.Stderr = env, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a local worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a local worker: %w", err)
	}
	l := &Local{cmd: cmd, stdin: stdin, done: make(chan struct{})}
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

// Pid returns the process's number.
func (l *Local) Pid() int { return l.cmd.Process.Pid }

// Done is closed when the process is gone.
func (l *Local) Done() <-chan struct{} { return l.done }

// Status says how the process ended, once Done is closed.
func (l *Local) Status() string { return l.cmd.ProcessState.String() }

// InOrder reports whether the process ended with status 0, once Done is closed. How
// it ended is not known if somebody else has reaped it.
func (l *Local) InOrder() bool {
	s := l.cmd.ProcessState
	return s != nil && s.Success()
}

// End tells the worker to stop, gives it patience to do so in order, and then
// ends it by force. What it left is for the caller to clear.
func (l *Local) End(patience time.Duration) {
	l.stdin.Close()
	select {
	case <-l.done:
	case <-time.After(patience):
		l.cmd.Process.Signal(os.Kill)
		<-l.done
	}
}
