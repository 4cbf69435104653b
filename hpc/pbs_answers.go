package hpc

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pbsJobID matches 123.server and 123[].server. The first job of PBS Pro is 0.
var pbsJobID = regexp.MustCompile(`^[0-9]+(\[[0-9]*\])?(\.[A-Za-z0-9][A-Za-z0-9_.-]*)?$`)

func pbsID(line string) string {
	if pbsJobID.MatchString(line) {
		return line
	}
	return ""
}

// qselect asks for the jobs of a name: without ids qstat lists everybody's.
func qselect(user, name string, _ []string) search {
	return search{[]string{"qselect", "-u", user, "-N", name}, func(o Output) ([]string, error) {
		if o.Code != 0 {
			return nil, o.failed()
		}
		var ids []string
		for line := range strings.Lines(string(o.Stdout)) {
			if id := pbsID(strings.TrimSpace(line)); id != "" {
				job, _, _ := pbsElement(id)
				ids = append(ids, job)
			}
		}
		return ids, o.whole()
	}}
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
	text, err := qstatAnswer(o, '{', 35, 153)
	if err != nil || text == "" {
		return nil, err
	}
	var answer struct {
		Jobs map[string]struct {
			// What looks like a number is written as one.
			State   string `json:"job_state"`
			Comment any    `json:"comment"`
			Host    any    `json:"exec_host"`
			Exit    any    `json:"Exit_status"`
			Sub     any    `json:"substate"`
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, fmt.Errorf("qstat printed what is no JSON: %w", err)
	}
	var list []Element
	for id, j := range answer.Jobs {
		job, index, element := pbsElement(id)
		if strings.Contains(job, "[]") && !element {
			continue // the array itself: its elements follow
		}
		e := Element{Job: job, Index: index, State: pbsState(j.State), Raw: j.State,
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

// qstatAnswer returns the document in an answer of qstat, which begins with a
// certain byte at the start of a line, and nothing if all jobs are gone. codes are
// how it ends when some are.
func qstatAnswer(o Output, begin byte, codes ...int) (string, error) {
	if o.Code != 0 {
		if !slices.Contains(codes, o.Code) {
			return "", o.failed()
		}
		if err := onlyGone(o); err != nil {
			return "", err
		}
	}
	text := "\n" + string(o.Stdout)
	_, document, found := strings.Cut(text, "\n"+string(begin))
	switch {
	case found:
		return string(begin) + document, nil
	case o.Code == 0:
		return "", fmt.Errorf("qstat printed %q and nothing of any job", short(string(o.Stdout)))
	}
	return "", nil
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
	text, err := qstatAnswer(o, '<', 153)
	if err != nil || text == "" {
		return nil, err
	}
	var answer struct {
		Jobs []struct {
			ID    string `xml:"Job_Id"`
			State string `xml:"job_state"`
			Host  string `xml:"exec_host"`
			Exit  string `xml:"exit_status"`
		} `xml:"Job"`
	}
	if err := xml.Unmarshal([]byte(text), &answer); err != nil {
		return nil, fmt.Errorf("qstat printed what is no XML: %w", err)
	}
	var list []Element
	for _, j := range answer.Jobs {
		job, index, element := pbsElement(j.ID)
		if strings.Contains(job, "[]") && !element {
			continue // the array itself: its elements follow
		}
		e := Element{Job: job, Index: index, State: pbsState(j.State), Raw: j.State, Node: pbsHost(j.Host)}
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
