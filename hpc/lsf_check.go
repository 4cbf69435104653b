package hpc

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// lsfProbes look at the queue. LSF has no way of trying a submission that all
// versions know.
func lsfProbes(_ *Client, j *Job) []probe {
	list := []probe{{asks: "account, and whether any host is large enough", not: "bsub has no way to ask"}}
	if j.Queue == "" {
		return list
	}
	return append(list, probe{asks: "queue", argv: []string{"bqueues", "-l", j.Queue}, read: func(o Output) ([]*FieldError, error) {
		said := string(o.Stdout) + string(o.Stderr)
		switch {
		case strings.Contains(said, "No such queue"):
			return []*FieldError{unknown("queue", "queue", j.Queue, nil)}, nil
		case o.Code != 0:
			return nil, o.failed()
		case !strings.Contains(said, "QUEUE:"):
			return nil, o.strange()
		}
		if limit := lsfRunLimit(string(o.Stdout)); limit > 0 && j.Walltime > limit {
			return []*FieldError{mistake("walltime", "", "queue %s lets a job run for %s at most", j.Queue, hms(limit))}, nil
		}
		return nil, nil
	}})
}

var lsfMinutes = regexp.MustCompile(`^\s*([0-9]+(?:\.[0-9]+)?) min`)

// lsfRunLimit reads the hard limit of bqueues -l: the line below RUNLIMIT, which
// stands below MAXIMUM LIMITS where there is a default too.
func lsfRunLimit(out string) time.Duration {
	if _, hard, ok := strings.Cut(out, "MAXIMUM LIMITS:"); ok {
		out = hard
	}
	lines := strings.Split(out, "\n")
	for i, line := range lines[:len(lines)-1] {
		if !strings.Contains(line, "RUNLIMIT") {
			continue
		}
		if m := lsfMinutes.FindStringSubmatch(lines[i+1]); m != nil {
			minutes, _ := strconv.ParseFloat(m[1], 64)
			return time.Duration(minutes * float64(time.Minute))
		}
	}
	return 0
}
