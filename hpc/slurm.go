package hpc

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// slurm: sbatch(1), squeue(1), scancel(1) of 22.05.
var slurm = &Dialect{
	Name: "slurm", Submit: "sbatch", title: "Slurm", terse: []string{"--parsable"},
	grammar: slurmGrammar,
	lists:   true, ofOne: true, firstZero: true,
	nameMax:    200,
	nameRule:   func(string) string { return "" },
	quote:      slurmQuote,
	directives: slurmDirectives,
	compose:    byStdin,
	outputs:    "%a.out",
	literal:    func(dir string) string { return strings.ReplaceAll(dir, "%", "%%") },
	parseID:    slurmID,
	jobID:      regexp.MustCompile(`^[1-9][0-9]*(;[A-Za-z0-9][A-Za-z0-9_.-]*)?$`),
	list:       slurmList,
	find:       slurmFind,
	sent:       slurmSent,
	limits:     []string{"scontrol", "show", "config"},
	limit: func(out string) int {
		// MaxArraySize is one more than the largest index.
		return lineValue(out, "MaxArraySize") - 1
	},
	limited: "MaxArraySize",
	version: "--version", versionCodes: []int{0},
	advice: []advice{{"invalid job array specification", tooLarge}},
	reasons: map[string]string{
		"PartitionConfig":             "it asks for more than any node of its queue has, and will never start",
		"PartitionNodeLimit":          "it asks for more nodes than its queue has",
		"PartitionTimeLimit":          "its walltime is longer than its queue allows",
		"AssocMaxJobsLimit":           "your account runs as many jobs as it may",
		"QOSMaxJobsPerUserLimit":      "you run as many jobs as you may",
		"InvalidAccount":              "its account is not known",
		"InvalidQOS":                  "its quality of service is not known",
		"JobHeldUser":                 "it is held: scontrol release lets it go",
		"JobHeldAdmin":                "an administrator holds it",
		"ReqNodeNotAvail":             "the nodes it asks for are down or reserved",
		"launch failed requeued held": "it could not be started on its node; it is held",
	},
	cancel: func(id string) []string {
		id, at := slurmCluster(id)
		return append(append([]string{"scancel"}, at...), id)
	},
	cancelSome: func(id string, spans []Span) [][]string {
		id, at := slurmCluster(id)
		argv := append([]string{"scancel"}, at...)
		for _, s := range spans {
			for i := s.First; i <= s.Last; i++ {
				argv = append(argv, id+"_"+strconv.Itoa(i))
			}
		}
		return [][]string{argv}
	},
	gone: []string{"Invalid job id", "already completing or completed"},
	element: func(job string, index int, array bool) string {
		if job, _ = slurmCluster(job); !array {
			return job
		}
		return job + "_" + strconv.Itoa(index)
	},
	inside: slurmInside,
	index:  "SLURM_ARRAY_TASK_ID",
	environment: environment{
		inside:   []string{"SLURM_JOB_ID"},
		where:    []string{"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SBATCH_CLUSTERS"},
		prefixes: []string{"SLURM_", "SLURMD_", "SQUEUE_", "SCANCEL_", "SINFO_", "SACCT_", "SCONTROL_"},
		keep:     []string{"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS"},
		wishes:   []string{"SBATCH_"},
		// Variables of sbatch beat #SBATCH lines: these would replace what muster sets,
		// have sbatch wait for the job, or have it submit nothing.
		drop: []string{"SBATCH_JOB_NAME", "SBATCH_ARRAY_INX", "SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_INPUT", "SBATCH_SIGNAL",
			"SBATCH_WAIT", "SBATCH_TEST_ONLY", "SBATCH_PARSABLE", "SBATCH_WRAP", "SBATCH_HOLD", "SBATCH_IGNORE_PBS"},
	},
	probes: slurmProbes,
}

// tooLarge is the way out of a limit on arrays.
const tooLarge = "the array is larger than this scheduler allows: `muster config check` asks it for the limit, and muster splits what -n asks for"

// slurmGrammar is that of sbatch(1): a # outside of quotes ends a line, and a
// backslash takes the next byte as it is, in either quotes too.
var slurmGrammar = grammar{
	directive: "#SBATCH",
	quoting:   quoting{backslash: true, strict: true, comment: commentBare},
	letters:   "a:A:b:B:c:C:d:D:e:F:G:hHi:J:k::L:m:M:n:N:o:Op:q:QsS:t:uvVw:Wx:",
	long: arities(map[arity]string{
		oneValue: `account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint
			container container-id core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot
			dependency distribution error exclude export export-file extra extra-node-info gid gpu-bind gpu-freq gpus
			gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input job-name licenses mail-type
			mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nodefile nodelist nodes ntasks
			ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket open-mode output partition power
			prefer priority profile qos reservation signal sockets-per-node switches thread-spec threads-per-core
			time time-min tmp tres-bind tres-per-task uid wait-all-nodes wckey wrap`,
		noValue: `contiguous help hold ignore-pbs no-requeue overcommit oversubscribe parsable quiet reboot requeue
			share spread-job test-only usage use-min-nodes verbose version wait`,
		attachedValue: `exclusive get-user-env nice no-kill propagate`,
	}),
	names: map[byte]string{'J': "--job-name", 'a': "--array", 't': "--time", 'c': "--cpus-per-task",
		'p': "--partition", 'A': "--account", 'o': "--output", 'G': "--gpus"},
	operands: true,
	sets: func(key, value string) []setting {
		if key == "--gres" && !strings.Contains(value, "gpu") {
			return nil
		}
		return one(key, slurmRoles[key])
	},
}

var slurmRoles = map[string]role{"--job-name": setsName, "--array": setsArray, "--time": setsTime, "--signal": setsWarning,
	"--cpus-per-task": setsCPUs, "--mem": setsMemory, "--mem-per-cpu": setsMemory, "--mem-per-gpu": setsMemory,
	"--gpus-per-node": setsGPUs, "--gres": setsGPUs, "--gpus": setsGPUs, "--gpus-per-task": setsGPUs,
	"--partition": setsQueue, "--account": setsAccount, "--output": setsOutput}

// arities makes a table of options of the names of each arity.
func arities(names map[arity]string) map[string]arity {
	table := map[string]arity{}
	for kind, list := range names {
		for _, n := range strings.Fields(list) {
			table["--"+n] = kind
		}
	}
	return table
}

// one is what an option with one role sets.
func one(key string, r role) []setting {
	if r == "" {
		return nil
	}
	return []setting{{key, r}}
}

// slurmQuote puts in double quotes what sbatch would otherwise not read as it is.
func slurmQuote(s string) (word, why string) {
	if !strings.ContainsAny(s, " \t\v\f\"'\\#") {
		return s, ""
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, ""
}

func slurmDirectives(j *Job, l *list) {
	if strings.Contains(j.Output, `\`) {
		l.bad = append(l.bad, mistake("output", "", "%q has a backslash, for which Slurm takes no pattern in it", j.Output))
	}
	l.value("name", setsName, "--job-name=", j.Name)
	l.add(j.Array != nil, setsArray, "--array=%v", j.Array)
	l.add(j.Walltime > 0, setsTime, "--time=%s", slurmTime(j.Walltime))
	l.add(j.Warn > 0, setsWarning, "--signal=B:USR1@%d", int(j.Warn/time.Second))
	l.add(j.CPUs > 0, setsCPUs, "--cpus-per-task=%d", j.CPUs)
	l.add(j.Memory > 0, setsMemory, "--mem=%dM", mebi(j.Memory))
	l.add(j.GPUs > 0, setsGPUs, "--gpus-per-node=%d", j.GPUs)
	l.value("queue", setsQueue, "--partition=", j.Queue)
	l.value("account", setsAccount, "--account=", j.Account)
	l.value("output", setsOutput, "--output=", j.Output)
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

func slurmInside(getenv func(string) string) (Identity, bool) {
	job := getenv("SLURM_JOB_ID")
	if job == "" {
		return Identity{}, false
	}
	id := Identity{Scheduler: "slurm", Job: job, Element: job, Restart: uint32(number(getenv("SLURM_RESTART_COUNT")))}
	if array := getenv("SLURM_ARRAY_JOB_ID"); array != "" {
		id.Job, id.Index = array, number(getenv("SLURM_ARRAY_TASK_ID"))
		id.Element = array + "_" + strconv.Itoa(id.Index)
	}
	// Each process of a step (srun) is an element of its own.
	if getenv("SLURM_STEP_ID") != "" && number(getenv("SLURM_NTASKS")) > 1 {
		id.Element += "." + getenv("SLURM_PROCID")
	}
	return id, true
}
