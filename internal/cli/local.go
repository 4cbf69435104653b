package cli

import (
	"fmt"
	"os"
	"strconv"
	"time"

	mtls "muster/tls"
	"muster/worker"
)

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
	return worker.StartLocal(append(w.argv, "--restart", strconv.Itoa(restart)), w.join, w.e.s.err, w.e.keep)
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

// failure is sent why there can be no local worker any more.
func (w *localWorker) failure() <-chan error {
	if w == nil {
		return nil
	}
	return w.failed
}

// alive says that a task has ended.
func (w *localWorker) alive() {
	if w == nil {
		return
	}
	select {
	case w.proof <- struct{}{}:
	default:
	}
}

// leaving says that the worker is expected to go.
func (w *localWorker) leaving() { close(w.over) }

// end waits until the worker and all below it are gone.
func (w *localWorker) end() { <-w.gone }
