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
	Name: "lsf", Submit: "bsub", title: "LSF",
	grammar: lsfGrammar,
	lists:   true, ofOne: true,
	nameMax: 200,
	nameRule: func(n string) string {
		if strings.ContainsAny(n, `[]"`) {
			return "an LSF job's name has no brackets and no quotes: they make an array"
		}
		return ""
	},
	quote:      lsfQuote,
	directives: lsfDirectives,
	compose:    byStdin,
	outputs:    "%I.out",
	literal:    asItIs,
	shows:      "LSF shows them to others, with `bjobs -l`",
	parseID: func(line string) string {
		if m := lsfPrinted.FindStringSubmatch(line); m != nil {
			return m[1]
		}
		return ""
	},
	jobID: regexp.MustCompile(`^[1-9][0-9]*$`), // 0 is all of a user's
	list: func(user string, ids []string) (list []query) {
		for _, part := range batches(ids) {
			list = append(list, query{append([]string{"bjobs", "-a", "-w", "-u", user}, part...), parseBjobs})
		}
		return list
	},
	fates: func(ids []string) (list []query) {
		for _, part := range batches(ids) {
			list = append(list, query{append([]string{"bjobs", "-l"}, part...), parseBjobsLong})
		}
		return list
	},
	find:    lsfFind,
	limits:  []string{"bparams", "-a"},
	limit:   func(out string) int { return lineValue(out, "MAX_JOB_ARRAY_SIZE") },
	limited: "MAX_JOB_ARRAY_SIZE",
	version: "-V", versionCodes: []int{0},
	advice: []advice{{"job array index too large", tooLarge}},
	cancel: func(id string) []string { return []string{"bkill", id} },
	cancelSome: func(id string, spans []Span) [][]string {
		argv := []string{"bkill"}
		for _, s := range spans {
			argv = append(argv, fmt.Sprintf("%s[%d-%d]", id, s.First, s.Last))
		}
		return [][]string{argv}
	},
	gone: []string{"No matching job found", "already finished"},
	element: func(job string, index int, array bool) string {
		if !array {
			return job
		}
		return job + "[" + strconv.Itoa(index) + "]"
	},
	inside: func(getenv func(string) string) (Identity, bool) {
		job := getenv("LSB_JOBID")
		id := Identity{Scheduler: "lsf", Job: job, Element: job}
		if id.Index = number(getenv("LSB_JOBINDEX")); id.Index > 0 {
			id.Element += "[" + strconv.Itoa(id.Index) + "]"
		}
		return id, job != ""
	},
	index: "LSB_JOBINDEX",
	environment: environment{
		inside:   []string{"LSB_JOBID"},
		where:    []string{"LSF_ENVDIR", "LSF_SERVERDIR"},
		prefixes: []string{"LSB_", "LS_", "BSUB_"},
		keep:     []string{"LSB_DEFAULTQUEUE", "LSB_DEFAULTPROJECT", "LSB_DEFAULT_USERGROUP", "LSB_JOB_REPORT_MAIL"},
	},
	probes: lsfProbes,
}

var lsfPrinted = regexp.MustCompile(`^Job <([1-9][0-9]*)> is submitted`)

// lsfGrammar is that of bsub(1).
var lsfGrammar = grammar{
	directive: "#BSUB",
	quoting:   quoting{comment: commentAtWord},
	values: map[string]int{"-a": 1, "-app": 1, "-ar": 0, "-B": 0, "-b": 1, "-C": 1, "-c": 1, "-clusters": 1, "-cn_cu": 1, "-cn_mem": 1,
		"-core_isolation": 1, "-csm": 1, "-cwd": 1, "-D": 1, "-data": 1, "-datagrp": 1, "-E": 1, "-Ep": 1, "-e": 1, "-env": 1,
		"-eo": 1, "-eptl": 1, "-ext": 1, "-F": 1, "-f": 1, "-freq": 1, "-G": 1, "-g": 1, "-gpu": 1, "-H": 0, "-hl": 0, "-hostfile": 1,
		"-I": 0, "-Ip": 0, "-IS": 0, "-ISp": 0, "-ISs": 0, "-Is": 0, "-IX": 0, "-i": 1, "-is": 1, "-J": 1, "-Jd": 1, "-jobaff": 1, "-jsdl": 1,
		"-json": 1, "-jsm": 1, "-K": 0, "-k": 1, "-L": 1, "-Lp": 1, "-ln_mem": 1, "-ln_slots": 1, "-M": 1, "-m": 1, "-mig": 1,
		"-N": 0, "-Ne": 0, "-n": 1, "-notify": 1, "-nnodes": 1, "-o": 1, "-oo": 1, "-outdir": 1, "-P": 1, "-p": 1, "-pack": 1,
		"-ptl": 1, "-Q": 1, "-q": 1, "-R": 1, "-r": 0, "-rcacct": 1, "-rn": 0, "-rnc": 1, "-S": 1, "-s": 1, "-sla": 1, "-smt": 1,
		"-sp": 1, "-stage": 1, "-step_cgroup": 1, "-T": 1, "-t": 1, "-ti": 0, "-tty": 0, "-U": 1, "-u": 1, "-ul": 0, "-v": 1,
		"-W": 1, "-We": 1, "-w": 1, "-wa": 1, "-wt": 1, "-x": 0, "-yaml": 1, "-Zs": 0, "-h": 0, "-V": 0},
	sets: func(key, value string) []setting {
		switch key {
		case "-J": // the array is part of the name
			return []setting{{key, setsName}, {key, setsArray}}
		case "-R":
			var list []setting
			for _, m := range lsfSection.FindAllStringSubmatch(value, -1) {
				list = append(list, one("-R "+m[1], lsfRoles["-R "+m[1]])...)
			}
			return list
		}
		return one(key, lsfRoles[key])
	},
}

var lsfSection = regexp.MustCompile(`([a-z]+)\[`)

var lsfRoles = map[string]role{"-W": setsTime, "-n": setsCPUs, "-R span": setsSpread, "-M": setsMemory, "-R rusage": setsReserve,
	"-gpu": setsGPUs, "-q": setsQueue, "-P": setsAccount, "-o": setsOutput, "-oo": setsOutput}

// lsfQuote puts in quotes what bsub would otherwise take apart.
func lsfQuote(s string) (word, why string) {
	switch {
	case !strings.ContainsAny(s, " \t\v\f\"'#\\$`"):
		return s, ""
	case !strings.ContainsAny(s, "\"\\$`"):
		return `"` + s + `"`, ""
	case !strings.Contains(s, "'"):
		return "'" + s + "'", ""
	}
	return "", "it has a ' and one of \" \\ $ `, which a directive cannot say"
}

func lsfDirectives(j *Job, l *list) {
	name := j.Name
	if j.Array != nil {
		if name == "" {
			name = "muster"
		}
		l.add(true, setsArray, `-J "%s[%s]%s"`, name, j.Array.spans(), j.Array.throttle())
	} else {
		l.add(name != "", setsName, `-J "%s"`, name)
	}
	minutes := int((j.Walltime + time.Minute - 1) / time.Minute)
	l.add(j.Walltime > 0, setsTime, "-W %d:%02d", minutes/60, minutes%60)
	l.add(j.CPUs > 0, setsCPUs, "-n %d", j.CPUs)
	l.add(j.CPUs > 1, setsSpread, `-R "span[hosts=1]"`)
	l.add(j.Memory > 0, setsMemory, "-M %d", (j.Memory+1023)>>10) // KB, by LSF's default
	l.add(j.Memory > 0, setsReserve, `-R "rusage[mem=%d]"`, mebi(j.Memory))
	l.add(j.GPUs > 0, setsGPUs, `-gpu "num=%d"`, j.GPUs)
	l.value("queue", setsQueue, "-q ", j.Queue)
	l.value("account", setsAccount, "-P ", j.Account)
	l.value("output", setsOutput, "-o ", j.Output)
}
