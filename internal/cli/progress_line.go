package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/internal/live"
	"muster/internal/units"
)

// standing is what a line of progress says.
type standing struct {
	done, failed, running int
	total                 int  // as far as it is known
	open                  bool // there will be more
	elapsed               time.Duration
	perSecond             float64 // 0 if it is not known yet
	crew                  crew
}

// crew is who works, where workers come and go.
type crew struct {
	shown            bool
	workers, pending int // pending are those that a scheduler has not started
}

// part is one part of the line, with its rank: those of the highest are left out first.
type part struct {
	rank int
	text string
}

// line is what fits into so many columns, with a bar if there is room for one.
func (s standing) line(columns int) string {
	parts := s.parts()
	for len(parts) > 1 && width(parts) > columns {
		least := slices.MaxFunc(parts, func(a, b part) int { return cmp.Compare(a.rank, b.rank) })
		parts = slices.DeleteFunc(parts, func(p part) bool { return p == least })
	}
	return s.bar(columns-width(parts)-1) + joined(parts)
}

func joined(parts []part) string {
	var texts []string
	for _, p := range parts {
		texts = append(texts, p.text)
	}
	return strings.Join(texts, ", ")
}

func width(parts []part) int { return live.Width(joined(parts)) }

func (s standing) parts() []part {
	total := ""
	if s.total > 0 {
		total = fmt.Sprintf("/%d", s.total)
	}
	if s.open && total != "" {
		total += "+"
	}
	if !s.open { // what ran when it was looked may have ended
		s.running = min(s.running, max(s.total-s.done, 0))
	}
	parts := []part{
		{0, fmt.Sprintf("%d%s done", s.done, total)},
		{2, fmt.Sprintf("%d failed", s.failed)},
		{3, fmt.Sprintf("%d running", s.running)},
	}
	if s.open {
		parts = append(parts, part{7, "more to come"})
	}
	if s.perSecond > 0 {
		parts = append(parts, part{6, perTime(s.perSecond)})
	}
	parts = append(parts, part{5, "elapsed " + units.Age(s.elapsed)})
	if left := s.total - s.done; !s.open && left > 0 && s.elapsed >= rateFirst {
		parts = append(parts, part{4, "ETA " + s.eta(left)})
	}
	if s.crew.shown {
		parts = append(parts, s.crew.part())
	}
	return parts
}

func (s standing) eta(left int) string {
	if s.perSecond == 0 {
		return "unknown"
	}
	seconds := float64(left) / s.perSecond
	return units.Age(time.Duration(min(seconds, 1e9) * float64(time.Second)))
}

// part says who works. That nobody does is more important than what has failed.
func (c crew) part() part {
	text := plural(c.workers, "worker")
	rank := 8
	if c.workers == 0 {
		text, rank = "no worker", 1
	}
	if c.pending > 0 {
		text += fmt.Sprintf(", %d pending", c.pending)
	}
	return part{rank, text}
}

// bar is a bar of so many columns at most, with a space behind it; "" if that is too
// few or the end is not known. It has tens of cells, so that it keeps its width while
// numbers become longer.
func (s standing) bar(columns int) string {
	cells := min(columns-2, mostCells) / 10 * 10
	if cells <= 0 || s.open || s.total == 0 {
		return ""
	}
	full := cells * min(s.done, s.total) / s.total
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", cells-full) + "] "
}

const mostCells = 50 // of a bar

// perTime is a rate in a unit of which there is at least one.
func perTime(perSecond float64) string {
	switch {
	case perSecond >= 10:
		return fmt.Sprintf("%.0f/s", perSecond)
	case perSecond >= 1:
		return fmt.Sprintf("%.1f/s", perSecond)
	case perSecond*60 >= 1:
		return fmt.Sprintf("%.1f/min", perSecond*60)
	}
	return fmt.Sprintf("%.1f/h", perSecond*3600)
}
