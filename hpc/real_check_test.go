package hpc_test

import (
	"strings"
	"testing"
	"time"

	"muster/hpc"
)

// checked compares what a scheduler says of jobs with what it is to say: the
// fields of its problems, and words of the first.
func checked(t *testing.T, c *hpc.Client, jobs []struct {
	job           hpc.Job
	fields, words string
}) {
	t.Helper()
	for _, want := range jobs {
		problems, unasked := c.Check(t.Context(), want.job)
		var fields, words []string
		for _, e := range problems {
			fields = append(fields, e.Field)
			words = append(words, e.Error()+" "+e.Hint)
		}
		if strings.Join(fields, " ") != want.fields || !strings.Contains(strings.Join(words, "\n"), want.words) || len(unasked) > 0 {
			t.Errorf("%+v: %q, unasked %q; want %s: %s", want.job, words, unasked, want.fields, want.words)
		}
	}
	if o, err := c.Run(t.Context(), map[string][]string{"slurm": {"squeue", "-h", "-t", "all"}, "sge": {"qstat", "-u", "*"}}[c.Dialect.Name], ""); err != nil || len(o.Stdout) > 0 {
		t.Errorf("a check left %q, %v", o.Stdout, err)
	}
}

type checks = []struct {
	job           hpc.Job
	fields, words string
}

// TestSlurmCheck.
func TestSlurmCheck(t *testing.T) {
	c := slurmHere(t)
	checked(t, c, checks{
		{hpc.Job{Name: "my sim", CPUs: 2, Memory: 1 << 30, Walltime: time.Hour, Array: &hpc.Array{Spans: []hpc.Span{{First: 1, Last: 900, Step: 1}}}}, "", ""},
		{hpc.Job{Array: &hpc.Array{Spans: []hpc.Span{{First: 1, Last: 1001, Step: 1}}}}, "array", "this scheduler takes 1000 at most"},
		{hpc.Job{Queue: "high", Walltime: time.Hour}, "", ""},
		{hpc.Job{Queue: "nowhere"}, "queue", "there are high, main"},
		{hpc.Job{Options: "#SBATCH -p nowhere"}, "queue", `no partition "nowhere"`},
		{hpc.Job{CPUs: 99}, "cpus", "no node of partition main has 99 CPUs: the largest has 4"},
		{hpc.Job{Memory: 99 << 30}, "memory", "the largest has 4000 MiB"},
		{hpc.Job{GPUs: 2}, "gpus", "no node of partition main has 2 GPUs"},
		{hpc.Job{Options: "#SBATCH -c 99"}, "options", "Requested node configuration is not available"},
		{hpc.Job{Options: "#SBATCH --no-such-option"}, "options", "unrecognized option"},
		{hpc.Job{Name: "a\nb"}, "name", "line break"},
	})
	c.Command = []string{"/opt/our-sbatch"}
	if problems, unasked := c.Check(t.Context(), hpc.Job{}); len(problems) != 0 || len(unasked) != 1 || unasked[0] != "job: /opt/our-sbatch may submit it, where sbatch would only try it" {
		t.Errorf("%v, %q", problems, unasked)
	}
}

// TestGridEngineCheck.
func TestGridEngineCheck(t *testing.T) {
	c := gridEngineHere(t)
	checked(t, c, checks{
		{hpc.Job{Name: "sim", CPUs: 2, Memory: 1 << 30, Walltime: time.Hour, Queue: "all.q", Array: &hpc.Array{Spans: []hpc.Span{{First: 1, Last: 9000, Step: 1}}}}, "", ""},
		{hpc.Job{Array: &hpc.Array{Spans: []hpc.Span{{First: 1, Last: 99_000, Step: 1}}}}, "array", "takes 75000 at most"},
		{hpc.Job{Queue: "nowhere.q"}, "queue", "there are all.q"},
		{hpc.Job{CPUs: 2, PE: "mpi"}, "parallel_environment", "there are smp"},
		{hpc.Job{CPUs: 99}, "cpus", "only offers"},
		{hpc.Job{Account: "proj"}, "account", `no project "proj"`},
		{hpc.Job{GPUs: 1}, "gpus", "qconf -sc"},
		{hpc.Job{Options: "#$ -l fast=1"}, "options", "unknown resource"},
	})
}
