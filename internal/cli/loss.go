package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/prompt"
)

// loss is what goes with a dispatcher, or with one of its profiles.
type loss struct {
	unresolved  []dispatcher.FutureStatus // they resolve with 19
	uncollected []dispatcher.FutureStatus // that have results nobody has collected
}

// ofDispatcher is what goes when a dispatcher ends.
func ofDispatcher(st *control.Status) (l loss) {
	for _, f := range st.Futures {
		l.add(f)
	}
	return l
}

// ofProfile is what goes when one profile is reset. Results stay, unless the dispatcher
// ends with its last profile.
func ofProfile(st *control.Status, name string) (l loss) {
	if len(st.Profiles) == 1 && st.Profiles[0].Profile == name {
		return ofDispatcher(st)
	}
	return ofReplaced(st, name)
}

// ofReplaced is what goes when a profile is reset and the dispatcher stays: results do
// too.
func ofReplaced(st *control.Status, name string) (l loss) {
	for _, f := range st.Futures {
		if f.Profile == name && f.State != "resolved" {
			l.add(f)
		}
	}
	l.uncollected = nil
	return l
}

// add counts a future in. What an everywhere has printed is no result that anybody waits
// for.
func (l *loss) add(f dispatcher.FutureStatus) {
	if f.Kind == dispatcher.KindEverywhere {
		return
	}
	if f.State != "resolved" {
		l.unresolved = append(l.unresolved, f)
	}
	if f.Resolved > 0 && !f.Collected {
		l.uncollected = append(l.uncollected, f)
	}
}

// lines says what goes, a line for each kind; none if nothing does.
func (l loss) lines() (lines []string) {
	if n := len(l.unresolved); n > 0 {
		lines = append(lines, fmt.Sprintf("%s unresolved, and will resolve with 19, Connection reset: %s", count(n, "future is", "futures are"), listed(l.unresolved)))
	}
	if n := len(l.uncollected); n > 0 {
		results := 0
		for _, f := range l.uncollected {
			results += f.Resolved
		}
		lines = append(lines, fmt.Sprintf("%s not collected, and will be gone, of %s: %s", count(results, "result is", "results are"), count(n, "future", "futures"), listed(l.uncollected)))
	}
	return lines
}

// listed names futures, or the first few of many.
func listed(list []dispatcher.FutureStatus) string {
	var names []string
	for _, f := range list {
		names = append(names, fmt.Sprintf("%d (%s)", f.ID, called(f)))
	}
	return few(names, "future")
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// sayLoss says what is lost.
func (s streams) sayLoss(l loss) {
	for _, line := range l.lines() {
		s.err.Say("%s", line)
	}
}

// permit says what is lost and reports whether it may be: on a terminal a person is
// asked, unless sure is set.
func (s streams) permit(ctx context.Context, l loss, sure bool) (bool, error) {
	s.sayLoss(l)
	if sure || len(l.lines()) == 0 || !terminal(s.in) || !prompt.Present() {
		return true, nil
	}
	answer, err := (&prompt.Terminal{}).Ask(ctx, prompt.Question{Text: "end it all the same? [y/N] ", Echo: true})
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}
