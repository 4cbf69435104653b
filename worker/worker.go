// Package worker is the service that dials a dispatcher, proves its join
// token, runs the tasks it is given in slots, and reports what became of them.
//
// A worker is a process; each of its slots is a child process that runs one
// task at a time, so that the death of one takes nothing else along:
//
//	dispatcher ──TLS── worker ──two pipes── slot ── task and all it starts
//
// A worker has three parts. The uplink is its side of the connection, the slots
// have its tasks and run them, and the limits say when it is to leave; a session
// moves between them. See session for its life, job for a task's and slotState for
// a slot's.
//
// Every process watches a pipe from its parent and is the reaper of all that
// descends from it. Whichever of them is killed, the one below sees its pipe
// end and clears its descendants, and the one above adopts and clears the rest.
package worker

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/internal/wire"
	mtls "muster/tls"
)

// Options configures a worker.
type Options struct {
	Join    mtls.Join
	Element string // which of the launch's workers this is
	Restart uint32 // how often the scheduler has restarted this element
	Slots   int
	Scratch string // folder for those of the slots, which goes with the worker
	Log     hclog.Logger
	Build   string // muster's version
	// Patience is how long to go on dialling when nobody answers; below 0 is
	// for ever.
	Patience time.Duration
	// IdleTime ends the worker when it has had no task for so long; 0 is never.
	IdleTime time.Duration
	// MaxTasks ends the worker after so many tasks; 0 is never.
	MaxTasks int
	// AutoExit says what to do when the dispatcher ends or is lost.
	AutoExit AutoExit
	// KeepScratch leaves MUSTER_TASK_DIR as a task left it for the next.
	KeepScratch bool
	// Output says what becomes of what tasks print.
	Output Output
	// Dir is where tasks run whatever they say; empty is where they say.
	Dir string
	// Rejoin returns the join string for another dial, which may have changed;
	// nil for Join. If its error is fs.ErrNotExist the launch has been taken back.
	Rejoin func() (mtls.Join, error)
	// Dial reaches an address of the join string; nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Walltime is how long the worker's job lasts from now, 0 if there is no
	// limit: shortly before it, what runs is handed back.
	Walltime time.Duration
	// Estimate is how long a task takes, about: none is begun that could not
	// end within the walltime.
	Estimate time.Duration
	// Drain is closed or sent to when the worker is to take nothing more and
	// leave when what runs has ended; the text is the reason.
	Drain <-chan string
	// Keep is true for the children of this process that are not the worker's
	// to end.
	Keep func(pid int) bool
	// SlotCommand starts one slot: argv, to which nothing is added.
	SlotCommand []string
	// Tethered says that this process ends with its dispatcher anyway, whose silence
	// then means nothing.
	Tethered bool
	// Functions are what tasks may name; they run in this process, so that one
	// that ends it takes the others that run along. Slots of a worker that has
	// some are started when there is a command for them.
	Functions map[string]Function
}

// AutoExit is what a worker does when its dispatcher ends or is lost.
type AutoExit string

// The kinds of AutoExit; the empty one is ExitNow.
const (
	ExitNow    AutoExit = "now"    // leave; tasks get 200 ms to end
	ExitFinish AutoExit = "finish" // leave when the tasks that run have ended
	ExitNever  AutoExit = "never"  // dial until there is a dispatcher again
)

// Output is what becomes of what tasks print.
type Output string

// The kinds of Output; the empty one is OutputCollect.
const (
	OutputCollect Output = "collect" // it travels to the dispatcher
	OutputDiscard Output = "discard" // it is thrown away
	OutputEcho    Output = "echo"    // it travels, and the worker prints it too
)

// Reason is why a worker left, in mirai's numbers.
type Reason uint32

// The reasons.
const (
	Ended    Reason = wire.LeftEnded
	Idletime Reason = wire.LeftIdle
	Walltime Reason = wire.LeftWalltime
	MaxTasks Reason = wire.LeftMaxTasks
)

func (r Reason) String() string { return wire.LeftText(uint32(r)) }

// setting is the name of the limit that a worker has reached.
func (r Reason) setting() string {
	return map[Reason]string{Idletime: "idletime", Walltime: "walltime", MaxTasks: "maxtasks"}[r]
}

// Run dials, serves until the dispatcher says goodbye or is lost for good, or the
// worker has drained, and returns with no process left. With ExitNever it dials again
// when the dispatcher has gone. The error is nil after a goodbye and after draining,
// and ctx's when ctx ended it.
func Run(ctx context.Context, o Options) (Reason, error) {
	began := time.Now()
	patience := o.Patience
	for {
		reason, err := serve(ctx, o, began)
		if o.AutoExit != ExitNever || ctx.Err() != nil || err == nil && reason != dispatcherGone {
			if reason == dispatcherGone {
				reason = Ended
			}
			return reason, err
		}
		if o.Patience = -1; err != nil {
			o.Log.Warn("waiting for a dispatcher", "error", err, "patience", patience)
		}
		if o.Rejoin != nil {
			if join, err := o.Rejoin(); err == nil {
				o.Join = join
			}
		}
	}
}
