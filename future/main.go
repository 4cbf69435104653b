package future

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/host"
	"muster/internal/self"
	"muster/internal/terminal"
	"muster/worker"
)

const (
	// envFuture tells a copy of this program that it is a worker, or a slot of
	// one.
	envFuture = "_MUSTER_FUTURE"
	// envSave tells it that it is to write its environment into a file.
	envSave = "_MUSTER_SAVE"

	endPatience = 10 * time.Second
)

// mainCalled says that Main has been called. Without that, workers would run
// main, and start workers.
var mainCalled bool

// insideTask reports whether this process runs tasks, or is one.
func insideTask() bool { return os.Getenv(envFuture) != "" || os.Getenv("MUSTER_TASK_ID") != "" }

// Main is called first in main, and in TestMain. In a process that was started
// as a worker it does that work and exits; in any other it returns.
func Main() {
	mainCalled = true
	if os.Getenv(envFuture) == "" && os.Getenv(envSave) == "" {
		return
	}
	what := ""
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	var err error
	switch what {
	case "slot":
		err = host.RunSlot()
	case "worker":
		err = runWorker(os.Args[2:])
	default:
		return // a task that is this program
	}
	if err != nil {
		terminal.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runWorker is `muster worker` with the options that launchers give it.
func runWorker(args []string) error {
	var w host.WorkerProcess
	var cleanup, asyncdial bool
	var autoexit, output string
	var restart uint
	f := flag.NewFlagSet("worker", flag.ContinueOnError)
	f.StringVar(&w.JoinFile, "join-file", "", "")
	f.BoolVar(&w.Tether, "tether", false, "")
	f.StringVar(&w.Element, "element", "", "")
	f.UintVar(&restart, "restart", 0, "")
	f.IntVar(&w.Slots, "slots", 1, "")
	f.DurationVar(&w.Walltime, "walltime", 0, "")
	f.DurationVar(&w.Estimate, "estimate", 0, "")
	f.DurationVar(&w.IdleTime, "idletime", 0, "")
	f.IntVar(&w.MaxTasks, "maxtasks", 0, "")
	f.BoolVar(&cleanup, "cleanup", true, "")
	f.StringVar(&autoexit, "autoexit", "", "")
	f.StringVar(&output, "output", "", "")
	f.DurationVar(&w.Patience, "patience", 0, "")
	f.BoolVar(&asyncdial, "asyncdial", false, "")
	f.StringVar(&w.Dir, "cd", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's path: %w", err)
	}
	if err := host.HideJoin(self.Current(exe), w.JoinFile); err != nil {
		return err
	}
	w.Restart, w.KeepScratch = uint32(restart), !cleanup
	w.AutoExit, w.Output, w.SlotCommand, w.Build = worker.AutoExit(autoexit), worker.Output(output), []string{exe, "slot"}, "future"
	if asyncdial {
		w.Patience = -1
	}
	w.Functions = registered
	log := hclog.New(&hclog.LoggerOptions{Name: "muster", Level: hclog.Warn, Output: os.Stderr})
	_, err = w.Run(context.Background(), os.Stdin, log)
	return err
}
