package report

import (
	"bytes"
	"errors"

	"muster/internal/spool"
)

// Live says how what tasks print is shown while they run.
type Live int

// The ways.
const (
	Grouped   Live = iota // not at all: as one piece, when the task has ended
	Lines                 // whole lines as they come
	Ungrouped             // bytes as they come, without tags
)

// tagger puts a tag before each line of what is written through it.
type tagger struct {
	tag string
	mid bool // what was written last was no whole line
}

func (t *tagger) write(p []byte, write func([]byte) error) error {
	if t.tag == "" {
		return write(p)
	}
	var tagged bytes.Buffer
	for line := range bytes.Lines(p) {
		if !t.mid {
			tagged.WriteString(t.tag)
		}
		tagged.Write(line)
		t.mid = line[len(line)-1] != '\n'
		if tagged.Len() < copyBuffer {
			continue
		}
		if err := write(tagged.Bytes()); err != nil {
			return err
		}
		tagged.Reset()
	}
	return write(tagged.Bytes())
}

// shown is how much of an output that grows has been printed, of each stream.
type shown [2]struct {
	tagger
	printed, searched int64 // bytes; from printed to searched there is no newline
}

// Grow prints what is new of an item whose Output is not complete yet, by the Live of
// the Options. The Output may grow meanwhile. Of one that has been closed, since its
// result was printed, nothing is left to print. Print prints the rest.
func (w *Writer) Grow(item Item) error {
	if w.printErr != nil {
		return w.printErr
	}
	s := w.showing(&item)
	if w.shown == nil {
		w.shown = map[*spool.Output]*shown{}
	}
	w.shown[item.Output] = s
	for n := spool.Stdout; n <= spool.Stderr; n++ {
		err := w.grow(s, item.Output, n)
		if errors.Is(err, spool.ErrClosed) {
			delete(w.shown, item.Output)
			return nil
		}
		if err != nil {
			w.printErr = err
			return err
		}
	}
	return nil
}

// GrownOver prints the rest of an item that grew and has come to no result, and closes
// its Output.
func (w *Writer) GrownOver(item Item) error {
	if w.printErr == nil {
		w.printErr = w.showRest(&item)
	}
	return errors.Join(w.printErr, item.Output.Close())
}

// showing returns how much of an item has been shown.
func (w *Writer) showing(item *Item) *shown {
	if s := w.shown[item.Output]; s != nil {
		return s
	}
	s := &shown{}
	if w.opt.Live != Ungrouped {
		s[0].tag, s[1].tag = item.Tag, item.Tag
	}
	return s
}

// grow prints what is new of a stream by now, as far as it may be shown.
func (w *Writer) grow(s *shown, o *spool.Output, n int) error {
	at, buf := &s[n-1], w.buffer()
	total := o.Bytes(n)
	for from := max(at.printed, at.searched); from < total; from = at.searched {
		got, err := o.ReadAt(n, buf, from)
		if err != nil || got == 0 {
			return err
		}
		end := got
		if w.opt.Live == Lines {
			end = bytes.LastIndexByte(buf[:got], '\n') + 1
		}
		at.searched = from + int64(got)
		switch {
		case end == 0:
		case from == at.printed:
			err = w.shows(s, n, buf[:end])
		default:
			err = w.showTo(s, o, n, from+int64(end))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shows prints the next bytes of a stream.
func (w *Writer) shows(s *shown, n int, p []byte) error {
	at, to := &s[n-1], w.stdout
	if n == spool.Stderr {
		to = w.stderr
	}
	at.printed += int64(len(p))
	return at.write(p, to.write)
}

// showTo prints a stream up to an offset.
func (w *Writer) showTo(s *shown, o *spool.Output, n int, end int64) error {
	for at := &s[n-1]; at.printed < end; {
		buf := w.buffer()
		got, err := o.ReadAt(n, buf[:min(int64(len(buf)), end-at.printed)], at.printed)
		if err != nil {
			return err
		}
		if err := w.shows(s, n, buf[:got]); err != nil {
			return err
		}
	}
	return nil
}

// showRest prints what has not been shown of an item that is complete.
func (w *Writer) showRest(item *Item) error {
	s := w.showing(item)
	delete(w.shown, item.Output)
	for n := spool.Stdout; n <= spool.Stderr; n++ {
		if err := w.showTo(s, item.Output, n, item.Output.Bytes(n)); err != nil {
			return err
		}
	}
	return nil
}
