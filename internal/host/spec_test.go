package host_test

import (
	"testing"

	"muster/internal/host"
	"muster/internal/units"
	"muster/rng"
)

// TestAdopts: a profile takes over no pool, and no shares, that were made with other values.
func TestAdopts(t *testing.T) {
	old := host.Spec{Name: "p", Ephemeral: true}
	for name, c := range map[string]struct {
		of   host.Spec
		want bool
	}{
		"the same":    {host.Spec{Name: "p", Workers: 3, Slots: 2}, true},
		"a name":      {host.Spec{Name: "q"}, false},
		"tries":       {host.Spec{Name: "p", Tries: 2}, false},
		"memory":      {host.Spec{Name: "p", Memory: 1}, false},
		"round-robin": {host.Spec{Name: "p", RoundRobin: true}, false},
		"a delay":     {host.Spec{Name: "p", Delay: units.Duration(1)}, false},
		"a seed of 0": {host.Spec{Name: "p", Seed: rng.Seeded(0)}, false},
		"spread":      {host.Spec{Name: "p", Spread: true}, false},
		"share limit": {host.Spec{Name: "p", ShareLimit: 1}, false},
		"sync":        {host.Spec{Name: "p", Sync: true}, false},
	} {
		if got := c.of.Adopts(&old); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
