package cli

import (
	"strings"
	"testing"

	"muster/internal/remote"
	safe "muster/internal/terminal"
)

// TestProgressOfCopies: the bar says what is copied, is gone when that is over or
// something else is to be shown, and stays away while a question is asked.
func TestProgressOfCopies(t *testing.T) {
	var b strings.Builder
	shows := func(want ...string) {
		t.Helper()
		got := b.String()
		b.Reset()
		if len(want) == 0 && got != "" {
			t.Errorf("it shows %q", got)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("it shows %q, not %q", got, w)
			}
		}
	}
	const wiped = "\x1b[2K"
	p := newProgress("always", streams{err: safe.NewVoice(&b)}, 10)
	p.copy(remote.Progress{Host: "a", Done: 1e6, Total: 4e6})
	shows("copying muster to a", "(1.0/4.0 MB")
	p.copy(remote.Progress{Host: "b", Done: 0, Total: 4e6})
	shows(wiped, "copying muster to 2 machines", "/8.0 MB")
	p.clear()
	shows(wiped)
	p.add()
	shows("(1/10")
	p.asking(true)
	shows(wiped)
	p.add()
	p.copy(remote.Progress{Host: "b", Done: 4e6, Total: 4e6})
	p.copy(remote.Progress{Host: "b", Total: 4e6, Over: true})
	shows()
	p.asking(false)
	p.add()
	b.Reset() // it may be too soon to draw it again
	if n := p.tasks.State().CurrentNum; n != 3 {
		t.Errorf("%d tasks are counted", n)
	}
	p.copy(remote.Progress{Host: "a", Done: 2e6, Total: 4e6})
	shows(wiped, "copying muster to a", "(2.0/4.0 MB")
	p.copy(remote.Progress{Host: "a", Total: 4e6, Over: true})
	shows(wiped)
	p.clear()
	p.copy(remote.Progress{Host: "c", Total: 4e6, Over: true}) // one that had not begun
	shows()

	alone := &progress{w: &b}
	alone.copy(remote.Progress{Host: "a", Done: 1e6, Total: 4e6})
	shows("copying muster to a")
	if none := newCopyProgress(streams{err: safe.NewVoice(&b)}); none != nil || none.copied() != nil {
		t.Error("copies are shown where there is no terminal")
	}
}
