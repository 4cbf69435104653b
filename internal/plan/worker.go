package plan

import (
	"slices"
	"strconv"
	"time"

	"muster/internal/shell"
	"muster/internal/units"
)

// Worker says how muster's own workers are started.
type Worker struct {
	// Before are words before the worker's own command, such as env and what a Go
	// program needs to know that it is a worker.
	Before   []string      `json:"before,omitempty"`
	Slots    int           `json:"slots,omitempty"`    // 0 is one for each core
	Walltime time.Duration `json:"walltime,omitempty"` // 0 is no limit
	Estimate time.Duration `json:"estimate,omitempty"` // how long a task takes, about; 0 is not known
	Dir      string        `json:"dir,omitempty"`      // where tasks run, if the launcher says so
	Options  WorkerOptions `json:"options"`
}

// WorkerOptions are those of `muster worker` that a profile's worker block sets.
type WorkerOptions struct {
	IdleTime  units.Duration `json:"idletime,omitempty"`
	MaxTasks  int            `json:"maxtasks,omitempty"`
	NoCleanup bool           `json:"no_cleanup,omitempty"`
	AutoExit  string         `json:"autoexit,omitempty"`
	Output    string         `json:"output,omitempty"`
	AsyncDial bool           `json:"asyncdial,omitempty"`
}

// Args returns the options as words of its command line.
func (o WorkerOptions) Args() []string {
	var argv []string
	if o.IdleTime > 0 {
		argv = append(argv, "--idletime", o.IdleTime.String())
	}
	if o.MaxTasks > 0 {
		argv = append(argv, "--maxtasks", strconv.Itoa(o.MaxTasks))
	}
	if o.NoCleanup {
		argv = append(argv, "--cleanup=false")
	}
	if o.AutoExit != "" {
		argv = append(argv, "--autoexit", o.AutoExit)
	}
	if o.Output != "" {
		argv = append(argv, "--output", o.Output)
	}
	if o.AsyncDial {
		argv = append(argv, "--asyncdial")
	}
	return argv
}

// Argv is the command line of a worker: muster is the program, and more are options
// that one worker alone has. Without a join file it finds its join string in
// JoinVariable.
func (w Worker) Argv(muster, joinFile string, more ...string) []string {
	argv := append(slices.Clone(w.Before), muster, "worker")
	if joinFile != "" {
		argv = append(argv, "--join-file", joinFile)
	}
	if w.Slots > 0 {
		argv = append(argv, "--slots", strconv.Itoa(w.Slots))
	}
	if w.Walltime > 0 {
		argv = append(argv, "--walltime", w.Walltime.String())
	}
	if w.Estimate > 0 {
		argv = append(argv, "--estimate", w.Estimate.String())
	}
	if w.Dir != "" {
		argv = append(argv, "--cd", w.Dir)
	}
	return append(append(argv, w.Options.Args()...), more...)
}

// Line is Argv for a shell.
func (w Worker) Line(muster, joinFile string) string { return shell.Join(w.Argv(muster, joinFile)) }
