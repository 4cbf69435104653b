package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hpc"
	"muster/internal/fleet"
)

// TestCancelIsBelievedWhenTheListSaysSo, and what is not gone is told.
func TestCancelIsBelievedWhenTheListSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job("1-2"))
		c.say("1_1|RUNNING|None|n1|x\n1_2|PENDING|None||x\n")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := f.Cancel(ctx, ""); err == nil || !strings.Contains(err.Error(), "job 1 may still be in the queue") || !strings.Contains(err.Error(), "`scancel 1`") {
			t.Errorf("cancelled while the list has it: %v", err)
		}
		if n := len(f.records(t)); n != 1 {
			t.Errorf("%d records", n)
		}
		if said := f.words(); !strings.Contains(said, "waiting until slurm says that 1 job is gone") {
			t.Errorf("said %q", said)
		}
		c.say("1_1|CANCELLED|None|n1|x\n1_2|CANCELLED|None||x\n")
		if err := f.Cancel(t.Context(), ""); err != nil {
			t.Error(err)
		}
		f.nothingLeft(t)
	})
}

// TestWhatIsTakenBackInVainIsForgotten when it has ended after all: a dispatcher goes on
// after a profile was reset while its scheduler was down.
func TestWhatIsTakenBackInVainIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job("1-2"))
		defer f.watch(t, ignore)()
		c.say(noAnswer)
		if err := f.Cancel(t.Context(), "p"); err == nil || !strings.Contains(err.Error(), "ask whether it is gone") {
			t.Errorf("nobody answers: %v", err)
		}
		if list := f.Standing(); len(list) != 1 || len(f.records(t)) != 1 {
			t.Errorf("known are %+v", list)
		}
		c.say("")
		time.Sleep(3 * time.Minute)
		if list := f.Standing(); len(list) != 0 {
			t.Errorf("still known are %+v", list)
		}
		f.nothingLeft(t)
		if said := f.words(); strings.Contains(said, "never joined") {
			t.Errorf("said %q", said)
		}
	})
}

// TestCancelTrustsWorkersThatJoined, which have been told to leave, but not a job of
// one that waits to be started again.
func TestCancelTrustsWorkersThatJoined(t *testing.T) {
	for listed, queries := range map[string]int{"1|RUNNING|None|n1|x\n": 1, "1|PENDING|BeginTime||x\n": 3} {
		synctest.Test(t, func(t *testing.T) {
			c := &scheduler{listed: listed}
			f := newBed(t, c)
			f.must(t, job(""))
			f.join("1")
			stop := f.watch(t, ignore)
			time.Sleep(5 * time.Second)
			stop()
			c.say("")
			if err := f.Cancel(t.Context(), ""); err != nil {
				t.Error(err)
			}
			if n := c.count("squeue"); n != queries {
				t.Errorf("%q: asked %d times, want %d", listed, n, queries)
			}
			f.nothingLeft(t)
		})
	}
}

// TestCancelAllThenConfirmAll: a command for each job at once, and a question for all of
// them. What no answer lists is gone after the second.
func TestCancelAllThenConfirmAll(t *testing.T) {
	const n = 20
	for _, listed := range []bool{true, false} {
		for _, back := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c := &scheduler{}
				f := newBed(t, c)
				var ended strings.Builder
				for i := range n {
					f.must(t, job("1-3"))
					for k := range 3 {
						fmt.Fprintf(&ended, "%d_%d|CANCELLED|None||x\n", i+1, k+1)
					}
				}
				queries := 2
				if listed {
					c.say(ended.String())
					queries = 1
				}
				c.answers(func(argv []string) (hpc.Output, error) {
					if argv[0] == "scancel" && c.count("squeue") > 0 {
						t.Error("it is asked before all are cancelled")
					}
					return hpc.Output{}, nil
				})
				began := time.Now()
				if back {
					other := &fleet.Fleet{Run: c.run, User: "me", Log: f.Log, Say: f.Say}
					for _, o := range other.TakeBack(t.Context(), f.records(t), "") {
						if o.Err != nil || o.Record.ID == "" {
							t.Errorf("%+v", o)
						}
					}
				} else if err := f.Cancel(t.Context(), "p"); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				if c.count("scancel") != n || c.count("squeue") != queries {
					t.Errorf("listed %v: %d cancels and %d questions, want %d and %d", listed, c.count("scancel"), c.count("squeue"), n, queries)
				}
				f.nothingLeft(t)
			})
		}
	}
}

// TestEveryJobGetsItsCancel, however little time there is and whatever others do.
func TestEveryJobGetsItsCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		var listed strings.Builder
		for i := range 20 {
			f.must(t, job(""))
			fmt.Fprintf(&listed, "%d|RUNNING|None|n1|x\n", i+1)
		}
		c.say(listed.String())
		fails := map[string]int{"scancel 3": 1, "scancel 5": 9}
		c.answers(func(argv []string) (hpc.Output, error) {
			if call := strings.Join(argv, " "); fails[call] > 0 {
				fails[call]--
				return hpc.Output{Code: 1, Stderr: []byte("try later")}, nil
			}
			return hpc.Output{}, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		err := f.Cancel(ctx, "")
		for i := range 20 {
			call := fmt.Sprintf("scancel %d", i+1)
			want := map[int]int{2: 2, 4: 3}[i]
			got := 0
			for _, made := range c.calls {
				if made == call {
					got++
				}
			}
			if got != max(want, 1) {
				t.Errorf("%s was run %d times", call, got)
			}
		}
		for _, want := range []string{"job 1 may still be in the queue: slurm has not said that it is gone; `scancel 1` ends it", "job 5 may still be in the queue: scancel: exit status 1: try later", "and 10 more like these"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in %v", want, err)
			}
		}
		if n := len(f.records(t)); n != 20 {
			t.Errorf("%d records", n)
		}
	})
}

// TestTwoPolls: launchers with different polls at one endpoint do not make it spin.
func TestTwoPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		for _, poll := range []time.Duration{time.Second, time.Minute} {
			p := job("")
			p.Poll = poll
			f.must(t, p)
		}
		c.say("1|RUNNING|None|n1|x\n2|RUNNING|None|n1|x\n")
		stop := f.watch(t, ignore)
		time.Sleep(2 * time.Second)
		time.AfterFunc(20*time.Second, func() { c.say("1|CANCELLED|None|n1|x\n2|CANCELLED|None|n1|x\n") })
		if err := f.Cancel(t.Context(), ""); err != nil {
			t.Error(err)
		}
		stop()
		if n := c.count("squeue"); n > 22 {
			t.Errorf("%d questions in 22 seconds", n)
		}
	})
}

// TestCancelOfAProfile leaves the others alone, while they are watched.
func TestCancelOfAProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job(""))
		p := job("")
		p.Profile = "other"
		f.must(t, p)
		stop := f.watch(t, ignore)
		c.say("1|RUNNING|None|n1|x\n2|RUNNING|None|n1|x\n")
		time.Sleep(5 * time.Second)
		time.AfterFunc(5*time.Second, func() { c.say("2|RUNNING|None|n1|x\n") })
		if err := f.Cancel(t.Context(), "p"); err != nil {
			t.Error(err)
		}
		stop()
		if jobs := f.Jobs(); len(jobs) != 1 || jobs[0] != "2" || c.count("scancel") != 1 {
			t.Errorf("left are %v after %v", jobs, c.calls)
		}
	})
}

// TestCancelWaiting takes back what has not started, and nothing else.
func TestCancelWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job("1-3"))
		f.must(t, job("1-2"))
		f.must(t, job(""))
		c.say("1_1|RUNNING|None|n1|x\n1_2|PENDING|None||x\n1_3|PENDING|None||x\n2_1|PENDING|None||x\n2_2|PENDING|None||x\n3|RUNNING|None|n1|x\n")
		stop := f.watch(t, ignore)
		time.Sleep(3 * time.Second)
		stop()
		f.CancelWaiting(t.Context())
		if c.count("scancel") != 2 || c.count("scancel 1_2 1_3") != 1 || c.count("scancel 2") != 1 {
			t.Errorf("ran %v", c.calls)
		}
		// What was cancelled as a whole is not cancelled again when all ends.
		c.say("")
		if err := f.Cancel(t.Context(), ""); err != nil || c.count("scancel") != 4 || c.count("scancel 2") != 1 {
			t.Errorf("%v, ran %v", err, c.calls)
		}
	})
}

// TestOutputOfAJobThatEnds: a scheduler that copies it when the job has ended finds its
// folder, whether anybody waits for that or not.
func TestOutputOfAJobThatEnds(t *testing.T) {
	for _, s := range []struct{ name, running, none string }{
		{"pbs", `{"Jobs": {"1.server": {"Job_Name": "x", "job_state": "R"}}}`, "{}"},
		{"slurm", "1|RUNNING|None|n1|x\n", ""},
	} {
		for _, joined := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) { endsAfter(t, s.name, joined, s.running, s.none) })
		}
	}
}

// endsAfter takes a job back that needs half a minute to end.
func endsAfter(t *testing.T, name string, joined bool, running, none string) {
	c := &scheduler{listed: running}
	f := newBed(t, c)
	f.must(t, jobs(name, ""))
	if joined {
		f.join("1")
	}
	output := filepath.Join(f.Dir, f.records(t)[0].Launch+".out")
	there := func() bool { _, err := os.Stat(output); return err == nil }
	stop := f.watch(t, ignore)
	time.Sleep(2 * time.Second)
	stop()
	began := time.Now()
	const exits = 32 * time.Second
	time.AfterFunc(exits-time.Second, func() {
		if want := name == "pbs" || !joined; there() != want {
			t.Errorf("%s, joined %v: the folder is there while the job ends: %v", name, joined, there())
		}
	})
	time.AfterFunc(exits, func() { c.say(none) })
	if err := f.Cancel(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); joined != (took < 10*time.Second) {
		t.Errorf("%s, joined %v: it took %v", name, joined, took)
	}
	time.Sleep(time.Minute)
	if want := name == "pbs" && joined; there() != want || len(f.records(t)) != 0 {
		t.Errorf("%s, joined %v: the folder is left: %v, records %v", name, joined, there(), f.records(t))
	}
	if _, err := os.Stat(strings.TrimSuffix(output, ".out") + ".join"); err == nil {
		t.Error("the join file is left")
	}
}

// TestTakeBack: another process ends what a record names.
func TestTakeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job(""))
		c.say("1|RUNNING|None|n1|x\n")
		time.AfterFunc(25*time.Second, func() { c.say("") })
		o := f.TakeBack(t.Context(), f.records(t), "")
		if len(o) != 1 || o[0].Record.ID != "1" || o[0].Err != nil || c.count("scancel 1") != 1 {
			t.Errorf("%+v", o)
		}
		f.nothingLeft(t)
	})
}

// TestTakeBackOfWhatMayBeThere: nothing is forgotten that may be in a queue.
func TestTakeBackOfWhatMayBeThere(t *testing.T) {
	for _, c := range []struct {
		name  string
		found string // NAME stands for the job's
		after time.Duration
		id    string
		err   string
		looks int // -1 is not counted
	}{
		{"it is not there", "", 0, "", "", 2},
		{"it is there", "9|NAME\n", 0, "9", "", -1},
		{"it is there the second time", "9|NAME\n", time.Second, "9", "", -1},
		{"two are", "9|NAME\n8|NAME\n", 0, "", "2 jobs have its name: [9 8]", 1},
		{"nobody answers", noAnswer, 0, "", "may still be in the queue: look for it: ", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scheduler{}
				f := newBed(t, s)
				s.answers(func(argv []string) (hpc.Output, error) {
					if argv[0] == "sbatch" {
						return hpc.Output{}, errors.New("lost")
					}
					return hpc.Output{}, nil
				})
				f.submit(t.Context(), job(""))
				r := f.records(t)[0]
				before := s.count("squeue")
				time.AfterFunc(c.after, func() {
					if c.found == noAnswer {
						s.say(noAnswer)
						return
					}
					s.finds(strings.ReplaceAll(c.found, "NAME", r.Job), "9|RUNNING|None|n1|x\n")
				})
				synctest.Wait()
				time.AfterFunc(10*time.Second, func() {
					if s.count("scancel 9") > 0 {
						s.say("9|CANCELLED|None|n1|x\n")
					}
				})
				o := f.TakeBack(t.Context(), []*fleet.Record{r}, "")[0]
				if r.ID != c.id || (o.Err == nil) != (c.err == "") || o.Err != nil && !strings.Contains(o.Err.Error(), c.err) {
					t.Errorf("%q, %v", r.ID, o.Err)
				}
				if n := s.count("squeue") - before; c.looks >= 0 && n != c.looks {
					t.Errorf("it looked %d times", n)
				}
				if left := len(f.records(t)); (left > 0) != (o.Err != nil) {
					t.Errorf("%d records are left", left)
				}
			})
		})
	}
}

// TestTakeBackOfWhatDoesNotEnd keeps the record.
func TestTakeBackOfWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job(""))
		f.must(t, job(""))
		c.say(noAnswer)
		c.answers(func(argv []string) (hpc.Output, error) {
			if strings.Join(argv, " ") == "scancel 2" {
				return hpc.Output{Code: 1, Stderr: []byte("not allowed")}, nil
			}
			return hpc.Output{}, nil
		})
		o := f.TakeBack(t.Context(), f.records(t), "")
		for _, one := range o {
			want := map[string]string{"1": "ask whether it is gone: squeue: exit status 1", "2": "not allowed"}[one.Record.ID]
			if one.Err == nil || !strings.Contains(one.Err.Error(), want) || !strings.Contains(one.Err.Error(), "`scancel "+one.Record.ID+"`") {
				t.Errorf("%s: %v", one.Record.ID, one.Err)
			}
		}
		if n := len(f.records(t)); n != 2 {
			t.Errorf("%d records", n)
		}
	})
}
