package report

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"muster/internal/owner"
	"muster/internal/spool"
	"muster/task"
)

// jobLog is a file in the format of GNU parallel 20221122's --joblog, which its
// --resume and --retry-failed read.
type jobLog struct{ file *os.File }

func openJobLog(path string) (*jobLog, error) {
	f, err := owner.Create(path, os.O_TRUNC|os.O_APPEND, 0o666)
	if err != nil {
		return nil, fmt.Errorf("open job log: %w", err)
	}
	_, err = f.WriteString("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n")
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open job log: %w", err)
	}
	return &jobLog{f}, nil
}

// write appends a task's line. Send is 0, since nothing is sent along, and
// Receive is the length of stdout.
func (l *jobLog) write(item *Item) error {
	r := &item.Result
	exit, signal := exitAndSignal(r.Err)
	_, err := fmt.Fprintf(l.file, "%d\t%s\t%s\t%10.3f\t%d\t%d\t%d\t%d\t%s\n",
		r.Index, hostField(item.Host), startField(r.Started), r.Elapsed.Seconds(),
		0, item.Output.Bytes(spool.Stdout), exit, signal, commandField(item.Command))
	if err != nil {
		return fmt.Errorf("write job log: %w", err)
	}
	return nil
}

// hostField is the host, ":" for this one.
func hostField(host string) string {
	if host == "" {
		return ":"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '_'
	}, host)
}

// commandField makes a command one line, as GNU parallel does and undoes it.
func commandField(command string) string {
	return strings.ReplaceAll(command, "\n", "\x00")
}

func startField(t time.Time) string {
	if t.IsZero() {
		return "0.000"
	}
	return fmt.Sprintf("%.3f", float64(t.UnixMilli())/1000)
}

// exitAndSignal are the two columns of an outcome. Both are 0 only for a task
// that succeeded. GNU parallel writes -1 for a job that it gave up itself.
func exitAndSignal(e *task.ErrorValue) (exit, signal int) {
	if e == nil {
		return 0, 0
	}
	signal = int(unix.SignalNum(e.Signal))
	switch e.Kind {
	case task.KindExit, task.KindError, task.KindSpawn:
		if e.Code != 0 {
			return e.Code, 0
		}
	case task.KindSignal, task.KindInterrupt, task.KindOOM:
		if signal == 0 && e.Code > 128 {
			signal = e.Code - 128
		}
		if signal != 0 {
			return 0, signal
		}
	}
	if e.Kind == task.KindTimeout && signal == 0 {
		signal = int(unix.SIGTERM)
	}
	return -1, signal
}

func (l *jobLog) close() error {
	if l == nil {
		return nil
	}
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("close job log: %w", err)
	}
	return nil
}
