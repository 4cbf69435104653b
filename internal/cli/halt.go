package cli

import (
	"fmt"
	"strconv"
	"strings"

	"muster/dispatcher"
)

// mostHalt is the highest count of tasks that --halt takes.
const mostHalt = 1 << 31

// shortHalts are the forms of --halt that older versions of GNU parallel have.
var shortHalts = map[string]string{"0": "never", "1": "soon,fail=1", "2": "now,fail=1", "-1": "soon,success=1", "-2": "now,success=1"}

// parseHalt reads when a run ends early, in the forms of GNU parallel's --halt.
func parseHalt(text string) (h dispatcher.Halt, err error) {
	long := text
	if of, ok := shortHalts[text]; ok {
		long = of
	} else if digits, ok := strings.CutSuffix(text, "%"); ok && isDigits(digits) {
		long = "soon,fail=" + text
	}
	if long == "never" || text == "" {
		return h, nil
	}
	when, why, _ := strings.Cut(long, ",")
	what, number, _ := strings.Cut(why, "=")
	on, known := map[string]dispatcher.Outcome{"fail": dispatcher.Failed, "success": dispatcher.Succeeded, "done": dispatcher.Ended}[what]
	digits, percent := strings.CutSuffix(number, "%")
	n, bad := strconv.Atoi(digits)
	if when != "soon" && when != "now" || !known || !isDigits(digits) || bad != nil || n < 1 || percent && n > 100 || n > mostHalt {
		return h, fmt.Errorf("--halt %q: it is never, or soon or now, then fail, success or done, and a count or a percentage, as in soon,fail=3 or now,success=1 or now,done=10%%", text)
	}
	h = dispatcher.Halt{On: on, Now: when == "now"}
	if percent {
		h.Percent = n
	} else {
		h.Count = n
	}
	return h, nil
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// halting is when the run ends early.
func (o *runOptions) halting() (dispatcher.Halt, error) {
	switch {
	case o.stop && o.halt != "":
		return dispatcher.Halt{}, fmt.Errorf("--stop is --halt now,fail=1: it cannot be given beside --halt %s", o.halt)
	case o.stop:
		return dispatcher.Halt{Count: 1, Now: true}, nil
	}
	return parseHalt(o.halt)
}

// sayHalted says once that the run ends early, if that was asked for in so many words.
func (e *execution) sayHalted() {
	if e.p.o.halt == "" || e.halted || !e.b.EndedEarly() {
		return
	}
	e.halted = true
	if running := e.profile.Pool.Running(); running > 0 && !e.p.halt.Now {
		e.say("--halt %s: starting nothing more, waiting for %s to end", e.p.o.halt, tasks(running))
		return
	}
	e.say("--halt %s: starting nothing more", e.p.o.halt)
}

// failures is how many tasks count as failed for the exit code. If the run was ended
// because tasks had succeeded there are none, and if it was ended because they were done
// those do not count that were cancelled for it.
func (e *execution) failures() int {
	if !e.b.EndedEarly() {
		return e.tally.failed
	}
	switch e.p.halt.On {
	case dispatcher.Succeeded:
		return 0
	case dispatcher.Ended:
		return e.tally.failed - e.tally.cancelled
	}
	return e.tally.failed
}
