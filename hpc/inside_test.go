package hpc

import (
	"strings"
	"testing"
)

func TestInside(t *testing.T) {
	for _, c := range []struct {
		env  string
		want Identity
	}{
		{"SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=5 SLURM_ARRAY_TASK_ID=3 SLURM_RESTART_COUNT=2", Identity{"slurm", "5", 3, "5_3", 2}},
		{"SLURM_JOB_ID=5 SLURM_ARRAY_JOB_ID=5 SLURM_ARRAY_TASK_ID=0", Identity{"slurm", "5", 0, "5_0", 0}},
		{"SLURM_JOB_ID=7", Identity{"slurm", "7", 0, "7", 0}},
		{"SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_NTASKS=4 SLURM_PROCID=2", Identity{"slurm", "7", 0, "7.2", 0}},
		{"PBS_JOBID=123[4].server PBS_ARRAY_INDEX=4", Identity{"pbs", "123[].server", 4, "123[4]", 0}},
		{"PBS_JOBID=0.server", Identity{"pbs", "0.server", 0, "0", 0}},
		{"JOB_ID=9 SGE_TASK_ID=2 RESTARTED=1", Identity{"sge", "9", 2, "9.2", 1}},
		{"JOB_ID=9 SGE_TASK_ID=undefined", Identity{"sge", "9", 0, "9", 0}},
		{"LSB_JOBID=101 LSB_JOBINDEX=3", Identity{"lsf", "101", 3, "101[3]", 0}},
		{"LSB_JOBID=101 LSB_JOBINDEX=0", Identity{"lsf", "101", 0, "101", 0}},
	} {
		got, ok := Inside(func(name string) string {
			for _, kv := range strings.Fields(c.env) {
				if v, ok := strings.CutPrefix(kv, name+"="); ok {
					return v
				}
			}
			return ""
		})
		if !ok || got != c.want {
			t.Errorf("%s: %+v, want %+v", c.env, got, c.want)
		}
		d := Dialects[c.want.Scheduler]
		array := strings.ContainsAny(c.want.Element, "_[") || d == gridEngine && c.want.Index > 0
		if name := d.Element(got.Job, got.Index, array); name != strings.TrimSuffix(got.Element, ".2") && name != got.Element {
			t.Errorf("the dispatcher would call %+v %q", got, name)
		}
	}
	if _, ok := Inside(func(string) string { return "" }); ok {
		t.Error("a login node is taken for a job")
	}
}

func TestScrub(t *testing.T) {
	kept := func(env string) string { return strings.Join(Scrub(strings.Fields(env)), " ") }
	for env, want := range map[string]string{
		"HOME=/h SLURM_CONF=/c SBATCH_ACCOUNT=a TMPDIR=/t LD_LIBRARY_PATH=/l":                        "HOME=/h SLURM_CONF=/c SBATCH_ACCOUNT=a TMPDIR=/t LD_LIBRARY_PATH=/l",
		"SLURM_JOB_ID=1 SLURM_CONF=/c SLURM_MEM_PER_NODE=1 SBATCH_ACCOUNT=a TMPDIR=/t PATH=/b":       "SLURM_CONF=/c PATH=/b",
		"PBS_JOBID=1 PBS_DEFAULT=s PBS_SERVER=s PBS_ARRAY_INDEX=1 PBS_NODEFILE=/n":                   "PBS_DEFAULT=s PBS_SERVER=s",
		"JOB_ID=1 SGE_TASK_ID=1 SGE_ROOT=/r SGE_CELL=c NSLOTS=4 QUEUE=q TMPDIR=/t SGE_STDOUT_PATH=x": "SGE_ROOT=/r SGE_CELL=c",
		"QUEUE=mine NSLOTS=4 JOB_ID=1":                             "QUEUE=mine NSLOTS=4 JOB_ID=1",
		"LSB_JOBID=1 LSB_DEFAULTQUEUE=q LSF_ENVDIR=/e LS_SUBCWD=/": "LSB_DEFAULTQUEUE=q LSF_ENVDIR=/e",
	} {
		if got := kept(env); got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", env, got, want)
		}
	}
}
