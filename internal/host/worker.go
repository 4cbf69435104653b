package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/hpc"
	"muster/internal/disposition"
	"muster/internal/proctree"
	mtls "muster/tls"
	"muster/worker"
)

// WorkerProcess is what the process of a worker is told on its command line.
type WorkerProcess struct {
	JoinFile string // - is standard input
	Tether   bool   // end when standard input closes
	// CAFile and CRLFile are by what this worker judges the dispatcher, whatever the join
	// string says; empty for what that says.
	CAFile, CRLFile string
	worker.Options
}

// Errors of a worker's process.
var (
	ErrNoJoin    = errors.New("no join file")
	ErrSignalled = errors.New("interrupted")
	errTether    = errors.New("standard input closed")
)

// Run is the life of a worker's process.
func (w WorkerProcess) Run(ctx context.Context, stdin io.Reader, log hclog.Logger) (worker.Reason, error) {
	in := bufio.NewReaderSize(stdin, 32<<10)
	var err error
	if w.Join, err = w.judged(readJoin(w.JoinFile, in)); err != nil {
		return worker.Ended, err
	}
	if w.Functions == nil { // else it is a user's program, which may have its own
		if err := closeInherited(); err != nil {
			return worker.Ended, err
		}
	}
	if w.JoinFile != "-" {
		w.Rejoin = w.rejoin(w.Join, log)
	}
	if w.Slots == 0 {
		w.Slots = runtime.NumCPU()
	}
	if !w.Tether { // whoever holds it has asked
		if err := enough(w.Slots); err != nil {
			return worker.Ended, err
		}
	}
	w.identify()
	if w.Keep, err = proctree.Inherited(); err == nil {
		err = proctree.Subreaper()
	}
	if err != nil {
		return worker.Ended, err
	}
	var remove func()
	w.Scratch, remove = makeScratch(log)
	defer remove()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w.Drain = onSignals(stop)
	w.Log, w.Tethered = log, w.Tether
	if w.Functions == nil {
		runtime.GOMAXPROCS(1) // it only forwards: a second thread would be woken for every frame
	}
	if w.Tether {
		go func() {
			io.Copy(io.Discard, in)
			stop(errTether)
		}()
	}
	reason, err := worker.Run(ctx, w.Options)
	if err != nil && w.Tether {
		waitTether(ctx)
	}
	if errors.Is(err, errTether) || errors.Is(context.Cause(ctx), errTether) {
		err = nil
	}
	return reason, err
}

// judged has the worker's own files count.
func (w WorkerProcess) judged(j mtls.Join, err error) (mtls.Join, error) {
	if err != nil {
		return j, err
	}
	return j.JudgedBy(w.CAFile, w.CRLFile)
}

// tetherDelay is how much later a host that ends may close the standard input of its
// worker than the socket that the worker dials.
const tetherDelay = time.Second

// waitTether waits for the end of a tether, whose host may be ending: then it is
// no failure that the host cannot be reached.
func waitTether(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(tetherDelay):
	}
}

// identify names the worker after the scheduler's job that it runs in, the same
// after a requeue, which it says. Such a worker waits a minute for its
// dispatcher unless it is told otherwise.
func (w *WorkerProcess) identify() {
	job, inside := hpc.Inside(os.Getenv)
	if inside && w.Patience == 0 {
		w.Patience = time.Minute
	}
	if w.Element != "" {
		return
	}
	w.Element = handElement()
	if inside {
		w.Element = job.Element
		if w.Restart == 0 {
			w.Restart = uint32(job.Restart)
		}
	}
}

// handElement names a worker that somebody has started by hand. Its host and process
// say where it is. Containers share both, so that there is a random end.
func handElement() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	host, _, _ = strings.Cut(host, ".")
	return fmt.Sprintf("hand-%s-%d-%04x", host, os.Getpid(), rand.N(1<<16))
}

// rejoin reads the join file again, which may have been written anew. It never follows
// another dispatcher than the one of first: its tasks would be somebody else's.
func (w WorkerProcess) rejoin(first mtls.Join, log hclog.Logger) func() (mtls.Join, error) {
	said := ""
	return func() (mtls.Join, error) {
		j, err := w.judged(mtls.ReadJoinFile(w.JoinFile))
		if err == nil && !j.SameDispatcher(first) {
			err = fmt.Errorf("read the join file: %s is of another dispatcher now (its key is %v, and that of this worker's is %v): start another worker for it", w.JoinFile, j.Pin, first.Pin)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && err.Error() != said {
			said = err.Error()
			log.Warn("the join string is not read again", "error", err)
		}
		return j, err
	}
}

func readJoin(file string, stdin *bufio.Reader) (mtls.Join, error) {
	switch file {
	case "":
		return mtls.Join{}, ErrNoJoin
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
	disposition.Notify(ch, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		draining := false
		for sig := range ch {
			if draining && sig == syscall.SIGINT {
				stop(ErrSignalled)
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

// RunSlot is the life of the process that a worker starts for each of its slots.
func RunSlot() error {
	// Caught and dropped, not ignored: tasks would inherit that. The worker
	// decides what a signal means.
	disposition.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	return worker.RunSlot()
}
