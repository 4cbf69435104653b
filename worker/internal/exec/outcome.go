package exec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"muster/task"
)

// outcome is the error value of a task that was not stopped, nil if it exited
// with status 0.
func (r *Runner) outcome(j *job) *task.ErrorValue {
	var e *task.ErrorValue
	killed := false
	switch s := j.status; {
	case s.Exited() && s.ExitStatus() == 0:
		if evidence := r.oom.rose(j.oomed); evidence != "" {
			j.report.Note = killedOne + ": " + evidence
		}
		return nil
	case s.Signaled():
		e = signalled(s)
		killed = s.Signal() == syscall.SIGKILL
	default:
		e = &task.ErrorValue{Kind: task.KindExit, Code: s.ExitStatus(), Message: fmt.Sprintf("exit status %d", s.ExitStatus())}
		killed = e.Code == 128+int(syscall.SIGKILL) // a shell, whose command was killed
	}
	switch evidence := r.oom.rose(j.oomed); {
	case evidence == "":
	case killed:
		e.Kind, e.Message, e.Evidence = task.KindOOM, "out of memory", evidence
		return e
	default: // one of its processes, perhaps, after which its script went on
		e.Message += ", and " + killedOne
		e.Evidence = join(e.Evidence, evidence)
	}
	r.describe(e)
	return e
}

// killedOne says what is known if the count has grown. The cgroup may have other tasks.
const killedOne = "the kernel killed a process for want of memory"

func signalled(s syscall.WaitStatus) *task.ErrorValue {
	sig := s.Signal()
	name := unix.SignalName(sig)
	if name == "" {
		name = fmt.Sprintf("signal %d", int(sig))
	}
	e := &task.ErrorValue{Kind: task.KindSignal, Code: 128 + int(sig), Signal: name, Message: "killed by " + name}
	if sig == syscall.SIGINT {
		e.Kind, e.Message = task.KindInterrupt, "interrupted by SIGINT"
	}
	if s.CoreDump() {
		e.Evidence = "core dumped"
	}
	return e
}

// describe puts the command's own words, if it left any, in place of ours.
func (r *Runner) describe(e *task.ErrorValue) {
	text, err := r.scratch.readError()
	if err != nil {
		e.Evidence = join(e.Evidence, varErrorFile+" was not read: "+err.Error())
		return
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return
	}
	var own struct {
		Message string `json:"message"`
	}
	if text[0] != '{' || json.Unmarshal(text, &own) != nil {
		e.Evidence = join(e.Evidence, "what the command wrote into "+varErrorFile+" is no JSON object with a message")
		return
	}
	e.Evidence = join(e.Message, e.Evidence)
	e.Detail = text
	if e.Kind == task.KindExit {
		e.Kind = task.KindError // who killed it matters more than what it said before
	}
	if line, _, _ := strings.Cut(own.Message, "\n"); line != "" {
		e.Message = line
	}
}
