package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/launch"
	"muster/internal/proctree"
	"muster/internal/report"
	"muster/internal/spool"
	"muster/internal/state"
	"muster/task"
	mtls "muster/tls"
)

const (
	maxQueued   = 2_000_000 // inputs read ahead of their turn
	feedRows    = 1024      // inputs queued at a time
	endPatience = 10 * time.Second
	maxRelaunch = 3 // deaths of the local worker in a row with no result between them
)

// execution is a run under way.
type execution struct {
	p     *plan
	s     streams
	log   hclog.Logger
	run   *state.Run
	d     *dispatcher.Dispatcher
	b     *dispatcher.Batch
	out   *report.Writer
	bar   *progress
	local *localWorker  // nil if none works on this machine
	fleet *launch.Fleet // nil without a scheduler
	alone chan error    // nobody is left to do the work

	socket string             // where local workers dial
	keep   func(pid int) bool // children of this process that the run did not start

	fed     chan error // what ended the reading of inputs
	room    chan struct{}
	tally   tally
	signals interrupts
}

// execute runs the plan and tears everything down that it set up.
func (p *plan) execute(s streams, log hclog.Logger) (err error) {
	// A closed pipe is an error of the write, so that the clean-up still runs.
	// It is caught, not ignored: tasks would inherit that.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	e := &execution{p: p, s: s, log: log, fed: make(chan error, 1), room: make(chan struct{}, 1), alone: make(chan error, 1)}
	e.bar = newProgress(p.o.progress, s, p.in)
	e.out, err = report.New(report.Options{Stdout: s.out, Stderr: s.err, Keep: p.o.keep, JSON: p.o.json,
		Flat: p.o.flat, ResultsDir: p.o.results, JobLog: p.o.joblog})
	if err != nil {
		return usageError{err}
	}
	if e.keep, err = proctree.Inherited(); err == nil {
		err = proctree.Subreaper()
	}
	if err != nil {
		return err
	}
	// Signals are caught until the last has been cleaned up.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	cleanup, err := e.open()
	defer cleanup()
	if err != nil {
		return err
	}
	go e.watchSignals(signals)
	go e.feed()
	err = e.loop()
	e.bar.clear()
	if cerr := e.out.Close(); err == nil && cerr != nil {
		err = cerr
	}
	return e.verdict(err)
}

// open makes the run's folder, the dispatcher and its listeners, and starts
// the local worker. The clean-up it returns undoes what was done, in any case.
func (e *execution) open() (cleanup func(), err error) {
	var undo []func()
	cleanup = func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	dir, err := state.Dir(os.Getenv)
	if err != nil {
		return cleanup, err
	}
	state.Prune(dir, time.Now())
	id, err := mtls.LoadOrCreate(filepath.Join(dir, "id"))
	if err != nil {
		return cleanup, err
	}
	if e.run, err = state.NewRun(dir, time.Now()); err != nil {
		return cleanup, err
	}
	undo = append(undo, func() { e.run.Close() })
	undo = append(undo, e.recall) // after the dispatcher has said goodbye
	e.d = dispatcher.New(dispatcher.Options{Identity: id, Spool: spool.Open(e.run.Out()),
		Log: e.log, Retries: e.p.o.retries})
	undo = append(undo, func() {
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		e.d.Close(ctx)
	})
	e.b = e.d.NewBatch(dispatcher.BatchOptions{Render: e.p.render, StopOnFailure: e.p.o.stop})
	addr, closeListener, err := e.listenLocal()
	if err != nil {
		return cleanup, err
	}
	undo = append(undo, closeListener)
	if e.p.o.joinFile != "" {
		undoJoin, err := e.letJoin(id, addr)
		if err != nil {
			return cleanup, err
		}
		undo = append(undo, undoJoin)
	}
	if e.p.pool != nil && len(e.p.pool.plans) > 0 {
		undoLaunch, err := e.launchAll(id, dir)
		if undoLaunch != nil {
			undo = append(undo, undoLaunch)
		}
		if err != nil {
			return cleanup, err
		}
	}
	if e.p.pool != nil && !e.p.pool.local {
		return cleanup, nil
	}
	e.local, err = e.startLocal(id, addr)
	if err != nil {
		return cleanup, err
	}
	undo = append(undo, e.local.end)
	// The dispatcher says goodbye before the worker's pipe closes.
	undo = append(undo, func() { e.local.leaving() })
	return cleanup, nil
}

// feed reads inputs into the queue until they end.
func (e *execution) feed() {
	defer e.b.Seal()
	rows := make([][]string, 0, feedRows)
	for {
		row, err := e.p.in.Next()
		if err != nil {
			e.b.Submit(rows)
			if err == io.EOF {
				err = nil
			}
			e.fed <- err
			return
		}
		if rows = append(rows, row); len(rows) < feedRows && !e.p.slow() {
			continue
		}
		e.b.Submit(rows)
		rows = rows[:0]
		for e.b.Queued() > maxQueued {
			<-e.room
		}
	}
}

// slow reports whether the next input may be long in coming, so that the ones
// read are not kept waiting for it.
func (p *plan) slow() bool {
	_, known := p.in.Total()
	return !known
}

// loop reports results until there are no more. A returned error is muster's
// own, not a task's.
func (e *execution) loop() error {
	var failure error
	fail := func(err error) {
		if err != nil && failure == nil {
			failure = err
			e.stopAll("the run was stopped")
		}
	}
	fed := func(err error) {
		e.bar.total(e.b)
		e.log.Info("inputs read", "tasks", e.b.Submitted())
		if err != nil && failure == nil {
			failure = usageError{err}
			e.b.Stop()
		}
	}
	for {
		select {
		case <-e.b.Ready():
			done, over := e.b.Take()
			for _, r := range done {
				fail(e.deliver(r))
			}
			if !over {
				continue
			}
			select {
			case err := <-e.fed:
				fed(err)
			default:
			}
			return failure
		case err := <-e.fed:
			fed(err)
		case err := <-e.local.failure():
			return err
		case err := <-e.alone:
			done, over := e.b.Take()
			for _, r := range done {
				fail(e.deliver(r))
			}
			if over {
				return failure
			}
			e.b.Stop()
			return err
		}
	}
}

// deliver reports one result.
func (e *execution) deliver(r *dispatcher.Done) error {
	defer r.Release()
	e.local.alive()
	select {
	case e.room <- struct{}{}:
	default:
	}
	e.tally.add(r)
	e.bar.clear()
	err := e.out.Write(report.Item{Result: r.Result, Output: r.Output, Row: r.Row, Columns: e.p.in.Columns(),
		Host: ":", Command: e.p.commandLine(r.Argv)})
	if err == nil && r.Err != nil && !e.p.o.json && r.Err.Kind != task.KindCancelled {
		e.say("task %s: %s", label(r), describe(r.Err))
	}
	e.bar.add()
	return err
}

func label(r *dispatcher.Done) string {
	if r.Name != "" {
		return fmt.Sprintf("%d (%s)", r.Index, r.Name)
	}
	return strconv.Itoa(r.Index)
}

func describe(v *task.ErrorValue) string {
	if v.Evidence == "" {
		return v.Message
	}
	return v.Message + " (" + v.Evidence + ")"
}

// verdict says how the run went and picks the exit code.
func (e *execution) verdict(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return exitError(exitFailure) // whoever read the output has had enough
	}
	if !e.p.o.json || e.tally.failed > 0 {
		e.say("%s", e.tally.summary(e.b.Dropped(), e.p.o))
	}
	switch {
	case e.signals.hits.Load() > 0:
		return exitError(exitInterrupted)
	case err != nil:
		return err
	case e.tally.failed > 0:
		return exitError(exitTaskFailed)
	}
	return nil
}
