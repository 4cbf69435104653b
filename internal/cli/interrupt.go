package cli

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/task"
)

// forceAfter is how long the second Ctrl-C lets tasks end, and results be
// read, before it becomes the third: a run that was interrupted twice is over
// within 30 s.
const forceAfter = 20 * time.Second

// interrupts counts the signals that a run has had.
type interrupts struct{ hits atomic.Int32 }

// watchSignals answers signals as long as the process lives. It has a goroutine
// of its own, since the one that prints results may wait for a slow reader.
func (e *execution) watchSignals(signals <-chan os.Signal) {
	var force <-chan time.Time
	for {
		select {
		case <-force:
			e.leave()
		case sig := <-signals:
			if e.interrupt(sig) == 2 {
				force = time.After(forceAfter)
			}
		}
	}
}

// interrupt answers a signal and returns the how-manieth it is. SIGTERM and
// SIGHUP count for two: nobody will come back to send another.
func (e *execution) interrupt(sig os.Signal) int32 {
	n := e.signals.hits.Add(1)
	if n == 1 && sig != syscall.SIGINT {
		n = e.signals.hits.Add(1)
	}
	switch n {
	case 1:
		e.b.Stop()
		go e.h.Fleet().CancelWaiting(context.Background())
		if running := e.profile.Pool.Running(); running > 0 {
			e.say("interrupted: starting nothing more, waiting for %s to end; press Ctrl-C again to stop them", tasks(running))
		} else {
			e.say("interrupted: starting nothing more, printing what has ended; press Ctrl-C again to leave")
		}
	case 2:
		running := e.profile.Pool.Running()
		e.stopAll("the run was interrupted")
		e.say("stopping %s; press Ctrl-C again to leave at once", tasks(running))
	default:
		e.leave()
	}
	return n
}

// stopAll ends what runs and starts nothing more.
func (e *execution) stopAll(why string) {
	e.b.Stop()
	e.b.Cancel(task.Cancelled(why))
}

// leave ends everything below this process and the process itself, without
// waiting for anything that could hang.
func (e *execution) leave() {
	if e.log.GetLevel() == hclog.Warn {
		e.log.SetLevel(hclog.Off) // that workers are lost now is what was asked for
	}
	err := e.h.Leave()
	e.bar.leave()
	e.s.sayLeft(e.h.Fleet())
	if e.p.o.joinFile != "" {
		os.Remove(e.p.o.joinFile)
	}
	if err != nil {
		e.s.err.Say("%v", err)
	}
	os.Exit(exitInterrupted)
}

// say prints a line for a person.
func (e *execution) say(format string, args ...any) { e.s.err.Say(format, args...) }
