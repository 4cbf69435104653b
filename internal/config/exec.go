package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"muster/internal/proctree"
	"muster/internal/terminal"
)

const (
	maxOutput = 1 << 20
	maxStderr = 2 << 10 // of what is repeated in an error
	maxLines  = 5       // of it
	// pipeTime is how long what a program leaves running may keep its output open.
	pipeTime = time.Second
)

// errTooMuch ends a program that prints without end.
var errTooMuch = fmt.Errorf("it printed more than %d bytes", maxOutput)

// ran is a program of exec() in a setting's expression: the same words may be there
// more than once.
type ran struct {
	a    *attribute
	argv string
	nth  int
}

// result is what a program has printed, or why it failed.
type result struct {
	text string
	err  error
}

// runOnce runs a program of exec(). A setting that is evaluated for several workers
// runs one with the same words once for all: what it prints may be good for one use.
func (e *Evaluation) runOnce(argv []string) (string, error) {
	words := ran{a: e.current, argv: fmt.Sprintf("%q", argv)}
	key := words
	key.nth = e.calls[words]
	e.calls[words]++
	r, is := e.ran[key]
	if !is {
		r.text, r.err = e.run(argv)
		e.ran[key] = r
	}
	return r.text, r.err
}

// run runs a program of exec(), a credential helper, and returns what it prints
// less the last line break.
//
// It has a session of its own, so that it is killed with all that it started, and
// so that one that would ask at the terminal fails at once where it would
// otherwise be stopped by the terminal and wait for ever.
func (e *Evaluation) run(argv []string) (string, error) {
	ctx, cancel := context.WithCancelCause(e.opts.Context)
	defer cancel(nil)
	late := fmt.Errorf("it ran for %s", e.opts.ExecTime)
	timed, stop := context.WithTimeoutCause(ctx, e.opts.ExecTime, late)
	defer stop()
	cmd := exec.CommandContext(timed, argv[0], argv[1:]...)
	cmd.Dir = e.f.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = pipeTime
	cmd.Cancel = func() error { return proctree.KillGroup(cmd.Process.Pid, syscall.SIGKILL) }
	out := &bounded{full: func() { cancel(errTooMuch) }}
	said := &tail{to: e.opts.Stderr}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	switch {
	case timed.Err() != nil:
		err = fmt.Errorf("it was ended: %w", context.Cause(timed))
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // it ended well, and what it left running is its own affair
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w%s", terminal.Safe(argv[0]), err, said.last())
	case bytes.ContainsRune(out.b.Bytes(), 0):
		return "", fmt.Errorf("%s: it printed a NUL byte, which no string can have here", terminal.Safe(argv[0]))
	}
	return strings.TrimSuffix(out.b.String(), "\n"), nil
}

// bounded keeps what is written, up to maxOutput bytes.
type bounded struct {
	b    bytes.Buffer
	full func()
}

func (w *bounded) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > maxOutput {
		w.full()
		return 0, errTooMuch
	}
	return w.b.Write(p)
}

// tail keeps the end of what is written, and passes all of it on, safe to print.
type tail struct {
	b    []byte
	to   io.Writer // may be nil
	part []byte    // the begin of a character of which the rest is to come
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-maxStderr):]
	if t.to != nil {
		whole := append(t.part, p...)
		n := len(whole) - unfinished(whole)
		io.WriteString(t.to, terminal.Safe(string(whole[:n]))) // a reader who has gone does not end the program
		t.part = whole[n:]
	}
	return len(p), nil
}

// unfinished counts the bytes at the end of b that begin a character and do not
// end it.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if last := b[len(b)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}

// last is the end of what was said, for the end of an error.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(terminal.Safe(string(t.b))), "\n")
	if lines = lines[max(0, len(lines)-maxLines):]; lines[0] == "" {
		return ""
	}
	return "; it said: " + strings.Join(lines, "\n")
}
