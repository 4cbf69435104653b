package hpc

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var slurmPrinted = regexp.MustCompile(`^(?:Submitted batch job )?([1-9][0-9]*)(?:;([A-Za-z0-9][A-Za-z0-9_.-]*)| on cluster ([A-Za-z0-9][A-Za-z0-9_.-]*))?$`)

// slurmID reads ID or ID;CLUSTER, and the sentence of an sbatch without
// --parsable.
func slurmID(line string) string {
	m := slurmPrinted.FindStringSubmatch(line)
	switch {
	case m == nil:
		return ""
	case m[2]+m[3] != "":
		return m[1] + ";" + m[2] + m[3]
	}
	return m[1]
}

// slurmCluster parts an id from the options that name its cluster, if it is not
// the one that commands speak to anyway.
func slurmCluster(id string) (job string, at []string) {
	job, cluster, other := strings.Cut(id, ";")
	if other {
		at = []string{"-M", cluster}
	}
	return job, at
}

// slurmList asks each cluster after the jobs that it has. With one user named, the
// controller looks at the jobs of this user alone, unless that is root.
func slurmList(user string, ids []string) []query {
	var clusters []string
	jobs := map[string][]string{}
	for _, id := range ids {
		job, cluster, _ := strings.Cut(id, ";")
		if _, known := jobs[cluster]; !known {
			clusters = append(clusters, cluster)
		}
		jobs[cluster] = append(jobs[cluster], job)
	}
	slices.Sort(clusters)
	var list []query
	for _, cluster := range clusters {
		suffix := ""
		argv := []string{"squeue"}
		if cluster != "" {
			suffix = ";" + cluster
			argv = append(argv, "-M", cluster)
		}
		for _, part := range batches(jobs[cluster]) {
			list = append(list, query{
				argv: append(slices.Clone(argv), "-h", "-r", "-t", "all", "-u", user, "-j", strings.Join(part, ","), "-o", "%i|%T|%r|%N"),
				read: func(o Output) ([]Element, error) { return parseSqueue(o, suffix) },
			})
		}
	}
	return list
}

// parseSqueue reads id|state|reason|node lines. Of one id alone that is unknown
// squeue says so and fails, of one among several it is silent.
func parseSqueue(o Output, suffix string) ([]Element, error) {
	if o.Code != 0 && !strings.Contains(string(o.Stderr), "Invalid job id specified") {
		return nil, o.failed()
	}
	if err := o.whole(); err != nil {
		return nil, err
	}
	var list []Element
	for line := range strings.Lines(string(o.Stdout)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "|")
		if len(f) < 4 {
			continue
		}
		job, index, array := strings.Cut(f[0], "_")
		n, err := strconv.Atoi(index)
		if array && err != nil {
			continue
		}
		job, _, _ = strings.Cut(job, "+") // a component of a heterogeneous job
		e := Element{Job: job + suffix, Index: n, State: slurmState(f[1]), End: slurmEnd(f[1]), Raw: f[1], Reason: f[2], Node: f[3]}
		if e.Reason == "None" {
			e.Reason = ""
		}
		list = append(list, e)
	}
	return list, nil
}

// slurmFind asks for the jobs of a name, on the clusters to which command submits.
// With its headings squeue says of which cluster it speaks, if that is another.
func slurmFind(user, name string, command []string) search {
	argv := []string{"squeue"}
	if clusters := slurmClusters(command); len(clusters) > 0 {
		argv = append(argv, "-M", strings.Join(clusters, ","))
	}
	argv = append(argv, "-t", "all", "-u", user, "-o", "%F|%j")
	if !strings.Contains(name, ",") { // which parts names
		argv = append(argv, "-n", name)
	}
	return search{argv, func(o Output) ([]string, error) {
		if o.Code != 0 {
			return nil, o.failed()
		}
		var ids []string
		suffix := ""
		for line := range strings.Lines(string(o.Stdout)) {
			if cluster, ok := strings.CutPrefix(line, "CLUSTER: "); ok {
				suffix = ";" + strings.TrimSpace(cluster)
			} else if id, ok := strings.CutSuffix(line, "|"+name+"\n"); ok {
				ids = append(ids, id+suffix)
			}
		}
		return ids, o.whole()
	}}
}

// slurmClusters returns the clusters that a command line of sbatch names.
func slurmClusters(command []string) []string {
	if len(command) == 0 {
		return nil
	}
	var list []string
	words := make([]word, len(command)-1)
	for i, w := range command[1:] {
		words[i] = word{text: w, at: make([]int, len(w))}
	}
	for _, o := range slurmGrammar.getopt(words) {
		if o.key == "--clusters" || o.key == "-M" {
			list = strings.Split(o.value, ",")
		}
	}
	return list
}

// slurmSent names the clusters to which a job goes, if the environment or its options
// do and the command does not.
func slurmSent(command []string, lines []line, getenv func(string) string) []string {
	if len(slurmClusters(command)) > 0 {
		return nil
	}
	clusters := cmp.Or(getenv("SBATCH_CLUSTERS"), getenv("SLURM_CLUSTERS"))
	for _, l := range lines {
		for _, o := range l.options {
			if clusters == "" && (o.key == "--clusters" || o.key == "-M") {
				clusters = o.value
			}
		}
	}
	if clusters == "" {
		return nil
	}
	return []string{"--clusters=" + clusters}
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

// number reads a number, 0 if it is none.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// SlurmState tells what Slurm's word for a job means, for those who ask Slurm in
// another way than by its commands.
func SlurmState(word string) (State, End) { return slurmState(word), slurmEnd(word) }
