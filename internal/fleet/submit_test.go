package fleet_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hpc"
	"muster/internal/fleet"
	"muster/internal/plan"
)

// TestSubmissionsAreSpaced, and split at the scheduler's limit: it serves others too.
func TestSubmissionsAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		c.answers(func(argv []string) (hpc.Output, error) {
			if argv[0] == "scontrol" {
				return hpc.Output{Stdout: []byte("MaxArraySize = 1001\n")}, nil
			}
			return hpc.Output{}, nil
		})
		f := newBed(t, c)
		began := time.Now()
		p := job("1-2500")
		p.Kind.(*plan.Cluster).Counted = true
		ids := f.must(t, p)
		if n := c.count("sbatch"); n != 3 || len(ids) != 3 {
			t.Errorf("%d submissions, %v", n, ids)
		}
		if took := time.Since(began); took < 400*time.Millisecond {
			t.Errorf("three submissions within %s", took)
		}
		workers := 0
		for _, r := range f.records(t) {
			workers += r.Workers
		}
		if n, known := f.Expected(f.records(t)[0].Launch); workers != 2500 || n != 2500 || !known {
			t.Errorf("%d workers are on record, %d are expected", workers, n)
		}
		slices.Sort(c.names)
		if len(slices.Compact(c.names)) != 3 {
			t.Errorf("jobs are called %v", c.names)
		}
	})
}

// TestNoLimitIsAsked: small arrays need none, and others go out as they are unless a
// number of workers was asked for.
func TestNoLimitIsAsked(t *testing.T) {
	for _, c := range []struct {
		array   string
		counted bool
	}{{"1-1000", true}, {"1-2500", false}, {"7,5000", false}} {
		synctest.Test(t, func(t *testing.T) {
			s := &scheduler{}
			p := job(c.array)
			p.Kind.(*plan.Cluster).Counted = c.counted
			newBed(t, s).must(t, p)
			if s.count("scontrol") != 0 || s.count("sbatch") != 1 {
				t.Errorf("%+v: ran %v", c, s.calls)
			}
		})
	}
}

// TestLaunch: the jobs of a place share a credential, a join file and a folder, which
// go with the last of them.
func TestLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		f := newBed(t, c)
		f.must(t, jobs("slurm", "1-2", "", "4-6"))
		list := f.records(t)
		launch := list[0].Launch
		var names []string
		for _, r := range list {
			names = append(names, r.Name)
		}
		if !slices.Equal(names, []string{launch + "-2", launch + "-3", launch}) && !slices.Equal(names, []string{launch, launch + "-2", launch + "-3"}) {
			t.Errorf("records are %v", names)
		}
		if b, err := os.ReadFile(filepath.Join(f.Dir, launch+".join")); string(b) != "secret\n" || err != nil {
			t.Errorf("the join file has %q, %v", b, err)
		}
		files := func() int {
			n := 0
			for _, ending := range []string{".join", ".out"} {
				if _, err := os.Lstat(filepath.Join(f.Dir, launch+ending)); err == nil {
					n++
				}
			}
			return n
		}
		other := &fleet.Fleet{Run: c.run, User: "me", Log: f.Log, Say: f.Say}
		for i, r := range list {
			if files() != 2 {
				t.Fatalf("%d files before the %d-th is taken back", files(), i+1)
			}
			if o := other.TakeBack(t.Context(), []*fleet.Record{r}, ""); o[0].Err != nil {
				t.Error(o[0].Err)
			}
		}
		f.nothingLeft(t)
	})
}

// TestMaybeSubmitted: an answer that got lost is looked up by the job's name; what is
// not found is told, stays on record, and is never sent again.
func TestMaybeSubmitted(t *testing.T) {
	for _, found := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := &scheduler{}
			f := newBed(t, c)
			c.answers(func(argv []string) (hpc.Output, error) {
				switch {
				case argv[0] == "sbatch":
					return hpc.Output{}, errors.New("sbatch did not answer in time")
				case argv[0] == "squeue" && found:
					return hpc.Output{Stdout: []byte("99|" + f.records(t)[0].Job + "\n")}, nil
				}
				return hpc.Output{}, nil
			})
			_, err := f.submit(t.Context(), job(""))
			records := f.records(t)
			if len(records) != 1 {
				t.Fatalf("%d records", len(records))
			}
			if found && (err != nil || records[0].ID != "99" || !slices.Equal(f.Jobs(), []string{"99"})) {
				t.Errorf("%v, %+v, %v", err, records[0], f.Jobs())
			}
			if !found && (err == nil || !strings.Contains(err.Error(), "may have been accepted all the same: look for a job "+records[0].Job) || records[0].ID != "") {
				t.Errorf("%v, %+v", err, records[0])
			}
			if n := c.count("sbatch"); n != 1 {
				t.Errorf("it was sent %d times", n)
			}
			if s := f.Standing(); len(s) != 1 || !found && !strings.Contains(s[0].Trouble, "may still be in the queue") {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestRefusedLeavesNoRecord, nor anybody who may join.
func TestRefusedLeavesNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{answer: func([]string) (hpc.Output, error) {
			return hpc.Output{Code: 1, Stderr: []byte("sbatch: error: no")}, nil
		}}
		f := newBed(t, c)
		_, err := f.submit(t.Context(), job(""))
		if !errors.Is(err, hpc.ErrRefused) || !strings.Contains(err.Error(), "sbatch: error: no") {
			t.Error(err)
		}
		if len(f.ended) != 1 {
			t.Errorf("credentials have ended of %v", f.ended)
		}
		f.nothingLeft(t)
	})
}

// TestWithoutWhatWorkersNeed: a launch for which something cannot be made fails, and
// leaves nothing.
func TestWithoutWhatWorkersNeed(t *testing.T) {
	for _, c := range []struct {
		what   string
		damage func(f *bed, n *plan.Names) error
		want   string
	}{
		{"its folder", func(f *bed, n *plan.Names) error { return os.WriteFile(n.Output, nil, 0o600) }, "make the folder for the output of "},
		{"its join file", func(f *bed, n *plan.Names) error { return os.Mkdir(n.JoinFile, 0o700) }, "write the join file of "},
		{"its credentials", func(f *bed, _ *plan.Names) error {
			f.Credentials = func(context.Context, fleet.Launch) (fleet.Credentials, error) {
				return fleet.Credentials{}, errors.New("no port")
			}
			return nil
		}, "no port"},
	} {
		f := newBed(t, &scheduler{})
		p := job("1-2")
		names, release, err := f.Names(t.Context(), p, "")
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if err := c.damage(f, &names[0]); err != nil {
			t.Fatal(err)
		}
		p.Names = names
		if _, err := f.Submit(t.Context(), p, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("without %s: %v", c.what, err)
		}
		if left, err := os.ReadDir(f.Dir); err != nil || len(left) > 0 || len(f.Jobs()) > 0 {
			t.Errorf("without %s: left are %v, %v", c.what, left, err)
		}
		if _, known := f.Expected(names[0].Launch); known {
			t.Errorf("without %s: the launch is still known", c.what)
		}
	}
}

// TestNoSuchCommand: a machine where the scheduler's command cannot be run has refused
// nothing, and certainly accepted nothing.
func TestNoSuchCommand(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/plain", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"nosuchbatch":        "nosuchbatch is not in PATH on this machine: ",
		dir + "/nosuchbatch": dir + "/nosuchbatch cannot be run on this machine: ",
		dir + "/plain":       dir + "/plain cannot be run on this machine: ",
	} {
		f := newBed(t, &scheduler{})
		f.Run = hpc.Here(os.Environ())
		p := job("1-2")
		p.Kind.(*plan.Cluster).Command = []string{name}
		_, err := f.submit(t.Context(), p)
		if err == nil || !strings.Contains(err.Error(), "submit c: "+want) || !strings.Contains(err.Error(), "via = launcher.ssh.NAME") || !strings.Contains(err.Error(), "`muster doctor -p p`") {
			t.Errorf("%s: %v", name, err)
		}
		if len(f.records(t)) > 0 || len(f.Jobs()) > 0 {
			t.Errorf("%s: left are %v", name, f.records(t))
		}
	}
}

// TestFederation: an id is nothing but what the scheduler has printed, and another's
// with the same number is another.
func TestFederation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		c.answers(func(argv []string) (hpc.Output, error) {
			switch other := slices.Contains(argv, "-M"); {
			case argv[0] == "sbatch":
				return hpc.Output{Stdout: []byte("7;other\n")}, nil
			case argv[0] == "squeue" && other && c.count("scancel -M other 7") > 0:
				return hpc.Output{Stdout: []byte("CLUSTER: other\n7_1|CANCELLED|None||x\n7_2|CANCELLED|None||x\n")}, nil
			case argv[0] == "squeue" && other:
				return hpc.Output{Stdout: []byte("CLUSTER: other\n7_1|RUNNING|None|n1|x\n7_2|PENDING|Priority||x\n")}, nil
			}
			return hpc.Output{}, nil
		})
		c.say("7_1|FAILED|None|n1|x\n7_2|FAILED|None|n1|x\n")
		f := newBed(t, c)
		ids := f.must(t, job("1-2"))
		stop := f.watch(t, ignore)
		time.Sleep(time.Minute)
		stop()
		s := f.Standing()[0]
		if !slices.Equal(ids, []string{"7;other"}) || !slices.Equal(ids, f.Jobs()) || f.records(t)[0].ID != ids[0] || s.ID != ids[0] || s.Running != 1 || s.Pending != 1 {
			t.Errorf("%q, %q, %+v", ids, f.Jobs(), s)
		}
		f.join("7_1")
		if n, _ := f.Expected(f.records(t)[0].Launch); n != 1 {
			t.Errorf("%d are expected", n)
		}
		if err := f.Cancel(t.Context(), ""); err != nil {
			t.Error(err)
		}
		f.nothingLeft(t)
	})
}

// TestSlowSubmission is said, and goes on.
func TestSlowSubmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scheduler{}
		c.answers(func(argv []string) (hpc.Output, error) {
			if argv[0] == "sbatch" {
				time.Sleep(time.Minute)
			}
			return hpc.Output{}, nil
		})
		f := newBed(t, c)
		time.AfterFunc(11*time.Second, func() {
			if said := f.words(); !strings.HasPrefix(said, "sbatch has not answered for 10s: ") {
				t.Errorf("after ten seconds was said: %q", said)
			}
		})
		f.must(t, job(""))
		if said := f.words(); said != "" {
			t.Errorf("and then %q", said)
		}
	})
}

// TestForeignJobs are on record, without anybody who may join by them. One to which
// muster gave no name of its own cannot be looked for, and is not forgotten.
func TestForeignJobs(t *testing.T) {
	for _, name := range []string{"", "theirs", "bare"} {
		synctest.Test(t, func(t *testing.T) {
			c := &scheduler{}
			f := newBed(t, c)
			f.Credentials = func(context.Context, fleet.Launch) (fleet.Credentials, error) {
				t.Error("credentials are wanted")
				return fleet.Credentials{}, nil
			}
			f.Program = func() (string, error) { return "", errors.New("the program is wanted") }
			p := job("")
			p.Whose = plan.Foreign
			k := p.Kind.(*plan.Cluster)
			k.Jobs[0].Name, k.Jobs[0].Body, k.Bare = name, "dask worker", name == "bare"
			f.must(t, p)
			if left, _ := os.ReadDir(f.Dir); len(left) != 1 {
				t.Errorf("there are %v", left)
			}
			c.answers(func(argv []string) (hpc.Output, error) {
				if argv[0] == "sbatch" {
					return hpc.Output{}, errors.New("lost")
				}
				return hpc.Output{}, nil
			})
			_, err := f.submit(t.Context(), p)
			named := name == "theirs"
			want := "muster gave it no name of its own, so look for what was submitted at "
			if named {
				want = "look for a job theirs-"
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %s", name, err, want)
			}
			err = f.Cancel(t.Context(), "")
			if named != (err == nil) || !named && !strings.Contains(err.Error(), "muster gave it no name") {
				t.Errorf("%q: %v", name, err)
			}
			if n := len(f.records(t)); named != (n == 0) {
				t.Errorf("%q: %d records", name, n)
			}
			if said := f.words(); said != "" && !strings.HasPrefix(said, "waiting until ") {
				t.Errorf("of them it is said: %s", said)
			}
		})
	}
}

// TestRecordedArray: a record says in few words which elements its job has, and they
// are taken back.
func TestRecordedArray(t *testing.T) {
	for array, want := range map[string]string{"1-1000": "1-1000", "2-10:4": "2-10:4", "1,2,3,7": "1-3,7", "5": "5", "1-3%2": "1-3", "": ""} {
		synctest.Test(t, func(t *testing.T) {
			c := &scheduler{}
			f := newBed(t, c)
			f.must(t, job(array))
			r := f.records(t)[0]
			if r.Array != want {
				t.Errorf("%s is recorded as %s", array, r.Array)
			}
			if o := f.TakeBack(t.Context(), []*fleet.Record{r}, ""); o[0].Err != nil || c.count("scancel 1") != 1 {
				t.Errorf("%+v", o[0])
			}
		})
	}
}

// TestUnnamed: what has no names cannot be submitted.
func TestUnnamed(t *testing.T) {
	f := newBed(t, &scheduler{})
	if _, err := f.Submit(t.Context(), job(""), ""); err == nil || !strings.Contains(err.Error(), "launcher c: its plan has names for 0 of 1 places") {
		t.Error(err)
	}
}
