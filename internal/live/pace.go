package live

import "time"

// pace says when a line is drawn again: soonest after it was drawn last if it has
// changed since, latest in any case.
type pace struct {
	soonest, latest time.Duration
	last            time.Time // when it was drawn; zero if it never was
}

// A line of a terminal is drawn at most ten times a second and at least once, since
// its clock goes on. Where each drawing is a line of its own there are fewer of them.
var (
	inPlace     = pace{soonest: 100 * time.Millisecond, latest: 500 * time.Millisecond}
	oneByOne    = pace{soonest: time.Second, latest: 30 * time.Second}
	mostHeld    = 64 << 10 // bytes of text that wait for the next drawing
	elseColumns = 80       // of what does not say how wide it is
)

// wait is how long from now the line is to be drawn, 0 if it is now.
func (p *pace) wait(now time.Time, changed bool) time.Duration {
	if p.last.IsZero() {
		return 0
	}
	after := p.latest
	if changed {
		after = p.soonest
	}
	return max(0, after-now.Sub(p.last))
}

func (p *pace) drew(now time.Time) { p.last = now }
