package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/proctree"
	"muster/internal/report"
	"muster/internal/spool"
	"muster/internal/state"
	"muster/task"
	mtls "muster/tls"
	"muster/worker"
)

const (
	maxQueued   = 2_000_000 // inputs read ahead of their turn
	feedRows    = 1024      // inputs queued at a time
	endPatience = 10 * time.Second
	forceAfter  = 20 * time.Second // from the second Ctrl-C
	maxRelaunch = 3                // deaths of the local worker in a row with no result between them
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
	local *localWorker

	fed     chan error // what ended the reading of inputs
	room    chan struct{}
	signals chan os.Signal
	hits    int // signals received
	tally   tally
}

// execute runs the plan and tears everything down that it set up.
func (p *plan) execute(ctx context.Context, s streams, log hclog.Logger) (err error) {
	// A closed pipe is an error of the write, so that the clean-up still runs.
	// It is caught, not ignored: tasks would inherit that.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	e := &execution{p: p, s: s, log: log, fed: make(chan error, 1), room: make(chan struct{}, 1),
		signals: make(chan os.Signal, 4)}
	signal.Notify(e.signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(e.signals)
	e.out, err = report.New(report.Options{Stdout: s.out, Stderr: s.err, Keep: p.o.keep, JSON: p.o.json,
		Flat: p.o.flat, ResultsDir: p.o.results, JobLog: p.o.joblog})
	if err != nil {
		return usageError{err}
	}
	if err := proctree.Subreaper(); err != nil {
		return err
	}
	cleanup, err := e.open()
	defer cleanup()
	if err != nil {
		return err
	}
	e.bar = newProgress(p.o.progress, s, p.in)
	go e.feed()
	err = e.loop(ctx)
	e.bar.finish()
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
	e.d = dispatcher.New(dispatcher.Options{Identity: id, Spool: spool.Open(e.run.Out()),
		Log: e.log, Retries: e.p.o.retries})
	undo = append(undo, func() {
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		e.d.Close(ctx)
	})
	e.b = e.d.NewBatch(e.p.render)
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
	e.local, err = e.startLocal(id, addr)
	if err != nil {
		return cleanup, err
	}
	undo = append(undo, e.local.end)
	// The dispatcher says goodbye before the worker's pipe closes.
	undo = append(undo, func() { e.local.leaving() })
	return cleanup, nil
}

func (e *execution) listenLocal() (addr string, closeListener func(), err error) {
	dir, err := state.SocketDir(os.Getenv)
	if err != nil {
		return "", nil, err
	}
	path := filepath.Join(dir, e.run.ID+".sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		return "", nil, fmt.Errorf("listen for local workers: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return "", nil, fmt.Errorf("listen for local workers: %w", err)
	}
	go e.d.Serve(l)
	return "unix:" + path, func() { l.Close() }, nil
}

// letJoin writes the join file for workers started by hand.
func (e *execution) letJoin(id *mtls.Identity, local string) (undo func(), err error) {
	addrs := []string{local}
	closeTCP := func() {}
	if e.p.o.listen != "" {
		l, err := net.Listen("tcp", e.p.o.listen)
		if err != nil {
			return nil, usageError{fmt.Errorf("--listen %s: %w", e.p.o.listen, err)}
		}
		closeTCP = func() { l.Close() }
		go e.d.Serve(l)
		addrs = append(addrs, candidates(l.Addr().(*net.TCPAddr))...)
	}
	launch := mtls.NewLaunch("hand", e.p.o.joinUses, time.Time{})
	e.d.AddLaunch(launch)
	join := mtls.Join{Addrs: addrs, Pin: id.Pin(), Launch: launch.ID(), Token: launch.Token()}
	if err := mtls.WriteJoinFile(e.p.o.joinFile, join); err != nil {
		closeTCP()
		return nil, err
	}
	return func() {
		launch.Revoke()
		os.Remove(e.p.o.joinFile)
		closeTCP()
	}, nil
}

// candidates lists the addresses under which a listener may be reached.
func candidates(a *net.TCPAddr) []string {
	port := strconv.Itoa(a.Port)
	if !a.IP.IsUnspecified() {
		return []string{"tcp:" + net.JoinHostPort(a.IP.String(), port)}
	}
	var list []string
	if host, err := os.Hostname(); err == nil {
		list = append(list, "tcp:"+net.JoinHostPort(host, port))
	}
	ifaces, _ := net.InterfaceAddrs()
	for _, i := range ifaces {
		if n, ok := i.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			list = append(list, "tcp:"+net.JoinHostPort(n.IP.String(), port))
		}
	}
	return list
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
func (e *execution) loop(ctx context.Context) error {
	results := make(chan *dispatcher.Done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(results)
		for {
			r, err := e.b.Next(ctx)
			if err != nil {
				return
			}
			select {
			case results <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	var failure error
	stop := func(err error) {
		if failure == nil {
			failure = err
		}
		e.stopAll()
	}
	var force <-chan time.Time
	for {
		select {
		case r, ok := <-results:
			if !ok {
				return failure
			}
			if err := e.deliver(r); err != nil {
				stop(err)
			}
		case err := <-e.fed:
			e.bar.total(e.b)
			if err != nil {
				failure = usageError{err}
				e.b.Stop()
			}
		case err := <-e.local.failed:
			return err
		case sig := <-e.signals:
			switch e.interrupt(sig) {
			case 2:
				force = time.After(forceAfter)
			case 3:
				return failure
			}
		case <-force:
			return failure
		}
	}
}

func (e *execution) stopAll() {
	e.b.Stop()
	e.b.Cancel(task.Cancelled("the run was stopped"))
}

// interrupt answers a signal and returns the how-manieth it is. SIGTERM and
// SIGHUP count for two: nobody will come back to send another.
func (e *execution) interrupt(sig os.Signal) int {
	e.hits++
	if sig != syscall.SIGINT {
		e.hits = max(e.hits, 2)
	}
	e.bar.clear()
	switch e.hits {
	case 1:
		e.b.Stop()
		fmt.Fprintf(e.s.err, "muster: interrupted: starting nothing more, waiting for %d running tasks; press Ctrl-C again to stop them\n", e.d.Running())
	case 2:
		e.stopAll()
		fmt.Fprintf(e.s.err, "muster: stopping %d running tasks\n", e.d.Running())
	}
	return e.hits
}

// deliver reports one result.
func (e *execution) deliver(r *dispatcher.Done) error {
	defer r.Release()
	e.local.alive()
	select {
	case e.room <- struct{}{}:
	default:
	}
	first := e.tally.add(r)
	e.bar.clear()
	err := e.out.Write(report.Item{Result: r.Result, Output: r.Output, Row: r.Row, Columns: e.p.in.Columns(),
		Host: ":", Command: e.p.commandLine(r.Argv)})
	if err == nil && r.Err != nil && !e.p.o.json && r.Err.Kind != task.KindCancelled {
		fmt.Fprintf(e.s.err, "muster: task %s: %s\n", label(r), describe(r.Err))
	}
	e.bar.add(&e.tally)
	if first && e.p.o.stop {
		e.stopAll()
	}
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
		fmt.Fprintln(e.s.err, "muster: "+e.tally.summary(e.b.Dropped(), e.p.o))
	}
	switch {
	case e.hits > 0:
		return exitError(exitInterrupted)
	case err != nil:
		return err
	case e.tally.failed > 0:
		return exitError(exitTaskFailed)
	}
	return nil
}

// tally counts results.
type tally struct {
	start     time.Time
	ok        int
	failed    int
	cancelled int
	sample    []string // the first few that failed
}

// add counts r and reports whether it is the first that failed.
func (t *tally) add(r *dispatcher.Done) bool {
	if t.start.IsZero() {
		t.start = time.Now()
	}
	if r.Err == nil {
		t.ok++
		return false
	}
	t.failed++
	if r.Err.Kind == task.KindCancelled {
		t.cancelled++
	} else if len(t.sample) < 5 {
		t.sample = append(t.sample, fmt.Sprintf("%s: %s", label(r), r.Err.Message))
	}
	return t.failed-t.cancelled == 1 && r.Err.Kind != task.KindCancelled
}

func (t *tally) summary(dropped int, o runOptions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d tasks: %d ok, %d failed", t.ok+t.failed+dropped, t.ok, t.failed-t.cancelled)
	if n := t.cancelled + dropped; n > 0 {
		fmt.Fprintf(&b, ", %d cancelled or not started", n)
	}
	if len(t.sample) > 0 {
		fmt.Fprintf(&b, " [%s", strings.Join(t.sample, "; "))
		if more := t.failed - t.cancelled - len(t.sample); more > 0 {
			fmt.Fprintf(&b, "; and %d more", more)
		}
		b.WriteString("]")
		if !o.json && o.joblog == "" {
			b.WriteString("; --json or --joblog FILE tells all")
		}
	}
	return b.String()
}

// localWorker keeps one worker process running on this machine.
type localWorker struct {
	e      *execution
	argv   []string
	launch *mtls.Launch
	join   mtls.Join
	failed chan error
	over   chan struct{} // closed when the run ends
	gone   chan struct{} // closed when the last process is
	proof  chan struct{} // a result arrived
	cur    *worker.Local
}

func (e *execution) startLocal(id *mtls.Identity, addr string) (*localWorker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find muster's own path: %w", err)
	}
	launch := mtls.NewLaunch("local", 1, time.Time{})
	e.d.AddLaunch(launch)
	w := &localWorker{e: e, launch: launch, failed: make(chan error, 1), over: make(chan struct{}),
		gone: make(chan struct{}), proof: make(chan struct{}, 1),
		argv: []string{exe, "worker", "--join-file", "-", "--tether", "--element", "local", "--slots", strconv.Itoa(e.p.o.slots)},
		join: mtls.Join{Addrs: []string{addr}, Pin: id.Pin(), Launch: launch.ID(), Token: launch.Token()}}
	if w.cur, err = w.start(0); err != nil {
		return nil, err
	}
	go w.watch()
	return w, nil
}

func (w *localWorker) start(restart int) (*worker.Local, error) {
	return worker.StartLocal(append(w.argv, "--restart", strconv.Itoa(restart)), w.join, w.e.s.err)
}

// watch starts the worker again when it dies, unless it does so again and again.
func (w *localWorker) watch() {
	defer close(w.gone)
	deaths := 0
	for restart := 1; ; restart++ {
		select {
		case <-w.over:
			w.cur.End(endPatience)
			return
		case <-w.cur.Done():
		}
		w.cur.Clear()
		select {
		case <-w.over:
			return
		case <-w.proof:
			deaths = 0
		default:
		}
		if deaths++; deaths > maxRelaunch {
			w.failed <- fmt.Errorf("the local worker died %d times without finishing a task, last with: %s", deaths, w.cur.Status())
			return
		}
		w.e.log.Warn("the local worker died; starting another", "how", w.cur.Status())
		next, err := w.start(restart)
		if err != nil {
			w.failed <- err
			return
		}
		w.cur = next
	}
}

// alive says that a task has ended.
func (w *localWorker) alive() {
	select {
	case w.proof <- struct{}{}:
	default:
	}
}

// leaving says that the worker is expected to go.
func (w *localWorker) leaving() { close(w.over) }

// end waits until the worker and all below it are gone.
func (w *localWorker) end() { <-w.gone }
