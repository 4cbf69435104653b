package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/urfave/cli/v2"

	"muster/rng"
)

// seedFlag is the seed of the random streams of what a command submits.
func seedFlag() cli.Flag {
	return &cli.StringFlag{Name: "seed", Usage: "number the tasks' random streams from 1, those of the seed `N`", DefaultText: "the profile's"}
}

// seedOf returns the streams of the command's seed.
func seedOf(c *cli.Context) (rng.Streams, error) {
	if !c.IsSet("seed") {
		return rng.Streams{}, nil
	}
	s, err := rng.ParseStreams(c.String("seed"))
	if err != nil {
		return s, fmt.Errorf("--seed: %w", err)
	}
	return s, nil
}

// shuffling is what --shuf shuffles by: the same each time for a seed, and another each
// time without one.
func shuffling(seed rng.Streams) uint64 {
	if seed.IsZero() {
		return rand.Uint64()
	}
	return rng.NewSource(seed.Of(1)).Uint64()
}

// settleSeed takes the profile's seed if the run has none of its own, and what follows
// from a seed. The profile has been found.
func (p *runPlan) settleSeed() error {
	if p.seed.IsZero() && p.pool != nil {
		p.seed = p.pool.set.Seed
	}
	p.shuf = shuffling(p.seed)
	if p.seed.IsZero() && p.o.shuffle && (p.o.past.resume || p.o.past.resumeFailed) {
		return errors.New("--shuf numbers the inputs in another order each time, and a job log has numbers alone: give the --seed N that the first run had")
	}
	return nil
}
