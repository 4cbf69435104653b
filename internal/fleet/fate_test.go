package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/hpc"
	"muster/internal/fleet"
)

// lost is a fleet with an array of n whose workers have all joined.
func lost(t *testing.T, n int, f func(t *testing.T, c *scheduler, f *bed, name string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		fl := newBed(t, c)
		fl.must(t, job(fmt.Sprintf("1-%d", n)))
		for i := range n {
			fl.join(fmt.Sprintf("1_%d", i+1))
		}
		f(t, c, fl, fl.records(t)[0].Launch)
	})
}

// TestFate: what a scheduler's word means for a worker that was lost.
func TestFate(t *testing.T) {
	for _, c := range []struct {
		state string
		want  fleet.Fate
		asked int
	}{
		{"CANCELLED", fleet.Fate{End: hpc.EndCancelled, Text: "job 1_1 was cancelled on the cluster"}, 1},
		{"TIMEOUT", fleet.Fate{End: hpc.EndWalltime, Text: "job 1_1 ran into its time limit"}, 1},
		{"PREEMPTED", fleet.Fate{End: hpc.EndPreempted, Text: "job 1_1 was preempted"}, 1},
		{"PENDING", fleet.Fate{End: hpc.EndPreempted, Text: "job 1_1 was taken off its node and waits again"}, 1},
		{"OUT_OF_MEMORY", fleet.Fate{End: hpc.EndMemory, Text: "job 1_1 used more memory than it may"}, 1},
		{"NODE_FAIL", fleet.Fate{End: hpc.EndNode, Text: "the node of job 1_1 failed"}, 1},
		{"FAILED", fleet.Fate{End: hpc.EndOrdinary, Text: "job 1_1 ended (FAILED)"}, 1},
		{"RUNNING", fleet.Fate{Text: "job 1_1 still runs, without its worker"}, 3},
		{"WHATEVER", fleet.Fate{}, 3},
		{"", fleet.Fate{}, 3}, // it is not listed
	} {
		lost(t, 1, func(t *testing.T, cl *scheduler, f *bed, name string) {
			if c.state != "" {
				cl.say("1_1|" + c.state + "|None|n1|x\n")
			}
			// A worker may be one of several processes of its job.
			for _, element := range []string{"1_1", "1_1.2"} {
				before := cl.count("squeue")
				if got := f.Fate(t.Context(), name, element); got != c.want {
					t.Errorf("%s: %+v, want %+v", c.state, got, c.want)
				}
				if n := cl.count("squeue") - before; n != c.asked {
					t.Errorf("%s: it was asked %d times, want %d", c.state, n, c.asked)
				}
			}
			if got := f.Fate(t.Context(), name, "9_9"); got != (fleet.Fate{}) {
				t.Errorf("of a worker of nobody's: %+v", got)
			}
			if got := f.Fate(t.Context(), "other", "1_1"); got != (fleet.Fate{}) {
				t.Errorf("of a launch that is not there: %+v", got)
			}
		})
	}
}

// TestFateIsAskedOnceForAll: workers that are lost together are one question, no
// two come within a second, and what was cancelled is told once.
func TestFateIsAskedOnceForAll(t *testing.T) {
	lost(t, 50, func(t *testing.T, c *scheduler, f *bed, name string) {
		var text strings.Builder
		for i := range 50 {
			fmt.Fprintf(&text, "1_%d|CANCELLED|None|n1|x\n", i+1)
		}
		c.say(text.String())
		for round := range 3 {
			var asking sync.WaitGroup
			for i := range 50 {
				asking.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					if got := f.Fate(t.Context(), name, fmt.Sprintf("1_%d", i+1)); got.End != hpc.EndCancelled {
						t.Errorf("%+v", got)
					}
				})
			}
			asking.Wait()
			if n := c.count("squeue"); n != round+1 {
				t.Errorf("%d questions after %d times", n, round+1)
			}
		}
		for i := range len(c.asked) - 1 {
			if d := c.asked[i+1].Sub(c.asked[i]); d < time.Second {
				t.Errorf("two questions within %s", d)
			}
		}
		const want = "job 1_1 and 49 more of its array were cancelled on the cluster; their tasks are tried again"
		if said := f.words(); said != want {
			t.Errorf("it was said:\n%s", said)
		}
	})
}

// TestFateWaitsForTheEnd: a job that is being ended, or a scheduler that does not
// answer, is asked again, as long as the caller waits.
func TestFateWaitsForTheEnd(t *testing.T) {
	lost(t, 1, func(t *testing.T, c *scheduler, f *bed, name string) {
		c.say("1_1|COMPLETING|None|n1|x\n")
		time.AfterFunc(10*time.Second, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.answer = func([]string) (hpc.Output, error) { return hpc.Output{}, errors.New("no answer") }
		})
		time.AfterFunc(20*time.Second, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.answer, c.listed = nil, "1_1|TIMEOUT|None|n1|x\n"
		})
		began := time.Now()
		if got := f.Fate(t.Context(), name, "1_1"); got.End != hpc.EndWalltime {
			t.Errorf("%+v", got)
		}
		if d := time.Since(began); d < 20*time.Second || d > 22*time.Second {
			t.Errorf("it took %s", d)
		}
		c.say("1_1|COMPLETING|None|n1|x\n")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if got := f.Fate(ctx, name, "1_1"); got != (fleet.Fate{}) {
			t.Errorf("when the time is over: %+v", got)
		}
		synctest.Wait()
	})
}

// TestExpected: who may yet join is who waits, who runs and has not joined, and who
// waits again.
func TestExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		if n, known := f.Expected("x"); known {
			t.Errorf("%d workers of no launch are expected", n)
		}
		f.must(t, job("1-4"))
		launch := f.records(t)[0].Launch
		stop := f.watch(t, ignore)
		expect := func(listed string, want int) {
			t.Helper()
			c.say(listed)
			time.Sleep(10 * time.Second)
			if n, known := f.Expected(launch); n != want || !known {
				t.Errorf("%q: %d workers are expected, want %d", listed, n, want)
			}
		}
		if n, _ := f.Expected(launch); n != 4 {
			t.Errorf("%d workers are expected of what was just submitted", n)
		}
		expect("1_1|RUNNING|None|n1|x\n1_2|RUNNING|None|n1|x\n1_3|FAILED|None|n1|x\n1_4|PENDING|Priority||x\n", 3)
		f.join("1_1")
		expect("1_1|RUNNING|None|n1|x\n1_2|RUNNING|None|n1|x\n1_3|FAILED|None|n1|x\n1_4|PENDING|Priority||x\n", 2)
		expect("1_1|PENDING|BeginTime||x\n1_2|FAILED|None|n1|x\n1_3|FAILED|None|n1|x\n1_4|PENDING|Priority||x\n", 2)
		stop()
	})
}
