package hpc

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// lsf is IBM Spectrum LSF and what is compatible with it: bsub(1), bjobs(1).
// Only options that OpenLava knows as well are used unless asked for.
var lsf = &Dialect{
	Name: "lsf", Submit: "bsub", directive: "#BSUB",
	lists: true, ofOne: true, indexVar: "LSB_JOBINDEX",
	nameRule: func(n string) string {
		if strings.ContainsAny(n, `[]"`) {
			return "an LSF job's name has no brackets and no quotes: they make an array"
		}
		return ""
	},
	directives: lsfDirectives,
	arrayKey:   "-J",
	option:     lsfKeys,
	parseID: func(out string) string {
		if m := regexp.MustCompile(`Job <([0-9]+)> is submitted`).FindStringSubmatch(out); m != nil {
			return m[1]
		}
		return ""
	},
	list:       func(user string, _ []string) []string { return []string{"bjobs", "-a", "-w", "-u", user} },
	parseList:  parseBjobs,
	fates:      func(ids []string) [][]string { return [][]string{append([]string{"bjobs", "-l"}, ids...)} },
	parseFates: parseBjobsLong,
	cancel:     func(id string) []string { return []string{"bkill", id} },
	cancelSome: func(id string, spans []Span) (list [][]string) {
		for _, s := range spans {
			list = append(list, []string{"bkill", fmt.Sprintf("%s[%d-%d]", id, s.First, s.Last)})
		}
		return list
	},
	outputs: "%I.out",
	limits:  []string{"bparams", "-a"},
	version: "-V",
	limit:   func(out string) int { return lineValue(out, "MAX_JOB_ARRAY_SIZE") },
}

func lsfDirectives(j *Job) []directive {
	var d list
	name := j.Name
	if j.Array != nil {
		if name == "" {
			name = "muster"
		}
		d.add(true, "array", `-J "%s[%s]%s"`, name, j.Array.spans(), j.Array.throttle())
	} else {
		d.add(name != "", "name", `-J "%s"`, name)
	}
	minutes := int((j.Walltime + time.Minute - 1) / time.Minute)
	d.add(j.Walltime > 0, "walltime", "-W %d:%02d", minutes/60, minutes%60)
	d.add(j.CPUs > 0, "cpus", `-n %d`, j.CPUs)
	d.add(j.CPUs > 1, "cpus", `-R "span[hosts=1]"`)
	d.add(j.Memory > 0, "memory", "-M %d", (j.Memory+1023)>>10) // KB, by LSF's default
	d.add(j.Memory > 0, "memory", `-R "rusage[mem=%d]"`, mebi(j.Memory))
	d.add(j.GPUs > 0, "gpus", `-gpu "num=%d"`, j.GPUs)
	d.add(j.Queue != "", "queue", "-q %s", j.Queue)
	d.add(j.Account != "", "account", "-P %s", j.Account)
	d.add(j.Output != "", "output", "-o %s", j.Output)
	return d.prefixed("#BSUB ")
}

// lsfKeys names the options of a bsub line; the sections of -R are one each.
func lsfKeys(words []string) []string {
	var keys []string
	for i, w := range words {
		switch {
		case len(w) < 2 || w[0] != '-':
		case w == "-R":
			for _, section := range words[i+1:] {
				name, _, ok := strings.Cut(section, "[")
				if !ok {
					break
				}
				keys = append(keys, "-R "+name)
			}
		default:
			keys = append(keys, w)
		}
	}
	return keys
}

// parseBjobs reads bjobs -a -w.
func parseBjobs(o Output) ([]Element, error) {
	if text := string(o.Stderr) + string(o.Stdout); strings.Contains(text, "No job found") ||
		strings.Contains(text, "No unfinished job found") || strings.Contains(text, "No matching job found") {
		return nil, nil
	}
	if o.Code != 0 {
		return nil, o.failed()
	}
	var list []Element
	for i, line := range strings.Split(strings.TrimSpace(string(o.Stdout)), "\n") {
		if i == 0 {
			if !strings.HasPrefix(line, "JOBID") {
				return nil, fmt.Errorf("bjobs printed %q", line)
			}
			continue
		}
		e, ok := bjobsLine(line)
		if !ok {
			return nil, fmt.Errorf("bjobs printed %q", line)
		}
		list = append(list, e)
	}
	return list, nil
}

// bjobsLine reads JOBID USER STAT QUEUE FROM_HOST EXEC_HOST JOB_NAME
// SUBMIT_TIME. The time is three words, the name may have blanks, and the host
// of a job that never ran is a dash or nothing at all, by version.
func bjobsLine(line string) (e Element, ok bool) {
	f := strings.Fields(line)
	if len(f) < 9 || digits(f[0]) == "" {
		return e, false
	}
	e = Element{Job: f[0], State: lsfState(f[2]), Raw: f[2]}
	name := f[5 : len(f)-3]
	switch {
	case len(name) == 1:
	case name[0] == "-":
		name = name[1:]
	case e.State != Pending:
		e.Node, name = name[0], name[1:]
	}
	e.Name = strings.Join(name, " ")
	if text, index, array := strings.Cut(e.Name, "["); array {
		n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil {
			return e, false
		}
		e.Name, e.Index = text, n
	}
	return e, true
}

func lsfState(s string) State {
	switch s {
	case "PEND", "PSUSP", "WAIT":
		return Pending
	case "RUN", "USUSP", "SSUSP", "PROV":
		return Running
	case "DONE", "EXIT":
		return Ended
	}
	return Unknown // UNKWN and ZOMBI: its host does not answer
}

// Of bjobs -l, which begins a line that is too long anew after 21 blanks.
var (
	bjobsWrap   = regexp.MustCompile(`\n {21}`)
	bjobsHead   = regexp.MustCompile(`(?m)^Job <([0-9]+)(?:\[([0-9]+)\])?>`)
	bjobsStatus = regexp.MustCompile(`Status <([A-Z]+)>`)
	bjobsTerm   = regexp.MustCompile(`TERM_([A-Z_]+)`)
)

// parseBjobsLong reads the ended jobs of bjobs -l: why LSF ended one is a word that
// begins with TERM_.
func parseBjobsLong(out string) (list []Element) {
	out = bjobsWrap.ReplaceAllString(out, "")
	heads := bjobsHead.FindAllStringSubmatchIndex(out, -1)
	for i, h := range heads {
		end := len(out)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		text := out[h[0]:end]
		status := bjobsStatus.FindStringSubmatch(text)
		if status == nil || lsfState(status[1]) != Ended {
			continue
		}
		e := Element{Job: out[h[2]:h[3]], State: Ended, Raw: status[1], End: EndOrdinary}
		if h[4] >= 0 {
			e.Index, _ = strconv.Atoi(out[h[4]:h[5]])
		}
		if why := bjobsTerm.FindStringSubmatch(text); why != nil {
			e.Raw, e.End = e.Raw+" ("+why[0]+")", lsfEnd(why[1])
		}
		list = append(list, e)
	}
	return list
}

// lsfEnd reads the reasons of bhist(1) without their TERM_.
func lsfEnd(why string) End {
	switch why {
	case "OWNER", "ADMIN", "FORCE_OWNER", "FORCE_ADMIN":
		return EndCancelled
	case "RUNLIMIT", "DEADLINE":
		return EndWalltime
	case "MEMLIMIT", "SWAP":
		return EndMemory
	case "PREEMPT", "REQUEUE_OWNER", "REQUEUE_ADMIN", "REQUEUE_RC":
		return EndPreempted
	case "ZOMBI", "UNKNOWN":
		return EndNode
	}
	return EndOrdinary
}
