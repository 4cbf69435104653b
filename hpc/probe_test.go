package hpc

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// said writes problems as a person reads them.
func said(problems []*FieldError) string {
	var list []string
	for _, e := range problems {
		list = append(list, strings.TrimSpace(e.Error()+" "+e.Hint))
	}
	return strings.Join(list, "; ")
}

// TestCheck: what schedulers that are not here answer.
func TestCheck(t *testing.T) {
	pbsQueues := "Queue: workq\n    queue_type = Execution\n    resources_max.walltime = 02:00:00\n    resources_max.ncpus = 8\n    resources_max.mem = 4gb\n    enabled = True\n\nQueue: shut\n    enabled = False\n"
	bqueues := "QUEUE: normal\n\nDEFAULT LIMITS:\n RUNLIMIT\n 60.0 min\n\nMAXIMUM LIMITS:\n RUNLIMIT\n 90.0 min of host1\n"
	sinfo := "main*|4|4000|gpu:a100:2(S:0-1),tmp:9|2:00:00|up\nbig|64+|256000|(null)|infinite|up\noff|4|1|(null)|infinite|down\n"
	for _, c := range []struct {
		dialect, asked, answer string
		job                    Job
		want                   string
	}{
		{"pbs", "qstat -Q -f", pbsQueues, Job{Queue: "workq", Walltime: time.Hour, CPUs: 8, Memory: 1 << 30}, ""},
		{"pbs", "qstat -Q -f", pbsQueues, Job{Queue: "workq@server", Walltime: 3 * time.Hour, CPUs: 9, Memory: 5 << 30},
			"walltime: queue workq lets a job run for 2:00:00 at most; memory: queue workq gives a job 4096 MiB at most; cpus: queue workq gives a job 8 at most"},
		{"pbs", "qstat -Q -f", pbsQueues, Job{Queue: "none"}, `queue: this cluster has no queue "none" there are shut, workq`},
		{"torque", "qstat -Q -f", pbsQueues, Job{Queue: "shut"}, "queue: queue shut takes no jobs at present"},
		{"pbs", "qstat -Q -f", pbsQueues, Job{Options: "#PBS -q none -l walltime=9:0:0", Queue: "workq", Walltime: 9 * time.Hour}, `queue: this cluster has no queue "none" there are shut, workq`},
		{"lsf", "bqueues -l normal", bqueues, Job{Queue: "normal", Walltime: 2 * time.Hour}, "walltime: queue normal lets a job run for 1:30:00 at most"},
		{"lsf", "bqueues -l normal", bqueues, Job{Queue: "normal", Walltime: time.Hour}, ""},
		{"lsf", "bqueues -l none", "none: No such queue", Job{Queue: "none"}, `queue: this cluster has no queue "none"`},
		{"slurm", "sinfo", sinfo, Job{CPUs: 64, GPUs: 2, Walltime: 3 * time.Hour}, "cpus: no node of partition main has 64 CPUs: the largest has 4, and the job would wait for ever; walltime: partition main lets a job run for 2:00:00 at most"},
		{"slurm", "sinfo", sinfo, Job{Queue: "main,big", CPUs: 64, GPUs: 2, Walltime: 3 * time.Hour}, ""},
		{"slurm", "sinfo", sinfo, Job{Queue: "off"}, "queue: partition off takes no jobs at present"},
	} {
		client, _ := recording(c.dialect, map[string]string{c.asked: c.answer})
		problems, _ := client.Check(t.Context(), c.job)
		if got := said(problems); got != c.want {
			t.Errorf("%s, %+v: %s\nwant %s", c.dialect, c.job, got, c.want)
		}
	}
}

// TestCheckOfWhatDoesNotAnswer: all is asked side by side, and what is not known
// after 10 s is named with the reason.
func TestCheckOfWhatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(ctx context.Context, argv []string, _ string) (Output, error) {
			switch argv[0] {
			case "sbatch":
				return Output{}, &exec.Error{Name: "sbatch", Err: exec.ErrNotFound}
			case "bqueues":
				return Output{Code: 127, Stderr: []byte("sh: bqueues: not found")}, nil
			}
			<-ctx.Done()
			return Output{}, errors.New("it did not answer in time")
		}
		for dialect, want := range map[string][]string{
			"slurm": {"job: sbatch is not on PATH here", "partition: sinfo did not answer within 10s"},
			"pbs":   {"queue: qstat did not answer within 10s", "account, and whether any node is large enough: qsub has no way to ask"},
			"sge":   {"job: qsub did not answer within 10s", "queue: qconf did not answer within 10s", "project: qconf did not answer within 10s"},
			"lsf":   {"account, and whether any host is large enough: bsub has no way to ask", "queue: bqueues is not on PATH here"},
		} {
			began := time.Now()
			c := &Client{Dialect: Dialects[dialect], Run: run, User: "me"}
			problems, unasked := c.Check(t.Context(), Job{Queue: "q", Account: "a"})
			if len(problems) > 0 || !slices.Equal(unasked, want) {
				t.Errorf("%s: %v, %q; want %q", dialect, problems, unasked, want)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%s took %v", dialect, took)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		c := &Client{Dialect: slurm, Run: run, User: "me"}
		if _, unasked := c.Check(ctx, Job{}); len(unasked) != 2 || unasked[1] != "partition: sinfo did not answer within 3s" {
			t.Errorf("%q", unasked)
		}
	})
}

// TestCheckWithoutScheduler: a command that fails for a reason of its own says
// nothing of the job.
func TestCheckWithoutScheduler(t *testing.T) {
	for dialect, o := range map[string]Output{
		"slurm": {Code: 1, Stderr: []byte("sbatch: fatal: Could not establish a configuration source")},
		// Its client is installed, and nothing else.
		"sge ":   {Code: 1, Stderr: []byte("Unable to initialize environment because of error: unable to read qmaster name: qmaster hostname in \"/var/lib/gridengine/default/common/act_qmaster\" has zero length\nExiting.")},
		"sge":    {Code: 1, Stderr: []byte("error: commlib error: got select error (Connection refused)\nUnable to run job: unable to contact qmaster using port 1 on host \"h\".\nExiting.")},
		"pbs":    {Code: 255, Stderr: []byte("Connection refused\nqstat: cannot connect to server s (errno=111)")},
		"torque": {Code: 255, Stderr: []byte("qstat: cannot connect to server s (errno=111) Connection refused")},
		"lsf":    {Code: 255, Stderr: []byte("LSF is down. Please wait ...")},
	} {
		array, _ := ParseArray("1-9")
		problems, unasked := answering(strings.TrimSpace(dialect), o).Check(t.Context(), Job{Queue: "q", Array: array, CPUs: 2, Account: "a"})
		if len(problems) > 0 || len(unasked) < 2 {
			t.Errorf("%s: %s, unasked %q", dialect, said(problems), unasked)
		}
	}
}

// TestCheckOfStrangeAnswers: what cannot be read says nothing of the job, and is named.
func TestCheckOfStrangeAnswers(t *testing.T) {
	array, _ := ParseArray("1-9")
	j := Job{Queue: "q", Array: array, CPUs: 2, GPUs: 1, Account: "a"}
	for _, said := range []string{"", "Welcome to the cluster!\n", "<html>\n"} {
		for dialect, want := range map[string][]string{
			"slurm":  {"partition: the command: its answer cannot be read: ", "array: the command: its answer cannot be read: "},
			"pbs":    {"queue: the command: its answer cannot be read: ", "account, and whether any node is large enough: ", "array: the command: its answer cannot be read: "},
			"torque": {"queue: the command: its answer cannot be read: ", "account, and whether any node is large enough: ", "array: the command: its answer cannot be read: "},
			"sge":    {"resource gpu: the command: its answer cannot be read: ", "array: the command: its answer cannot be read: "},
			"lsf":    {"account, and whether any host is large enough: ", "queue: the command: its answer cannot be read: ", "array: the command: its answer cannot be read: "},
		} {
			problems, unasked := answering(dialect, Output{Stdout: []byte(said)}).Check(t.Context(), j)
			if dialect == "sge" && said == "<html>\n" {
				continue // it may be the name of a queue
			}
			if len(problems) > 0 {
				t.Errorf("%s, %q: %v", dialect, said, problems)
			}
			for _, w := range want {
				if !slices.ContainsFunc(unasked, func(u string) bool { return strings.HasPrefix(u, w) }) {
					t.Errorf("%s, %q: %q is not in %q", dialect, said, w, unasked)
				}
			}
		}
	}
}

// TestCheckSubmitsNothing: a command that only tries a job is the scheduler's own,
// and has the option for it.
func TestCheckSubmitsNothing(t *testing.T) {
	for dialect, option := range map[string]string{"slurm": " --test-only", "sge": " -w v", "pbs": "", "torque": "", "lsf": ""} {
		for _, command := range [][]string{nil, {"/usr/bin/" + Dialects[dialect].Submit, "-x"}, {"wrapper"}} {
			c, told := recording(dialect, nil)
			c.Command = command
			c.Check(t.Context(), Job{Queue: "q", CPUs: 4, GPUs: 1, Account: "a"})
			for _, line := range *told {
				program, _, _ := strings.Cut(line, " ")
				if submits := strings.HasSuffix(program, Dialects[dialect].Submit) || program == "wrapper"; submits && (option == "" || !strings.HasSuffix(line, option)) {
					t.Errorf("%s with %q: a check runs %s", dialect, command, line)
				}
			}
		}
	}
}
