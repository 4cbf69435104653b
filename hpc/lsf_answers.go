package hpc

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// nothing are the words with which bjobs says that it has no such job.
var nothing = regexp.MustCompile(`^(No (unfinished |matching |pending |running |suspended |DONE/EXIT )?job found.*|Job <[^>]*> is not found|Job Array <[^>]*>.* not found)$`)

// bjobsAnswer returns the lines below bjobs's heading. Of a job that is unknown it
// says so and may fail.
func bjobsAnswer(o Output) ([]string, error) {
	if o.Code != 0 {
		said := strings.TrimSpace(string(o.Stderr))
		for line := range strings.Lines(said) {
			if !nothing.MatchString(strings.TrimSpace(line)) {
				return nil, o.failed()
			}
		}
		if said == "" && !nothing.MatchString(strings.TrimSpace(string(o.Stdout))) {
			return nil, o.failed()
		}
	}
	lines := strings.Split(string(o.Stdout), "\n")
	head := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "JOBID") })
	if head < 0 {
		if text := string(o.Stdout) + string(o.Stderr); o.Code == 0 && !strings.Contains(text, "job found") && !strings.Contains(text, "not found") {
			return nil, fmt.Errorf("bjobs printed %q and nothing of any job", short(string(o.Stdout)))
		}
		return nil, nil
	}
	return lines[head+1:], o.whole()
}

// parseBjobs reads bjobs -a -w.
func parseBjobs(o Output) ([]Element, error) {
	lines, err := bjobsAnswer(o)
	if err != nil {
		return nil, err
	}
	var list []Element
	for _, line := range lines {
		if e, _, ok := bjobsLine(line); ok {
			list = append(list, e)
		}
	}
	return list, nil
}

// lsfFind asks for the jobs of a name.
func lsfFind(user, name string, _ []string) search {
	return search{[]string{"bjobs", "-a", "-w", "-u", user, "-J", name}, func(o Output) ([]string, error) {
		lines, err := bjobsAnswer(o)
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, line := range lines {
			if e, called, ok := bjobsLine(line); ok && called == strings.Join(strings.Fields(name), " ") {
				ids = append(ids, e.Job)
			}
		}
		return ids, nil
	}}
}

// bjobsLine reads JOBID USER STAT QUEUE FROM_HOST EXEC_HOST JOB_NAME
// SUBMIT_TIME. The time is three words, the name may have blanks, and the host
// of a job that never ran is a dash or nothing at all, by version.
func bjobsLine(line string) (e Element, called string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 9 || digits(f[0]) == "" {
		return e, "", false
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
	called = strings.Join(name, " ")
	if text, index, array := strings.Cut(called, "["); array {
		n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil {
			return e, "", false
		}
		called, e.Index = text, n
	}
	return e, called, true
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
func parseBjobsLong(o Output) (list []Element, err error) {
	out := bjobsWrap.ReplaceAllString(string(o.Stdout), "")
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
	return list, nil
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
