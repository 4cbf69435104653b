package cli

import (
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is the bar on the terminal; nil shows nothing.
type progress struct {
	mu    sync.Mutex // guards all below
	bar   *progressbar.ProgressBar
	shown bool
}

// newProgress returns a bar for so many tasks, -1 if that is not known yet.
func newProgress(when string, s streams, total int) *progress {
	if when == "never" || when != "always" && !terminal(s.err) {
		return nil
	}
	return &progress{bar: progressbar.NewOptions(total,
		progressbar.OptionSetWriter(s.err), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("tasks"), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth(),
		progressbar.OptionUseANSICodes(os.Getenv("TERM") != "dumb"))}
}

// clear makes room for a line of text.
func (p *progress) clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		p.bar.Clear()
		p.shown = false
	}
}

// add counts one task.
func (p *progress) add() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar.Add(1)
	p.shown = true
}

// total sets how many tasks there are, once the inputs have been read.
func (p *progress) total(n int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar.GetMax() < 0 {
		p.bar.ChangeMax(n)
	}
}
