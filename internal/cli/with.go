package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/disposition"
	"muster/internal/host"
)

// withPool runs a command with a profile that is there as long as it lasts.
func withPool(c *cli.Context, s streams, workers int, profile string, env, argv []string) error {
	if workers < 1 {
		return usagef("-n %d: at least one worker", workers)
	}
	if err := nested("muster with -n", plural(workers, "worker")); err != nil {
		return err
	}
	list, err := profilesToBe(c, s, workers)
	if err != nil {
		return usageError{err}
	}
	if len(list) != 1 {
		return usagef("-n is for one profile: choose it with -p")
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	// The pool is gone when this process is, however that ends.
	bar, above := newCopyProgress(s)
	defer bar.end()
	asker, stop, err := answerer(bar, list[0].pool)
	if err != nil {
		return err
	}
	defer stop()
	q := control.UpRequest{Profiles: []host.Spec{list[0].spec}}
	ctx, done := interruptible(c)
	defer done()
	var a *control.UpAnswer
	var tether io.Closer
	own := false
	err = errAnother
	for try := 0; try < startTries && errors.Is(err, errAnother); try++ {
		a, err = client.Up(ctx, q)
		if own = errors.Is(err, control.ErrUnreachable); !own || ctx.Err() != nil {
			break
		}
		a, err = detach(ctx, c, s, serveOptions{Name: dispatcherName(c), Kind: "up", Up: q}, &tether)
	}
	if err != nil && ctx.Err() == nil {
		return answered(err)
	}
	if err == nil && a.Profiles[profile] == "same" {
		return usageError{hinted{fmt.Errorf("profile %s is up already", profile), "without -n, `muster with` uses it as it is"}}
	}
	end := func() error {
		if own {
			defer tether.Close()
			return s.noted(client.Shutdown(context.Background()))
		}
		return s.noted(client.Down(context.Background(), profile))
	}
	if err == nil {
		_, err = launchAll(ctx, above, client, list, a, launchWay{bar, asker, true})
	}
	if ctx.Err() != nil {
		err = exitError(exitInterrupted)
	}
	done()
	if err != nil {
		if a != nil {
			err = errors.Join(answered(err), answered(end()))
		}
		return err
	}
	bar.end()
	return errors.Join(runWith(c, s, client, profile, env, argv), answered(end()))
}

// runWith runs the command, waits until nothing of the profile is unresolved,
// and returns the command's exit code.
func runWith(c *cli.Context, s streams, client *control.Client, profile string, env, argv []string) error {
	// Ctrl-C is the command's; what it left is then not waited for.
	signals := make(chan os.Signal, 4)
	disposition.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, s.in, s.out, s.err.Exact()
	if err := cmd.Start(); err != nil {
		return usageError{fmt.Errorf("with: %w", err)}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	for waiting := true; waiting; {
		select {
		case err = <-ended:
			waiting = false
		case sig := <-signals:
			if sig != syscall.SIGINT { // which the terminal has sent it too
				cmd.Process.Signal(sig)
			}
		}
	}
	ctx, stop := interruptible(c)
	defer stop()
	if werr := settle(ctx, s, client, profile); werr != nil && err == nil {
		err = interrupted(ctx, c, werr)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
			return exitError(128 + int(status.Signal()))
		}
		return exitError(exit.ExitCode())
	}
	return err
}

// settle waits for what the profile has not resolved.
func settle(ctx context.Context, s streams, client *control.Client, profile string) error {
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	var open []dispatcher.ID
	for _, f := range st.Futures {
		if f.Profile == profile && f.State != "resolved" {
			open = append(open, f.ID)
		}
	}
	if len(open) == 0 {
		return nil
	}
	defer tellWaits(ctx, s.err.Say, waitingFor(client, open...))()
	_, err = client.Wait(ctx, control.WaitRequest{IDs: open})
	return err
}
