// Package report writes the results of a run where its user wants them: to
// stdout and stderr, as JSON, into a directory, into a job log.
package report

import (
	"errors"
	"fmt"
	"io"

	"muster/internal/spool"
	"muster/task"
)

// Item is one task that has ended.
type Item struct {
	Result task.Result
	// Output is what the task wrote; nil for one that never ran.
	Output *spool.Output
	// Row is the input the task was made from.
	Row task.Row
	// Host is where the task ran; empty means here.
	Host string
	// Command is the task's command as one line for a shell.
	Command string
	// Tag stands before each line that is printed, not in files or JSON.
	Tag string
}

// neverRan reports whether the task was given up before it was tried. Such a
// task leaves no trace among files that an earlier or a later run fills.
func (it *Item) neverRan() bool {
	return it.Output == nil && it.Result.Started.IsZero() &&
		it.Result.Err != nil && it.Result.Err.Kind == task.KindCancelled
}

// label names a result in messages.
func label(r *task.Result) string {
	if r.Name == "" {
		return fmt.Sprintf("result %d", r.Index)
	}
	return fmt.Sprintf("result %d (%s)", r.Index, printable(r.Name))
}

// Options says what is written and where.
type Options struct {
	// Stdout and Stderr take the tasks' output; nil means none is wanted.
	Stdout, Stderr io.Writer
	// Keep prints results in the order of the inputs.
	Keep bool
	// JSON prints one object a line instead of the output.
	JSON bool
	// Flat prints stdout alone, in the order of the inputs, as one list: each
	// with exactly one newline at its end or, with JSON, as the elements of one
	// array. Tasks that failed are left out, as are, with JSON, values that are no JSON or
	// of another type than the first; of these Close says so.
	Flat bool
	// Live says what is printed before a task ends, by Grow. It goes with neither JSON
	// nor Flat.
	Live Live
	// ResultsDir takes a directory for each result, as GNU parallel's
	// --results; empty means none is wanted.
	ResultsDir string
	// JobLog is a file that gets a line for each task, in GNU parallel's
	// format; empty means none is wanted.
	JobLog string
	// Printed is called with each item when its output has been printed; nil means nobody
	// wants to know.
	Printed func(*Item)
	// Past is what ReadJobLog has read of the JobLog, which is appended to; with nil
	// the log is a new one.
	Past *Past
}

// Writer reports the results of one run. With Write it holds a result itself until
// its turn to be printed has come. A caller that keeps results calls File as a task
// ends, and Print when it is the result's turn, and never Write. It is for use by one
// goroutine.
type Writer struct {
	opt       Options
	stdout    destination
	stderr    destination
	shown     map[*spool.Output]*shown // of those that grow
	buf       []byte                   // what streams are copied through
	hold      *hold                    // nil when results are printed as they come
	array     *array                   // of Flat with JSON
	results   *resultsDir
	log       *jobLog
	printErr  error // the first failure to print; nothing is printed after it
	removeErr error // the first failure to remove an output
	flatErr   error // the first value that did not fit into the flat list
	misfits   int   // how many did not
}

// New opens and empties the files that opt names, so that a mistake in them
// shows before anything is started.
func New(opt Options) (*Writer, error) {
	w := &Writer{
		opt:    opt,
		stdout: destination{"stdout", opt.Stdout},
		stderr: destination{"stderr", opt.Stderr},
	}
	if opt.Keep || opt.Flat {
		w.hold = newHold()
	}
	if opt.Flat && opt.JSON {
		w.array = &array{}
	}
	var err error
	if opt.ResultsDir != "" {
		if w.results, err = openResults(opt.ResultsDir); err != nil {
			return nil, err
		}
	}
	if opt.JobLog != "" {
		if w.log, err = openJobLog(opt.JobLog, opt.Past); err != nil {
			return nil, errors.Join(err, w.results.close())
		}
	}
	return w, nil
}

// Write reports one task, now or when its turn has come. It takes the item
// over, closing its Output once that is printed, also when it fails. An error
// is about a destination, never about the task. When printing has failed once,
// every later Write returns that error, but still fills the files.
func (w *Writer) Write(item Item) error {
	err := w.File(item)
	if w.hold == nil {
		w.print(&item)
		return errors.Join(err, w.printErr)
	}
	if holdErr := w.hold.put(&item); holdErr != nil {
		err = errors.Join(err, holdErr)
	}
	for next := w.hold.next(); next != nil; next = w.hold.next() {
		w.print(next)
	}
	return errors.Join(err, w.printErr)
}

// File writes what goes into files, which wait for no turn, and leaves the item's
// Output open.
func (w *Writer) File(item Item) error {
	if item.neverRan() {
		return nil
	}
	var err error
	if w.results != nil {
		err = w.results.write(&item, w.buffer())
	}
	if w.log != nil {
		err = errors.Join(err, w.log.write(&item))
	}
	return err
}

// Print prints an item whose turn has come, and closes its Output. When printing
// has failed once, every later Print returns that error.
func (w *Writer) Print(item Item) error {
	w.print(&item)
	return w.printErr
}

// print writes an item to stdout and stderr, and lets go of its output.
func (w *Writer) print(item *Item) {
	if w.printErr == nil {
		w.printErr = w.show(item)
	}
	if w.printErr == nil && w.opt.Printed != nil {
		w.opt.Printed(item)
	}
	if err := item.Output.Close(); err != nil && w.removeErr == nil {
		w.removeErr = err
	}
}

func (w *Writer) show(item *Item) error {
	switch {
	case w.opt.Flat:
		return w.showFlat(item)
	case w.opt.JSON:
		return w.showJSON(item)
	}
	return w.showRest(item)
}

// Close prints what still waits for its turn, in order, over the gaps left by
// tasks that never were reported, and closes the files. With Flat it returns
// which values did not fit into the list.
func (w *Writer) Close() error {
	if w.hold != nil {
		w.release()
	}
	if w.array != nil && w.printErr == nil {
		w.printErr = w.stdout.write(w.array.end())
	}
	err := errors.Join(w.printErr, w.notFlat(), w.removeErr, w.results.close(), w.log.close())
	w.array, w.results, w.log = nil, nil, nil
	return err
}

// release prints what is held, whether its turn has come or not.
func (w *Writer) release() {
	for item := w.hold.pop(); item != nil; item = w.hold.pop() {
		w.print(item)
	}
}

func (w *Writer) buffer() []byte {
	if w.buf == nil {
		w.buf = make([]byte, copyBuffer)
	}
	return w.buf
}
