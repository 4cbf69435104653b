package fleet_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/hpc"
	"muster/internal/fleet"
	"muster/internal/plan"
)

// scheduler is one whose answers a test writes: what matters here is what is asked, how
// often, and what is made of it. Real ones are in hpc and in the scripts.
type scheduler struct {
	mu     sync.Mutex
	calls  []string
	asked  []time.Time // the queries
	names  []string    // of the jobs submitted
	answer func(argv []string) (hpc.Output, error)
	listed string
	found  string // what a search by name finds
}

func (c *scheduler) run(ctx context.Context, argv []string, stdin string) (hpc.Output, error) {
	o, err := c.decide(ctx, argv, stdin)
	o.Argv = argv
	return o, err
}

func (c *scheduler) decide(ctx context.Context, argv []string, stdin string) (hpc.Output, error) {
	if err := ctx.Err(); err != nil {
		return hpc.Output{}, err
	}
	c.mu.Lock()
	c.calls = append(c.calls, strings.Join(argv, " "))
	for argv[0] == "env" || strings.Contains(argv[0], "=") { // before the command itself
		argv = argv[1:]
	}
	answer := c.answer
	if argv[0] == "squeue" || argv[0] == "qstat" {
		c.asked = append(c.asked, time.Now())
	}
	c.mu.Unlock()
	if answer != nil { // it may take its time
		if o, err := answer(argv); err != nil || o.Code != 0 || o.Stdout != nil {
			return o, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch argv[0] {
	case "sbatch", "qsub":
		_, name, _ := strings.Cut(stdin, "--job-name=")
		name, _, _ = strings.Cut(name, "\n")
		c.names = append(c.names, name)
		id := fmt.Sprint(len(c.names))
		if argv[0] == "qsub" {
			id += ".server"
		}
		return hpc.Output{Stdout: []byte(id + "\n")}, nil
	case "squeue", "qstat":
		if c.listed != noAnswer && slices.Contains(argv, "%F|%j") {
			return hpc.Output{Stdout: []byte(c.found)}, nil
		}
		if c.listed == noAnswer {
			return hpc.Output{Code: 1, Stderr: []byte("Unable to contact controller")}, nil
		}
		return hpc.Output{Stdout: []byte(c.listed)}, nil
	}
	return hpc.Output{}, nil
}

// noAnswer is what a scheduler lists that cannot be asked.
const noAnswer = "no answer"

// say sets what the scheduler lists.
func (c *scheduler) say(listed string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed = listed
}

// finds sets what a search finds, and what is listed.
func (c *scheduler) finds(found, listed string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found, c.listed = found, listed
}

// answers sets what decides on answers before the scheduler does.
func (c *scheduler) answers(f func(argv []string) (hpc.Output, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = f
}

func (c *scheduler) count(prefix string) int {
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

// bed is a Fleet whose words are kept.
type bed struct {
	*fleet.Fleet
	mu     sync.Mutex
	said   []string
	joined map[string]bool
	gone   map[string]bool
	ended  []string // launches whose credentials have
}

func newBed(t *testing.T, c *scheduler) *bed {
	f := &bed{joined: map[string]bool{}, gone: map[string]bool{}}
	f.Fleet = &fleet.Fleet{Dir: t.TempDir(), Run: c.run, User: "me", Log: hclog.NewNullLogger(),
		Program: func() (string, error) { return "/bin/muster", nil },
		Say: func(format string, args ...any) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.said = append(f.said, fmt.Sprintf(format, args...))
		},
		Credentials: f.credentials}
	return f
}

func (f *bed) credentials(_ context.Context, l fleet.Launch) (fleet.Credentials, error) {
	return fleet.Credentials{Join: func() string { return "secret" },
		Joined: func(element string) bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.joined[element]
		},
		Gone: func(element string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.gone[element] = true
		},
		End: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.ended = append(f.ended, l.Name)
		}}, nil
}

func (f *bed) join(elements ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range elements {
		f.joined[e] = true
	}
}

// words returns what has been said since it was last asked for.
func (f *bed) words() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := strings.Join(f.said, "\n")
	f.said = nil
	return s
}

// submit mints names for a plan and submits it.
func (f *bed) submit(ctx context.Context, p *plan.Plan) ([]string, error) {
	names, release, err := f.Names(ctx, p, "")
	if err != nil {
		return nil, err
	}
	defer release()
	q := *p
	q.Names = names
	done, err := f.Submit(ctx, &q, "")
	var ids []string
	for _, one := range done {
		ids = append(ids, one.ID)
	}
	return ids, err
}

// must is submit that works.
func (f *bed) must(t *testing.T, p *plan.Plan) []string {
	t.Helper()
	ids, err := f.submit(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// watch watches until the function that it returns is called. left gets what may still
// come.
func (f *bed) watch(t *testing.T, left func(int)) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		f.Watch(ctx, left)
		close(done)
	}()
	return func() {
		cancel()
		<-done
	}
}

func ignore(int) {}

// records are those on the disk.
func (f *bed) records(t *testing.T) []*fleet.Record {
	t.Helper()
	list, err := fleet.Records(f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// nothingLeft checks that the launches' folder is empty.
func (f *bed) nothingLeft(t *testing.T) {
	t.Helper()
	left, _ := os.ReadDir(f.Dir)
	if len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// job is a plan of one job for Slurm, an array if that is not empty.
func job(array string) *plan.Plan { return jobs("slurm", array) }

// jobs is a plan of a job for each array.
func jobs(scheduler string, arrays ...string) *plan.Plan {
	k := &plan.Cluster{Scheduler: scheduler}
	for _, text := range arrays {
		j := hpc.Job{Shell: "/bin/sh"}
		if text != "" {
			a, err := hpc.ParseArray(text)
			if err != nil {
				panic(err)
			}
			j.Array = a
		}
		k.Jobs = append(k.Jobs, j)
	}
	return &plan.Plan{Profile: "p", Launcher: "c", Poll: 10 * time.Second, Worker: plan.Worker{Slots: 1}, Kind: k}
}
