package launch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/hpc"
	"muster/internal/config"
	"muster/internal/launch"
	"muster/internal/remote"
)

// cluster is a Slurm whose answers a test writes: what matters here is what is
// asked, how often, and what is made of it. Real ones are in hpc and in the
// scripts.
type cluster struct {
	mu     sync.Mutex
	calls  []string // the commands, less what differs each time
	asked  []time.Time
	names  []string // of the jobs submitted
	answer func(argv []string) (hpc.Output, error)
	listed string
}

func (c *cluster) run(_ context.Context, argv []string, stdin string) (hpc.Output, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, strings.Join(argv, " "))
	if c.answer != nil {
		if o, err := c.answer(argv); err != nil || o.Code != 0 || o.Stdout != nil {
			return o, err
		}
	}
	switch argv[0] {
	case "sbatch":
		_, name, _ := strings.Cut(stdin, "--job-name=")
		name, _, _ = strings.Cut(name, "\n")
		c.names = append(c.names, name)
		return hpc.Output{Stdout: fmt.Appendf(nil, "%d\n", len(c.names))}, nil
	case "squeue":
		c.asked = append(c.asked, time.Now())
		return hpc.Output{Stdout: []byte(c.listed)}, nil
	}
	return hpc.Output{}, nil
}

func (c *cluster) say(listed string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed = listed
}

func (c *cluster) count(prefix string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, call := range c.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

// fleet is a Fleet whose words are kept.
type fleet struct {
	*launch.Fleet
	mu     sync.Mutex
	said   []string
	joined map[string]bool
}

func newFleet(t *testing.T, c *cluster) *fleet {
	f := &fleet{joined: map[string]bool{}}
	f.Fleet = &launch.Fleet{Dir: t.TempDir(), Run: c.run, User: "me", Log: hclog.NewNullLogger(),
		Say: func(format string, args ...any) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.said = append(f.said, fmt.Sprintf(format, args...))
		},
		Credentials: func(context.Context, *launch.Plan, string, int, *remote.Site) (launch.Credentials, error) {
			return launch.Credentials{Join: func() string { return "secret" }, Joined: func(element string) bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return f.joined[element]
			}}, nil
		}}
	return f
}

func (f *fleet) join(elements ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range elements {
		f.joined[e] = true
	}
}

func (f *fleet) words() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := strings.Join(f.said, "\n")
	f.said = nil
	return s
}

func plan(t *testing.T, settings string, w launch.Wish) *launch.Plan {
	t.Helper()
	f, err := config.Parse("muster.hcl", []byte("launcher \"cluster\" \"c\" {\nscheduler = \"slurm\"\n"+settings+"\n}"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := launch.Cluster(f, f.Launchers[0], config.Scope{}, w, 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOneQuery: however many jobs there are, one query in each interval.
func TestOneQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		f := newFleet(t, c)
		for range 50 {
			if _, err := f.Submit(t.Context(), plan(t, "array = \"1-20\"", launch.Wish{}), "/bin/muster", ""); err != nil {
				t.Fatal(err)
			}
		}
		c.say(strings.Repeat("7_1|PENDING|Priority||x\n", 1))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			f.Watch(ctx, func(int) {})
			close(done)
		}()
		time.Sleep(10 * time.Minute)
		cancel()
		<-done
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

// TestSubmissionsAreSpaced: a scheduler serves others too.
func TestSubmissionsAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		f := newFleet(t, c)
		p := plan(t, "", launch.Wish{Workers: 2500})
		p.Limit(1000)
		began := time.Now()
		if _, err := f.Submit(t.Context(), p, "/bin/muster", ""); err != nil {
			t.Fatal(err)
		}
		if n := c.count("sbatch"); n != 3 || p.Workers() != 2500 {
			t.Errorf("%d submissions of %d workers", n, p.Workers())
		}
		if took := time.Since(began); took < 400*time.Millisecond {
			t.Errorf("three submissions within %s", took)
		}
		slices.Sort(c.names)
		if len(slices.Compact(c.names)) != 3 {
			t.Errorf("jobs are called %v", c.names)
		}
	})
}

// TestWhatIsTold follows an array of four.
func TestWhatIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		f := newFleet(t, c)
		if _, err := f.Submit(t.Context(), plan(t, "array = \"1-4\"", launch.Wish{}), "/bin/muster", ""); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan int, 1000)
		done := make(chan struct{})
		go func() {
			f.Watch(ctx, func(n int) { left <- n })
			close(done)
		}()
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
		next("", "", 4) // not listed yet
		next("1_1|RUNNING|None|n1|x\n1_2|PENDING|Resources||x\n1_3|PENDING|Priority||x\n1_4|PENDING|Priority||x\n",
			"1 of 4 workers running, 3 pending: Priority", 4)
		f.join("1_1")
		next("1_1|RUNNING|None|n1|x\n1_2|PENDING|Resources||x\n1_3|PENDING|Priority||x\n1_4|PENDING|Priority||x\n", "", 4)
		next("1_1|RUNN", "slurm does not say how the workers stand", 4)
		next("1_1|RUNNING|None|n1|x\n1_2|PEND", "", 4)
		next("1_1|PENDING|BeginTime||x\n1_2|RUNNING|None|n1|x\n1_3|RUNNING|None|n1|x\n1_4|RUNNING|None|n1|x\n",
			"job 1_1 was taken off its node and waits again", 4)
		f.join("1_2")
		paths, _ := filepath.Glob(filepath.Join(f.Dir, "*.out"))
		os.WriteFile(filepath.Join(paths[0], "3.out"), []byte("line\nexec: not found\n"), 0o600)
		next("1_1|RUNNING|None|n1|x\n1_2|COMPLETED|None|n1|x\n1_3|FAILED|NonZeroExitCode|n1|x\n1_4|FAILED|NonZeroExitCode|n1|x\n",
			"job 1_3 ended (FAILED) and its worker never joined, nor did 1 others; its output ends:\n  line\n  exec: not found", 1)
		next("1_1|RUNNING|None|n1|x\n", "", 1)
		next("", "", 0) // what was listed and is no more has ended
		cancel()
		<-done
	})
}

// TestMaybeSubmitted: an answer that got lost is looked up by the job's name;
// what is not found is told, stays on record, and is never sent again.
func TestMaybeSubmitted(t *testing.T) {
	for _, found := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := &cluster{}
			f := newFleet(t, c)
			c.answer = func(argv []string) (hpc.Output, error) {
				switch {
				case argv[0] == "sbatch":
					return hpc.Output{}, errors.New("sbatch did not answer in time")
				case argv[0] == "squeue" && found:
					records, _ := launch.Records(f.Dir)
					return hpc.Output{Stdout: []byte("99|" + records[0].Name + "\n")}, nil
				}
				return hpc.Output{}, nil
			}
			_, err := f.Submit(t.Context(), plan(t, "", launch.Wish{}), "/bin/muster", "")
			records, _ := launch.Records(f.Dir)
			if len(records) != 1 {
				t.Fatalf("%d records", len(records))
			}
			if found && (err != nil || records[0].ID != "99" || !slices.Equal(f.Jobs(), []string{"99"})) {
				t.Errorf("%v, %+v, %v", err, records[0], f.Jobs())
			}
			if !found && (err == nil || !strings.Contains(err.Error(), "may have been accepted all the same: look for a job "+records[0].Name) || records[0].ID != "") {
				t.Errorf("%v, %+v", err, records[0])
			}
			if n := c.count("sbatch"); n != 1 {
				t.Errorf("it was sent %d times", n)
			}
		})
	}
}

// TestRefusedLeavesNoRecord.
func TestRefusedLeavesNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{answer: func([]string) (hpc.Output, error) {
			return hpc.Output{Code: 1, Stderr: []byte("sbatch: error: no")}, nil
		}}
		f := newFleet(t, c)
		_, err := f.Submit(t.Context(), plan(t, "", launch.Wish{}), "/bin/muster", "")
		if !errors.Is(err, hpc.ErrRefused) || !strings.Contains(err.Error(), "sbatch: error: no") {
			t.Error(err)
		}
		if left, _ := os.ReadDir(f.Dir); len(left) != 0 {
			t.Errorf("%v is left", left)
		}
	})
}

// TestCancelIsBelievedWhenTheListSaysSo, and what is not gone is told.
func TestCancelIsBelievedWhenTheListSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		f := newFleet(t, c)
		if _, err := f.Submit(t.Context(), plan(t, "array = \"1-2\"", launch.Wish{}), "/bin/muster", ""); err != nil {
			t.Fatal(err)
		}
		c.say("1_1|RUNNING|None|n1|x\n1_2|PENDING|None||x\n")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := f.Cancel(ctx, ""); err == nil || !strings.Contains(err.Error(), "job 1 may still be in the queue") || !strings.Contains(err.Error(), "`scancel 1`") {
			t.Errorf("cancelled while the list has it: %v", err)
		}
		if records, _ := launch.Records(f.Dir); len(records) != 1 {
			t.Errorf("%d records", len(records))
		}
		c.say("1_1|CANCELLED|None|n1|x\n1_2|CANCELLED|None||x\n")
		if err := f.Cancel(t.Context(), ""); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(f.Dir); len(left) != 0 {
			t.Errorf("%v is left", left)
		}
	})
}

// TestCancelTrustsWorkersThatJoined, which have been told to leave, but not a
// job of one that waits to be started again.
func TestCancelTrustsWorkersThatJoined(t *testing.T) {
	for listed, queries := range map[string]int{"1|RUNNING|None|n1|x\n": 1, "1|PENDING|BeginTime||x\n": 2} {
		synctest.Test(t, func(t *testing.T) {
			c := &cluster{listed: listed}
			f := newFleet(t, c)
			if _, err := f.Submit(t.Context(), plan(t, "", launch.Wish{}), "/bin/muster", ""); err != nil {
				t.Fatal(err)
			}
			f.join("1")
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				f.Watch(ctx, func(int) {})
				close(done)
			}()
			time.Sleep(5 * time.Second)
			cancel()
			<-done
			c.say("")
			if err := f.Cancel(t.Context(), ""); err != nil {
				t.Error(err)
			}
			if n := c.count("squeue"); n != queries {
				t.Errorf("%q: asked %d times, want %d", listed, n, queries)
			}
		})
	}
}

// TestTakeBack: another process ends what a record names.
func TestTakeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		f := newFleet(t, c)
		if _, err := f.Submit(t.Context(), plan(t, "", launch.Wish{}), "/bin/muster", ""); err != nil {
			t.Fatal(err)
		}
		records, err := launch.Records(f.Dir)
		if err != nil || len(records) != 1 {
			t.Fatal(records, err)
		}
		c.say("1|RUNNING|None|n1|x\n")
		go func() {
			time.Sleep(25 * time.Second)
			c.say("")
		}()
		id, err := records[0].TakeBack(t.Context(), f.Fleet, "")
		if id != "1" || err != nil || c.count("scancel 1") != 1 {
			t.Errorf("%q, %v", id, err)
		}
		if left, _ := os.ReadDir(f.Dir); len(left) != 0 {
			t.Errorf("%v is left", left)
		}
	})
}

func TestDamagedRecords(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.json": "{", "b.json": `{"name": "other"}`, "c.json": `{"name": "c"}`, "d.join": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := launch.Records(dir)
	if len(list) != 1 || list[0].Name != "c" || err == nil || !strings.Contains(err.Error(), "a.json") || !strings.Contains(err.Error(), "b.json") {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := list[0].TakeBack(t.Context(), &launch.Fleet{}, ""); err == nil || !strings.Contains(err.Error(), `no scheduler ""`) {
		t.Error(err)
	}
	if list, err := launch.Records(filepath.Join(dir, "nowhere")); len(list) != 0 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
}

// TestScriptCarriesTheJoinString where nodes share no file system.
func TestScriptCarriesTheJoinString(t *testing.T) {
	p := plan(t, "join = \"script\"\nmuster = \"/m\"\noutput = \"/o\"\nworkdir = \"/\"\nwalltime = \"1h\"", launch.Wish{Estimate: 5 * time.Minute})
	n := p.Placeholders("")
	n.JoinText = "muster1:abc"
	s, err := p.Render(0, n)
	want := "exec /m worker --join-file - --slots 1 --walltime 1h0m0s --estimate 5m0s --cd / <<'JOIN'\nmuster1:abc\nJOIN\n"
	if err != nil || !strings.HasSuffix(s.Script, want) {
		t.Errorf("%v\n%s", err, s.Script)
	}
	s.Script += "EOF\n"
	if sh := s.Shell(); !strings.HasSuffix(sh, "EOF\nEOF_1\n") || !strings.HasPrefix(sh, "sbatch --parsable<<'EOF_1'\n") {
		t.Errorf("a script that holds the end mark is pasted as\n%s", sh)
	}
}
