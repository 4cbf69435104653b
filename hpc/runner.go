package hpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"muster/internal/terminal"
)

// Output is what a command printed, and its exit status.
type Output struct {
	Stdout, Stderr []byte
	Code           int
	Argv           []string // what ran, for messages
}

// said is what a command printed, on one line.
func (o Output) said() string {
	said := short(terminal.Safe(strings.Join(strings.Fields(string(o.Stderr)+" "+string(o.Stdout)), " ")))
	if said == "" {
		return "it said nothing"
	}
	return said
}

// short cuts words of others for a message.
func short(s string) string {
	if len(s) > 500 {
		return strings.ToValidUTF8(s[:500], "") + "..."
	}
	return s
}

func (o Output) name() string {
	if len(o.Argv) == 0 {
		return "the command"
	}
	return o.Argv[0]
}

// failed makes an error of a command's failure.
func (o Output) failed() error {
	return fmt.Errorf("%s: exit status %d: %s", o.name(), o.Code, o.said())
}

// strange makes an error of an answer in which nothing is what it has to have.
func (o Output) strange() error {
	return fmt.Errorf("%s: its answer cannot be read: %s", o.name(), o.said())
}

// Runner runs a scheduler's command, here or elsewhere. Its error means that
// it is unknown what the command did, if it ran at all. Several may run at once.
type Runner func(ctx context.Context, argv []string, stdin string) (Output, error)

// maxAnswer bounds what is kept of a command's output, in bytes: a line of
// squeue for each of a million elements.
const maxAnswer = 256 << 20

// Here runs commands on this machine with the environment env, in a process
// group of their own, which is ended with the context.
func Here(env []string) Runner {
	return HereBy(env, func(cmd *exec.Cmd) (func(), error) { return func() {}, cmd.Start() })
}

// HereBy is Here in a process that keeps account of its children: start starts a
// command, and the function that it returns is called when the command has been
// waited for.
func HereBy(env []string, start func(*exec.Cmd) (ended func(), err error)) Runner {
	return func(ctx context.Context, argv []string, stdin string) (Output, error) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = env
		cmd.Stdin = strings.NewReader(stdin)
		var out, errs capped
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		ended, err := start(cmd)
		if err == nil {
			err = cmd.Wait()
			ended()
		}
		o := Output{Stdout: out.b.Bytes(), Stderr: errs.b.Bytes(), Argv: argv}
		var exit *exec.ExitError
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return o, fmt.Errorf("%s was interrupted", argv[0])
		case ctx.Err() != nil:
			return o, fmt.Errorf("%s did not answer in time", argv[0])
		case errors.As(err, &exit) && exit.Exited():
			o.Code = exit.ExitCode()
			return o, nil
		case err != nil:
			return o, fmt.Errorf("run %s: %w", argv[0], err)
		case out.full || errs.full:
			return o, fmt.Errorf("%s printed more than %d bytes", argv[0], maxAnswer)
		}
		return o, nil
	}
}

// capped keeps the first maxAnswer bytes.
type capped struct {
	b    bytes.Buffer
	full bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := maxAnswer - c.b.Len()
	if len(p) > room {
		c.full = true
		c.b.Write(p[:room])
		return len(p), nil
	}
	return c.b.Write(p)
}
