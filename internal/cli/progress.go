package cli

import (
	"fmt"
	"sync"
	"time"

	"muster/internal/live"
	"muster/internal/prompt"
	"muster/internal/remote"
	safe "muster/internal/terminal"
)

// progress is the last line of the terminal. It says how far the tasks are, or copies
// to other machines while there are some; nil shows nothing.
type progress struct {
	line  *live.Line
	over  chan struct{} // closed by end
	begun time.Time
	tasks bool // tasks are counted

	mu      sync.Mutex // guards all below; nothing is written while it is held
	now     standing   // by what was counted
	seen    survey
	rate    rate
	copying map[string]remote.Progress
	ended   bool
}

// survey is how tasks stand by what those say who have them. It counts where results
// do not come here, or come late.
type survey struct {
	done, failed, running, total int
	crew                         crew
}

// newProgress returns what shows how far so many tasks are, -1 if that is not known
// yet, and the streams that leave room for it. Nothing is shown before start.
func newProgress(when string, s streams, total int) (*progress, streams) {
	if when == "never" || when != "always" && !terminal(s.err.Exact()) {
		return nil, s
	}
	p, s := lineOf(s)
	p.tasks = true
	p.now.total, p.now.open = max(total, 0), total < 0
	return p, s
}

// newCopyProgress returns what shows copies alone, for a command that counts no
// tasks. It has begun.
func newCopyProgress(s streams) (*progress, streams) {
	if !terminal(s.err.Exact()) {
		return nil, s
	}
	p, s := lineOf(s)
	p.start()
	return p, s
}

func lineOf(s streams) (*progress, streams) {
	p := &progress{over: make(chan struct{})}
	p.line = live.NewLine(s.err.Exact(), p.text)
	s.out, s.err = p.line.Over(s.out), safe.NewVoice(p.line.Over(s.err.Exact()))
	return p, s
}

// start begins to show it.
func (p *progress) start() {
	if p != nil {
		p.begun = time.Now()
		p.line.Start()
	}
}

// end removes the line, and returns what went wrong with what was written above it.
func (p *progress) end() error {
	if p == nil || p.hasEnded() {
		return nil
	}
	return p.line.End()
}

// hasEnded notes that the line ends, and reports whether it had already.
func (p *progress) hasEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return true
	}
	p.ended = true
	close(p.over)
	return false
}

// leave is end for a process that leaves at once, and does not wait for a terminal
// that takes nothing.
func (p *progress) leave() {
	if p == nil {
		return
	}
	gone := make(chan struct{})
	go func() {
		p.end()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(time.Second):
	}
}

// watch asks how tasks stand, now and again, until the line ends. look may take long
// and may fail, which changes nothing.
func (p *progress) watch(every time.Duration, look func() (survey, error)) {
	if p != nil {
		go p.keepWatching(every, look)
	}
}

func (p *progress) keepWatching(every time.Duration, look func() (survey, error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if o, err := look(); err == nil {
			p.see(o)
		}
		select {
		case <-p.over:
			return
		case <-tick.C:
		}
	}
}

func (p *progress) see(o survey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = o
	p.line.Changed()
}

// terminal returns what asks questions on the terminal that the line is on.
func (p *progress) terminal() *prompt.Terminal {
	if p == nil {
		return &prompt.Terminal{}
	}
	return &prompt.Terminal{Before: p.line.Pause, After: p.line.Resume}
}

// add counts one task.
func (p *progress) add(failed bool) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.done++
	if failed {
		p.now.failed++
	}
	p.line.Changed()
}

// total sets how many tasks there are, once the inputs have been read.
func (p *progress) total(n int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.open {
		p.now.total, p.now.open = n, false
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
	if p.copying == nil {
		p.copying = map[string]remote.Progress{}
	}
	_, known := p.copying[c.Host]
	if p.copying[c.Host] = c; c.Over {
		delete(p.copying, c.Host)
	}
	p.mu.Unlock()
	if known == c.Over { // there are more of them, or fewer
		p.line.Redraw()
	}
	p.line.Changed()
}

// text is the line.
func (p *progress) text(now time.Time, columns int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.copying) > 0 {
		return copies(p.copying, columns)
	}
	if !p.tasks {
		return ""
	}
	s := p.now
	s.done, s.failed, s.total = max(s.done, p.seen.done), max(s.failed, p.seen.failed), max(s.total, p.seen.total)
	s.running, s.crew = p.seen.running, p.seen.crew
	p.rate.count(now, s.done, s.running)
	s.elapsed, s.perSecond = now.Sub(p.begun), p.rate.second(now, s.done)
	return s.line(columns)
}

// copies says how far copies are. The numbers stay when there is little room.
func copies(all map[string]remote.Progress, columns int) string {
	var done, total int64
	var what string
	for host, c := range all {
		what = "copying muster to " + safe.Line(host)
		done, total = done+c.Done, total+c.Total
	}
	if len(all) > 1 {
		what = fmt.Sprintf("copying muster to %d machines", len(all))
	}
	numbers := fmt.Sprintf(" %.1f/%.1f MB", float64(done)/1e6, float64(total)/1e6)
	return live.Fit(what, columns-len(numbers)) + numbers
}
