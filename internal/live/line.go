// Package live shows a person what goes on, in its place on a terminal: a line below
// everything else, or a page that fills the screen.
package live

import (
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Line is the last line of a terminal. It is drawn again in its place, and what else
// goes to that terminal, by writers that Over returns, comes to stand above it. It is
// never wider than the terminal. It is not drawn while this process is in the
// background, where the terminal belongs to others.
type Line struct {
	out  io.Writer
	kind kind
	text func(now time.Time, columns int) string

	changed atomic.Bool
	woken   chan struct{} // has one if keep is to look at changed
	signals chan os.Signal
	over    chan struct{}

	mu      sync.Mutex // guards all below, and is held while something is written
	state   state
	pace    pace
	held    []piece // text that is written with the next drawing
	size    int     // of held, in bytes
	empty   bool    // there was no line to draw the last time
	shown   bool    // the line is on the screen
	drawn   int     // how many columns it has there
	partial bool    // the text above does not end with a newline
	column  int     // where that ends
	err     error   // the first failure to write
}

// kind is what a Line is drawn on.
type kind int

const (
	terminalKind kind = iota
	dumbKind          // a terminal without escape sequences
	fileKind          // no terminal: each drawing is a line of its own
)

// state is whether a Line is drawn.
type state int

const (
	idle   state = iota // it was not started, or has ended
	drawn               // it is
	paused              // somebody else has the terminal
)

// piece is text for one writer.
type piece struct {
	w    io.Writer
	text []byte
}

// NewLine returns a line of out whose text is asked for whenever it is drawn, with the
// columns that there are; it is none if it is empty.
func NewLine(out io.Writer, text func(now time.Time, columns int) string) *Line {
	l := &Line{out: out, text: text, kind: fileKind, pace: oneByOne, woken: make(chan struct{}, 1),
		signals: make(chan os.Signal, 4), over: make(chan struct{})}
	if IsTerminal(out) {
		l.kind, l.pace = terminalKind, inPlace
		if Dumb(out) {
			l.kind = dumbKind
		}
	}
	return l
}

// Dumb reports whether w is no terminal, or one that knows no escape sequences.
func Dumb(w any) bool {
	t := os.Getenv("TERM")
	return !IsTerminal(w) || t == "" || t == "dumb"
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Over returns what to write to instead of w, so that the line is not in the way. Text
// may be held back for a tenth of a second, and an error of it is that of a later write.
// A writer that does not go to the line's terminal is returned as it is.
func (l *Line) Over(w io.Writer) io.Writer {
	switch {
	case !IsTerminal(w) || l.kind == fileKind:
		return w
	case sameDevice(w.(*os.File), l.out.(*os.File)):
		w = l.out
	}
	return above{l, w}
}

func sameDevice(a, b *os.File) bool {
	var sa, sb unix.Stat_t
	return unix.Fstat(int(a.Fd()), &sa) == nil && unix.Fstat(int(b.Fd()), &sb) == nil && sa.Rdev == sb.Rdev
}

// Start begins to draw the line.
func (l *Line) Start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = drawn
	if l.kind != fileKind {
		signal.Notify(l.signals, syscall.SIGWINCH, syscall.SIGCONT)
		l.catchStop()
	}
	go l.keep()
}

// End removes the line for good and returns the first error of what was written. Where
// each drawing is a line of its own, the last is drawn.
func (l *Line) End() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == idle {
		return l.err
	}
	signal.Stop(l.signals)
	l.dropStop()
	close(l.over)
	if l.kind == fileKind {
		l.paint(time.Now())
	}
	l.state = idle
	l.paint(time.Now())
	return l.err
}

// Changed says that the text is another one now. It waits for nothing.
func (l *Line) Changed() {
	if !l.changed.Swap(true) {
		l.wake()
	}
}

func (l *Line) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// Redraw draws the line now.
func (l *Line) Redraw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == drawn {
		l.paint(time.Now())
		l.wake()
	}
}

// Pause removes the line until Resume.
func (l *Line) Pause() { l.pause(drawn, paused) }

// Resume draws it again.
func (l *Line) Resume() { l.pause(paused, drawn) }

// Paused reports whether the line is removed until Resume.
func (l *Line) Paused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == paused
}

func (l *Line) pause(from, to state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == from {
		l.state = to
		l.paint(time.Now())
		l.wake()
	}
}

// keep draws the line when it is time, until it has ended.
func (l *Line) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.over:
			return
		case <-l.woken:
		case <-timer.C:
		case <-l.signals:
			l.changed.Store(true)
		}
		timer.Reset(l.turn(time.Now()))
	}
}

// turn draws the line if it is time, and returns how long it is until the next time.
func (l *Line) turn(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pace.wait(now, l.changed.Load()) == 0 && l.state == drawn {
		l.paint(now)
	}
	if l.state != drawn || l.empty && !l.changed.Load() {
		return time.Hour // what ends that wakes keep
	}
	return l.pace.wait(now, l.changed.Load())
}

// above is a writer to the terminal of a line.
type above struct {
	l *Line
	w io.Writer
}

// Below returns what a writer that Over has returned writes to, and any other as it is.
// It is for processes that write by themselves, and go on when this one is no more.
func Below(w io.Writer) io.Writer {
	if a, ok := w.(above); ok {
		return a.w
	}
	return w
}

func (a above) Write(p []byte) (int, error) {
	l := a.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == drawn {
		l.hold(a.w, p)
		return len(p), l.err
	}
	l.follow(p)
	return a.w.Write(p)
}

// hold has text written with the next drawing, which is now if that may be. More than
// is kept is written at once. It needs mu.
func (l *Line) hold(w io.Writer, p []byte) {
	if n := len(l.held); n == 0 || l.held[n-1].w != w {
		l.held = append(l.held, piece{w: w})
	}
	last := &l.held[len(l.held)-1]
	last.text = append(last.text, p...)
	l.size += len(p)
	now := time.Now()
	switch {
	case l.pace.wait(now, true) == 0:
		l.paint(now)
		return
	case l.size >= mostHeld:
		l.write(l.erased())
	}
	l.Changed()
}

// paint writes what is held, with the line beneath it. It needs mu.
func (l *Line) paint(now time.Time) {
	l.changed.Store(false)
	l.pace.drew(now)
	pieces := l.erased()
	if l.state == drawn && l.front() {
		pieces = l.drawIn(pieces, now)
	}
	l.write(pieces)
}

// erased returns what removes the line, and what is held.
func (l *Line) erased() (pieces []piece) {
	if l.shown && l.front() {
		pieces = append(pieces, piece{l.out, []byte(l.erasure())})
	}
	l.shown = false
	for _, p := range l.held {
		l.follow(p.text)
	}
	pieces = append(pieces, l.held...)
	l.held, l.size = nil, 0
	return pieces
}

// drawIn adds the line. A text above that fills its last row leaves the cursor where no
// sequence can bring it back to: nothing is drawn before it goes on.
func (l *Line) drawIn(pieces []piece, now time.Time) []piece {
	columns := l.columns()
	text := l.text(now, columns-1)
	if l.empty = text == ""; l.empty || l.partial && (l.kind == dumbKind || l.column > 0 && l.column%columns == 0) {
		return pieces
	}
	text = Fit(text, columns-1)
	l.shown, l.drawn = true, Width(text)
	return append(pieces, piece{l.out, []byte(l.drawing(text))})
}

// follow keeps in mind where the text of the terminal ends. It needs mu.
func (l *Line) follow(p []byte) {
	if len(p) > 0 {
		l.partial = p[len(p)-1] != '\n'
		l.column = column(l.column, p)
	}
}

// drawing is what draws the line. The cursor stays at its beginning, or where the text
// above ends: so, when the terminal becomes narrower and folds the line into several,
// the cursor is before all of them. (ECMA-48: CUU and ED; DEC: IND, DECSC, DECRC.)
func (l *Line) drawing(text string) string {
	switch {
	case l.kind == fileKind:
		return text + "\n"
	case l.partial: // make a row below, go there and come back
		return "\x1bD\x1b[A\x1b7\r\n" + text + "\x1b8"
	}
	return text + "\r"
}

// erasure is what removes the line.
func (l *Line) erasure() string {
	switch {
	case l.kind == fileKind:
		return ""
	case l.kind == dumbKind:
		return "\r" + strings.Repeat(" ", l.drawn) + "\r"
	case l.partial:
		return "\x1b[J"
	}
	return "\r\x1b[J"
}

// write writes pieces, those for the same writer at once.
func (l *Line) write(pieces []piece) {
	var text []byte
	for i, p := range pieces {
		text = append(text, p.text...)
		if i+1 < len(pieces) && pieces[i+1].w == p.w {
			continue
		}
		if _, err := p.w.Write(text); err != nil && l.err == nil && l.kind != fileKind {
			l.err = err
		}
		text = nil
	}
}

// columns is how wide the terminal is.
func (l *Line) columns() int {
	if f, ok := l.out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return elseColumns
}

// front reports whether this process may write to the terminal: its process group is
// in the foreground, or the terminal is not the one that controls it.
func (l *Line) front() bool {
	f, ok := l.out.(*os.File)
	return !ok || Front(f)
}

// Front is front for a file.
func Front(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}
