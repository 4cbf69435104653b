package hpc

import (
	"context"
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
		{"PBS_JOBID=7[4].server PBS_ARRAYID=4", Identity{"torque", "7[].server", 4, "7[4]", 0}},
		{"PBS_JOBID=7.server PBS_VERSION=TORQUE-6.1.3", Identity{"torque", "7.server", 0, "7", 0}},
		{"SLURM_JOB_ID=7 PBS_JOBID=7 PBS_ARRAYID=1", Identity{"slurm", "7", 0, "7", 0}},
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
		// What filters, colours or redirects, and what sites need.
		"SQUEUE_PARTITION= SQUEUE_FORMAT2=x SCANCEL_STATE=R SINFO_ALL=1 SACCT_LOCAL=1 SCONTROL_ALL=1 SLURM_TIME_FORMAT=x":                                               "",
		"SLURM_CONF=/c SLURM_CONF_SERVER=s SLURM_JWT=t SLURM_CLUSTERS=a SLURM_DEBUG_FLAGS=x":                                                                            "SLURM_CONF=/c SLURM_CONF_SERVER=s SLURM_JWT=t SLURM_CLUSTERS=a",
		"SLURM_CLUSTERS= SBATCH_CLUSTERS= SLURM_CONF= PBS_DEFAULT= SBATCH_PARTITION=p":                                                                                  "SBATCH_PARTITION=p",
		"SBATCH_WAIT=1 SBATCH_JOB_NAME=x SBATCH_ARRAY_INX=1-2 SBATCH_OUTPUT=x SBATCH_ERROR=x SBATCH_INPUT=x SBATCH_SIGNAL=x SBATCH_PARTITION=p SBATCH_WAIT_ALL_NODES=1": "SBATCH_PARTITION=p SBATCH_WAIT_ALL_NODES=1",
		"PBS_DPREFIX=#X PBS_QSTAT_EXECONLY=1 PBSDEBUG=1 PBS_CONF_FILE=/c PBS_EXEC=/x PBS_LEAF_NAME=l":                                                                   "PBS_CONF_FILE=/c PBS_EXEC=/x PBS_LEAF_NAME=l",
		"SGE_DEBUG_LEVEL=1 MORE_INFO=1 SGE_LONG_QNAMES=1 SGE_QMASTER_PORT=1 SGE_EXECD_PORT=2 SGE_CLUSTER_NAME=n SGE_ARCH=a":                                             "SGE_QMASTER_PORT=1 SGE_EXECD_PORT=2 SGE_CLUSTER_NAME=n SGE_ARCH=a",
		"LSB_BJOBS_FORMAT=x LSB_BJOBS_CONSISTENT_EXIT_CODE=y BSUB_BLOCK=1 BSUB_QUIET=1 LSB_DEFAULTPROJECT=p LSF_SERVERDIR=/s LSF_BINDIR=/b":                             "LSB_DEFAULTPROJECT=p LSF_SERVERDIR=/s LSF_BINDIR=/b",
	} {
		if got := kept(env); got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", env, got, want)
		}
	}
}

// TestAt: commands find the scheduler that Where has named, in another environment too,
// and nothing is put before them in the same.
func TestAt(t *testing.T) {
	for _, c := range []struct{ dialect, then, now, want string }{
		{"slurm", "SLURM_CONF=/a", "SLURM_CONF=/a SBATCH_X=1", "squeue"},
		{"slurm", "SLURM_CONF=/a", "SLURM_CLUSTERS=b", "env -u SLURM_CLUSTERS SLURM_CONF=/a squeue"},
		{"pbs", "", "PBS_DEFAULT=s", "env -u PBS_DEFAULT squeue"},
		{"torque", "PBS_DEFAULT=t", "PBS_DEFAULT=s", "env PBS_DEFAULT=t squeue"},
		{"sge", "SGE_ROOT=/r SGE_CELL=c", "SGE_ROOT=/r SGE_CELL=d", "env SGE_CELL=c squeue"},
		{"lsf", "LSF_ENVDIR=/e", "", "env LSF_ENVDIR=/e squeue"},
	} {
		in := func(env string) func(string) string {
			return func(name string) string {
				_, value, _ := strings.Cut(" "+env, " "+name+"=")
				value, _, _ = strings.Cut(value, " ")
				return value
			}
		}
		var ran string
		run := func(_ context.Context, argv []string, _ string) (Output, error) {
			ran = strings.Join(argv, " ")
			return Output{}, nil
		}
		At(run, Dialects[c.dialect].Where(in(c.then)), in(c.now))(t.Context(), []string{"squeue"}, "")
		if ran != c.want {
			t.Errorf("%+v: ran %s", c, ran)
		}
	}
}
