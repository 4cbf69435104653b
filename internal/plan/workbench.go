package plan

import (
	"cmp"
	"path"

	mhttp "muster/http"
	"muster/internal/config"
)

// Workbench starts each worker as a job of Posit Workbench's launcher, from within a
// session of it.
type Workbench struct {
	Web
	Count int               `json:"count"`
	Sent  bool              `json:"sent,omitempty"` // the join string goes out with the requests
	Jobs  []mhttp.Workbench `json:"jobs,omitempty"` // one for each worker, when there are names
}

// Variables of a session's environment: who answers there, and the session's cookie.
const (
	workbenchServer = "RS_SERVER_ADDRESS"
	workbenchCookie = "RS_SESSION_RPC_COOKIE"
)

// Tag is what plans call the kind.
func (*Workbench) Tag() string { return presetWorkbench }

// Places are one for each worker.
func (w *Workbench) Places() []Place { return apart(w.Count, w.Sent) }

// Parts are the jobs.
func (w *Workbench) Parts() []Part { return partsApart(w.Count) }

// Way is in how many jobs.
func (w *Workbench) Way() string { return "in " + count(w.Count, "job") + " of Posit Workbench" }

func (w *Workbench) whole(p *Plan) error { return wholeApart(p, w.Count, len(w.Jobs)) }

// workbench plans an http launcher with preset posit-workbench.
func (x *drafting) workbench(s *HTTPSettings, names []Names) (*Plan, error) {
	k := &Workbench{Web: s.web(), Count: x.count(), Sent: s.sent(x.l)}
	p, err := x.beginApart(k, k.Count, s.Poll, cmp.Or(s.Slots, s.CPUs), s.Workdir, s.Muster, names)
	if err != nil || names == nil {
		return p, err
	}
	for i := range k.Count {
		var one HTTPSettings
		w, err := x.apart(p, i, k.Count, s.Join, &one, &one.WorkerCommand)
		if err != nil {
			return nil, err
		}
		job := mhttp.Workbench{Server: one.URL, Cookie: one.Cookie, Cluster: one.Cluster, Profile: one.ResourceProfile, CPUs: one.CPUs, Memory: mega(one.Memory),
			JobName: cmp.Or(one.JobName, "muster"), Exe: cmp.Or(one.Exe, "/bin/sh"), Args: []string{"-c", w.Command}, Headers: one.more()}
		if one.Bare {
			job.JobName, job.Exe = cmp.Or(one.JobName, "mirai_daemon"), cmp.Or(one.Exe, "Rscript")
		}
		if path.Base(job.Exe) == "Rscript" {
			job.Args = mhttp.MiraiArgs(one.LibPaths, w.Command)
		}
		if !x.l.Has("url") {
			job.Server = x.e.Env(workbenchServer)
		}
		if !x.l.Has("cookie") {
			job.Cookie = x.e.Env(workbenchCookie)
		}
		k.Jobs = append(k.Jobs, job)
	}
	return p, nil
}

// more are the headers beside the cookie.
func (s *HTTPSettings) more() []mhttp.Header {
	t := *s
	t.Cookie = ""
	return t.headers()
}

// mega is a size in MB, rounded up.
func mega(n config.Size) int64 { return (int64(n) + 999_999) / 1_000_000 }

// submissions ask for what a launch would ask first, and then for the jobs as far as
// they are known without the answer: nobody is asked to print them.
func (w *Workbench) submissions(p *Plan) ([]*Submission, error) {
	var list []*Submission
	for i, job := range w.Jobs {
		if i == 0 {
			list = append(list, pasted(p, job.Environments(), w.Web, 0))
		}
		r, err := job.Unasked()
		if err != nil {
			return nil, err
		}
		list = append(list, pasted(p, r, w.Web, 1))
	}
	return list, nil
}
