package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/host"
	"muster/internal/self"
	mtls "muster/tls"
	"muster/worker"
)

// workerOptions are the options of `muster worker`.
type workerOptions struct {
	joinFile   string
	slots      int
	element    string
	restart    uint
	tether     bool
	patience   time.Duration
	walltime   time.Duration
	estimate   time.Duration
	dir        string
	idletime   time.Duration
	maxtasks   int
	cleanup    bool
	autoexit   string
	output     string
	asyncdial  bool
	exitReason bool
	ca, crl    string
}

func newWorker(s streams) *cli.Command {
	var o workerOptions
	return &cli.Command{
		Name:      "worker",
		Usage:     "dial a dispatcher back and run what it sends",
		UsageText: "muster worker --join-file FILE [-n SLOTS]",
		Description: "The join file says where the dispatcher listens, how to know it, and proves that this\n" +
			"worker may join; `muster join new` writes one for a dispatcher that is up, and\n" +
			"`muster run --join-file FILE` for a run. Keep it readable by you alone.\n\n" +
			"In a profile with a tls block the dispatcher has a certificate of a CA. --tls-ca says\n" +
			"which CA to trust, on this machine alone; the name that the certificate must be for\n" +
			"comes with the join string.\n\n" +
			"Without one it takes the join string from the variable MUSTER_JOIN, out of which it is\n" +
			"taken at once: `muster launch --print --show-secrets` prints such lines.\n\n" +
			"A worker that leaves by one of its limits, or because it was told to, exits with 0:\n" +
			"a scheduler would call its job failed otherwise. With --exit-reason the status is\n" +
			"0 ended, 1 idletime, 2 walltime, 3 maxtasks.\n\n" +
			"   muster worker --join-file ~/join\n" +
			"   muster worker --join-file ~/join -n 8 --idletime 10m",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "join-file", EnvVars: []string{"MUSTER_JOIN_FILE"}, Destination: &o.joinFile, Usage: "read the join string from `FILE`, or from standard input if it is -"},
			&cli.IntFlag{Name: "slots", Aliases: []string{"n"}, Destination: &o.slots, Usage: "run `N` tasks at once", DefaultText: "one a core"},
			&cli.StringFlag{Name: "element", Destination: &o.element, Usage: "join as this `ELEMENT` of the launch", DefaultText: "the scheduler's job and index, or the process id"},
			&cli.UintFlag{Name: "restart", Destination: &o.restart, Usage: "how often this element has been started before: `N`"},
			&cli.DurationFlag{Name: "patience", Destination: &o.patience, Usage: "go on dialling for `DURATION` when nobody answers", DefaultText: "1m in a scheduler's job, else one try"},
			&cli.BoolFlag{Name: "asyncdial", Destination: &o.asyncdial, Usage: "go on dialling for ever when nobody answers"},
			&cli.GenericFlag{Name: "walltime", Value: newValue(&o.walltime, 0, parseWalltime, showDuration), Usage: "the worker's job lasts `DURATION`: hand back what runs before it is over"},
			&cli.StringFlag{Name: "cd", Destination: &o.dir, Usage: "run tasks in `DIR`, wherever they were submitted"},
			&cli.DurationFlag{Name: "estimate", Destination: &o.estimate, Usage: "begin no task that could not end within the walltime if it takes `DURATION`"},
			&cli.DurationFlag{Name: "idletime", Destination: &o.idletime, Usage: "leave after `DURATION` without a task"},
			&cli.IntFlag{Name: "maxtasks", Destination: &o.maxtasks, Usage: "leave after `N` tasks"},
			choiceFlag("autoexit", &o.autoexit, "now", "when the dispatcher ends or is lost: leave `WHEN`: now (tasks get 200 ms), finish (when what runs has ended) or never (wait for a dispatcher)", "now", "finish", "never"),
			&cli.BoolFlag{Name: "cleanup", Destination: &o.cleanup, Value: true, Usage: "empty MUSTER_TASK_DIR after each task; --cleanup=false leaves it for the next"},
			choiceFlag("output", &o.output, "collect", "what becomes of what tasks print: `HOW` is collect, discard, or echo (collect, and print it here too)", "collect", "discard", "echo"),
			&cli.StringFlag{Name: "tls-ca", Destination: &o.ca, Usage: "know the dispatcher by a certificate that the CA in `FILE` has signed, PEM, and not by its key"},
			&cli.StringFlag{Name: "tls-crl", Destination: &o.crl, Usage: "refuse a certificate that the list in `FILE` has revoked, PEM"},
			&cli.BoolFlag{Name: "exit-reason", Destination: &o.exitReason, Usage: "exit with the reason for leaving"},
			&cli.BoolFlag{Name: "tether", Destination: &o.tether, Usage: "end when standard input closes"},
		}, logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if err := optionsOnly(c); err != nil {
				return err
			}
			return runWorker(c, s, o)
		},
	}
}

func runWorker(c *cli.Context, s streams, o workerOptions) error {
	if o.slots > mostSlots {
		return usagef("-n %d: at most %d tasks run at once on a machine", o.slots, mostSlots)
	}
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find muster's own path: %w", err)
	}
	if err := host.HideJoin(self.Current(exe), o.joinFile); err != nil {
		return err
	}
	if o.asyncdial {
		o.patience = -1
	}
	w := host.WorkerProcess{JoinFile: o.joinFile, Tether: o.tether, CAFile: o.ca, CRLFile: o.crl, Options: worker.Options{Element: o.element, Restart: uint32(o.restart),
		Slots: o.slots, Patience: o.patience, Walltime: o.walltime, Estimate: o.estimate, Dir: o.dir, IdleTime: o.idletime, MaxTasks: o.maxtasks,
		AutoExit: worker.AutoExit(o.autoexit), KeepScratch: !o.cleanup, Output: worker.Output(o.output), Build: Version, SlotCommand: []string{exe, "slot"}}}
	reason, err := w.Run(c.Context, s.in, log)
	switch {
	case errors.Is(err, host.ErrNoJoin):
		return usageError{hinted{err, "give --join-file FILE or set MUSTER_JOIN_FILE, or MUSTER_JOIN to the join string itself; `muster join new -o FILE` and `muster run --join-file FILE` write one"}}
	case errors.Is(err, mtls.ErrNoAuthority):
		return usageError{err}
	case errors.Is(err, host.ErrSignalled):
		return exitError(exitInterrupted)
	case err == nil && o.exitReason && reason != worker.Ended:
		s.err.Say("%d | %s", reason, reason)
		return exitError(reason)
	}
	return err
}

// newSlot is the process that a worker starts for each of its slots.
func newSlot() *cli.Command {
	return &cli.Command{Name: "slot", Hidden: true, Usage: "run one task at a time for a worker",
		Action: func(*cli.Context) error { return host.RunSlot() }}
}
