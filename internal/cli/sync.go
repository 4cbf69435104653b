package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"muster/dispatcher"
	"muster/internal/disposition"
	"muster/internal/plan"
	"muster/task"
)

// Sync mode runs tasks one after another in the caller's terminal: whatever
// they ask there, a debugger too, is answered there. No other setting counts.

// checkSync refuses options of what sync mode does not make.
func checkSync(c *cli.Context) error {
	for _, name := range []string{"json", "flat", "results", "joblog", "everywhere"} {
		if c.Bool("sync") && c.IsSet(name) {
			return fmt.Errorf("--sync runs tasks in this terminal, without workers, and keeps nothing of them: leave out --%s", name)
		}
	}
	return nil
}

// runHere runs one command in this terminal. Ctrl-C is the command's: this
// process waits for what it makes of it.
func runHere(spec task.Spec, stdin io.Reader, stdout, stderr io.Writer) *task.ErrorValue {
	kept := make(chan os.Signal, 1)
	disposition.Notify(kept, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(kept)
	ctx := context.Background()
	if spec.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, spec.Timeout)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, spec.Argv[0], spec.Argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	cmd.Dir = spec.Dir
	own := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, plan.JoinVariable+"=") || strings.HasPrefix(kv, plan.JoinVariable+"_FILE=")
	})
	seed, stream := spec.RandomEnv()
	cmd.Env = append(append(append(own, seed, stream), spec.Env...), fmt.Sprintf("MUSTER_INDEX=%d", spec.Index), "MUSTER_NAME="+spec.Name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return task.Timeout(fmt.Sprintf("its limit was %v", spec.Timeout))
	case errors.Is(err, exec.ErrNotFound):
		return &task.ErrorValue{Kind: task.KindSpawn, Code: 127, Message: notFound(spec)}
	case !errors.As(err, &exit):
		return &task.ErrorValue{Kind: task.KindSpawn, Code: 127, Message: err.Error()}
	}
	status := exit.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGINT:
		return &task.ErrorValue{Kind: task.KindInterrupt, Code: 130, Signal: "SIGINT", Message: "interrupted by SIGINT"}
	case status.Signaled():
		return &task.ErrorValue{Kind: task.KindSignal, Code: 128 + int(status.Signal()), Message: "killed by " + status.Signal().String()}
	}
	return &task.ErrorValue{Kind: task.KindExit, Code: status.ExitStatus(), Message: fmt.Sprintf("exit status %d", status.ExitStatus())}
}

// notFound says that the program of a task is not in PATH, and where it is.
func notFound(spec task.Spec) string {
	name := spec.Argv[0]
	text := fmt.Sprintf("program %q not found", name)
	if st, err := os.Stat(filepath.Join(spec.Dir, name)); err == nil && st.Mode().IsRegular() {
		text += "; it is in the working directory: write ./" + name
	}
	return text
}

// runSync is a run in sync mode.
func (p *runPlan) runSync(s streams) error {
	if err := p.shared.openHere(s.err.Say); err != nil {
		return err
	}
	failed, ran, early, streams := 0, 0, false, p.seed.Sequence()
	for {
		row, n, err := p.nextRow()
		if err == io.EOF {
			break
		}
		if err != nil {
			return usageError{err}
		}
		spec, err := sharedHere(p.render(row, n).InSlot(1))
		if err != nil {
			return err
		}
		if spec.Stream = p.seed.Of(uint64(n)); p.seed.IsZero() {
			spec.Stream = streams.Next()
		}
		stdin := s.in
		if p.fromStdin {
			stdin = nil // it is where the inputs come from
		}
		ran++
		v := runHere(spec, stdin, s.out, s.err.Exact())
		if v != nil {
			failed++
			s.err.Say("task %s: %s", labelOf(n, spec.Name, task.Row{Values: row, Columns: p.in.Columns()}), describe(v))
		}
		if v != nil && v.Kind == task.KindInterrupt {
			return exitError(exitInterrupted)
		}
		if total, _ := p.in.Total(); p.halt.Reached(failed, ran-failed, total) {
			early = true
			break
		}
	}
	if failed > 0 && !(early && p.halt.On == dispatcher.Succeeded) {
		return exitError(exitTaskFailed)
	}
	return nil
}
