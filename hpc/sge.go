package hpc

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// gridEngine is Son of Grid Engine 8.1 and its kin: qsub(1), qstat(1).
var gridEngine = &Dialect{
	Name: "sge", Submit: "qsub", terse: []string{"-terse"}, directive: "#$",
	ofOne: true, indexVar: "SGE_TASK_ID",
	nameRule: func(n string) string {
		if !regexp.MustCompile(`^[^0-9\s/:@\\*?][^\s/:@\\*?]*$`).MatchString(n) {
			return `a Grid Engine job's name does not begin with a digit and has no blanks and none of / : @ \ * ?`
		}
		return ""
	},
	directives: sgeDirectives,
	arrayKey:   "-t",
	option:     sgeKeys,
	parseID: func(out string) string {
		if m := regexp.MustCompile(`^Your job(?:-array)? ([0-9]+)`).FindStringSubmatch(out); m != nil {
			return m[1]
		}
		id, _, _ := strings.Cut(strings.TrimSpace(out), ".") // 123 or 123.1-4:1
		return digits(id)
	},
	list:      func(user string, _ []string) []string { return []string{"qstat", "-xml", "-u", user} },
	parseList: parseSGE,
	fates: func(ids []string) (list [][]string) {
		for _, id := range ids {
			list = append(list, []string{"qacct", "-j", id})
		}
		return list
	},
	parseFates: parseQacct,
	cancel:     func(id string) []string { return []string{"qdel", id} },
	cancelSome: func(id string, spans []Span) (list [][]string) {
		for _, s := range spans {
			list = append(list, []string{"qdel", id, "-t", fmt.Sprintf("%d-%d", s.First, s.Last)})
		}
		return list
	},
	outputs: "$TASK_ID.out",
	limits:  []string{"qconf", "-sconf"},
	version: "-help",
	limit:   func(out string) int { return lineValue(out, "max_aj_tasks") },
}

func sgeDirectives(j *Job) []directive {
	var d list
	shell, _, _ := strings.Cut(j.Shell, " ")
	d.add(true, "shell", "-S %s", shell)
	d.add(j.Name != "", "name", "-N %s", j.Name)
	if j.Array != nil {
		d.add(true, "array", "-t %s", j.Array.spans())
		d.add(j.Array.Throttle > 0, "array", "-tc %d", j.Array.Throttle)
	}
	d.add(j.Walltime > 0, "walltime", "-l h_rt=%s", hms(j.Walltime))
	d.add(j.Walltime > 0 && j.Warn > 0, "walltime", "-l s_rt=%s", hms(j.Walltime-j.Warn))
	d.add(j.CPUs > 1, "cpus", "-pe %s %d", j.PE, j.CPUs)
	// h_vmem counts for each slot.
	d.add(j.Memory > 0, "memory", "-l h_vmem=%dM", mebi((j.Memory+int64(max(j.CPUs, 1))-1)/int64(max(j.CPUs, 1))))
	d.add(j.GPUs > 0, "gpus", "-l gpu=%d", j.GPUs)
	d.add(j.Queue != "", "queue", "-q %s", j.Queue)
	d.add(j.Account != "", "account", "-P %s", j.Account)
	d.add(j.Output != "", "output", "-j y")
	d.add(j.Output != "", "output", "-o %s", j.Output)
	return d.prefixed("#$ ")
}

// sgeKeys names the options of a qsub line; they are words, not letters.
func sgeKeys(words []string) []string {
	var keys []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case len(w) < 2 || w[0] != '-':
		case w == "-l" && i+1 < len(words):
			i++
			for _, r := range strings.Split(words[i], ",") {
				name, _, _ := strings.Cut(r, "=")
				keys = append(keys, "-l "+name)
			}
		default:
			keys = append(keys, w)
		}
	}
	return keys
}

// maxElements bounds what one row of qstat may stand for. Grid Engine's own
// limit is max_aj_tasks, 75,000 unless a site raises it.
const maxElements = 10_000_000

// parseSGE reads qstat -xml: running elements one by one, those that wait as
// ranges such as 3,4 or 3-20:1.
func parseSGE(o Output) ([]Element, error) {
	if o.Code != 0 {
		return nil, o.failed()
	}
	type row struct {
		ID    string `xml:"JB_job_number"`
		Name  string `xml:"JB_name"`
		State string `xml:"state"`
		Queue string `xml:"queue_name"`
		Tasks string `xml:"tasks"`
	}
	var answer struct {
		XMLName xml.Name `xml:"job_info"`
		Running []row    `xml:"queue_info>job_list"`
		Waiting []row    `xml:"job_info>job_list"`
	}
	if err := xml.Unmarshal(o.Stdout, &answer); err != nil {
		return nil, fmt.Errorf("qstat printed what is no XML: %w", err)
	}
	var list []Element
	for _, r := range append(answer.Running, answer.Waiting...) {
		_, node, _ := strings.Cut(r.Queue, "@")
		e := Element{Job: r.ID, Name: r.Name, State: sgeState(r.State), Raw: r.State, Node: node, Reason: sgeReason(r.State)}
		if r.Tasks == "" {
			list = append(list, e)
			continue
		}
		tasks, err := ParseArray(r.Tasks)
		if err != nil || tasks.Count() > maxElements {
			return nil, fmt.Errorf("qstat printed tasks %q", r.Tasks)
		}
		for _, s := range tasks.Spans {
			for i := s.First; i <= s.Last; i += s.Step {
				e.Index = i
				list = append(list, e)
			}
		}
	}
	return list, nil
}

// sgeState reads the letters of qstat(1): E an error, h held, q queued, w
// waiting, r running, R restarted, t in transfer, d being deleted, s S T N
// suspended.
func sgeState(s string) State {
	switch {
	case s == "" || strings.Trim(s, "rRtdsSTNhqwEPc") != "":
		return Unknown
	case strings.ContainsAny(s, "qw"):
		return Pending
	case strings.ContainsAny(s, "rtsSTNR"):
		return Running
	}
	return Unknown
}

func sgeReason(s string) string {
	switch {
	case strings.Contains(s, "E"):
		return "Eqw"
	case strings.Contains(s, "h"):
		return "held"
	}
	return ""
}

// lineValue returns the number of the first line that begins with name, 0 if
// there is none.
func lineValue(text, name string) int {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(strings.Trim(rest, " =\t\n"))
		if err == nil {
			return n
		}
	}
	return 0
}

// digits returns s if that is a number, else nothing.
func digits(s string) string {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

// parseQacct reads qacct -j: blocks of a name and a value a line, below a line of
// equal signs. Of an element that was started again the last block counts.
func parseQacct(out string) (list []Element) {
	for _, block := range strings.Split(out, "=====") {
		field := map[string]string{}
		for line := range strings.Lines(block) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			field[name] = strings.TrimSpace(value)
		}
		if digits(field["jobnumber"]) == "" {
			continue
		}
		index, _ := strconv.Atoi(field["taskid"]) // undefined for a plain job
		list = append(list, Element{Job: field["jobnumber"], Index: index, State: Ended, End: sgeEnd(field),
			Raw: fmt.Sprintf("failed %s, exit_status %s", field["failed"], field["exit_status"])})
	}
	return list
}

// sgeEnd reads what accounting(5) has: failed is Grid Engine's reason.
func sgeEnd(field map[string]string) End {
	code, _, _ := strings.Cut(field["failed"], " ")
	switch {
	case code == "37":
		return EndWalltime
	case code == "25", code == "24":
		return EndPreempted
	case field["deleted_by"] != "" && field["deleted_by"] != "NONE":
		return EndCancelled
	case code == "22", code == "28":
		return EndNode
	}
	return EndOrdinary
}
