package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"muster/internal/prompt"
	"muster/internal/remote"
	safe "muster/internal/terminal"
)

// progress is the last line of the terminal, with the bar of the tasks or the one
// of copies to other machines; nil shows nothing.
type progress struct {
	w io.Writer

	mu       sync.Mutex               // guards all below
	tasks    *progressbar.ProgressBar // nil where none are counted
	copies   *progressbar.ProgressBar // nil while nothing is copied
	copying  map[string]remote.Progress
	shown    *progressbar.ProgressBar // the one that is on the line; nil if none is
	question bool                     // a person is asked something there: nothing is shown
	waiting  int                      // tasks that were counted meanwhile
}

// newProgress returns a bar for so many tasks, -1 if that is not known yet.
func newProgress(when string, s streams, total int) *progress {
	if when == "never" || when != "always" && !terminal(s.err.Exact()) {
		return nil
	}
	p := &progress{w: s.err.Exact()}
	p.tasks = p.bar(int64(total), progressbar.OptionShowIts(), progressbar.OptionSetItsString("tasks"))
	return p
}

// newCopyProgress returns what shows copies alone, for a command that counts no
// tasks.
func newCopyProgress(s streams) *progress {
	if !terminal(s.err.Exact()) {
		return nil
	}
	return &progress{w: s.err.Exact()}
}

func (p *progress) bar(total int64, more ...progressbar.Option) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, append(more,
		progressbar.OptionSetWriter(p.w), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth(),
		progressbar.OptionUseANSICodes(os.Getenv("TERM") != "dumb"))...)
}

// clear makes room for a line of text.
func (p *progress) clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
}

// wipe is clear, under mu.
func (p *progress) wipe() {
	if p.shown != nil {
		p.shown.Clear()
		p.shown = nil
	}
}

// line makes the line that of a bar, and returns whether it may be drawn. Under mu.
func (p *progress) line(bar *progressbar.ProgressBar) bool {
	if p.question {
		return false
	}
	if p.shown != bar {
		p.wipe()
		p.shown = bar
	}
	return true
}

// asking leaves the line to a question, or takes it back.
func (p *progress) asking(question bool) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	p.question = question
}

// terminal returns what asks questions on the terminal that the bar is on.
func (p *progress) terminal() *prompt.Terminal {
	return &prompt.Terminal{Before: func() { p.asking(true) }, After: func() { p.asking(false) }}
}

// add counts one task.
func (p *progress) add() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.line(p.tasks) {
		p.waiting++
		return
	}
	p.tasks.Add(1 + p.waiting)
	p.waiting = 0
}

// total sets how many tasks there are, once the inputs have been read.
func (p *progress) total(n int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tasks.GetMax() < 0 {
		p.tasks.ChangeMax(n)
	}
}

// copied returns what is told of copies, or nil if they are not shown.
func (p *progress) copied() func(remote.Progress) {
	if p == nil {
		return nil
	}
	return p.copy
}

// copy shows how far all copies together are.
func (p *progress) copy(c remote.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.copying == nil {
		p.copying = map[string]remote.Progress{}
	}
	_, known := p.copying[c.Host]
	if p.copying[c.Host] = c; c.Over {
		delete(p.copying, c.Host)
	}
	if len(p.copying) == 0 {
		if p.shown == p.copies {
			p.wipe()
		}
		p.copies = nil
		return
	}
	var done, total int64
	var what string
	for host, c := range p.copying {
		what = "copying muster to " + safe.Line(host)
		done, total = done+c.Done, total+c.Total
	}
	if n := len(p.copying); n > 1 {
		what = fmt.Sprintf("copying muster to %d machines", n)
	}
	if !known || c.Over || p.copies == nil { // there are more of them, or fewer
		if p.copies != nil && p.shown == p.copies {
			p.wipe()
		}
		p.copies = p.bar(total, progressbar.OptionShowBytes(true), progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish())
	}
	if p.line(p.copies) {
		p.copies.Set64(done)
	}
}
