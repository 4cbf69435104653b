package report

import (
	"fmt"
	"io"
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

// jobLogHeading is the first line of a job log.
const jobLogHeading = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"

// openJobLog opens a new job log, or with past one that is to go on. Nothing that was
// there is lost.
func openJobLog(path string, past *Past) (*jobLog, error) {
	f, err := owner.Create(path, os.O_APPEND, 0o666)
	if err != nil {
		return nil, fmt.Errorf("open job log: %w", err)
	}
	l := &jobLog{f}
	if err := l.begin(path, past); err != nil {
		f.Close()
		return nil, fmt.Errorf("open job log: %w", err)
	}
	return l, nil
}

// begin sees to it that the log is one and nobody else's, and gives it a heading.
func (l *jobLog) begin(path string, past *Past) error {
	st, err := l.file.Stat()
	if err != nil {
		return err
	}
	if st.Mode().IsRegular() {
		if err := lock(l.file, path); err != nil {
			return err
		}
		if begun, err := l.prepare(path, past); err != nil || begun {
			return err
		}
	}
	_, err = l.file.WriteString(jobLogHeading)
	return err
}

// prepare looks at what a file has that nobody else writes to, and reports whether that
// begins with a heading. The end of a line that was cut off goes.
func (l *jobLog) prepare(path string, past *Past) (begun bool, err error) {
	st, err := l.file.Stat()
	switch {
	case err != nil || past == nil && st.Size() == 0:
		return false, err
	case past == nil:
		return true, unwritten(path)
	case st.Size() != past.size:
		return false, fmt.Errorf("%s has changed since it was read", path)
	case past.Torn:
		err = l.file.Truncate(past.whole)
	}
	return past.whole > 0, err
}

// unwritten fails if a file has anything but a job log's heading.
func unwritten(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, int64(len(jobLogHeading))+1))
	switch {
	case err != nil || string(head) == jobLogHeading:
		return err
	case strings.HasPrefix(string(head), jobLogHeading):
		return fmt.Errorf("%s is the log of an earlier run: --joblog +%s appends to it, --resume or --resume-failed goes on with it; or remove it", path, path)
	}
	return fmt.Errorf("%s is no job log: it is not overwritten", path)
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
