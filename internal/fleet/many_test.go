package fleet_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestManyJobs: a thousand cost a command each, a question a poll for all, and little
// time.
func TestManyJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, elements = 1000, 20
		c := &scheduler{}
		f := newBed(t, c)
		var arrays []string
		var waiting, ended strings.Builder
		for i := range n {
			arrays = append(arrays, fmt.Sprintf("1-%d", elements))
			for k := range elements {
				fmt.Fprintf(&waiting, "%d_%d|PENDING|Priority||x\n", i+1, k+1)
				fmt.Fprintf(&ended, "%d_%d|CANCELLED|Priority||x\n", i+1, k+1)
			}
		}
		c.say(waiting.String())
		f.must(t, jobs("slurm", arrays...))
		left := 0
		stop := f.watch(t, func(n int) { left = n })
		time.Sleep(time.Minute)
		stop()
		launch := f.Standing()[0].Launch
		if expected, _ := f.Expected(launch); left != n*elements || expected != left || len(f.Standing()) != n {
			t.Errorf("%d may come, %d are expected, %d jobs", left, expected, len(f.Standing()))
		}
		asked := c.count("squeue")
		c.say(ended.String())
		if err := f.Cancel(t.Context(), ""); err != nil {
			t.Error(err)
		}
		if c.count("scancel") != n || c.count("squeue") != asked+1 {
			t.Errorf("%d cancels, %d questions", c.count("scancel"), c.count("squeue")-asked)
		}
		f.nothingLeft(t)
	})
}
