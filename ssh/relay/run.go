package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func (s *server) hello() Hello {
	h := Hello{Build: s.o.Build, OS: runtime.GOOS, Arch: runtime.GOARCH, Boot: bootID(),
		User: os.Getenv("USER"), Self: identify(os.Getpid())}
	h.Host, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	return h
}

// home is the user's, "" if it cannot be found out.
func home() string {
	if dir, err := os.UserHomeDir(); err == nil && filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return ""
}

// run runs a command and answers with all it printed.
func (s *server) run(ctx context.Context, a *asked) error {
	var args commandArgs
	if err := a.args(&args); err != nil {
		return err
	}
	stdin, err := readBulk(a.stream, a.Bulk, maxStream)
	if err != nil {
		return fmt.Errorf("run: read its input: %w", err)
	}
	a.left.N = 0
	ctx, stop := a.watch(ctx)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd, err := args.command(ctx)
	if err != nil {
		return err
	}
	if s.o.RunEnv != nil {
		cmd.Env = append(slices.Clone(s.o.RunEnv), "PWD="+cmd.Dir)
	}
	stdout, stderr := &capped{full: cancel}, &capped{full: cancel}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second // for children that have its outputs
	if err := runToEnd(ctx, cmd); err != nil {
		return err
	}
	r := runResult{Stdout: stdout.b.Len(), Code: cmd.ProcessState.ExitCode()}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.Signal = unix.SignalName(ws.Signal())
	}
	return a.reply(r, append(stdout.b.Bytes(), stderr.b.Bytes()...))
}

// runToEnd fails if the command did not run, or not to an end of its own.
func runToEnd(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return notStarted(cmd, err)
	}
	err := cmd.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("run %s: killed: %w", cmd.Args[0], cause)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("run %s: %w", cmd.Args[0], err)
	}
	return nil
}

// command makes the command; where it runs is the same for run and start.
func (args commandArgs) command(ctx context.Context) (*exec.Cmd, error) {
	if len(args.Argv) == 0 {
		return nil, errors.New("run a command: it has no words")
	}
	argv := fromOctets(args.Argv)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = string(args.Dir)
	if cmd.Dir == "" {
		cmd.Dir = home()
	} else if !filepath.IsAbs(cmd.Dir) {
		return nil, fmt.Errorf("run %s: its directory %s is not absolute", argv[0], cmd.Dir)
	}
	return cmd, nil
}

// notStarted tells a program that is missing from a directory that is: the system
// says ENOENT to both, and to a script whose interpreter is missing.
func notStarted(cmd *exec.Cmd, err error) error {
	if st, missing := os.Stat(cmd.Dir); missing != nil {
		err = missing
	} else if !st.IsDir() {
		err = &fs.PathError{Op: "chdir", Path: cmd.Dir, Err: syscall.ENOTDIR}
	} else if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: the file, or the interpreter that its first line names", exec.ErrNotFound)
	} else if errors.Is(err, exec.ErrNotFound) {
		err = exec.ErrNotFound // without the name once more
	}
	return fmt.Errorf("run %s: %w", cmd.Args[0], err)
}

// capped keeps what a command prints and ends the command when it is too much.
type capped struct {
	b    bytes.Buffer
	full context.CancelCauseFunc
}

func (c *capped) Write(p []byte) (int, error) {
	if c.b.Len()+len(p) > maxStream {
		err := fmt.Errorf("%w: more than %d MiB", errTooMuch, maxStream>>20)
		c.full(err)
		return 0, err
	}
	return c.b.Write(p)
}

// start starts a command that is nobody's business when the relay has gone.
func (s *server) start(a *asked) error {
	var args commandArgs
	if err := a.args(&args); err != nil {
		return err
	}
	cmd, err := args.command(context.Background())
	if err != nil {
		return err
	}
	log, err := openLog(string(args.Log))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return notStarted(cmd, err)
	}
	p := identify(cmd.Process.Pid) // nobody has reaped it yet, so it is this one's
	s.started.add(cmd.Process.Pid)
	cmd.Process.Release()
	return a.reply(p, nil)
}

func openLog(path string) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("open the log %q: the path is not absolute", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	if err := f.Chmod(0o600); err != nil {
		f.Close()
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return f, nil
}

// children are the started processes that have not been reaped. What has gone
// on after the relay is init's.
type children struct {
	mu   sync.Mutex // guards pids
	pids map[int]bool
}

func (c *children) add(pid int) {
	c.mu.Lock()
	if c.pids == nil {
		c.pids = map[int]bool{}
	}
	c.pids[pid] = true
	c.mu.Unlock()
	c.collect() // its SIGCHLD may have come before
}

// reap reaps those that end until ctx does. It never waits for all children,
// of which some are os/exec's.
func (c *children) reap(ctx context.Context) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	for {
		select {
		case <-ended:
			c.collect()
		case <-ctx.Done():
			return
		}
	}
}

func (c *children) collect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for pid := range c.pids {
		if got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); got == pid || err == syscall.ECHILD {
			delete(c.pids, pid)
		}
	}
}
