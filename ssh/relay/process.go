package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Identify names a process of this machine. It is without Start if there is none, or
// where there is no /proc.
func Identify(pid int) Process { return identify(pid) }

// Alive reports whether a process of this machine, in its present boot, has not ended.
func (p Process) Alive() bool { return isAlive(p) }

// Boot returns Linux's boot id of this machine, empty where there is none.
func Boot() string { return bootID() }

func (s *server) alive(a *asked) error {
	var ps []Process
	if err := a.args(&ps); err != nil {
		return err
	}
	alive := make([]bool, len(ps))
	for i, p := range ps {
		alive[i] = isAlive(p)
	}
	return a.reply(alive, nil)
}

func (s *server) signal(a *asked) error {
	var args signalArgs
	if err := a.args(&args); err != nil {
		return err
	}
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(args.Name, "SIG"))
	if sig == 0 {
		return fmt.Errorf("signal process %d: %.100q is no signal", args.Process.Pid, args.Name)
	}
	if err := signalProcess(args.Process, sig); err != nil {
		return fmt.Errorf("signal process %d: %w", args.Process.Pid, err)
	}
	return a.reply(struct{}{}, nil)
}

// signalProcess signals p, and neither who has its number by now nor anybody
// else's process. On Linux os.FindProcess holds the process itself, by a pidfd,
// from before it is looked at.
func signalProcess(p Process, sig syscall.Signal) error {
	if p.Pid <= 1 {
		return fmt.Errorf("%d is no process of a user's", p.Pid)
	}
	held, err := os.FindProcess(p.Pid)
	if err != nil {
		return err
	}
	defer held.Release()
	if !isAlive(p) {
		return os.ErrProcessDone
	}
	if !isOurs(p.Pid) {
		return fs.ErrPermission
	}
	err = held.Signal(sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
