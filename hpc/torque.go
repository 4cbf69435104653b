package hpc

import (
	"regexp"
	"strconv"
	"strings"
)

// torque is Adaptive Computing's: qsub.1 of 6.1. The server adds -N to the name
// and the output of element N.
var torque = &Dialect{
	Name: "torque", Submit: "qsub", title: "Torque",
	grammar: grammar{directive: "#PBS", quoting: quoting{strict: true}, sets: pbsSets("-t"),
		letters: "a:A:b:c:C:d:D:e:EfF:hIj:k:K:l:L:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:xXzZ:"},
	lists: true, ofOne: true, firstZero: true,
	nameMax: 15,
	nameRule: func(n string) string {
		if !torqueName.MatchString(n) {
			return "a Torque job's name begins with a letter and has no blanks and no quotes"
		}
		return ""
	},
	quote:      pbsQuote,
	directives: torqueDirectives,
	compose:    byStdin,
	outputs:    "out",
	delivers:   true,
	literal:    asItIs,
	parseID:    pbsID,
	jobID:      regexp.MustCompile(`^[1-9][0-9]*(\[[0-9]*\])?(\.[A-Za-z0-9][A-Za-z0-9_.-]*)?$`),
	list: func(_ string, ids []string) (list []query) {
		for _, part := range batches(ids) {
			list = append(list, query{append([]string{"qstat", "-t", "-x"}, part...), parseQstatXML})
		}
		return list
	},
	find:    qselect,
	limits:  []string{"qmgr", "-c", "print server"},
	limit:   func(out string) int { return lineValue(out, "set server max_job_array_size") },
	limited: "set server",
	version: "--version", versionCodes: []int{0},
	advice: []advice{{"usage: qsub", twoPBS}},
	cancel: func(id string) []string { return []string{"qdel", id} }, cancelSome: pbsCancelSome,
	gone:    []string{"Unknown Job Id", "Request invalid for state of job"}, // it has completed
	element: pbsElementName,
	inside: func(getenv func(string) string) (Identity, bool) {
		id, ok := pbsInside("torque", getenv)
		return id, ok && ofTorque(getenv)
	},
	index:       "PBS_ARRAYID",
	environment: pbsEnvironment,
	probes:      pbsProbes,
}

// ofTorque reports whether a job of either PBS is Torque's.
func ofTorque(getenv func(string) string) bool {
	return getenv("PBS_ARRAYID") != "" || strings.HasPrefix(getenv("PBS_VERSION"), "TORQUE")
}

var torqueName = regexp.MustCompile(`^[A-Za-z][!#-&(-~]*$`)

func torqueDirectives(j *Job, l *list) {
	l.value("name", setsName, "-N ", j.Name)
	if j.Array != nil {
		text := j.Array.stepless().String()
		if len(text) > maxValue {
			l.bad = append(l.bad, mistake("array", "take a range without a step", "Torque has no steps in arrays, and a list of all indices is too long for it"))
		}
		l.add(true, setsArray, "-t %s", text)
	}
	l.add(j.Walltime > 0, setsTime, "-l walltime=%s", hms(j.Walltime))
	nodes := "nodes=1"
	if j.CPUs > 0 {
		nodes += ":ppn=" + strconv.Itoa(j.CPUs)
	}
	if j.GPUs > 0 {
		nodes += ":gpus=" + strconv.Itoa(j.GPUs)
	}
	l.add(nodes != "nodes=1", setsCPUs, "-l %s", nodes)
	l.also(nodes != "nodes=1", setsGPUs)
	l.add(j.Memory > 0, setsMemory, "-l mem=%dmb", mebi(j.Memory))
	l.value("queue", setsQueue, "-q ", j.Queue)
	l.value("account", setsAccount, "-A ", j.Account)
	l.add(j.Output != "", setsJoin, "-j oe")
	l.value("output", setsOutput, "-o ", j.Output)
}
