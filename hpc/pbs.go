package hpc

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// pbsPro is PBS Professional and OpenPBS: qsub(1B), qstat(1B) of 23.06.
var pbsPro = &Dialect{
	Name: "pbs", Submit: "qsub", title: "PBS",
	grammar: grammar{directive: "#PBS", quoting: quoting{strict: true}, sets: pbsSets("-J"),
		letters: "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"},
	firstZero: true,
	nameMax:   230,
	nameRule: func(n string) string {
		if !pbsName.MatchString(n) {
			return "a PBS job's name has letters, digits and + - _ . alone, no blanks"
		}
		return ""
	},
	quote:      pbsQuote,
	directives: pbsDirectives,
	compose:    byStdin,
	outputs:    "^array_index^.out",
	delivers:   true,
	literal:    asItIs,
	parseID:    pbsID,
	jobID:      pbsJobID,
	list: func(_ string, ids []string) (list []query) {
		for _, part := range batches(ids) {
			list = append(list, query{append([]string{"qstat", "-t", "-f", "-F", "json"}, part...), parseQstatJSON})
		}
		return list
	},
	fates: func(ids []string) (list []query) {
		for _, part := range batches(ids) {
			list = append(list, query{append([]string{"qstat", "-x", "-t", "-f", "-F", "json"}, part...), parseQstatJSON})
		}
		return list
	},
	find:    qselect,
	limits:  []string{"qstat", "-B", "-f"},
	limit:   func(out string) int { return lineValue(out, "max_array_size") },
	limited: "Server:",
	version: "--version", versionCodes: []int{0},
	advice: []advice{{"usage: qsub", twoPBS}, {"exceeds server or queue size limit", tooLarge}},
	cancel: func(id string) []string { return []string{"qdel", id} }, cancelSome: pbsCancelSome,
	// The job's output may be on its way, or the element may have ended.
	gone:    []string{"Unknown Job Id", "has finished", "Request invalid for state of job", "Request invalid for finished array subjob"},
	element: pbsElementName,
	inside: func(getenv func(string) string) (Identity, bool) {
		id, ok := pbsInside("pbs", getenv)
		return id, ok && !ofTorque(getenv)
	},
	index:       "PBS_ARRAY_INDEX",
	environment: pbsEnvironment,
	probes:      pbsProbes,
}

const twoPBS = "PBS Pro and Torque are two dialects: `qsub --version` says pbs_version for the one (scheduler = \"pbs\") and Version for the other (\"torque\")"

var pbsName = regexp.MustCompile(`^[A-Za-z0-9+_.-]+$`)

func asItIs(s string) string { return s }

// pbsEnvironment is that of Torque too.
var pbsEnvironment = environment{
	inside:   []string{"PBS_JOBID"},
	where:    []string{"PBS_DEFAULT", "PBS_SERVER", "PBS_CONF_FILE", "PBS_PRIMARY", "PBS_SECONDARY", "PBS_BATCH_SERVICE_PORT"},
	prefixes: []string{"PBS_"},
	keep: []string{"PBS_DEFAULT", "PBS_SERVER", "PBS_CONF_FILE", "PBS_EXEC", "PBS_PRIMARY", "PBS_SECONDARY", "PBS_BATCH_SERVICE_PORT",
		"PBS_LEAF_NAME", "PBS_AUTH_METHOD", "PBS_ENCRYPT_METHOD", "PBS_ENCRYPT_MODE"},
	drop: []string{"PBSDEBUG"},
}

// pbsQuote puts in quotes what qsub would otherwise take apart.
func pbsQuote(s string) (word, why string) {
	switch {
	case !strings.ContainsAny(s, " \t\v\f\"'"):
		return s, ""
	case !strings.Contains(s, `"`):
		return `"` + s + `"`, ""
	case !strings.Contains(s, "'"):
		return "'" + s + "'", ""
	}
	return "", "it has both kinds of quotes, which a directive cannot say"
}

func pbsDirectives(j *Job, l *list) {
	l.value("name", setsName, "-N ", j.Name)
	l.add(j.Array != nil, setsArray, "-J %v", j.Array)
	l.add(j.Walltime > 0, setsTime, "-l walltime=%s", hms(j.Walltime))
	sel := "select=1"
	if j.CPUs > 0 {
		sel += ":ncpus=" + strconv.Itoa(j.CPUs)
	}
	if j.GPUs > 0 {
		sel += ":ngpus=" + strconv.Itoa(j.GPUs)
	}
	if j.Memory > 0 {
		sel += fmt.Sprintf(":mem=%dmb", mebi(j.Memory))
	}
	// select and the older forms exclude each other.
	l.add(sel != "select=1", setsCPUs, "-l %s", sel)
	l.also(sel != "select=1", setsGPUs, setsMemory)
	l.value("queue", setsQueue, "-q ", j.Queue)
	l.value("account", setsAccount, "-A ", j.Account)
	l.add(j.Output != "", setsJoin, "-j oe")
	l.value("output", setsOutput, "-o ", j.Output)
}

var pbsRoles = map[string]role{"-N": setsName, "-q": setsQueue, "-A": setsAccount, "-o": setsOutput, "-j": setsJoin}

// pbsResources are of either PBS; nodes and select set more than CPUs.
var pbsResources = map[string][]role{"walltime": {setsTime}, "select": {setsCPUs, setsGPUs, setsMemory}, "nodes": {setsCPUs, setsGPUs},
	"ncpus": {setsCPUs}, "procs": {setsCPUs}, "mem": {setsMemory}, "ngpus": {setsGPUs}, "gpus": {setsGPUs}}

// pbsSets says what an option of qsub sets; each resource of -l is one.
func pbsSets(array string) func(key, value string) []setting {
	return func(key, value string) []setting {
		switch key {
		case array:
			return one(key, setsArray)
		case "-l":
		default:
			return one(key, pbsRoles[key])
		}
		var list []setting
		for _, r := range strings.Split(value, ",") {
			name, _, _ := strings.Cut(r, "=")
			for _, sets := range pbsResources[name] {
				list = append(list, setting{"-l " + name, sets})
			}
		}
		return list
	}
}

func pbsCancelSome(id string, spans []Span) [][]string {
	argv := []string{"qdel"}
	for _, s := range spans {
		for i := s.First; i <= s.Last; i++ {
			argv = append(argv, strings.Replace(id, "[]", "["+strconv.Itoa(i)+"]", 1))
		}
	}
	return [][]string{argv}
}

func pbsElementName(job string, index int, _ bool) string {
	short, _, _ := strings.Cut(job, ".")
	return strings.Replace(short, "[]", "["+strconv.Itoa(index)+"]", 1)
}

func pbsInside(scheduler string, getenv func(string) string) (Identity, bool) {
	full := getenv("PBS_JOBID") // 123[4].server
	job, index, _ := pbsElement(full)
	element, _, _ := strings.Cut(full, ".")
	return Identity{Scheduler: scheduler, Job: job, Index: index, Element: element}, full != ""
}
