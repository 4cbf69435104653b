package hpc

import (
	"slices"
	"strings"
	"time"
)

// pbsProbes look at the queues and their limits. Neither PBS has a way of trying a
// submission.
func pbsProbes(_ *Client, j *Job) []probe {
	return []probe{
		{asks: "queue", argv: []string{"qstat", "-Q", "-f"}, read: func(o Output) ([]*FieldError, error) {
			if o.Code != 0 {
				return nil, o.failed()
			}
			queues := parseQueues(string(o.Stdout))
			if len(queues) == 0 {
				return nil, o.strange()
			}
			return pbsFits(queues, j), o.whole()
		}},
		{asks: "account, and whether any node is large enough", not: "qsub has no way to ask"},
	}
}

// parseQueues reads qstat -Q -f: the attributes of each queue by its name.
func parseQueues(out string) map[string]map[string]string {
	queues := map[string]map[string]string{}
	var queue map[string]string
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(line, "Queue: "); ok {
			queue = map[string]string{}
			queues[strings.TrimSpace(name)] = queue
		} else if name, value, ok := strings.Cut(line, " = "); ok && queue != nil {
			queue[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return queues
}

// pbsFits finds what j's queue refuses.
func pbsFits(queues map[string]map[string]string, j *Job) []*FieldError {
	name, _, _ := strings.Cut(j.Queue, "@") // at a server
	if name == "" {
		return nil
	}
	q, ok := queues[name]
	if !ok {
		var there []string
		for n := range queues {
			there = append(there, n)
		}
		return []*FieldError{unknown("queue", "queue", name, there)}
	}
	var list []*FieldError
	if strings.EqualFold(q["enabled"], "false") {
		list = append(list, mistake("queue", "", "queue %s takes no jobs at present", name))
	}
	if limit := pbsTime(q["resources_max.walltime"]); limit > 0 && j.Walltime > limit {
		list = append(list, mistake("walltime", "", "queue %s lets a job run for %s at most", name, hms(limit)))
	}
	if limit := pbsBytes(q["resources_max.mem"]); limit > 0 && j.Memory > limit {
		list = append(list, mistake("memory", "", "queue %s gives a job %d MiB at most", name, mebi(limit)))
	}
	for _, s := range []struct {
		field, resource string
		asked           int
	}{{"cpus", "ncpus", j.CPUs}, {"gpus", "ngpus", j.GPUs}} {
		if limit := number(q["resources_max."+s.resource]); limit > 0 && s.asked > limit {
			list = append(list, mistake(s.field, "", "queue %s gives a job %d at most", name, limit))
		}
	}
	return list
}

// pbsTime reads H:MM:SS or seconds.
func pbsTime(s string) time.Duration {
	seconds := 0
	for _, part := range strings.Split(s, ":") {
		seconds = seconds*60 + number(part)
	}
	return time.Duration(seconds) * time.Second
}

// pbsBytes reads 16gb, in steps of 1024, and 0 of what it cannot read.
func pbsBytes(s string) int64 {
	s = strings.TrimSuffix(strings.ToLower(s), "b")
	units := []string{"", "k", "m", "g", "t", "p"}
	digits := strings.TrimRight(s, "kmgtp")
	unit := slices.Index(units, s[len(digits):])
	if unit < 0 {
		return 0
	}
	return int64(number(digits)) << (10 * unit)
}
