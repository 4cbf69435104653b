package hpc

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// sgeRow is a row of qstat -xml: an element that runs, or all of an array's that
// wait.
type sgeRow struct {
	ID    string `xml:"JB_job_number"`
	Name  string `xml:"JB_name"`
	State string `xml:"state"`
	Queue string `xml:"queue_name"`
	Tasks string `xml:"tasks"` // 3,4 or 3-20:1
}

func sgeRows(o Output) ([]sgeRow, error) {
	if o.Code != 0 {
		return nil, o.failed()
	}
	var answer struct {
		XMLName xml.Name `xml:"job_info"`
		Running []sgeRow `xml:"queue_info>job_list"`
		Waiting []sgeRow `xml:"job_info>job_list"`
	}
	_, document, found := strings.Cut("\n"+string(o.Stdout), "\n<")
	if !found {
		return nil, fmt.Errorf("qstat printed %q and no XML", short(string(o.Stdout)))
	}
	if err := xml.Unmarshal([]byte("<"+document), &answer); err != nil {
		return nil, fmt.Errorf("qstat printed what is no XML: %w", err)
	}
	return append(answer.Running, answer.Waiting...), nil
}

// parseSGE reads qstat -xml. Rows whose elements it cannot tell are skipped.
func parseSGE(o Output) ([]Element, error) {
	rows, err := sgeRows(o)
	var list []Element
	for _, r := range rows {
		_, node, _ := strings.Cut(r.Queue, "@")
		e := Element{Job: r.ID, State: sgeState(r.State), Raw: r.State, Node: node, Reason: sgeReason(r.State)}
		if r.Tasks == "" {
			list = append(list, e)
			continue
		}
		tasks, err := ParseArray(r.Tasks)
		if err != nil {
			continue
		}
		for _, s := range tasks.Spans {
			for i := s.First; i <= s.Last; i += s.Step {
				e.Index = i
				list = append(list, e)
			}
		}
	}
	return list, err
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
func parseQacct(o Output) (list []Element, err error) {
	for _, block := range strings.Split(string(o.Stdout), "=====") {
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
	return list, nil
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
