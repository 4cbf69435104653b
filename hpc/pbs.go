package hpc

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pbsPro is PBS Professional and OpenPBS: qsub(1B), qstat(1B) of 23.06.
var pbsPro = &Dialect{
	Name: "pbs", Submit: "qsub", directive: "#PBS",
	indexVar: "PBS_ARRAY_INDEX", firstZero: true,
	nameRule: func(n string) string {
		switch {
		case len(n) > 230:
			return "a PBS job's name has at most 230 characters"
		case strings.ContainsAny(n, " \t"):
			return "a PBS job's name has no blanks"
		}
		return ""
	},
	directives: pbsDirectives,
	arrayKey:   "-J",
	option:     pbsKeys,
	parseID:    pbsID,
	list: func(_ string, ids []string) []string {
		return append([]string{"qstat", "-t", "-f", "-F", "json"}, ids...)
	},
	parseList: parseQstatJSON,
	fates: func(ids []string) [][]string {
		return [][]string{append([]string{"qstat", "-x", "-t", "-f", "-F", "json"}, ids...)}
	},
	parseFates: func(out string) []Element {
		list, _ := parseQstatJSON(Output{Stdout: []byte(out)})
		return slices.DeleteFunc(list, func(e Element) bool { return e.State != Ended })
	},
	cancel:     func(id string) []string { return []string{"qdel", id} },
	cancelSome: pbsCancelSome,
	outputs:    "^array_index^.out",
	limits:     []string{"qstat", "-B", "-f"},
	version:    "--version",
	limit:      func(out string) int { return lineValue(out, "max_array_size") },
}

// torque is Adaptive Computing's: qsub.1 of 6.1.
var torque = &Dialect{
	Name: "torque", Submit: "qsub", directive: "#PBS",
	lists: true, ofOne: true, firstZero: true, indexVar: "PBS_ARRAYID",
	nameRule: func(n string) string {
		switch {
		case len(n) > 15:
			return "a Torque job's name has at most 15 characters"
		case !regexp.MustCompile(`^[A-Za-z]\S*$`).MatchString(n):
			return "a Torque job's name begins with a letter and has no blanks"
		}
		return ""
	},
	directives: torqueDirectives,
	arrayKey:   "-t",
	option:     pbsKeys,
	parseID:    pbsID,
	list:       func(_ string, ids []string) []string { return append([]string{"qstat", "-t", "-x"}, ids...) },
	parseList:  parseQstatXML,
	cancel:     func(id string) []string { return []string{"qdel", id} },
	cancelSome: pbsCancelSome,
	outputs:    "out",
	limits:     []string{"qmgr", "-c", "print server"},
	version:    "--version",
	limit:      func(out string) int { return lineValue(out, "set server max_job_array_size") },
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

func pbsDirectives(j *Job) []directive {
	var d list
	d.add(j.Name != "", "name", "-N %s", j.Name)
	if j.Array != nil {
		d.add(true, "array", "-J %s", j.Array)
	}
	d.add(j.Walltime > 0, "walltime", "-l walltime=%s", hms(j.Walltime))
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
	d.add(sel != "select=1", "cpus, gpus or memory", "-l %s", sel)
	// select and the older forms exclude each other.
	d.also("-l nodes", "-l ncpus", "-l mem", "-l ngpus")
	d.add(j.Queue != "", "queue", "-q %s", j.Queue)
	d.add(j.Account != "", "account", "-A %s", j.Account)
	d.add(j.Output != "", "output", "-j oe")
	d.add(j.Output != "", "output", "-o %s", j.Output)
	return d.prefixed("#PBS ")
}

func torqueDirectives(j *Job) []directive {
	var d list
	d.add(j.Name != "", "name", "-N %s", j.Name)
	if j.Array != nil {
		d.add(true, "array", "-t %s", j.Array)
	}
	d.add(j.Walltime > 0, "walltime", "-l walltime=%s", hms(j.Walltime))
	nodes := "nodes=1"
	if j.CPUs > 0 {
		nodes += ":ppn=" + strconv.Itoa(j.CPUs)
	}
	if j.GPUs > 0 {
		nodes += ":gpus=" + strconv.Itoa(j.GPUs)
	}
	d.add(nodes != "nodes=1", "cpus or gpus", "-l %s", nodes)
	d.also("-l procs", "-l ncpus")
	d.add(j.Memory > 0, "memory", "-l mem=%dmb", mebi(j.Memory))
	d.add(j.Queue != "", "queue", "-q %s", j.Queue)
	d.add(j.Account != "", "account", "-A %s", j.Account)
	d.add(j.Output != "", "output", "-j oe")
	d.add(j.Output != "", "output", "-o %s", j.Output)
	return d.prefixed("#PBS ")
}

// pbsKeys names the options of a qsub line; each resource of -l is one.
func pbsKeys(words []string) []string {
	var keys []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		if len(w) < 2 || w[0] != '-' {
			continue
		}
		key, value := w[:2], w[2:]
		if value == "" && i+1 < len(words) {
			i++
			value = words[i]
		}
		if key != "-l" {
			keys = append(keys, key)
			continue
		}
		for _, r := range strings.Split(value, ",") {
			name, _, _ := strings.Cut(r, "=")
			keys = append(keys, "-l "+name)
		}
	}
	return keys
}

// pbsJobID matches 123.server and 123[].server. The first job of PBS Pro is 0.
var pbsJobID = regexp.MustCompile(`^[0-9]+(\[[0-9]*\])?(\.\S+)?$`)

func pbsID(out string) string {
	if id := strings.TrimSpace(out); pbsJobID.MatchString(id) {
		return id
	}
	return ""
}

// pbsElement takes 123[4].server apart into the id that the array was
// submitted with and the index.
func pbsElement(id string) (job string, index int, element bool) {
	open, shut := strings.IndexByte(id, '['), strings.IndexByte(id, ']')
	if open < 0 || shut < open {
		return id, 0, false
	}
	n, err := strconv.Atoi(id[open+1 : shut])
	return id[:open+1] + id[shut:], n, err == nil
}

// parseQstatJSON reads qstat -t -f -F json. An ended job makes it fail with 35
// and an unknown one with 153, and what it printed of the others stands.
func parseQstatJSON(o Output) ([]Element, error) {
	if o.Code != 0 && o.Code != 35 && o.Code != 153 {
		return nil, o.failed()
	}
	var answer struct {
		Jobs map[string]struct {
			// What looks like a number is written as one, a job's name too.
			Name    any    `json:"Job_Name"`
			State   string `json:"job_state"`
			Comment any    `json:"comment"`
			Host    any    `json:"exec_host"`
			Exit    any    `json:"Exit_status"`
			Sub     any    `json:"substate"`
		}
	}
	if o.Code != 0 {
		if err := onlyGone(o); err != nil || len(o.Stdout) == 0 {
			return nil, err
		}
	}
	if len(o.Stdout) == 0 {
		return nil, errors.New("qstat printed nothing")
	}
	if err := json.Unmarshal(o.Stdout, &answer); err != nil {
		return nil, fmt.Errorf("qstat printed what is no JSON: %w", err)
	}
	var list []Element
	for id, j := range answer.Jobs {
		job, index, element := pbsElement(id)
		if strings.Contains(job, "[]") && !element {
			continue // the array itself: its elements follow
		}
		e := Element{Job: job, Index: index, Name: scalar(j.Name), State: pbsState(j.State), Raw: j.State,
			Reason: scalar(j.Comment), Node: pbsHost(scalar(j.Host))}
		if j.Exit != nil {
			e.Raw += fmt.Sprintf(" (Exit_status %s)", scalar(j.Exit))
		}
		if e.State == Ended {
			e.End = pbsEnd(scalar(j.Exit), scalar(j.Sub))
		}
		list = append(list, e)
	}
	return list, nil
}

func scalar(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// onlyGone accepts an empty answer if every complaint is of a job that ended.
func onlyGone(o Output) error {
	for line := range strings.Lines(string(o.Stderr)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.Contains(line, "Unknown Job Id") && !strings.Contains(line, "has finished") {
			return o.failed()
		}
	}
	return nil
}

func pbsHost(s string) string {
	host, _, _ := strings.Cut(s, "/")
	return host
}

func pbsState(s string) State {
	switch s {
	case "Q", "H", "W", "T", "M":
		return Pending
	case "R", "E", "S", "U", "B":
		return Running
	case "F", "X", "C":
		return Ended
	}
	return Unknown
}

// parseQstatXML reads Torque's qstat -t -x.
func parseQstatXML(o Output) ([]Element, error) {
	if o.Code != 0 && o.Code != 153 {
		return nil, o.failed()
	}
	if o.Code != 0 {
		if err := onlyGone(o); err != nil {
			return nil, err
		}
	}
	if len(o.Stdout) == 0 {
		return nil, nil // no jobs at all
	}
	var answer struct {
		Jobs []struct {
			ID    string `xml:"Job_Id"`
			Name  string `xml:"Job_Name"`
			State string `xml:"job_state"`
			Host  string `xml:"exec_host"`
			Exit  string `xml:"exit_status"`
		} `xml:"Job"`
	}
	if err := xml.Unmarshal(o.Stdout, &answer); err != nil {
		return nil, fmt.Errorf("qstat printed what is no XML: %w", err)
	}
	var list []Element
	for _, j := range answer.Jobs {
		job, index, element := pbsElement(j.ID)
		if strings.Contains(job, "[]") && !element {
			continue // the array itself: its elements follow
		}
		e := Element{Job: job, Index: index, Name: j.Name, State: pbsState(j.State), Raw: j.State, Node: pbsHost(j.Host)}
		if j.Exit != "" {
			e.Raw += " (Exit_status " + j.Exit + ")"
		}
		if e.State == Ended {
			e.End = torqueEnd(j.Exit)
		}
		list = append(list, e)
	}
	return list, nil
}

// pbsEnd reads Exit_status: what is below 0 is PBS's own doing, 256 and more a
// signal (job.h of OpenPBS: JOB_EXEC_KILL_WALLTIME and its like). Substate 91 is
// that of a job that was deleted.
func pbsEnd(exit, substate string) End {
	switch {
	case exit == "-29":
		return EndWalltime
	case exit == "-27":
		return EndMemory
	case exit == "-11":
		return EndPreempted
	case substate == "91", exit == "271": // qdel sends SIGTERM
		return EndCancelled
	case exit == "":
		return EndUnknown
	}
	return EndOrdinary
}

// torqueEnd reads exit_status (pbs_job.h of Torque: JOB_EXEC_OVERLIMIT_WT and its
// like).
func torqueEnd(exit string) End {
	switch exit {
	case "-11":
		return EndWalltime
	case "-10":
		return EndMemory
	case "271": // qdel sends SIGTERM
		return EndCancelled
	case "":
		return EndUnknown
	}
	return EndOrdinary
}
