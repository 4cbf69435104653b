package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"muster/hpc"
	"muster/internal/proctree"
	mtls "muster/tls"
	"muster/worker"
)

// workerOptions are the options of `muster worker`.
type workerOptions struct {
	joinFile string
	slots    int
	element  string
	restart  uint
	tether   bool
	patience time.Duration
	walltime time.Duration
	estimate time.Duration
}

func newWorker(s streams) *cli.Command {
	var o workerOptions
	return &cli.Command{
		Name:      "worker",
		Usage:     "dial a dispatcher back and run what it sends",
		UsageText: "muster worker --join-file FILE [-n SLOTS]",
		Description: "The join file says where the dispatcher listens, how to know it, and proves that this\n" +
			"worker may join; `muster run --join-file FILE` writes one. Keep it readable by you alone.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "join-file", EnvVars: []string{"MUSTER_JOIN_FILE"}, Destination: &o.joinFile, Usage: "read the join string from `FILE`, or from standard input if it is -"},
			&cli.IntFlag{Name: "slots", Aliases: []string{"n"}, Destination: &o.slots, Usage: "run `N` tasks at once", DefaultText: "one a core"},
			&cli.StringFlag{Name: "element", Destination: &o.element, Usage: "join as this `ELEMENT` of the launch", DefaultText: "the scheduler's job and index, or the process id"},
			&cli.UintFlag{Name: "restart", Destination: &o.restart, Usage: "how often this element has been started before: `N`"},
			&cli.DurationFlag{Name: "patience", Destination: &o.patience, Usage: "go on dialling for `DURATION` when nobody answers", DefaultText: "1m in a scheduler's job, else one try"},
			&cli.DurationFlag{Name: "walltime", Destination: &o.walltime, Usage: "the worker's job lasts `DURATION`: hand back what runs before it is over"},
			&cli.DurationFlag{Name: "estimate", Destination: &o.estimate, Usage: "begin no task that could not end within the walltime if it takes `DURATION`"},
			&cli.BoolFlag{Name: "tether", Destination: &o.tether, Usage: "end when standard input closes"},
		}, logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("worker takes options only, not %q", c.Args().First())
			}
			return runWorker(c, s, o)
		},
	}
}

func runWorker(c *cli.Context, s streams, o workerOptions) error {
	log, err := logger(c, s.err)
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(s.in, 32<<10)
	join, err := readJoin(o.joinFile, in)
	if err != nil {
		return err
	}
	if o.slots == 0 {
		o.slots = runtime.NumCPU()
	}
	if o.slots < 0 {
		return usagef("-n %d: a worker has at least one slot", o.slots)
	}
	if o.patience < 0 || o.walltime < 0 || o.estimate < 0 {
		return usagef("--patience, --walltime and --estimate cannot be negative")
	}
	o.identify(c)
	keep, err := proctree.Inherited()
	if err == nil {
		err = proctree.Subreaper()
	}
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "muster-worker-")
	if err != nil {
		return fmt.Errorf("make a scratch folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find muster's own path: %w", err)
	}
	ctx, stop := context.WithCancelCause(c.Context)
	defer stop(nil)
	drain := onSignals(stop)
	if o.tether {
		go func() {
			io.Copy(io.Discard, in)
			stop(errTether)
		}()
	}
	err = worker.Run(ctx, worker.Options{Join: join, Element: o.element, Restart: uint32(o.restart), Slots: o.slots,
		Patience: o.patience, Walltime: o.walltime, Estimate: o.estimate, Scratch: scratch, Log: log, Build: Version, Drain: drain, Keep: keep, SlotCommand: []string{exe, "slot"}})
	switch {
	case errors.Is(err, errTether), errors.Is(context.Cause(ctx), errTether):
		return nil
	case errors.Is(err, errSignalled):
		return exitError(exitInterrupted)
	}
	return err
}

// identify names the worker after the scheduler's job that it runs in, the same
// after a requeue, which it says.
func (o *workerOptions) identify(c *cli.Context) {
	job, inside := hpc.Inside(os.Getenv)
	if inside && !c.IsSet("patience") {
		o.patience = time.Minute
	}
	if o.element != "" {
		return
	}
	o.element = fmt.Sprintf("hand-%d", os.Getpid())
	if inside {
		o.element = job.Element
		if !c.IsSet("restart") {
			o.restart = uint(job.Restart)
		}
	}
}

var (
	errTether    = errors.New("standard input closed")
	errSignalled = errors.New("interrupted")
)

func readJoin(file string, stdin *bufio.Reader) (mtls.Join, error) {
	switch file {
	case "":
		return mtls.Join{}, usageError{hinted{errors.New("no join file"), "give --join-file FILE or set MUSTER_JOIN_FILE; `muster run --join-file FILE` writes one"}}
	case "-":
		line, err := stdin.ReadString('\n')
		if err != nil && line == "" {
			return mtls.Join{}, fmt.Errorf("read the join string from standard input: %w", err)
		}
		return mtls.ParseJoin(strings.TrimSpace(line))
	}
	return mtls.ReadJoinFile(file)
}

// onSignals makes a scheduler's warnings and the first Ctrl-C a drain, and the
// second Ctrl-C a stop.
func onSignals(stop context.CancelCauseFunc) <-chan string {
	drain := make(chan string, 1)
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		draining := false
		for sig := range ch {
			if draining && sig == syscall.SIGINT {
				stop(errSignalled)
			}
			if !draining {
				draining = true
				drain <- signalName(sig)
			}
		}
	}()
	return drain
}

func signalName(sig os.Signal) string {
	return map[os.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT", syscall.SIGHUP: "SIGHUP",
		syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2"}[sig]
}

// newSlot is the process that a worker starts for each of its slots.
func newSlot() *cli.Command {
	return &cli.Command{Name: "slot", Hidden: true, Usage: "run one task at a time for a worker",
		Action: func(*cli.Context) error {
			// Caught and dropped, not ignored: tasks would inherit that. The worker
			// decides what a signal means.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
			return worker.RunSlot()
		}}
}
