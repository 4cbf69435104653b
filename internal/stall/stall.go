// Package stall decides when somebody who waits is told what they wait for. It is pure:
// it is shown how things stand, with the time, and answers with what is to be said.
package stall

import "time"

// Patience is how long nothing happens before it is said what is waited for.
const Patience = 10 * time.Second

// The same reason is said again after firstRepeat, then after twice as long each time,
// up to lastRepeat. A new one is said after a pause that is twice as long each time, from
// the patience up to longestPause, as long as nothing happens.
const (
	firstRepeat  = 5 * time.Minute
	lastRepeat   = time.Hour
	longestPause = 2 * time.Minute
)

// mostReasons is how many different reasons are remembered.
const mostReasons = 100

// Reason is why somebody waits. Two of the same Key are the same reason, though their
// texts may count up.
type Reason struct{ Key, Text string }

// Teller decides what is said to one who waits. Mark stands for all that counts as
// progress: something has happened when it is another. The zero value is not ready: use
// New. It is not safe for concurrent use.
type Teller[Mark comparable] struct {
	patience time.Duration
	mark     Mark
	since    time.Time // when something happened last
	said     map[string]saying
	last     time.Time // when something was said last
	pause    time.Duration
}

// saying is what is remembered of a reason that was said.
type saying struct {
	at    time.Time
	again time.Duration // after which it is said again
}

// New returns a teller for somebody who begins to wait now, with how things stand.
func New[Mark comparable](patience time.Duration, now time.Time, mark Mark) *Teller[Mark] {
	return &Teller[Mark]{patience: patience, mark: mark, since: now, said: map[string]saying{}, pause: patience}
}

// Look takes in how things stand and why, and returns the reasons that are to be said
// now.
func (t *Teller[Mark]) Look(now time.Time, mark Mark, why []Reason) (say []Reason) {
	if mark != t.mark {
		t.mark, t.since, t.pause = mark, now, t.patience
		return nil
	}
	if now.Sub(t.since) < t.patience || now.Sub(t.last) < t.pause {
		return nil
	}
	for _, r := range why {
		if t.due(now, r.Key) {
			say = append(say, r)
		}
	}
	if len(say) > 0 {
		t.last, t.pause = now, min(2*t.pause, max(longestPause, t.patience))
	}
	return say
}

// due reports whether a reason is to be said now, and remembers that it was.
func (t *Teller[Mark]) due(now time.Time, key string) bool {
	s, known := t.said[key]
	switch {
	case known && now.Sub(s.at) < s.again:
		return false
	case known:
		s.again = min(2*s.again, lastRepeat)
	default:
		s.again = firstRepeat
	}
	if len(t.said) >= mostReasons {
		clear(t.said)
	}
	s.at = now
	t.said[key] = s
	return true
}
