package cli

import (
	"fmt"
	"strings"

	"muster/dispatcher"
	safe "muster/internal/terminal"
	"muster/task"
)

// tally counts results.
type tally struct {
	ok        int
	failed    int
	cancelled int
	sample    []string // the first few that failed
}

func (t *tally) add(r *dispatcher.Done) {
	if r.Err == nil {
		t.ok++
		return
	}
	t.failed++
	if r.Err.Kind == task.KindCancelled {
		t.cancelled++
	} else if len(t.sample) < 5 {
		t.sample = append(t.sample, fmt.Sprintf("%s: %s", label(r), safe.Cut(r.Err.Message, mostSample)))
	}
}

func tasks(n int) string { return plural(n, "task") }

func (t *tally) summary(dropped int, o runOptions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d ok, %d failed", tasks(t.ok+t.failed+dropped), t.ok, t.failed-t.cancelled)
	if n := t.cancelled + dropped; n > 0 {
		fmt.Fprintf(&b, ", %d cancelled or not started", n)
	}
	if len(t.sample) > 0 {
		fmt.Fprintf(&b, " [%s", strings.Join(t.sample, "; "))
		if more := t.failed - t.cancelled - len(t.sample); more > 0 {
			fmt.Fprintf(&b, "; and %d more", more)
		}
		b.WriteString("]")
		if !o.json && o.joblog == "" {
			b.WriteString("; --json or --joblog FILE tells all")
		}
	}
	return b.String()
}
