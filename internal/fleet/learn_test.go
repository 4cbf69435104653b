package fleet_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hpc"
)

// TestJoinsWhileAsked: a worker that joins while the answer is on its way, in which its
// job waits still, was not taken off its node, and is not taken back as one that waits.
func TestJoinsWhileAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job("1-2"))
		c.answers(func(argv []string) (hpc.Output, error) {
			if argv[0] != "squeue" {
				return hpc.Output{}, nil
			}
			f.join("1_1")
			return hpc.Output{Stdout: []byte("1_1|PENDING|None||x\n1_2|PENDING|None||x\n")}, nil
		})
		stop := f.watch(t, ignore)
		time.Sleep(3 * time.Second)
		stop()
		if said := f.words(); strings.Contains(said, "taken off") || f.gone["1_1"] {
			t.Errorf("gone is %v, and said %q", f.gone, said)
		}
		f.CancelWaiting(t.Context())
		if c.count("scancel") != 1 || c.count("scancel 1_2") != 1 {
			t.Errorf("ran %v", c.calls)
		}
	})
}
