package cli

import (
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/control"
)

func newEverywhere(s streams, words *commandLine) *cli.Command {
	var dir string
	var least int
	var wait, asJSON bool
	return &cli.Command{
		Name:      "everywhere",
		Usage:     "run shell text on every worker, and keep what it sets up",
		UsageText: "muster everywhere [OPTIONS] -- SHELL TEXT",
		Description: `It has run on every worker before anything that is submitted later starts, and
workers that join later run it first. The environment and the directory that it
leaves behind are those of later tasks on that worker: module load, export, cd.

   muster everywhere -- module load gcc/12
   muster everywhere -- 'export OMP_NUM_THREADS=8; cd /scratch'`,
		Flags: append(append(append(dispatcherFlags(), runFlag(), profileFlag()),
			&cli.StringFlag{Name: "cd", Destination: &dir, Usage: "begin in `DIR`", DefaultText: "this one"},
			&cli.IntFlag{Name: "min", Destination: &least, Value: 1, Usage: "wait until `N` workers have run it"},
			&cli.BoolFlag{Name: "wait", Aliases: []string{"w"}, Destination: &wait, Usage: "wait for the results and collect them, instead of printing the id"},
			&cli.BoolFlag{Name: "json", Destination: &asJSON, Usage: "print JSON"},
		), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if len(words.argv) == 0 {
				return usageError{hinted{errNoCommand, "muster everywhere -- module load gcc/12"}}
			}
			if least < 1 {
				return usagef("--min %d: at least one worker runs it", least)
			}
			at, err := taskDir(dir)
			if err != nil {
				return usageError{err}
			}
			client, profile, err := attach(c)
			if err != nil {
				return err
			}
			a, err := client.Everywhere(c.Context, profile, control.EverywhereRequest{Command: strings.Join(words.argv, " "), Dir: at, Min: least})
			if errors.Is(err, control.ErrUnreachable) {
				return usageError{hinted{errors.New("an everywhere needs workers, and no dispatcher is running"), "`muster up -n 4 --detach` starts one with 4 workers"}}
			}
			if err != nil {
				return answered(err)
			}
			if wait {
				return collect(c, s, client, a.ID, collectOptions{json: asJSON})
			}
			return sayID(s, a, asJSON)
		},
	}
}
