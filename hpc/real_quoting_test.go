package hpc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/hpc"
	"muster/internal/testbed"
)

func slurmHere(t *testing.T) *hpc.Client {
	t.Helper()
	need(t, "munged", "slurmctld", "slurmd", "sbatch")
	s, err := testbed.StartSlurm(open(t), 2, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return client(t, "slurm", &s.Cluster)
}

func gridEngineHere(t *testing.T) *hpc.Client {
	t.Helper()
	need(t, "sge_qmaster", "sge_execd", "qsub")
	s, err := testbed.StartGridEngine(open(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return client(t, "sge", s)
}

// submit hands in a job.
func submit(t *testing.T, c *hpc.Client, j hpc.Job) string {
	t.Helper()
	cmd, err := c.Dialect.Render(j, c.Command)
	if err != nil {
		t.Fatalf("%+v: %v", j, err)
	}
	id, err := c.Submit(t.Context(), cmd)
	if err != nil {
		t.Fatalf("%v\n%s", err, cmd.Stdin)
	}
	return id
}

// takes has a scheduler run jobs of odd names with outputs in odd folders, and
// finds them by their names.
func takes(t *testing.T, c *hpc.Client, names, folders []string) {
	top := open(t)
	one := &hpc.Array{Spans: []hpc.Span{{First: 3, Last: 4, Step: 1}}}
	for i, folder := range folders {
		dir := filepath.Join(top, folder)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, array := range []*hpc.Array{nil, one} {
			submit(t, c, hpc.Job{Name: fmt.Sprintf("folder%d", i), Array: array, Output: c.Dialect.Outputs(dir, array != nil), Workdir: dir, Body: "pwd"})
		}
		want := []string{"out", "3.out", "4.out"}
		missing := want
		for end := time.Now().Add(30 * time.Second); len(missing) > 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			missing = slices.DeleteFunc(slices.Clone(want), func(name string) bool {
				b, _ := os.ReadFile(filepath.Join(dir, name))
				return string(b) == dir+"\n"
			})
		}
		if len(missing) > 0 {
			all, _ := filepath.Glob(filepath.Join(top, "*", "*"))
			t.Errorf("no output in %q: %q; there are %q", dir, missing, all)
		}
	}
	ids := map[string]string{}
	hold := map[string]string{"slurm": "#SBATCH -H", "sge": "#$ -h"}[c.Dialect.Name]
	for _, name := range names {
		ids[name] = submit(t, c, hpc.Job{Name: name, Output: "/dev/null", Options: hold, Body: "true"})
	}
	for name, id := range ids {
		if found, err := c.Find(t.Context(), name); err != nil || !slices.Equal(found, []string{id}) {
			t.Errorf("found %v by the name %q, %v; want %s", found, name, err, id)
		}
		if err := c.Cancel(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

// TestSlurmTakes.
func TestSlurmTakes(t *testing.T) {
	c := slurmHere(t)
	takes(t, c, []string{"my sim", "it's", `a"b`, `a\b`, "a#b", "a %j", "äöü☃", "a,b", "a|b", "$HOME`x`", "-x", "sim"},
		[]string{"my folder", "a%a %j%%", "it's \"b\" #1", "äöü☃", "a,b|c&$x;"})
}

// TestGridEngineTakes.
func TestGridEngineTakes(t *testing.T) {
	c := gridEngineHere(t)
	takes(t, c, []string{"a%b", "a|b", "a,b=c;d&e(f)", "a[1]{2}~", "$JOB_ID", "-x", "a!`^+.>b"},
		[]string{"my folder", "a:b c:d", "äöü☃", "a%b&;=|$x"})
	for _, name := range []string{"my sim", "ä", "a@b", "a*b", `a\b`, "a:b", "a?b", "a/b", "1a"} {
		j := hpc.Job{Name: name, Body: "true"}
		if _, err := c.Dialect.Render(j, nil); err == nil || !strings.HasPrefix(err.Error(), "name: ") {
			t.Errorf("the name %q is rendered: %v", name, err)
		}
		// What is refused here is refused there.
		if id, err := c.Submit(t.Context(), hpc.Command{Argv: []string{"qsub", "-terse", "-N", name}, Stdin: "true\n"}); err == nil {
			t.Errorf("Grid Engine takes the name %q as job %s", name, id)
		}
	}
}

// TestSlurmAnswers: what is asked of a real Slurm while the user's environment has
// filters, other jobs have lines in their names, and some ids are unknown.
func TestSlurmAnswers(t *testing.T) {
	c := slurmHere(t)
	for _, kv := range []string{"SQUEUE_PARTITION=", "SQUEUE_STATES=RUNNING", "SQUEUE_FORMAT=%i", "SQUEUE_NAMES=x", "SQUEUE_USERS=nobody", "SCANCEL_STATE=RUNNING",
		"SCANCEL_NAME=x", "SBATCH_JOB_NAME=theirs", "SBATCH_ARRAY_INX=1-3", "SBATCH_OUTPUT=/nowhere/x", "SBATCH_WAIT=1", "SLURM_TIME_FORMAT=x", "SINFO_PARTITION=x"} {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	c.Run = hpc.Here(hpc.Scrub(os.Environ()))
	id := submit(t, c, hpc.Job{Name: "mine", Options: "#SBATCH -H", Output: "/dev/null", Body: "true"})
	order(t, c, "sbatch", "-H", "-J", "n\n"+id+"|RUNNING|None|n1\n"+id+"|mine", "--wrap", "true")
	list, err := c.List(t.Context(), []string{"99999", id, "88888"})
	if err != nil || len(list) != 1 || list[0].Job != id || list[0].State != hpc.Pending || list[0].Reason != "JobHeldUser" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := c.List(t.Context(), []string{"99999"}); err != nil || len(list) != 0 {
		t.Errorf("one that is unknown is %+v, %v", list, err)
	}
	if found, err := c.Find(t.Context(), "mine"); err != nil || !slices.Equal(found, []string{id}) {
		t.Errorf("found %v, %v; want %s", found, err, id)
	}
	if err := c.Cancel(t.Context(), id); err != nil {
		t.Error(err)
	}
	until(t, c, id, func(list []hpc.Element) bool { return living(list) == 0 })
}

// TestGridEngineAnswers: the user's own defaults of qstat and its environment
// select other jobs.
func TestGridEngineAnswers(t *testing.T) {
	c := gridEngineHere(t)
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	defaults := filepath.Join(home, ".sge_qstat")
	if _, err := os.Stat(defaults); err == nil {
		t.Fatalf("%s is there", defaults)
	}
	if err := os.WriteFile(defaults, []byte("-s h -q nowhere.q -u nobody -ext\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(defaults) })
	t.Setenv("SGE_LONG_QNAMES", "1")
	t.Setenv("MORE_INFO", "1")
	c.Run = hpc.Here(hpc.Scrub(os.Environ()))
	id := submit(t, c, hpc.Job{Name: "mine", Array: &hpc.Array{Spans: []hpc.Span{{First: 1, Last: 6, Step: 1}}}, Output: "/dev/null", Body: "sleep 1000"})
	list := until(t, c, id, count(hpc.Running, 4))
	if living(list) != 6 {
		t.Errorf("%+v", list)
	}
	if found, err := c.Find(t.Context(), "mine"); err != nil || !slices.Equal(found, []string{id}) {
		t.Errorf("found %v, %v; want %s", found, err, id)
	}
}
