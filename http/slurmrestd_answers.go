package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrRefused says that the service has certainly not taken a job.
var ErrRefused = errors.New("slurmrestd refused the job")

// SlurmElement is a job of the list, an element of an array, or those elements of an
// array that wait.
type SlurmElement struct {
	Job     string // its id, or the array's
	Index   int    // of the element; 0 if it is none
	Array   bool   // it belongs to an array
	Indices string // of elements that wait together, like 1-3,7, or shortened with ...; empty if it is one
	State   string // like PENDING
	Reason  string // why it waits or failed; empty for none
	Node    string
	Name    string
	User    string
}

// slurmSaid is what all answers may have.
type slurmSaid struct {
	Errors []slurmError `json:"errors"`
}

// slurmError is an error of the service. Its number has one of two names.
type slurmError struct {
	Text        text    `json:"error"`
	Description text    `json:"description"`
	Number      integer `json:"error_number"`
	Code        integer `json:"error_code"`
}

func (e slurmError) number() int64 {
	if e.Number.set {
		return e.Number.n
	}
	return e.Code.n
}

// lostFirst and lostLast are the numbers of errors of the connection to the controller
// (slurm_errno.h), which may have done what was asked all the same. On 22.05 a bad token
// is one of them.
const lostFirst, lostLast = 5000, 5999

// cures say what to do about errors whose own words do not.
var cures = map[int64]string{
	2000: "queue in the launcher is to name a partition of this Slurm, of which \"scontrol show partitions\" has a list",
	2081: "an index of the array is too large for this Slurm, or it has no arrays: \"scontrol show config\" says what MaxArraySize is, and indices are below that",
	9001: "it does not know a field of the job, or takes another value there: see what job in the launcher says",
}

// gone are those of a job that is not there, or no longer.
var gone = []int64{2017, 2021}

// failures returns the errors that an answer has.
func failures(a Answer) []slurmError {
	var said slurmSaid
	json.Unmarshal([]byte(a.Body), &said) // an answer in another format has none, and is reported as it is
	return slices.DeleteFunc(said.Errors, func(e slurmError) bool {
		return e.number() == 0 && (e.Text == "" || e.Text == "No error")
	})
}

// refused is the error of an answer that has not done what was asked; nil if it has.
func (s Slurm) refused(a Answer) error {
	list := failures(a)
	if len(list) == 0 && a.OK() {
		return nil
	}
	var words []string
	for _, e := range list {
		words = append(words, fmt.Sprintf("%s (%d)", firstText(e.Description, e.Text, "an error"), e.number()))
	}
	what := short(a.hide(strings.Join(words, "; ")))
	if what == "" {
		what = a.Text()
	}
	unknown := a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden
	doubtful := a.Status >= 500 && slices.ContainsFunc(list, func(e slurmError) bool {
		return e.number() == -1 || e.number() >= lostFirst && e.number() < 7000 // 6000 and more are of credentials
	})
	switch {
	case unknown && (s.User == "" || s.Token == ""):
		what += ": give it user and token, which \"scontrol token username=USER\" prints"
	case (unknown || doubtful) && s.Token != "":
		what += ": the token may be wrong or have expired; \"scontrol token username=USER\" prints a new one"
	default:
		for _, e := range list {
			if cure := cures[e.number()]; cure != "" {
				what += ": " + cure
				break
			}
		}
	}
	return errors.New("slurmrestd answered " + what)
}

// certain reports whether an answer that is an error says that nothing was done: the
// request was wrong, or the controller said no.
func certain(a Answer) bool {
	list := failures(a)
	said := !slices.ContainsFunc(list, func(e slurmError) bool {
		return e.number() < 2000 || e.number() >= lostFirst && e.number() <= lostLast
	})
	return a.Status >= 400 && a.Status < 500 || len(list) > 0 && said
}

// allGone reports whether the errors of an answer say that the job is gone.
func allGone(a Answer) bool {
	list := failures(a)
	return len(list) > 0 && !slices.ContainsFunc(list, func(e slurmError) bool { return !slices.Contains(gone, e.number()) })
}

var slurmPath = regexp.MustCompile(`/slurm/v0\.0\.([0-9]{1,6})/`)

// Versions reads the answer to Ask: the versions that the service speaks, the newest
// last.
func (s Slurm) Versions(a Answer) ([]string, error) {
	if err := s.refused(a); err != nil {
		return nil, fmt.Errorf("ask for the versions of slurmrestd: %w", err)
	}
	var said struct {
		Paths map[string]json.RawMessage `json:"paths"`
	}
	if err := a.decode(&said); err != nil {
		return nil, fmt.Errorf("ask for the versions of slurmrestd: %w", err)
	}
	var numbers []int
	for path := range said.Paths {
		if m := slurmPath.FindStringSubmatch(path); m != nil {
			n, _ := strconv.Atoi(m[1])
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return nil, errors.New("ask for the versions of slurmrestd: it names no path like /slurm/v0.0.38/jobs: see that url is that of a slurmrestd")
	}
	slices.Sort(numbers)
	var list []string
	for _, n := range slices.Compact(numbers) {
		list = append(list, "v0.0."+strconv.Itoa(n))
	}
	return list, nil
}

// Submitted reads the answer to Submit. Unless the error is ErrRefused the job may have
// been accepted all the same. A job that has a number was accepted, whatever else is in
// the answer: Slurm warns so of one that has to wait.
func (s Slurm) Submitted(a Answer) (id string, err error) {
	var said struct {
		ID     integer `json:"job_id"`
		Result struct {
			ID integer `json:"job_id"`
		} `json:"result"`
	}
	unread := a.decode(&said)
	refused := s.refused(a)
	n := max(said.ID.n, said.Result.ID.n)
	switch {
	case unread == nil && n > 0:
		return strconv.FormatInt(n, 10), nil
	case refused != nil && certain(a):
		return "", fmt.Errorf("submit a job: %w: %w", ErrRefused, refused)
	case refused != nil:
		return "", fmt.Errorf("submit a job: %w", refused)
	case unread != nil:
		return "", fmt.Errorf("submit a job: %w", unread)
	}
	return "", fmt.Errorf("submit a job: slurmrestd named no job: it answered %s", a.Text())
}

// Served reads the answer to Job for any job, which need not be there: it is an error
// unless the service has the version and takes the token.
func (s Slurm) Served(a Answer) error {
	if allGone(a) {
		return nil
	}
	if err := s.refused(a); err != nil {
		return fmt.Errorf("ask slurmrestd whether it serves whoever asks: %w", err)
	}
	return nil
}

// slurmListed is a job as the service lists it.
type slurmListed struct {
	ID     integer `json:"job_id"`
	Array  integer `json:"array_job_id"`
	Task   integer `json:"array_task_id"`
	Tasks  text    `json:"array_task_string"`
	State  states  `json:"job_state"`
	Reason text    `json:"state_reason"`
	Nodes  text    `json:"nodes"`
	Host   text    `json:"batch_host"`
	Name   text    `json:"name"`
	User   text    `json:"user_name"`
}

// Listed reads the answer to Jobs or Job. That a job is not there is no error.
func (s Slurm) Listed(a Answer) ([]SlurmElement, error) {
	if allGone(a) {
		return nil, nil
	}
	if err := s.refused(a); err != nil {
		return nil, fmt.Errorf("list the jobs: %w", err)
	}
	var said struct {
		Jobs *[]slurmListed `json:"jobs"`
	}
	if err := a.decode(&said); err != nil {
		return nil, fmt.Errorf("list the jobs: %w", err)
	}
	if said.Jobs == nil {
		return nil, fmt.Errorf("list the jobs: there are no jobs in the answer of slurmrestd: %s", a.Text())
	}
	var list []SlurmElement
	for _, j := range *said.Jobs {
		if j.ID.n > 0 {
			list = append(list, j.element())
		}
	}
	return list, nil
}

func (j slurmListed) element() SlurmElement {
	e := SlurmElement{Job: strconv.FormatInt(j.ID.n, 10), State: string(j.State), Reason: string(j.Reason),
		Node: firstText(j.Nodes, j.Host), Name: string(j.Name), User: string(j.User)}
	if e.Reason == "None" {
		e.Reason = ""
	}
	if j.Array.n > 0 {
		e.Job, e.Array = strconv.FormatInt(j.Array.n, 10), true
		if j.Task.set {
			e.Index = int(j.Task.n)
		} else {
			e.Indices, _, _ = strings.Cut(string(j.Tasks), "%") // behind it is how many may run at once
		}
	}
	return e
}

// Cancelled reads the answer to Cancel. That there is nothing to cancel is no error.
func (s Slurm) Cancelled(a Answer) error {
	if allGone(a) {
		return nil
	}
	if err := s.refused(a); err != nil {
		return fmt.Errorf("cancel a job: %w", err)
	}
	return nil
}

// integer is a number, or an object that says whether there is one.
type integer struct {
	n   int64
	set bool
}

// UnmarshalJSON takes whatever else it may be for no number.
func (i *integer) UnmarshalJSON(b []byte) error {
	var o struct {
		Set      *bool       `json:"set"`
		Infinite bool        `json:"infinite"`
		Number   json.Number `json:"number"`
	}
	*i = integer{}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil && json.Unmarshal(b, &o) == nil && !o.Infinite && (o.Set == nil || *o.Set) {
		n, err = o.Number.Int64()
	}
	if err == nil {
		*i = integer{n, true}
	}
	return nil
}

// text is a string.
type text string

// UnmarshalJSON takes whatever else it may be for an empty one.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = ""
	}
	*t = text(s)
	return nil
}

// states is a state, from a string or from a list that also has flags.
type states string

// slurmBase are the states, of which a job has one. All else in a list is a flag.
var slurmBase = []string{"PENDING", "RUNNING", "SUSPENDED", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY"}

// UnmarshalJSON takes whatever else it may be for an empty one.
func (t *states) UnmarshalJSON(b []byte) error {
	var one text
	one.UnmarshalJSON(b)
	*t = states(one)
	var list []text
	if json.Unmarshal(b, &list) != nil || len(list) == 0 {
		return nil
	}
	*t = states(list[0])
	for _, s := range list {
		if slices.Contains(slurmBase, string(s)) {
			*t = states(s)
			break
		}
	}
	return nil
}

// firstText is the first that is not empty.
func firstText(list ...text) string {
	for _, t := range list {
		if t != "" {
			return string(t)
		}
	}
	return ""
}
