package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"muster/internal/launch"
	"muster/internal/state"
)

// newDown is `muster down`.
func newDown(s streams) *cli.Command {
	return &cli.Command{
		Name:      "down",
		Usage:     "end what muster has left with schedulers",
		UsageText: "muster down",
		Description: `Every job is on record from before its submission until the scheduler says that
it is gone. down ends the jobs of runs that were killed and of muster launch,
looks for those that may have been submitted, and waits until they are gone. Run
it on the machine where they were started.`,
		Flags: logFlags("", ""),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("down takes options only, not %q", c.Args().First())
			}
			return runDown(c, s)
		},
	}
}

func runDown(c *cli.Context, s streams) error {
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	runs := state.Ended(dir)
	var failed []error
	found := 0
	for _, id := range slices.Sorted(maps.Keys(runs)) {
		records, err := launch.Records(runs[id])
		if err != nil {
			failed = append(failed, err)
		}
		for _, r := range records {
			found++
			if err := takeBack(ctx, s, r); err != nil {
				failed = append(failed, err)
			}
		}
		state.Forget(dir, id)
	}
	if found == 0 && len(failed) == 0 {
		fmt.Fprintln(s.err, "muster: there is nothing left with a scheduler")
	}
	return errors.Join(failed...)
}

func takeBack(ctx context.Context, s streams, r *launch.Record) error {
	job, err := r.TakeBack(ctx, here(), userName())
	if err != nil {
		return fmt.Errorf("launcher %s: %w", r.Launcher, err)
	}
	if job == "" {
		fmt.Fprintf(s.out, "%s: it had not been submitted\n", r.Name)
		return nil
	}
	fmt.Fprintf(s.out, "%s: job %s is gone\n", r.Name, job)
	return nil
}

func showValues(w io.Writer, m map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(w, "  %-12s %v\n", name, m[name])
	}
}
