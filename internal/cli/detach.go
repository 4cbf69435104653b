package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/control"
	"muster/internal/host"
	"muster/internal/self"
	"muster/internal/state"
)

// detach starts a dispatcher in the background and returns when it answers.
// With a tether it ends when that is closed; with ctx it is told to end if it does
// not answer yet.
func detach(ctx context.Context, c *cli.Context, s streams, o serveOptions, tether *io.Closer) (*control.UpAnswer, error) {
	o.Tether = tether != nil
	exe, err := self.Path()
	if err != nil {
		return nil, err
	}
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "dispatcher-"+o.Name+".log")
	o.Log = path
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start a dispatcher: %w", err)
	}
	defer log.Close()
	ready, readyW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start a dispatcher: %w", err)
	}
	defer ready.Close()
	argv := []string{"serve"}
	for _, name := range []string{"log-level", "log-json"} {
		if c.IsSet(name) {
			argv = append(argv, "--"+name+"="+c.String(name))
		}
	}
	cmd := exec.Command(exe, argv...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{readyW}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a dispatcher: %w", err)
	}
	if err = keepDescriptors(); err == nil {
		err = cmd.Start()
	}
	readyW.Close()
	if err != nil {
		return nil, fmt.Errorf("start a dispatcher: %w", err)
	}
	tell := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer tell()
	if err := json.NewEncoder(stdin).Encode(o); err != nil {
		return nil, fmt.Errorf("start a dispatcher: %w", err)
	}
	if tether != nil {
		*tether = stdin
	} else {
		stdin.Close()
	}
	defer tellWaits(ctx, s.err.Say, doing("the dispatcher has not come up yet, process %d; it says more in %s", cmd.Process.Pid, path))()
	var m readyMessage
	if err := json.NewDecoder(ready).Decode(&m); err != nil {
		cmd.Wait()
		tail, _ := os.ReadFile(path)
		return nil, fmt.Errorf("the dispatcher ended at once (%s): %s", cmd.ProcessState, tail[max(0, len(tail)-2000):])
	}
	if m.Answer == nil {
		cmd.Wait()
		if m.Another {
			return nil, errAnother
		}
		var err error = errors.New(m.Error)
		if m.Hint != "" {
			err = hinted{err, m.Hint}
		}
		if m.Exit == exitUsage {
			err = usageError{err}
		}
		return nil, err
	}
	return m.Answer, nil
}

// keepDescriptors keeps what this process has inherited beside standard input,
// output and error from the processes that it starts. A dispatcher that stays
// would hold a caller's pipe open, or its lock.
func keepDescriptors() error {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// lockPath is the file that a dispatcher has locked as long as it lives.
func lockPath(dir, name string) string { return filepath.Join(dir, name+".lock") }

// locked reports whether a dispatcher of a name lives, though it may not answer.
func locked(dir, name string) bool {
	f, err := os.Open(lockPath(dir, name))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// lockPatience is how long a dispatcher that is started waits for one of its name that
// is ending, or about to answer.
const lockPatience = 30 * time.Second

func tryLock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// errAnother says that a dispatcher of the name is up that was started at the same time.
var errAnother = errors.New("another command has just started this dispatcher")

// lock keeps a second dispatcher of the same name from being started. It waits for one
// that is ending, and returns errAnother if one answers that was started first.
func lock(dir, name string) (unlock func(), err error) {
	f, err := os.OpenFile(lockPath(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start a dispatcher: %w", err)
	}
	deadline := time.Now().Add(lockPatience)
	for err = tryLock(f); err != nil && time.Now().Before(deadline); err = tryLock(f) {
		if host.Listens(control.Socket(dir, name)) {
			f.Close()
			return nil, errAnother
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		f.Close()
		return nil, hinted{fmt.Errorf("a dispatcher %s is being started, or is ending", name), "try again in a moment, or use another name: --dispatcher NAME"}
	}
	return func() { f.Close() }, nil
}
