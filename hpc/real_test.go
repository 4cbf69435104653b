package hpc_test

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/hpc"
	"muster/internal/testbed"
)

// client gives orders to a scheduler that was booted, with the environment of
// a user who has it set up.
func client(t *testing.T, d string, c *testbed.Cluster) *hpc.Client {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range c.Env {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	return &hpc.Client{Dialect: hpc.Dialects[d], Run: hpc.Here(os.Environ()), User: me.Username}
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	if missing := testbed.Missing(programs...); missing != "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("needs %s", missing)
		}
		t.Skipf("needs %s", missing)
	}
}

// open makes a directory that other users may enter.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// until asks the scheduler until ok says yes.
func until(t *testing.T, c *hpc.Client, id string, ok func([]hpc.Element) bool) []hpc.Element {
	t.Helper()
	var list []hpc.Element
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		all, err := c.List(context.Background(), []string{id})
		if err != nil {
			t.Fatal(err)
		}
		list = slices.DeleteFunc(all, func(e hpc.Element) bool { return e.Job != id })
		if ok(list) {
			return list
		}
	}
	t.Fatalf("the jobs stand at %+v", list)
	return nil
}

func count(s hpc.State, n int) func([]hpc.Element) bool {
	return func(list []hpc.Element) bool {
		for _, e := range list {
			if e.State == s {
				n--
			}
		}
		return n <= 0
	}
}

// living counts what has not ended.
func living(list []hpc.Element) int {
	n := 0
	for _, e := range list {
		if e.State != hpc.Ended {
			n++
		}
	}
	return n
}

// script submits text as it is.
func script(c *hpc.Client, text string) hpc.Command {
	return hpc.Command{Argv: c.SubmitCommand(), Stdin: text}
}

// lifeOfAnArray submits, watches, and cancels an array whose elements wait for
// a file, and checks what they saw of themselves.
func lifeOfAnArray(t *testing.T, c *hpc.Client, dir string) {
	release := filepath.Join(dir, "release")
	cmd, err := c.Dialect.Render(hpc.Job{Name: "array", Array: &hpc.Array{Spans: []hpc.Span{{First: 1, Last: 5, Step: 1}}, Throttle: 2},
		Walltime: 10 * time.Minute, CPUs: 1, Output: filepath.Join(dir, "out.$$"), Workdir: dir,
		Body: `echo "` + "$" + map[string]string{"slurm": "SLURM_ARRAY_TASK_ID", "sge": "SGE_TASK_ID"}[c.Dialect.Name] + `" >started.$$
env >env.$$
while ! test -e ` + release + `; do sleep 0.05; done`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.Submit(context.Background(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	list := until(t, c, id, count(hpc.Running, 2))
	if running := slices.Collect(func(yield func(hpc.Element) bool) {
		for _, e := range list {
			if e.State == hpc.Running && !yield(e) {
				return
			}
		}
	}); len(running) != 2 {
		t.Errorf("the throttle lets %d run: %+v", len(running), list)
	}
	if n := living(list); n != 5 {
		t.Errorf("%d elements: %+v", n, list)
	}
	found, err := c.Find(context.Background(), "array")
	if err != nil || !slices.Equal(found, []string{id}) {
		t.Errorf("found %v by its name, %v; want %s", found, err, id)
	}
	var started []string
	for len(started) < 2 {
		started, _ = filepath.Glob(filepath.Join(dir, "env.*"))
	}
	b, err := os.ReadFile(started[0])
	for err == nil && !strings.Contains(string(b), "PATH=") {
		b, err = os.ReadFile(started[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Split(string(b), "\n")
	getenv := func(name string) string {
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v
			}
		}
		return ""
	}
	who, ok := hpc.Inside(getenv)
	if !ok || who.Job != id || who.Index < 1 || who.Index > 5 || who.Element != c.Dialect.Element(id, who.Index, true) {
		t.Errorf("an element of %s takes itself for %+v", id, who)
	}
	for _, kv := range hpc.Scrub(env) {
		if name, _, _ := strings.Cut(kv, "="); strings.Contains(name, "JOB_ID") || strings.Contains(name, "TASK_ID") {
			t.Errorf("a submission from inside would carry %s", kv)
		}
	}
	// Some of those that wait, which do not follow each other.
	if err := c.CancelElements(context.Background(), id, []int{5, 3}); err != nil {
		t.Error(err)
	}
	for _, e := range until(t, c, id, func(list []hpc.Element) bool { return living(list) == 3 }) {
		if gone := e.Index == 3 || e.Index == 5; gone != (e.State == hpc.Ended) {
			t.Errorf("with elements 3 and 5 cancelled there is %+v", e)
		}
	}
	if err := c.Cancel(context.Background(), id); err != nil {
		t.Error(err)
	}
	until(t, c, id, func(list []hpc.Element) bool { return living(list) == 0 })
	if err := c.Cancel(context.Background(), id); err != nil {
		t.Errorf("cancelled again: %v", err)
	}
}

func TestSlurm(t *testing.T) {
	need(t, "munged", "slurmctld", "slurmd", "sbatch")
	s, err := testbed.StartSlurm(open(t), 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	c := client(t, "slurm", &s.Cluster)
	lifeOfAnArray(t, c, t.TempDir())
	if n := c.Limit(context.Background()); n != 1000 {
		t.Errorf("the largest index is %d", n)
	}
	for name, text := range map[string]string{
		"Invalid job array":         "#!/bin/sh\n#SBATCH --array=1-5000\ntrue\n",
		"invalid partition":         "#!/bin/sh\n#SBATCH -p nowhere\ntrue\n",
		"This does not look like a": "true\n",
	} {
		if id, err := c.Submit(t.Context(), script(c, text)); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%q was answered with %q, %v", text, id, err)
		}
	}
}

// fates waits until the scheduler tells how the elements of a job ended.
func fates(t *testing.T, c *hpc.Client, id string, want map[int]hpc.End) {
	t.Helper()
	var list []hpc.Element
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var err error
		if list, err = c.Fates(context.Background(), []string{id}); err != nil {
			t.Fatal(err)
		}
		missing := len(want)
		for _, e := range list {
			if e.Job == id && e.State == hpc.Ended && e.End == want[e.Index] && e.End != hpc.EndUnknown {
				missing--
			}
		}
		if missing == 0 {
			return
		}
	}
	t.Errorf("job %s: %+v\nwant the ends %v", id, list, want)
}

// order gives an order to a scheduler as a person would.
func order(t *testing.T, c *hpc.Client, argv ...string) {
	t.Helper()
	o, err := c.Run(t.Context(), argv, "")
	if err != nil || o.Code != 0 {
		t.Fatalf("%v: %v, %+v", argv, err, o)
	}
}

// TestSlurmFates: what became of elements that ended by themselves, that somebody
// cancelled, whose node failed, and that wait again.
func TestSlurmFates(t *testing.T) {
	need(t, "munged", "slurmctld", "slurmd", "sbatch")
	s, err := testbed.StartSlurm(open(t), 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	c := client(t, "slurm", &s.Cluster)
	id, err := c.Submit(t.Context(), script(c, "#!/bin/sh\n#SBATCH --array=1-4 --no-requeue -o /dev/null\n[ $SLURM_ARRAY_TASK_ID = 1 ] || sleep 1000\n"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, c, id, count(hpc.Running, 3))
	order(t, c, "scancel", id+"_2")
	fates(t, c, id, map[int]hpc.End{1: hpc.EndOrdinary, 2: hpc.EndCancelled})
	var node string
	for _, e := range until(t, c, id, count(hpc.Running, 2)) {
		if e.Index == 4 {
			node = e.Node
		}
	}
	order(t, c, "scontrol", "update", "nodename="+node, "state=down", "reason=failed")
	fates(t, c, id, map[int]hpc.End{4: hpc.EndNode})
	again, err := c.Submit(t.Context(), script(c, "#!/bin/sh\n#SBATCH --requeue -o /dev/null\nsleep 1000\n"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, c, again, count(hpc.Running, 1))
	order(t, c, "scontrol", "requeue", again)
	until(t, c, again, count(hpc.Pending, 1))
}

// TestPBSScriptsOnSlurm has Slurm's qsub read what is rendered for PBS.
func TestPBSScriptsOnSlurm(t *testing.T) {
	need(t, "munged", "slurmctld", "slurmd", "sbatch")
	if _, err := os.Stat(testbed.Qsub); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("needs Slurm's qsub: ./test.sh as root unpacks it")
	}
	s, err := testbed.StartSlurm(open(t), 2, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	dir := t.TempDir()
	watch := client(t, "slurm", &s.Cluster)
	for name, variable := range map[string]string{"pbs": "PBS_ARRAY_INDEX", "torque": "SLURM_ARRAY_TASK_ID"} {
		c := client(t, name, &s.Cluster)
		// This qsub takes a file, not its standard input, and leaves output beside it.
		c.Command = []string{"sh", "-c", `cat >"$0" && cd "${0%/*}" && exec "$1" "$0"`, filepath.Join(dir, name+".sh"), testbed.Qsub}
		cmd, err := c.Dialect.Render(hpc.Job{Name: name, Array: &hpc.Array{Spans: []hpc.Span{{First: 2, Last: 4, Step: 1}}},
			Walltime: 10 * time.Minute, CPUs: 1, Queue: "main", Output: filepath.Join(dir, name+".out"), Workdir: dir,
			Body: "echo $" + variable + " >" + name + ".$SLURM_ARRAY_TASK_ID; sleep 1000"}, c.Command)
		if err != nil {
			t.Fatal(err)
		}
		id, err := c.Submit(t.Context(), cmd)
		if err != nil {
			t.Fatalf("%v\n%s", err, cmd.Stdin)
		}
		until(t, watch, id, count(hpc.Running, 3))
		if found, err := watch.Find(t.Context(), name); err != nil || !slices.Equal(found, []string{id}) {
			t.Errorf("found %v by the name %s, %v; want %s", found, name, err, id)
		}
		for _, i := range []string{"2", "3", "4"} {
			text := ""
			for text == "" {
				b, _ := os.ReadFile(filepath.Join(dir, name+"."+i))
				text = strings.TrimSpace(string(b))
			}
			if text != i {
				t.Errorf("%s: element %s has the index %q", name, i, text)
			}
		}
		out, err := s.Output("scontrol", "show", "job", "-o", id)
		if err != nil || !strings.Contains(out, "TimeLimit=00:10:00") || !strings.Contains(out, "Partition=main") {
			t.Errorf("%v: %s", err, out)
		}
		if err := watch.Cancel(t.Context(), id); err != nil {
			t.Error(err)
		}
		until(t, watch, id, func(list []hpc.Element) bool { return living(list) == 0 })
	}
}

func TestGridEngine(t *testing.T) {
	need(t, "sge_qmaster", "sge_execd", "qsub")
	s, err := testbed.StartGridEngine(open(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	c := client(t, "sge", s)
	lifeOfAnArray(t, c, t.TempDir())
	if n := c.Limit(context.Background()); n != 75000 {
		t.Errorf("the largest index is %d", n)
	}
}

// TestGridEngineFates: what became of elements that ended by themselves, that ran
// into their time, and that somebody deleted, which the books do not tell apart
// from other kills.
func TestGridEngineFates(t *testing.T) {
	need(t, "sge_qmaster", "sge_execd", "qsub")
	s, err := testbed.StartGridEngine(open(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	c := client(t, "sge", s)
	id, err := c.Submit(t.Context(), script(c, "#!/bin/sh\n#$ -S /bin/sh -t 1-2 -l h_rt=3 -o /dev/null -j y\n[ $SGE_TASK_ID = 1 ] || sleep 1000\n"))
	if err != nil {
		t.Fatal(err)
	}
	fates(t, c, id, map[int]hpc.End{1: hpc.EndOrdinary, 2: hpc.EndWalltime})
}
