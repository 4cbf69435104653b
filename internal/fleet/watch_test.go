package fleet_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hpc"
	"muster/internal/plan"
)

// TestOneQuery: however many jobs there are, one query in each interval.
func TestOneQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		for range 50 {
			f.must(t, job("1-20"))
		}
		c.say("7_1|PENDING|Priority||x\n")
		stop := f.watch(t, ignore)
		time.Sleep(10 * time.Minute)
		stop()
		if n := len(c.asked); n < 55 || n > 61 {
			t.Errorf("%d queries in ten minutes", n)
		}
		for i, at := range c.asked[1:] {
			if gap := at.Sub(c.asked[i]); gap < 10*time.Second {
				t.Errorf("two queries within %s", gap)
			}
		}
	})
}

// TestWhatIsTold follows an array of four.
func TestWhatIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job("1-4"))
		left := make(chan int, 1000)
		stop := f.watch(t, func(n int) { left <- n })
		next := func(listed, want string, alive int) {
			t.Helper()
			c.say(listed)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			got := f.words()
			if want == "" && got != "" || !strings.Contains(got, want) {
				t.Errorf("said %q, want %q", got, want)
			}
			n := -1
			for len(left) > 0 {
				n = <-left
			}
			if n != alive {
				t.Errorf("%d workers may come, want %d", n, alive)
			}
		}
		const waiting = "1_1|RUNNING|None|n1|x\n1_2|PENDING|Resources||x\n1_3|PENDING|Priority||x\n1_4|PENDING|Priority||x\n"
		next("", "launcher c: slurm has said nothing yet of job 1, which it took 10s ago; it is asked every 10s", 4) // not listed yet
		f.join("1_1")
		next(waiting, "1 of 4 workers running, 3 pending: Priority", 4)
		if s := f.Standing()[0]; s.Running != 1 || s.Pending != 3 || s.Reason != "Priority" || s.Trouble != "" || s.ID != "1" || s.Endpoint != "slurm" || s.Workers != 4 {
			t.Errorf("%+v", s)
		}
		next(waiting, "", 4)
		next(noAnswer, "slurm does not say how the workers stand", 4)
		if s := f.Standing()[0]; s.Pending != 3 || s.Trouble != "slurm does not say how the workers stand: squeue: exit status 1: Unable to contact controller" {
			t.Errorf("%+v", s)
		}
		next(noAnswer, "", 4)
		next("1_1|PENDING|BeginTime||x\n1_2|RUNNING|None|n1|x\n1_3|RUNNING|None|n1|x\n1_4|RUNNING|None|n1|x\n",
			"job 1_1 was taken off its node and waits again", 4)
		if s := f.Standing()[0]; s.Trouble != "job 1_1 was taken off its node and waits again" {
			t.Errorf("%+v", s)
		}
		f.join("1_2")
		paths, _ := filepath.Glob(filepath.Join(f.Dir, "*.out"))
		os.WriteFile(filepath.Join(paths[0], "3.out"), []byte("line\nexec: not found\n"), 0o600)
		next("1_1|RUNNING|None|n1|x\n1_2|COMPLETED|None|n1|x\n1_3|FAILED|NonZeroExitCode|n1|x\n1_4|FAILED|NonZeroExitCode|n1|x\n",
			"job 1_3 ended (FAILED) and its worker never joined, nor did 1 other; its output ends:\n  line\n  exec: not found\n  ("+paths[0]+"/3.out)", 1)
		if s := f.Standing()[0]; s.Ended != 3 || s.Trouble != "job 1_3 ended (FAILED) and its worker never joined, nor did 1 other: exec: not found" {
			t.Errorf("%+v", s)
		}
		next("1_1|RUNNING|None|n1|x\n", "", 1)
		next("", "", 1) // once proves nothing
		next("", "", 0)
		stop()
	})
}

// TestWorkersThatDoNotJoin: a job that runs for a while without its workers is told
// once, with what it prints, and no longer when they have come.
func TestWorkersThatDoNotJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job("1-3"))
		paths, _ := filepath.Glob(filepath.Join(f.Dir, "*.out"))
		os.WriteFile(filepath.Join(paths[0], "2.out"), []byte("pulling the image\n"), 0o600)
		c.say("1_1|RUNNING|None|n1|x\n1_2|RUNNING|None|n1|x\n1_3|RUNNING|None|n1|x\n")
		f.join("1_1")
		stop := f.watch(t, func(int) {})
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if got := f.words(); got != "" {
			t.Errorf("said %q", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		const text = "job 1_2 runs, and its worker has not joined yet; 1 other likewise"
		if got, want := f.words(), text+"; its output ends:\n  pulling the image\n  ("+paths[0]+"/2.out)"; !strings.Contains(got, want) || f.Standing()[0].Trouble != text {
			t.Errorf("said %q, want %q; %+v", got, want, f.Standing()[0])
		}
		f.join("1_2")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := f.words(); got != "" || f.Standing()[0].Trouble != "" {
			t.Errorf("said %q; %+v", got, f.Standing()[0])
		}
		stop()
	})
}

// TestOneAnswerIsNotBelieved: neither an empty one nor one about others ends anything.
func TestOneAnswerIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job("1-2"))
		const waiting = "1_1|PENDING|Priority||x\n1_2|PENDING|Priority||x\n"
		left := -1
		stop := f.watch(t, func(n int) { left = n })
		for round, listed := range []string{waiting, "", waiting, "2_1|RUNNING|None|n1|x\n", waiting, "1_7|RUNNING|None|n1|x\n1|RUNNING|None|n1|x\n", waiting} {
			c.say(listed)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if left != 2 {
				t.Errorf("round %d: %d workers may come", round, left)
			}
		}
		stop()
	})
}

// TestSilence: a scheduler that does not answer at all is told within ten seconds, and
// once.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job(""))
		c.answers(func(argv []string) (hpc.Output, error) {
			if argv[0] == "squeue" {
				time.Sleep(time.Minute)
				return hpc.Output{}, errors.New("squeue did not answer in time")
			}
			return hpc.Output{}, nil
		})
		stop := f.watch(t, ignore)
		time.Sleep(12 * time.Second)
		if said := f.words(); said != "slurm has not said for 10s how the workers stand; going on with what is known" {
			t.Errorf("said %q", said)
		}
		time.Sleep(3 * time.Minute)
		c.say("1|RUNNING|None|n1|x\n")
		c.answers(nil)
		time.Sleep(2 * time.Minute)
		if said := f.words(); !strings.Contains(said, "slurm answers again") || strings.Contains(said, "not said") {
			t.Errorf("said %q", said)
		}
		stop()
	})
}

// TestSomebodyCancels: those whose workers had not joined are told as well, with what
// to do.
func TestSomebodyCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job("1-4"))
		f.must(t, job(""))
		stop := f.watch(t, ignore)
		c.say("1_1|RUNNING|None|n1|x\n1_2|PENDING|None||x\n1_3|PENDING|None||x\n1_4|RUNNING|None|n1|x\n2|PENDING|None||x\n")
		f.join("1_1")
		time.Sleep(2 * time.Second)
		f.words()
		c.say("1_1|CANCELLED|None|n1|x\n1_2|CANCELLED|None||x\n1_3|CANCELLED|None||x\n1_4|RUNNING|None|n1|x\n2|CANCELLED|None||x\n")
		time.Sleep(time.Minute)
		synctest.Wait()
		said := f.words()
		for _, want := range []string{"job 1_1 was cancelled on the cluster; its tasks are tried again",
			"job 1_2 and 1 more of its array were cancelled on the cluster (CANCELLED) before their workers had joined; `muster launch --launcher c -n 2` starts as many again",
			"job 2 was cancelled on the cluster (CANCELLED) before its worker had joined; `muster launch --launcher c -n 1` starts as many again"} {
			if strings.Count(said, want) != 1 {
				t.Errorf("%q is not said once in\n%s", want, said)
			}
		}
		if strings.Contains(said, "never joined") {
			t.Errorf("said\n%s", said)
		}
		if s := f.Standing(); s[1].Trouble != "job 2 was cancelled on the cluster (CANCELLED) before its worker had joined" {
			t.Errorf("%+v", s)
		}
		stop()
	})
}

// TestOutputThatIsElsewhere: a job's own output setting, or its raw options, say where it
// is.
func TestOutputThatIsElsewhere(t *testing.T) {
	dir := t.TempDir()
	output := filepath.Join(dir, "log")
	os.WriteFile(output, []byte("no such module\n"), 0o600)
	for output, want := range map[string]string{
		output:               "its output ends:\n  no such module\n  (" + output + ")",
		output + "-%j":       "what it printed went where the launcher says, " + output + "-%j",
		dir + "/nowhere/log": "it left nothing in " + dir + "/nowhere/log, where the launcher sends what it prints: is that folder there?",
	} {
		for _, set := range []func(*hpc.Job){
			func(j *hpc.Job) { j.Output = output },
			func(j *hpc.Job) { j.Options = "#SBATCH -p main -o " + output },
		} {
			synctest.Test(t, func(t *testing.T) {
				c := &scheduler{}
				f := newBed(t, c)
				p := job("")
				set(&p.Kind.(*plan.Cluster).Jobs[0])
				f.must(t, p)
				c.say("1|FAILED|NonZeroExitCode|n1|x\n")
				stop := f.watch(t, ignore)
				time.Sleep(5 * time.Second)
				stop()
				if said := f.words(); said != "job 1 ended (FAILED) and its worker never joined; "+want {
					t.Errorf("said %q, want %q", said, want)
				}
			})
		}
	}
}

// TestManyThatEnd are not told one by one.
func TestManyThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		var listed strings.Builder
		for i := range 30 {
			f.must(t, job(""))
			fmt.Fprintf(&listed, "%d|FAILED|None|n1|x\n", i+1)
		}
		c.say(listed.String())
		stop := f.watch(t, ignore)
		time.Sleep(time.Minute)
		stop()
		said := f.words()
		if n := strings.Count(said, "\n") + 1; n != 6 || !strings.Contains(said, "25 jobs more ended and their workers never joined") {
			t.Errorf("%d lines: %s", n, said)
		}
	})
}

// TestForgotten: in a long time, what has ended goes with its records, its files and
// its credentials.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		stop := f.watch(t, ignore)
		for i := range 100 {
			f.must(t, job(""))
			id := fmt.Sprint(i + 1)
			f.join(id)
			c.say(id + "|RUNNING|None|n1|x\n")
			time.Sleep(time.Minute)
			c.say(id + "|COMPLETED|None|n1|x\n")
			time.Sleep(time.Minute)
			if n := len(f.Jobs()); n > 3 {
				t.Fatalf("%d jobs are known", n)
			}
		}
		time.Sleep(5 * time.Minute)
		stop()
		f.nothingLeft(t)
		if len(f.ended) != 100 || len(f.Standing()) != 0 {
			t.Errorf("%d launches have ended, %+v", len(f.ended), f.Standing())
		}
	})
}

// TestKept: output into which the user has been told to look stays until the end, of
// the last few.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		stop := f.watch(t, ignore)
		for i := range 30 {
			f.must(t, job(""))
			c.say(fmt.Sprintf("%d|FAILED|None|n1|x\n", i+1))
			time.Sleep(5 * time.Minute)
		}
		outputs, _ := filepath.Glob(filepath.Join(f.Dir, "*"))
		standing := f.Standing()
		if len(outputs) != 10 || len(standing) != 10 || standing[9].ID != "30" || standing[9].Trouble == "" || len(f.Jobs()) != 0 {
			t.Errorf("left are %v, %+v", outputs, standing)
		}
		stop()
		if err := f.Cancel(t.Context(), ""); err != nil {
			t.Error(err)
		}
		f.nothingLeft(t)
	})
}

// TestPartsAreForgottenOneByOne, and their launch with the last.
func TestPartsAreForgottenOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, jobs("slurm", "", ""))
		f.join("1", "2")
		stop := f.watch(t, ignore)
		c.say("1|COMPLETED|None|n1|x\n2|RUNNING|None|n1|x\n")
		time.Sleep(5 * time.Minute)
		if n := len(f.records(t)); n != 1 || len(f.ended) != 0 {
			t.Errorf("%d records, ended have %v", n, f.ended)
		}
		if left, _ := os.ReadDir(f.Dir); len(left) != 3 {
			t.Errorf("left are %v", left)
		}
		c.say("2|COMPLETED|None|n1|x\n")
		time.Sleep(5 * time.Minute)
		stop()
		f.nothingLeft(t)
	})
}

// TestGone: of which elements a scheduler has no process any more, whether they ended,
// wait again, or are no longer listed, and of no other.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, job("1-4"))
		stop := f.watch(t, ignore)
		next := func(listed string, want ...string) {
			t.Helper()
			c.say(listed)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			var got []string
			for e := range f.gone {
				got = append(got, e)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%q: gone are %v, want %v", listed, got, want)
			}
			clear(f.gone)
		}
		next("")
		next("1_1|RUNNING|None|n1|x\n1_2|RUNNING|None|n1|x\n1_3|RUNNING|None|n1|x\n1_4|PENDING|Priority||x\n")
		f.join("1_1", "1_2", "1_3", "1_4") // the last between two questions
		next(noAnswer)
		next("1_1|RUNNING|None|n1|x\n1_2|COMPLETED|None|n1|x\n1_3|PENDING|BeginTime||x\n1_4|RUNNING|None|n1|x\n", "1_2", "1_3")
		next("1_1|RUNNING|None|n1|x\n1_3|RUNNING|None|n1|x\n1_4|PENDING|Priority||x\n", "1_4")
		next("1_1|RUNNING|None|n1|x\n1_3|RUNNING|None|n1|x\n1_4|WHATEVER|None|n1|x\n")
		next("1_3|RUNNING|None|n1|x\n1_4|RUNNING|None|n1|x\n")
		next("1_3|RUNNING|None|n1|x\n1_4|RUNNING|None|n1|x\n", "1_1")
		stop()
	})
}

// TestHowItEnded: of what is no longer listed, a scheduler with books is asked how it
// ended before that is told.
func TestHowItEnded(t *testing.T) {
	for exit, want := range map[string]string{
		"271": "job 1 was cancelled on the cluster (F (Exit_status 271)) before its worker had joined; `muster launch --launcher c -n 1` starts as many again",
		"3":   "job 1 ended (F (Exit_status 3)) and its worker never joined; it left no output in ",
		"":    "job 1 ended (no longer listed) and its worker never joined; it left no output in ",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &scheduler{listed: "{}"}
			f := newBed(t, c)
			c.answers(func(argv []string) (hpc.Output, error) {
				if exit != "" && slices.Contains(argv, "-x") {
					return hpc.Output{Stdout: fmt.Appendf(nil, `{"Jobs": {"1.server": {"job_state": "F", "Exit_status": %s}}}`, exit)}, nil
				}
				return hpc.Output{}, nil
			})
			f.must(t, jobs("pbs", ""))
			stop := f.watch(t, ignore)
			time.Sleep(9 * time.Second)
			f.words()
			time.Sleep(time.Minute)
			stop()
			if said := f.words(); !strings.Contains(said, want) {
				t.Errorf("%q: said %q, want %q", exit, said, want)
			}
			if n := c.count("qstat -x"); n != 1 {
				t.Errorf("%q: it was asked %d times", exit, n)
			}
		})
	}
}
