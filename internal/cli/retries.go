package cli

import (
	"fmt"
	"math"

	"github.com/urfave/cli/v2"
)

const (
	mostTries       = 1_000_000
	mostLostRetries = 100

	// defaultLostRetries is how often a task is tried again whose worker is lost.
	defaultLostRetries = 2
)

// retries says how often a task is tried.
type retries struct {
	failing int // in all, if it fails; 0 is until it succeeds
	lost    int // again, if its worker is lost
}

func (r *retries) flags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "retries", Destination: &r.failing, Value: 1, Usage: "try a task that fails `N` times in all; 0 is until it succeeds"},
		&cli.IntFlag{Name: "lost-retries", Destination: &r.lost, Value: defaultLostRetries, Usage: "try a task again `N` times when its worker is lost"},
	}
}

// check bounds what nobody can mean. Options that are counts are never negative.
func (r retries) check() error {
	switch {
	case r.failing > mostTries:
		return fmt.Errorf("--retries %d: how often a failing task is tried in all, 1 to %d, or 0 for until it succeeds", r.failing, mostTries)
	case r.lost > mostLostRetries:
		return fmt.Errorf("--lost-retries %d: how often a task is tried again whose worker is lost, 0 to %d", r.lost, mostLostRetries)
	}
	return nil
}

// tries is how often a failing task is tried in all, as a dispatcher takes it.
func (r retries) tries() int {
	if r.failing == 0 {
		return math.MaxInt32
	}
	return r.failing
}

// givenRetries are those of a command that has the flags among others.
func givenRetries(c *cli.Context) retries {
	return retries{failing: c.Int("retries"), lost: c.Int("lost-retries")}
}
