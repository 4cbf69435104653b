package hpc

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// slurmProbes try a submission and look at the partitions' nodes: a job that no
// node can hold is taken, and waits for ever.
func slurmProbes(c *Client, j *Job) []probe {
	at := []string{}
	if clusters := slurmClusters(c.Command); len(clusters) > 0 {
		at = []string{"-M", clusters[0]}
	}
	return []probe{
		c.trial(j, "job", []string{"--test-only"}, func(o Output) ([]*FieldError, error) {
			if o.Code == 0 {
				return nil, nil
			}
			return complained(o, slurmComplaints)
		}),
		{asks: "partition", argv: append(append([]string{"sinfo"}, at...), "-h", "-e", "-o", "%P|%c|%m|%G|%l|%a"), read: func(o Output) ([]*FieldError, error) {
			if o.Code != 0 {
				return nil, o.failed()
			}
			nodes := parseSinfo(string(o.Stdout))
			if len(nodes) == 0 {
				return nil, o.strange()
			}
			return slurmFits(nodes, j), o.whole()
		}},
	}
}

// slurmComplaints are of sbatch(1).
var slurmComplaints = []complaint{
	{"invalid partition", "queue"}, {"user's group not permitted to use this partition", "queue"},
	{"invalid account", "account"}, {"invalid qos", "options"},
	{"time limit", "walltime"}, {"invalid job array", "array"}, {"generic resource", "gpus"},
	{"unrecognized option", "options"}, {"invalid directive", "options"}, {"--help", "options"},
	{"sbatch: error: invalid", "options"}, {"allocation failure", ""},
}

// slurmNodes are the nodes of a partition that are equal.
type slurmNodes struct {
	partition string
	standard  bool // jobs go there that name none
	cpus      int
	memory    int64 // MiB
	gpus      int
	longest   time.Duration // 0 is no limit
	up        bool
}

// parseSinfo reads partition|cpus|memory|gres|timelimit|availability lines.
func parseSinfo(out string) []slurmNodes {
	var list []slurmNodes
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 6 {
			continue
		}
		n := slurmNodes{cpus: number(strings.TrimSuffix(f[1], "+")), memory: int64(number(strings.TrimSuffix(f[2], "+"))),
			gpus: slurmGPUs(f[3]), longest: slurmDuration(f[4]), up: f[5] == "up"}
		n.partition, n.standard = strings.CutSuffix(f[0], "*")
		list = append(list, n)
	}
	return list
}

// slurmGPUs counts the GPUs of gpu:a100:4(S:0-1),gpu:2,tmp:9.
func slurmGPUs(gres string) int {
	count := 0
	for _, g := range strings.FieldsFunc(gres, func(r rune) bool { return r == ',' }) {
		g, _, _ = strings.Cut(g, "(")
		f := strings.Split(g, ":")
		if f[0] != "gpu" {
			continue
		}
		if n := number(f[len(f)-1]); n > 0 {
			count += n
		} else {
			count++
		}
	}
	return count
}

// slurmDuration reads D-HH:MM:SS, HH:MM:SS or MM:SS, and infinite as 0.
func slurmDuration(s string) time.Duration {
	days, rest, ok := strings.Cut(s, "-")
	if !ok {
		days, rest = "", s
	}
	var seconds int
	for _, part := range strings.Split(rest, ":") {
		seconds = seconds*60 + number(part)
	}
	return time.Duration(number(days))*24*time.Hour + time.Duration(seconds)*time.Second
}

// slurmFits finds what no node of j's partitions has.
func slurmFits(nodes []slurmNodes, j *Job) []*FieldError {
	var there, asked []string
	for _, n := range nodes {
		if there = append(there, n.partition); j.Queue == "" && n.standard {
			asked = append(asked, n.partition)
		}
	}
	if j.Queue != "" {
		asked = strings.Split(j.Queue, ",")
	}
	for _, q := range asked {
		if !slices.Contains(there, q) {
			return []*FieldError{unknown("queue", "partition", q, there)}
		}
	}
	ours := slices.DeleteFunc(slices.Clone(nodes), func(n slurmNodes) bool { return !slices.Contains(asked, n.partition) })
	if len(ours) == 0 {
		return nil
	}
	name := "partition " + strings.Join(slices.Compact(asked), ",")
	var most slurmNodes
	endless := false
	for _, n := range ours {
		most.cpus, most.memory, most.gpus = max(most.cpus, n.cpus), max(most.memory, n.memory), max(most.gpus, n.gpus)
		most.up, most.longest, endless = most.up || n.up, max(most.longest, n.longest), endless || n.longest == 0
	}
	var list []*FieldError
	add := func(when bool, field, format string, args ...any) {
		if when {
			list = append(list, mistake(field, "", "%s", fmt.Sprintf(format, args...)))
		}
	}
	const never = ", and the job would wait for ever"
	add(!most.up, "queue", "%s takes no jobs at present", name)
	add(j.CPUs > most.cpus, "cpus", "no node of %s has %d CPUs: the largest has %d%s", name, j.CPUs, most.cpus, never)
	add(mebi(j.Memory) > most.memory, "memory", "no node of %s has %d MiB: the largest has %d MiB%s", name, mebi(j.Memory), most.memory, never)
	add(j.GPUs > most.gpus, "gpus", "no node of %s has %d GPUs: the most that one has is %d%s", name, j.GPUs, most.gpus, never)
	add(!endless && j.Walltime > most.longest, "walltime", "%s lets a job run for %s at most", name, slurmTime(most.longest))
	return list
}
