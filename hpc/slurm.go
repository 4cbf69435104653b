package hpc

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// slurm: sbatch(1), squeue(1), scancel(1) of 22.05.
var slurm = &Dialect{
	Name: "slurm", Submit: "sbatch", terse: []string{"--parsable"}, directive: "#SBATCH",
	lists: true, ofOne: true, firstZero: true, indexVar: "SLURM_ARRAY_TASK_ID",
	nameRule:   func(string) string { return "" },
	directives: slurmDirectives,
	arrayKey:   "--array",
	option:     func(words []string) []string { return getoptKeys(words, slurmShort) },
	parseID: func(out string) string {
		id, _, _ := strings.Cut(strings.TrimSpace(out), ";") // ID or ID;CLUSTER
		return digits(strings.TrimPrefix(id, "Submitted batch job "))
	},
	list: func(user string, _ []string) []string {
		return []string{"squeue", "-h", "-r", "-t", "all", "-u", user, "-o", "%i|%T|%r|%N|%j"}
	},
	parseList: parseSqueue,
	cancel:    func(id string) []string { return []string{"scancel", id} },
	cancelSome: func(id string, spans []Span) [][]string {
		argv := []string{"scancel"}
		for _, s := range spans {
			for i := s.First; i <= s.Last; i++ {
				argv = append(argv, id+"_"+strconv.Itoa(i))
			}
		}
		return [][]string{argv}
	},
	outputs: "%a.out",
	limits:  []string{"scontrol", "show", "config"},
	version: "--version",
	limit: func(out string) int {
		// MaxArraySize is one more than the largest index.
		return lineValue(out, "MaxArraySize") - 1
	},
}

// slurmShort names the long option of each one-letter option that muster sets.
var slurmShort = map[string]string{"-J": "--job-name", "-a": "--array", "-t": "--time", "-c": "--cpus-per-task",
	"-p": "--partition", "-A": "--account", "-o": "--output", "-G": "--gpus", "-D": "--chdir"}

func slurmDirectives(j *Job) []directive {
	var d list
	d.add(j.Name != "", "name", "--job-name=%s", j.Name)
	if j.Array != nil {
		d.add(true, "array", "--array=%s", j.Array)
	}
	d.add(j.Walltime > 0, "walltime", "--time=%s", slurmTime(j.Walltime))
	d.add(j.Warn > 0, "walltime", "--signal=B:USR1@%d", int(j.Warn/time.Second))
	d.add(j.CPUs > 0, "cpus", "--cpus-per-task=%d", j.CPUs)
	d.add(j.Memory > 0, "memory", "--mem=%dM", mebi(j.Memory))
	d.also("--mem-per-cpu", "--mem-per-gpu")
	d.add(j.GPUs > 0, "gpus", "--gpus-per-node=%d", j.GPUs)
	d.also("--gres", "--gpus", "--gpus-per-task")
	d.add(j.Queue != "", "queue", "--partition=%s", j.Queue)
	d.add(j.Account != "", "account", "--account=%s", j.Account)
	d.add(j.Output != "", "output", "--output=%s", j.Output)
	return d.prefixed("#SBATCH ")
}

// slurmTime writes D-HH:MM:SS where hours alone would be hard to read.
func slurmTime(t time.Duration) string {
	if days := t / (24 * time.Hour); days > 0 {
		rest := t - days*24*time.Hour
		s := int((rest + time.Second - 1) / time.Second)
		return fmt.Sprintf("%d-%02d:%02d:%02d", days, s/3600, s/60%60, s%60)
	}
	return hms(t)
}

// parseSqueue reads id|state|reason|node|name lines.
func parseSqueue(o Output) ([]Element, error) {
	if o.Code != 0 {
		return nil, o.failed()
	}
	var list []Element
	for line := range strings.Lines(string(o.Stdout)) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), "|", 5)
		if len(f) != 5 {
			return nil, fmt.Errorf("squeue printed %q", line)
		}
		job, index, array := strings.Cut(f[0], "_")
		e := Element{Job: job, State: slurmState(f[1]), End: slurmEnd(f[1]), Raw: f[1], Reason: f[2], Node: f[3], Name: f[4]}
		if e.Reason == "None" {
			e.Reason = ""
		}
		if array {
			n, err := strconv.Atoi(index)
			if err != nil {
				return nil, fmt.Errorf("squeue printed %q", line)
			}
			e.Index = n
		}
		list = append(list, e)
	}
	return list, nil
}

func slurmState(s string) State {
	switch s {
	case "PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD":
		return Pending
	case "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING":
		return Running
	case "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "REVOKED":
		return Ended
	}
	return Unknown
}

// slurmEnd reads the states of squeue(1) in which a job has ended.
func slurmEnd(s string) End {
	switch s {
	case "COMPLETED", "FAILED":
		return EndOrdinary
	case "CANCELLED", "REVOKED":
		return EndCancelled
	case "PREEMPTED":
		return EndPreempted
	case "TIMEOUT", "DEADLINE":
		return EndWalltime
	case "OUT_OF_MEMORY":
		return EndMemory
	case "NODE_FAIL", "BOOT_FAIL":
		return EndNode
	}
	return EndUnknown
}
