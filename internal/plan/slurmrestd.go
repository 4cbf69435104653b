package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/config"
)

// Slurmrestd starts workers by batch jobs of Slurm, through its REST API.
type Slurmrestd struct {
	Web
	Slurm   mhttp.Slurm  `json:"slurm"`
	Version string       `json:"version,omitempty"` // of the API; empty is asked for
	Arrays  []*hpc.Array `json:"arrays,omitempty"`  // one for each job; empty if they are no arrays
	Count   int          `json:"count"`             // of jobs
	Sent    bool         `json:"sent,omitempty"`    // the join string goes out with the requests
	// Job is what all jobs have in common, when there are names. Array and Name are
	// those of one.
	Job mhttp.SlurmJob `json:"job,omitzero"`
}

// slice is the largest index of an array that every Slurm takes: MaxArraySize is 1001
// unless a site says otherwise (slurm.conf(5)).
const slice = 1000

// Tag is what plans call the kind.
func (*Slurmrestd) Tag() string { return presetSlurm }

// Places are one: what all jobs share.
func (s *Slurmrestd) Places() []Place { return []Place{{Sent: s.Sent}} }

// Parts are the jobs.
func (s *Slurmrestd) Parts() []Part {
	var list []Part
	for i := range s.Count {
		part := Part{Indices: []int{0}}
		if len(s.Arrays) > 0 {
			part.Indices, part.Array = s.Arrays[i].Expand(), true
		}
		list = append(list, part)
	}
	return list
}

// Way is in how many jobs.
func (s *Slurmrestd) Way() string { return "in " + count(s.Count, "job") + " through slurmrestd" }

func (s *Slurmrestd) whole(p *Plan) error {
	if s.Count < 0 || s.Count > MaxWorkers || len(s.Arrays) > 0 && len(s.Arrays) != s.Count || slices.Contains(s.Arrays, nil) {
		return fmt.Errorf("launcher %s: a plan of %d arrays for %d jobs", p.Launcher, len(s.Arrays), s.Count)
	}
	return nil
}

// Part is the job of one part, under a name that is unique.
func (s *Slurmrestd) Part(p *Plan, i int) mhttp.SlurmJob {
	j := s.Job
	if len(s.Arrays) > 0 {
		j.Array = s.Arrays[i].String()
	}
	if unique := p.Names[0].Unique; unique != "" {
		j.Name += "-" + unique
		if i > 0 {
			j.Name += fmt.Sprintf("-%d", i+1)
		}
	}
	return j
}

// checkSlurm returns what is wrong with the settings of preset slurmrestd.
func (s *HTTPSettings) checkSlurm(l *config.Launcher) []config.Diagnostic {
	var bad []config.Diagnostic
	add := func(setting, msg, hint string) { bad = append(bad, l.Mistake(setting, msg, hint)) }
	socket, unix := strings.CutPrefix(s.URL, "unix:")
	switch {
	case !l.Has("url"):
		add("url", "it does not say where slurmrestd is", `url = "http://HOST:6820", or "unix:/PATH"`)
	case unix && !strings.HasPrefix(socket, "/"):
		add("url", "the path of a socket starts with /", `url = "unix:/run/slurmrestd.socket"`)
	case !unix && !isURL(s.URL):
		add("url", "this is no URL of slurmrestd", `it is written http://HOST:6820, or unix:/PATH`)
	}
	if s.Bare {
		add("bare", "R mirai does not speak to slurmrestd, so it has no bytes of its own", "leave it out")
	}
	if s.Walltime != 0 && s.Walltime < time.Minute {
		add("walltime", "Slurm counts whole minutes", `such as walltime = "10m"`)
	}
	for _, kv := range s.Environment {
		if name, _, is := strings.Cut(kv, "="); !config.StandsIn(kv) && (!is || name == "") {
			add("environment", fmt.Sprintf("%q is no NAME=VALUE", kv), `environment = ["NAME=VALUE"]`)
		}
	}
	return append(bad, s.checkJob(l)...)
}

// checkJob returns what is wrong about the setting job. What muster goes by it has to
// know: which job is its own, and how many workers there are.
func (s *HTTPSettings) checkJob(l *config.Launcher) []config.Diagnostic {
	fields, ok := s.moreOfJob()
	if !ok {
		return []config.Diagnostic{l.Mistake("job", "it is an object by Slurm's own names", `job = { constraint = "ib" }`)}
	}
	var bad []config.Diagnostic
	for _, own := range []struct{ field, setting string }{{"array", "array"}, {"name", "job_name"}, {"script", "setup"}} {
		if _, is := fields[own.field]; is {
			bad = append(bad, l.Mistake("job", fmt.Sprintf("muster has to know the job's %s, and job hides it", own.field), fmt.Sprintf("the launcher's %s sets it", own.setting)))
		}
	}
	return bad
}

// moreOfJob are the fields of the setting job, as far as they are known here.
func (s *HTTPSettings) moreOfJob() (fields map[string]any, ok bool) {
	if s.Job == "" {
		return nil, true
	}
	var v any
	if json.Unmarshal([]byte(s.Job), &v) != nil {
		return nil, false
	}
	if text, is := v.(string); is {
		return nil, config.StandsIn(text)
	}
	fields, ok = v.(map[string]any)
	return fields, ok
}

// slurmrestd plans an http launcher with preset slurmrestd.
func (x *drafting) slurmrestd(s *HTTPSettings, names []Names) (*Plan, error) {
	k := &Slurmrestd{Web: s.web(), Version: s.Version, Sent: s.sent(x.l)}
	array, err := x.restArray(s)
	if err != nil {
		return nil, err
	}
	each := 1
	switch {
	case array != nil:
		each = array.Count()
		k.Count = x.times(false, true)
		for range k.Count {
			k.Arrays = append(k.Arrays, array.Split(slice)...)
		}
		k.Count = len(k.Arrays)
	default:
		k.Count = x.times(false, false)
	}
	if err := x.bounded(k.Count, each); err != nil {
		return nil, err
	}
	p := x.begin(k, s.Poll, cmp.Or(s.Slots, s.CPUs), s.Workdir, s.Muster)
	if p.Worker.Walltime == 0 || s.Walltime > 0 && s.Walltime < p.Worker.Walltime {
		p.Worker.Walltime = x.life(s.Walltime)
	}
	if p.Names = names; names == nil {
		return p, nil
	}
	n := names[0]
	w := p.seen(0, s.Join) // its job says which element it is
	if s.Join == "file" {
		w.Command = "exec " + w.Command
	}
	w.Index, w.Count = "$"+hpc.Dialects["slurm"].IndexVariable(), p.Workers()
	var one HTTPSettings
	if err := x.fillBehind(&one, &w, &one.WorkerCommand); err != nil {
		return nil, err
	}
	k.Slurm = slurmOf(&one, x.e.Env("USER"))
	k.Job = mhttp.SlurmJob{Script: script(&one, w.Command), Name: cmp.Or(one.JobName, "muster"), Dir: cmp.Or(one.Workdir, x.w.Dir), Output: "/dev/null", Partition: one.Queue,
		Account: one.Account, TimeLimit: x.life(one.Walltime), CPUs: one.CPUs, MemoryMB: mebi(one.Memory),
		Once:        k.Sent, // its token does not let a worker in twice
		Environment: one.Environment}
	if n.Output != "" && p.Whose != Foreign {
		k.Job.Output = hpc.Dialects["slurm"].Outputs(n.Output, len(k.Arrays) > 0)
	}
	if len(k.Job.Environment) == 0 {
		k.Job.Environment = x.environment()
	}
	k.Job.More, _ = one.moreOfJob()
	return p, nil
}

// environment is that of a job to which slurmrestd gives nothing by itself.
func (x *drafting) environment() []string {
	list := []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	for _, name := range []string{"HOME", "USER"} {
		if value := x.e.Env(name); value != "" {
			list = append(list, name+"="+value)
		}
	}
	return list
}

// restArray is the array of a launcher with preset slurmrestd, with as many elements as
// are wished.
func (x *drafting) restArray(s *HTTPSettings) (*hpc.Array, error) {
	var array *hpc.Array
	if s.Array != "" {
		var err error
		if array, err = hpc.ParseArray(string(s.Array)); err != nil {
			return nil, x.at("array", err.Error(), "")
		}
	}
	if n := x.w.Workers; n > 1 || n == 1 && array != nil {
		array = array.Sized(n)
	}
	return array, nil
}

// slurmOf is how slurmrestd is reached, and by whom.
func slurmOf(s *HTTPSettings, user string) mhttp.Slurm {
	r := mhttp.Slurm{URL: s.URL, Token: s.Token, Headers: s.moreOfSlurm()}
	if socket, unix := strings.CutPrefix(s.URL, "unix:"); unix {
		r.URL, r.Socket = "", socket
	}
	if r.Token != "" {
		r.User = cmp.Or(s.User, user)
	}
	return r
}

// moreOfSlurm are the headers beside those of the token.
func (s *HTTPSettings) moreOfSlurm() []mhttp.Header {
	t := *s
	t.Token = ""
	return t.headers()
}

// script is the batch script of a job.
func script(s *HTTPSettings, body string) string {
	lines := append([]string{"#!" + cmp.Or(s.Shell, "/bin/sh")}, s.Setup...)
	return strings.Join(append(lines, body), "\n") + "\n"
}

// mebi is a size in MiB, which Slurm calls MB, rounded up.
func mebi(n config.Size) int64 { return (int64(n) + 1<<20 - 1) >> 20 }

// submissions are the requests in the newest words that are known here: nobody is asked
// which version is spoken, to print them.
func (s *Slurmrestd) submissions(p *Plan) ([]*Submission, error) {
	var list []*Submission
	for i, part := range s.Parts() {
		r, err := s.Slurm.Submit(cmp.Or(s.Version, "VERSION"), s.Part(p, i))
		if err != nil {
			return nil, err
		}
		list = append(list, pasted(p, r, s.Web, len(part.Indices)))
	}
	return list, nil
}
