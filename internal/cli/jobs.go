package cli

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/plan"
	"muster/internal/units"
)

// Bounds on -n: more cannot be meant.
const (
	mostSlots    = 10_000 // tasks at once on this machine
	slotsForZero = 250    // as many as -n 0 starts
)

// jobs say how many tasks run at once, and how fast they start.
type jobs struct {
	n     string
	delay time.Duration
}

func (o *jobs) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "n", Aliases: []string{"j"}, Destination: &o.n, DefaultText: "one a core; as the config says",
			Usage: "run `N` tasks at once, or 50%, +1, -1 of the cores; or start N workers"},
		&cli.DurationFlag{Name: "delay", Destination: &o.delay, Usage: "wait `DURATION`, such as 200ms, after the start of a task"},
	}
}

// slots is how many tasks run at once on a machine of so many cores: as GNU parallel's
// -j has it, N, a percentage of the cores, or so many more or fewer, at least one; 0
// without -n. zero says that there are to be as many as possible.
func (o jobs) slots(cores int) (n int, zero bool, err error) {
	text := o.n
	if text == "" {
		return 0, false, nil
	}
	if n, err := units.ParseCount(text); err == nil {
		text = strconv.Itoa(n)
	}
	number, percent := strings.CutSuffix(text, "%")
	digits := strings.TrimLeft(number, "+-")
	value, bad := strconv.ParseFloat(digits, 64)
	relative := len(number)-len(digits) == 1
	if bad != nil || strings.Trim(digits, "0123456789.") != "" || len(number)-len(digits) > 1 || percent && relative || !percent && strings.Contains(digits, ".") {
		return 0, false, fmt.Errorf("-n %s: it is a number of tasks, or as in 50%%, +1 or -1 a part of the cores, or 0 for as many as possible", text)
	}
	switch {
	case percent:
		value = float64(cores) * value / 100
	case number[0] == '+':
		value += float64(cores)
	case number[0] == '-':
		value = float64(cores) - value
	case value == 0:
		return slotsForZero, true, nil
	}
	if value > mostSlots {
		return 0, false, fmt.Errorf("-n %s: at most %d tasks run at once on a machine", text, mostSlots)
	}
	return max(int(value), 1), false, nil
}

// workers is how many workers a cluster is asked for; 0 without -n.
func (o jobs) workers() (n int, err error) {
	if o.n == "" {
		return 0, nil
	}
	n, err = units.ParseCount(o.n)
	if err != nil || n < 1 || n > plan.MaxWorkers {
		return 0, fmt.Errorf("-n %s: with a profile that launches workers it is how many, 1 to %d: what is a core or as many as possible there, nobody knows", o.n, plan.MaxWorkers)
	}
	return n, nil
}

// countJobs finds how many workers, or tasks at once, the run is to have. Those that are
// launched count with a profile that has launchers.
func (p *runPlan) countJobs(launched bool) (err error) {
	if launched {
		p.o.slots, err = p.o.jobs.workers()
		return err
	}
	p.o.slots, p.mostAtOnce, err = p.o.jobs.slots(runtime.NumCPU())
	return err
}

// fitJobs has no more slots than inputs where there are to be as many as possible.
func (p *runPlan) fitJobs() {
	if total, known := p.in.Total(); p.mostAtOnce && known {
		p.o.slots = max(min(p.o.slots, total), 1)
	}
}
