package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"muster/hpc"
	"muster/internal/owner"
	"muster/internal/plan"
	"muster/ssh/relay"
)

// stay is a command that may stay as long as the worker that it has started, and that
// this process has started.
type stay struct {
	process relay.Process
	out     string        // the file for what it prints
	done    chan struct{} // closed when it has ended
	err     error         // why it ended, if not well; read when it is done
	secrets []string      // of its launcher
}

// stay starts such a command, in this process's own environment and in a session of its
// own. What it prints goes into a file, which a process that it leaves behind may keep.
func (f *Fleet) stay(run plan.Run, out string) (*stay, error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for what %s prints: %w", run.Argv[0], err)
	}
	file, err := owner.Create(out, os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep what %s prints: %w", run.Argv[0], err)
	}
	defer file.Close()
	in, err := input(run.Stdin, filepath.Dir(out))
	if err != nil {
		return nil, fmt.Errorf("give %s what it reads: %w", run.Argv[0], err)
	}
	defer in.Close()
	cmd := exec.Command(run.Argv[0], run.Argv[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = run.Dir, in, file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	ended, err := f.spawn(cmd)
	if err != nil {
		return nil, notRun(cmd, err)
	}
	s := &stay{process: relay.Identify(cmd.Process.Pid), out: out, done: make(chan struct{}), secrets: run.Secrets}
	f.lock()
	f.stays[s.process] = s
	f.mu.Unlock()
	go func() {
		s.err = cmd.Wait()
		ended()
		close(s.done)
	}()
	return s, nil
}

// input is what a command reads: a file, so that nobody has to wait until it does.
func input(text, dir string) (*os.File, error) {
	if text == "" {
		return os.Open(os.DevNull)
	}
	file, err := os.CreateTemp(dir, "in-*") // mode 0600
	if err != nil {
		return nil, err
	}
	_, err = file.WriteString(text)
	if err == nil {
		_, err = file.Seek(0, 0)
	}
	if err = errors.Join(err, os.Remove(file.Name())); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// end is the end of what it has printed, for an error.
func (s *stay) end() string {
	text, err := tailOf(s.out, tailBytes+hideBytes)
	if err != nil {
		return ""
	}
	return said(string(text), s.secrets)
}

// mostPrinted is how much of what such a command prints is kept, in bytes: of more the
// end.
const mostPrinted = 8 << 20

// trim keeps the end of what a command has printed, if that is too much.
func (s *stay) trim() {
	st, err := os.Stat(s.out)
	if err != nil || st.Size() <= mostPrinted {
		return
	}
	text, err := tailOf(s.out, tailBytes)
	if err != nil {
		return
	}
	if os.Truncate(s.out, 0) != nil { // it appends
		return
	}
	if file, err := os.OpenFile(s.out, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		fmt.Fprintf(file, "[%d bytes]\n%s", st.Size()-int64(len(text)), text)
		file.Close()
	}
}

// stands says how an element stands by the process of its command. When a command has
// ended well its worker may run on.
func (f *Fleet) stands(p Process) hpc.Element {
	f.lock()
	s := f.stays[p.Process]
	f.mu.Unlock()
	if s != nil {
		select {
		case <-s.done:
			if s.err == nil {
				return hpc.Element{Raw: unseen, Reason: "its command has ended, and nobody can tell what that has started"}
			}
			return hpc.Element{State: hpc.Ended, Raw: s.err.Error(), End: hpc.EndOrdinary}
		default:
			s.trim()
			return hpc.Element{State: hpc.Running, Raw: "its process runs"}
		}
	}
	switch {
	case p.Host != hostName():
		return hpc.Element{}
	case p.Boot == relay.Boot() && p.Alive():
		return hpc.Element{State: hpc.Running, Raw: "its process runs"}
	}
	return hpc.Element{State: hpc.Ended, Raw: "its process has ended"}
}

// stays reports whether the job is a command that stays: whoever cancels it waits for
// its end.
func (r *Record) stays() bool {
	return r.Kind == (*plan.Command)(nil).Tag() && len(r.Processes) > 0
}

// endStay ends such a command with what is in its process group, and waits until it is
// gone.
func (f *Fleet) endStay(ctx context.Context, p Process) error {
	if p.Host != hostName() {
		return fmt.Errorf("it runs on %s, and this is %s", p.Host, hostName())
	}
	if e := f.stands(p); e.Raw == unseen {
		return noCancel("its command has ended, and nobody knows what that has started")
	} else if e.State == hpc.Ended {
		return nil
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(-p.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal process %d: %w", p.Pid, err)
		}
		deadline := time.Now().Add(endTime)
		for f.stands(p).State == hpc.Running {
			if time.Now().After(deadline) {
				break
			}
			if err := sleep(ctx, alivePoll); err != nil {
				return err
			}
		}
		if f.stands(p).State != hpc.Running {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end", p.Pid)
}

// dropStays forgets the commands that have ended and of which no record speaks.
func (f *Fleet) dropStays() {
	f.lock()
	defer f.mu.Unlock()
	used := map[relay.Process]bool{}
	for _, j := range f.jobs {
		for _, p := range j.Processes {
			used[p.Process] = true
		}
	}
	for p, s := range f.stays {
		select {
		case <-s.done:
			if !used[p] {
				delete(f.stays, p)
			}
		default:
		}
	}
}
