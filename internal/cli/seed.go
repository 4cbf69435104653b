package cli

import (
	"fmt"

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
