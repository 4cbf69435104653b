package hpc

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// gridEngine is Son of Grid Engine 8.1 and its kin: qsub(1), qstat(1).
var gridEngine = &Dialect{
	Name: "sge", Submit: "qsub", title: "Grid Engine", terse: []string{"-terse"},
	grammar: sgeGrammar,
	ofOne:   true, throttleApart: true,
	nameMax:    200,
	nameRule:   sgeNameRule,
	quote:      sgeQuote,
	directives: sgeDirectives,
	compose:    sgeCompose,
	outputs:    "$TASK_ID.out",
	literal:    asItIs,
	shows:      "Grid Engine keeps a copy of them in the folder job_scripts of each node, which others may read",
	parseID: func(line string) string {
		if m := sgePrinted.FindStringSubmatch(line); m != nil {
			return m[1] + m[2]
		}
		return ""
	},
	jobID: regexp.MustCompile(`^[1-9][0-9]*$`),
	list: func(user string, _ []string) []query {
		return []query{{sgeJobs(user), parseSGE}}
	},
	fates: func(ids []string) (list []query) {
		for _, id := range ids {
			list = append(list, query{[]string{"qacct", "-j", id}, parseQacct})
		}
		return list
	},
	find: func(user, name string, _ []string) search {
		return search{sgeJobs(user), func(o Output) ([]string, error) {
			rows, err := sgeRows(o)
			var ids []string
			for _, r := range rows {
				if r.Name == name {
					ids = append(ids, r.ID)
				}
			}
			return ids, err
		}}
	},
	limits:  []string{"qconf", "-sconf"},
	limit:   func(out string) int { return lineValue(out, "max_aj_tasks") },
	limited: "max_aj_tasks",
	version: "-help", versionCodes: []int{0, 1},
	reasons: map[string]string{"Eqw": "it is in an error state and will not start: qstat -explain E -j ID says why"},
	cancel:  func(id string) []string { return []string{"qdel", id} },
	cancelSome: func(id string, spans []Span) [][]string {
		argv := []string{"qdel"}
		for _, s := range spans {
			argv = append(argv, fmt.Sprintf("%s.%d-%d", id, s.First, s.Last))
		}
		return [][]string{argv}
	},
	gone: []string{"does not exist", "already in deletion"},
	element: func(job string, index int, array bool) string {
		if !array {
			return job
		}
		return job + "." + strconv.Itoa(index)
	},
	inside: func(getenv func(string) string) (Identity, bool) {
		job := getenv("JOB_ID")
		id := Identity{Scheduler: "sge", Job: job, Element: job, Restart: uint32(number(getenv("RESTARTED")))}
		if id.Index = number(getenv("SGE_TASK_ID")); id.Index > 0 { // "undefined" without an array
			id.Element += "." + strconv.Itoa(id.Index)
		}
		return id, job != "" && getenv("SGE_TASK_ID") != ""
	},
	index: "SGE_TASK_ID",
	environment: environment{
		inside:   []string{"JOB_ID", "SGE_TASK_ID"},
		where:    []string{"SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_CLUSTER_NAME"},
		prefixes: []string{"SGE_"},
		keep:     []string{"SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT", "SGE_CLUSTER_NAME", "SGE_ARCH"},
		drop:     []string{"MORE_INFO"},
		bare: []string{"JOB_ID", "JOB_NAME", "JOB_SCRIPT", "TASK_ID", "PE_HOSTFILE", "PE", "NSLOTS", "NHOSTS", "NQUEUES",
			"QUEUE", "REQUEST", "REQNAME", "RESTARTED", "ENVIRONMENT", "ARC"},
	},
	probes: sgeProbes,
}

var sgePrinted = regexp.MustCompile(`^(?:([1-9][0-9]*)(?:\.[0-9]+-[0-9]+:[0-9]+)?|Your job(?:-array)? ([1-9][0-9]*)[. ].*)$`)

// sgeNameRule refuses what qsub does, and what qstat would not print again.
func sgeNameRule(n string) string {
	strange := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/:@\*?<#"'`, r) }
	if n != "" && (n[0] >= '0' && n[0] <= '9' || strings.ContainsFunc(n, strange)) {
		return `a Grid Engine job's name does not begin with a digit and has ASCII alone, no blanks and none of / : @ \ * ? < # and quotes`
	}
	return ""
}

// sgeJobs lists a user's jobs. What a .sge_qstat would select among them is said
// otherwise.
func sgeJobs(user string) []string {
	return []string{"qstat", "-s", "a", "-q", "*", "-u", user, "-xml"}
}

// sgeGrammar is that of qsub(1). A # ends a line even in quotes.
var sgeGrammar = grammar{
	directive: "#$",
	quoting:   quoting{comment: commentAlways},
	values: map[string]int{"-a": 1, "-ac": 1, "-ar": 1, "-A": 1, "-b": 1, "-bgio": 1, "-binding": 1, "-c": 1, "-ckpt": 1, "-clear": 0,
		"-cwd": 0, "-C": 1, "-dc": 1, "-display": 1, "-dl": 1, "-e": 1, "-h": 0, "-hard": 0, "-hold_jid": 1, "-hold_jid_ad": 1,
		"-i": 1, "-j": 1, "-jc": 1, "-js": 1, "-jsv": 1, "-l": 1, "-m": 1, "-M": 1, "-masterq": 1, "-mods": 3, "-N": 1,
		"-notify": 0, "-now": 1, "-nostdin": 0, "-o": 1, "-ot": 1, "-P": 1, "-p": 1, "-par": 1, "-pe": 2, "-pty": 1, "-q": 1, "-R": 1,
		"-r": 1, "-rou": 1, "-sc": 1, "-shell": 1, "-si": 1, "-soft": 0, "-sync": 1, "-S": 1, "-t": 1, "-tc": 1, "-tcon": 1,
		"-terse": 0, "-u": 1, "-v": 1, "-verify": 0, "-V": 0, "-w": 1, "-wd": 1, "-@": 1},
	sets: func(key, value string) []setting {
		if key != "-l" {
			return one(key, sgeRoles[key])
		}
		var list []setting
		for _, r := range strings.Split(value, ",") {
			name, _, _ := strings.Cut(r, "=")
			list = append(list, one("-l "+name, sgeRoles["-l "+name])...)
		}
		return list
	},
}

var sgeRoles = map[string]role{"-N": setsName, "-t": setsArray, "-tc": setsThrottle, "-S": setsShell, "-pe": setsCPUs,
	"-q": setsQueue, "-P": setsAccount, "-j": setsJoin, "-o": setsOutput, "-l h_rt": setsTime, "-l s_rt": setsWarning,
	"-l h_vmem": setsMemory, "-l gpu": setsGPUs}

// sgeQuote puts a value with blanks in quotes, which must end the line: qsub takes
// what follows them into the value.
func sgeQuote(s string) (word, why string) {
	switch {
	case strings.ContainsAny(s, `"'#`):
		return "", "it has a quote or a #, which no directive of Grid Engine can say"
	case strings.ContainsAny(s, " \t\v\f"):
		return `"` + s + `"`, ""
	}
	return s, ""
}

func sgeDirectives(j *Job, l *list) {
	output := j.Output
	if strings.HasPrefix(output, "/") && strings.Contains(output, ":") {
		output = ":" + output // what is before the first is a host
	}
	if strings.Contains(output, ",") {
		l.bad = append(l.bad, mistake("output", "", "%q has a comma, which parts two paths for Grid Engine", j.Output))
	}
	if strings.ContainsAny(j.Account, " \t") {
		l.bad = append(l.bad, mistake("account", "", "%q has blanks, which no project of Grid Engine has", j.Account))
	}
	shell, _, _ := strings.Cut(j.Shell, " ")
	l.value("shell", setsShell, "-S ", shell)
	l.value("name", setsName, "-N ", j.Name)
	if j.Array != nil {
		l.add(true, setsArray, "-t %s", j.Array.spans())
		l.add(j.Array.Throttle > 0, setsThrottle, "-tc %d", j.Array.Throttle)
	}
	l.add(j.Walltime > 0, setsTime, "-l h_rt=%s", hms(j.Walltime))
	l.add(j.Walltime > 0 && j.Warn > 0, setsWarning, "-l s_rt=%s", hms(j.Walltime-j.Warn))
	l.add(j.CPUs > 1, setsCPUs, "-pe %s %d", j.PE, j.CPUs)
	// h_vmem counts for each slot.
	slots := int64(max(j.CPUs, 1))
	l.add(j.Memory > 0, setsMemory, "-l h_vmem=%dM", mebi((j.Memory+slots-1)/slots))
	l.add(j.GPUs > 0, setsGPUs, "-l gpu=%d", j.GPUs)
	l.value("queue", setsQueue, "-q ", j.Queue)
	l.value("account", setsAccount, "-P ", j.Account)
	l.add(j.Output != "", setsJoin, "-j y")
	l.value("output", setsOutput, "-o ", output)
}

// sgeCompose has a login shell read its profile: -S takes a path and nothing after
// it, so that the shell is none.
func sgeCompose(argv []string, j *Job, p parts) (Command, error) {
	if _, args, _ := strings.Cut(j.Shell, " "); slices.Contains(strings.Fields(args), "-l") {
		p.Setup = append([]string{"if [ -r /etc/profile ]; then . /etc/profile; fi"}, p.Setup...)
	}
	return byStdin(argv, j, p)
}
