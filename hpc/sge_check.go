package hpc

import (
	"slices"
	"strings"
)

// sgeProbes try a submission, which qsub does with -w v, and look up the names of
// queues, parallel environments, projects and resources.
func sgeProbes(c *Client, j *Job) []probe {
	list := []probe{c.trial(j, "job", []string{"-w", "v"}, func(o Output) ([]*FieldError, error) {
		switch said := string(o.Stdout) + string(o.Stderr); {
		case o.Code == 0:
			return nil, nil
		case strings.Contains(said, "commlib error"), strings.Contains(said, "contact qmaster"), strings.Contains(said, "initialize environment"):
			return nil, o.failed()
		}
		return complained(o, sgeComplaints)
	})}
	named := func(when bool, field, what, option, name string) {
		if !when || strings.ContainsAny(name, "*?[],@!|&(") { // a pattern, a list, or a queue's part
			return
		}
		list = append(list, probe{asks: what, argv: []string{"qconf", option}, read: func(o Output) ([]*FieldError, error) {
			there, none := strings.Fields(string(o.Stdout)), strings.Contains(string(o.Stderr), "list defined")
			switch {
			case o.Code != 0 && !none:
				return nil, o.failed()
			case !none && len(there) != strings.Count(string(o.Stdout), "\n"), !none && len(there) == 0: // a name on each line
				return nil, o.strange()
			case !slices.Contains(there, name):
				return []*FieldError{unknown(field, what, name, there)}, nil
			}
			return nil, nil
		}})
	}
	named(j.Queue != "", "queue", "queue", "-sql", j.Queue)
	pe := j.PE
	if pe == "" {
		pe = "smp"
	}
	named(j.CPUs > 1, "parallel_environment", "parallel environment", "-spl", pe)
	named(j.Account != "", "account", "project", "-sprjl", j.Account)
	if j.GPUs > 0 {
		list = append(list, probe{asks: "resource gpu", argv: []string{"qconf", "-sc"}, read: func(o Output) ([]*FieldError, error) {
			known := false
			for line := range strings.Lines(string(o.Stdout)) {
				f := strings.Fields(line)
				if len(f) > 1 && (f[0] == "gpu" || f[1] == "gpu") {
					return nil, nil
				}
				known = known || len(f) > 1 && f[0] == "slots" // which every cluster has
			}
			switch {
			case o.Code != 0:
				return nil, o.failed()
			case !known:
				return nil, o.strange()
			}
			return []*FieldError{mistake("gpus", "ask for them in options, under the name that they have at this site: `qconf -sc` lists all", "this cluster has no resource gpu")}, nil
		}})
	}
	return list
}

// sgeComplaints are of qmaster.
var sgeComplaints = []complaint{
	{"unknown queue", "queue"}, {"parallel environment", "parallel_environment"}, {"cannot run in pe", "cpus"},
	{"project", "account"}, {`unknown resource "gpu"`, "gpus"}, {"unknown resource", "options"}, {"unknown option", "options"}, {"invalid option", "options"},
	{"objectname", "name"}, {"hostname", "output"}, {"two files", "output"}, {"unable to run job", ""}, {"no suitable queues", ""},
}
