package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/disposition"
	"muster/internal/host"
	"muster/internal/plan"
	"muster/internal/report"
	"muster/internal/state"
	"muster/internal/units"
	mtls "muster/tls"
)

// Bounds on the inputs that are read ahead of their turn, and on those that are
// queued at a time.
const (
	maxQueued      = 2_000_000
	maxQueuedBytes = 64 << 20
	feedRows       = 1024
	feedBytes      = 1 << 20
)

// runKeep is how many bytes of a run's results wait in memory to be printed.
const runKeep = 64 << 20

const endPatience = 10 * time.Second

// execution is a run under way.
type execution struct {
	p       *runPlan
	s       streams
	log     hclog.Logger
	h       *host.Host
	profile *host.Profile
	b       *dispatcher.Run
	order   *inOrder                    // of what is printed, with -k and --flat; nil without
	turn    int                         // with order: the index after that of the last result printed
	printed map[int]*dispatcher.Printed // with order: what has been printed before its turn
	out     *report.Writer
	bar     *progress
	alone   chan error // nobody is left to do the work
	asker   string     // where logins ask their questions

	server    *control.Server
	delivered atomic.Int64 // results
	allRead   atomic.Bool  // the inputs have ended
	halted    bool         // it was said that the run ends early
	fed       chan error   // what ended the reading of inputs
	room      chan struct{}
	tally     tally
	signals   interrupts
}

// execute runs the plan and tears everything down that it set up.
func (p *runPlan) execute(s streams, log hclog.Logger, bar *progress) (err error) {
	// A closed pipe is an error of the write, so that the clean-up still runs.
	// It is caught, not ignored: tasks would inherit that.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	e := &execution{p: p, s: s, log: log, bar: bar, fed: make(chan error, 1), room: make(chan struct{}, 1), alone: make(chan error, 8)}
	p.say = e.say
	if n, known := p.in.Total(); known {
		p.halt.Total = max(n-p.passed(), 0)
	}
	e.out, err = report.New(report.Options{Stdout: s.out, Stderr: s.err.Exact(), Keep: p.o.keep, JSON: p.o.json,
		Flat: p.o.flat, Live: p.o.live.way(), ResultsDir: p.o.results, JobLog: p.o.joblog, Past: p.past})
	if err != nil {
		return usageError{err}
	}
	p.sayPast(s)
	// Signals are caught until the last has been cleaned up.
	signals := make(chan os.Signal, 4)
	disposition.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	e.bar.start()
	defer e.bar.end() // after what cleaning up says
	cleanup, err := e.open(signals)
	defer cleanup()
	if err != nil {
		return err
	}
	go e.watchSignals(signals)
	go e.feed()
	e.watch()
	stopTelling := tellWaits(context.Background(), e.say, unasked(e.bar, e.outlook))
	err = e.loop()
	stopTelling()
	e.h.D.Forget(e.b.Future)
	if berr := e.bar.end(); err == nil {
		err = berr
	}
	if cerr := e.out.Close(); err == nil && cerr != nil {
		err = cerr
	}
	return e.verdict(err)
}

// open starts the dispatcher, lets commands reach it, and starts or asks for
// workers. The clean-up it returns undoes what was done, in any case.
func (e *execution) open(signals <-chan os.Signal) (cleanup func(), err error) {
	var undo []func()
	cleanup = func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	opt, err := hostOptions(e.s, e.log, e.bar)
	if err != nil {
		return cleanup, err
	}
	if remark := state.Remark(os.Getenv); remark != "" {
		e.say("%s", remark)
	}
	opt.Say, opt.Keep = e.say, runKeep
	if e.h, err = host.Open(opt); err != nil {
		return cleanup, err
	}
	undo = append(undo, e.recall)
	closeControl, err := e.serveControl(opt.SocketDir)
	if err != nil {
		return cleanup, err
	}
	undo = append(undo, closeControl)
	spec := e.p.spec()
	if e.p.pool != nil {
		if spec.TLS, err = e.p.pool.tlsSettings(e.bar.terminal().Ask); err != nil {
			return cleanup, err
		}
	}
	if e.profile, err = e.h.Up(context.Background(), spec); err != nil {
		return cleanup, err
	}
	if err = e.openShares(signals); err != nil {
		return cleanup, err
	}
	e.b, err = e.profile.Pool.NewRun(dispatcher.RunOptions{Common: e.p.common(), Render: e.p.render, Columns: e.p.in.Columns(), Halt: e.p.halt, Live: e.p.o.live.way() != report.Grouped})
	if err != nil {
		return cleanup, err
	}
	if e.p.o.keep && e.p.o.live.way() != report.Ungrouped || e.p.o.flat {
		e.order, e.turn, e.printed = newInOrder(e.b), e.p.turnAfter(0), map[int]*dispatcher.Printed{}
		undo = append(undo, e.order.cursor.Close)
	}
	if e.p.o.joinFile != "" {
		if err := e.letJoin(); err != nil {
			return cleanup, err
		}
		undo = append(undo, func() { os.Remove(e.p.o.joinFile) })
	}
	if e.p.pool != nil && len(e.p.pool.drafts) > 0 {
		end, err := e.launchPlans()
		undo = append([]func(){end}, undo...) // last: what is taken back may have to log in again
		if err != nil {
			return cleanup, err
		}
	}
	logDialled(e.log, e.h.URLs())
	if e.p.pool == nil || e.p.pool.local {
		leaveCores()
		local, err := e.profile.StartLocal(e.p.o.slots, func(err error) { e.alone <- err })
		if err != nil {
			return cleanup, err
		}
		go e.watchLocal(local)
	}
	return cleanup, nil
}

// openShares puts what --share names. A file may be a pipe into which nobody writes, so
// a signal does not wait for it: what has come of it goes with the process.
func (e *execution) openShares(signals <-chan os.Signal) error {
	opened := make(chan error, 1)
	go func() { opened <- e.p.shared.open(e.profile.Shares) }()
	select {
	case err := <-opened:
		return err
	case <-signals:
		return e.interruptedEarly(nil)
	}
}

// launchPlans asks for the workers of the run's profile. Logins may ask questions on
// this terminal until end is called.
func (e *execution) launchPlans() (end func(), err error) {
	end = func() {}
	if e.p.pool.remote() {
		asker, stop, err := answer(e.bar)
		if err != nil {
			return end, err
		}
		e.asker, end = asker, stop
	}
	return end, e.launchAll()
}

// leaveCores has this process use an eighth of the cores, one at least. The others
// are for the tasks, which run on this machine too. To move a goroutine to another
// core costs more time than what it does there takes.
func leaveCores() { runtime.GOMAXPROCS(max(1, runtime.NumCPU()/8)) }

// spec is the profile that the run has.
func (p *runPlan) spec() host.Spec {
	spec := host.Spec{Name: "default", Tries: p.o.retries.tries(), LostRetries: p.o.retries.lost, Delay: units.Duration(p.o.jobs.delay), Seed: p.seed, Reattach: units.Duration(plan.DefaultReattach), Listen: p.o.listen, Slots: p.o.slots, Everywhere: p.everywhere, Dir: p.dir, Estimate: units.Duration(p.o.estimate), Spread: p.o.spread}
	if p.pool != nil {
		spec.Name, spec.Reattach = p.pool.name, units.Duration(p.pool.set.Reattach)
		spec.Options, spec.Everywhere = p.pool.options(), append(p.pool.set.Everywhere, p.everywhere...)
		spec.ShareLimit, spec.Spread = units.Size(p.pool.set.ShareLimit), p.pool.set.Spread || p.o.spread
		spec.Walltime, spec.RoundRobin = units.Duration(p.pool.set.Worker.Walltime), p.pool.set.Scheduling == "round-robin"
		if len(p.pool.drafts) > 0 {
			spec.Listen, spec.Hosts, spec.Relayed = p.pool.listen, p.pool.hosts, p.pool.relayed
		}
	}
	return spec
}

// serveControl lets other commands reach the run by its name.
func (e *execution) serveControl(dir string) (undo func(), err error) {
	name := e.p.o.run
	if name == "" {
		name = e.h.Run.ID
	}
	path := control.Socket(dir, runSocket(name))
	if err := host.RemoveStale(path); err != nil {
		return nil, usageError{hinted{fmt.Errorf("--run %s: a run of this name is under way", name), "`muster status --run " + name + "` shows it"}}
	}
	l, err := host.ListenUnix(path)
	if err != nil {
		return nil, fmt.Errorf("let other commands reach the run: %w", err)
	}
	e.server = control.NewServer(l, control.Options{Host: e.h, Name: name, Kind: "run", Version: Version})
	e.log.Info("other commands reach this run", "as", "--run "+name)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		e.server.Close(ctx)
	}, nil
}

// watchLocal says so when no worker is left, since all were told to leave, and tasks
// are. When a worker was given up the run ends, and says that.
func (e *execution) watchLocal(l *host.Local) {
	<-l.Gone()
	if l.Err() != nil {
		return
	}
	connected, _, _ := e.profile.Pool.Workers()
	if open := e.b.Queued(); connected == 0 && open > 0 && e.signals.hits.Load() == 0 {
		e.say("no worker is left, and %s are to be done: `muster launch --run %s -n 1` starts another", tasks(open), e.h.Run.ID)
	}
}

// letJoin writes the join file for workers started by hand.
func (e *execution) letJoin() error {
	_, join, err := e.profile.NewJoin(host.JoinWish{Uses: e.p.o.joinUses, Elsewhere: e.p.o.listen != ""})
	if err != nil {
		return usageError{fmt.Errorf("--listen %s: %w", e.p.o.listen, err)}
	}
	return mtls.WriteJoinFile(e.p.o.joinFile, join)
}

// feed reads inputs into the queue until they end.
func (e *execution) feed() {
	defer e.b.Seal()
	defer e.allRead.Store(true)
	rows, size, last := make([][]string, 0, feedRows), 0, 0
	for {
		row, number, err := e.p.nextRow()
		if err != nil {
			e.b.Submit(rows)
			if err == io.EOF {
				err = nil
			}
			e.fed <- err
			return
		}
		if number > last+1 {
			e.b.Submit(rows)
			rows, size = rows[:0], 0
			e.b.Skip(number - last - 1)
		}
		last = number
		rows = append(rows, row)
		for _, value := range row {
			size += len(value)
		}
		if len(rows) < feedRows && size < feedBytes && !e.p.slow() {
			continue
		}
		e.b.Submit(rows)
		rows, size = rows[:0], 0
		for e.b.Queued() > maxQueued || e.b.QueuedBytes() > maxQueuedBytes {
			<-e.room
		}
	}
}

// slow reports whether the next input may be long in coming, so that the ones
// read are not kept waiting for it.
func (p *runPlan) slow() bool {
	_, known := p.in.Total()
	return !known
}

// loop reports results until there are no more. A returned error is muster's
// own, not a task's.
func (e *execution) loop() error {
	var failure, deserted error
	fail := func(err error) {
		if err != nil && failure == nil {
			failure = err
			e.stopAll("the run was stopped")
		}
	}
	fed := func(err error) {
		e.bar.total(e.b.Submitted())
		e.log.Info("inputs read", "tasks", e.b.Submitted())
		if err != nil && failure == nil {
			failure = usageError{err}
			e.b.Stop()
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	results, ended := make(chan *dispatcher.Done), make(chan error, 1)
	go e.read(ctx, results, ended)
	for {
		select {
		case r := <-results:
			fail(cmp.Or(e.printLive(), e.deliver(r)))
		case <-e.b.Printing():
			fail(e.printLive())
		case err := <-e.fed:
			fed(err)
		case deserted = <-e.alone:
			cancel() // what has resolved is read all the same
		case err := <-ended:
			select {
			case err := <-e.fed:
				fed(err)
			default:
			}
			if err != io.EOF {
				e.b.Stop()
				fail(e.printRest())
				return deserted
			}
			return failure
		}
	}
}

// verdict says how the run went and picks the exit code.
func (e *execution) verdict(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return exitError(exitFailure) // whoever read the output has had enough
	}
	if !e.p.o.json || e.tally.failed > 0 {
		// Of a run that nobody works for any more, some have neither ended nor been dropped.
		rest := max(e.b.Dropped(), e.b.Submitted()-e.tally.ok-e.tally.failed)
		e.say("%s", e.tally.summary(rest, e.p.o))
	}
	switch {
	case e.signals.hits.Load() > 0:
		return exitError(exitInterrupted)
	case err != nil:
		return err
	case e.failures() > 0:
		return exitError(exitTaskFailed)
	}
	return nil
}
