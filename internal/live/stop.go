package live

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// stops has Ctrl-Z remove the line that is on the terminal before it stops the process.
// There is one in a process, and it stays: Go never gives SIGTSTP back to the system
// when it was caught once.
var stops struct {
	mu     sync.Mutex // guards all below
	caught bool
	line   *Line // that is on the terminal, or nil
}

// catchStop makes l the line that is removed. Where the signal is ignored, or nobody
// would continue the process, Ctrl-Z does what it would do without a line.
func (l *Line) catchStop() {
	stops.mu.Lock()
	defer stops.mu.Unlock()
	stops.line = l
	if stops.caught || signal.Ignored(syscall.SIGTSTP) || !shellAbove() {
		return
	}
	stops.caught = true
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTSTP)
	go func() {
		for range asked {
			stop()
		}
	}()
}

// dropStop undoes what catchStop has done for l.
func (l *Line) dropStop() {
	stops.mu.Lock()
	defer stops.mu.Unlock()
	if stops.line == l {
		stops.line = nil
	}
}

func stoppedLine() *Line {
	stops.mu.Lock()
	defer stops.mu.Unlock()
	return stops.line
}

// stop stops this process, and returns when it goes on.
func stop() {
	if !shellAbove() {
		return // it is gone, and nobody would continue this process
	}
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	defer signal.Stop(goesOn)
	if l := stoppedLine(); l != nil {
		l.Pause()
		defer l.goOn()
	}
	syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-goesOn
}

// goOn draws the line again, below what the shell has written meanwhile.
func (l *Line) goOn() {
	l.mu.Lock()
	l.partial, l.column = false, 0
	l.mu.Unlock()
	l.Resume()
}

// shellAbove reports whether a shell with job control has started this process, which
// continues what is stopped (POSIX, orphaned process groups).
func shellAbove() bool {
	shell := os.Getppid()
	session, err := unix.Getsid(shell)
	ours, oursErr := unix.Getsid(0)
	group, groupErr := unix.Getpgid(shell)
	return err == nil && oursErr == nil && groupErr == nil && session == ours && group != unix.Getpgrp()
}
