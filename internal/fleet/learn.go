package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/hpc"
	"muster/internal/plan"
)

// key is which element an answer speaks of.
type key struct {
	job   string
	index int
}

// byKey sorts an answer. Of what is said twice the last counts.
func byKey(list []hpc.Element) map[key]hpc.Element {
	m := make(map[key]hpc.Element, len(list))
	for _, e := range list {
		m[key{e.Job, e.Index}] = e
	}
	return m
}

// news are what an answer has changed: what is to be done when no lock is held.
type news struct {
	gone []member // there is no process of it any more
	said []string
}

// learn takes in a good answer about jobs. Elements of others are ignored. before are
// those that had joined before the question was put: the answer may be older than what
// has joined since.
func (f *Fleet) learn(jobs []*job, list []hpc.Element, before map[member]bool) {
	answer := byKey(list)
	var n news
	f.lock()
	for _, j := range jobs {
		for index, m := range j.elements {
			e, is := answer[key{j.ID, index}]
			if is && (e.Raw == unseen || j.endpoint.rules().lags && j.launch.cred.Here(j.element(index))) {
				e = j.byWorker(index, e)
			}
			if is {
				j.listed(index, m, e, before[member{j, index}], &n)
			} else {
				j.unlisted(index, m, &n)
			}
		}
		switch {
		case !j.over():
			j.ended = time.Time{}
		case j.ended.IsZero():
			j.ended = time.Now()
		}
	}
	n.said = append(n.said, cancelled(jobs, answer)...)
	f.mu.Unlock()
	f.spread(n)
}

// spread does what an answer has brought about.
func (f *Fleet) spread(n news) {
	for _, m := range n.gone {
		m.j.launch.cred.Gone(m.j.element(m.index))
	}
	for _, text := range n.said {
		f.Say("%s", text)
	}
}

// listed takes in what is said of an element, whose worker may have joined before that
// was asked. It needs Fleet.mu.
func (j *job) listed(index int, m *element, e hpc.Element, joined bool, n *news) {
	if e.Raw == unanswered {
		m.reason = e.Reason
		m.unanswered++
		return
	}
	m.unanswered = 0
	j.hear()
	// It may have run between two questions: then its worker had joined.
	off := e.State == hpc.Pending && (m.state == hpc.Running || joined)
	if off && !m.off && !j.takenBack {
		text := j.endpoint.called(j.Record, index) + " was taken off its node and waits again"
		if j.trouble = text; j.waited() {
			text += "; its tasks are lost and will be tried again"
		}
		n.said = append(n.said, text)
	}
	if m.off = off; off || e.State == hpc.Ended {
		n.gone = append(n.gone, member{j, index})
	}
	if joined && j.idle != "" && j.trouble == j.idle {
		j.trouble = ""
	}
	if e.State == hpc.Running && m.state != hpc.Running {
		m.runs = time.Now()
	}
	if e.State != hpc.Unknown {
		m.state, m.raw, m.end = e.State, e.Raw, e.End
	}
	m.reason, m.missing = e.Reason, 0
}

// byWorker says how an element stands by what is known of its worker, if nobody else
// can tell, or knows better.
func (j *job) byWorker(index int, e hpc.Element) hpc.Element {
	switch element := j.element(index); {
	case j.launch.cred.Here(element):
		e.State, e.Raw = hpc.Running, "its worker is here"
	case j.joined(index):
		e.State, e.Raw = hpc.Ended, "its worker has left"
	default:
		e.State, e.Reason = hpc.Pending, cmp.Or(e.Reason, j.endpoint.String()+" cannot be asked how it stands")
	}
	return e
}

// hear notes that the endpoint has spoken of the job. It needs Fleet.mu.
func (j *job) hear() {
	if j.silent && !j.heard {
		j.trouble = ""
	}
	j.heard = true
}

// unlisted takes in that nothing is said of an element: once proves nothing. It needs
// Fleet.mu.
func (j *job) unlisted(index int, m *element, n *news) {
	if m.state == hpc.Ended {
		return
	}
	if m.missing++; m.missing < 2 {
		return
	}
	j.hear()
	m.state, m.raw = hpc.Ended, "no longer listed"
	n.gone = append(n.gone, member{j, index})
}

// cancelled returns, for each job once, which elements somebody else cancelled. It
// needs Fleet.mu.
func cancelled(jobs []*job, answer map[key]hpc.Element) (said []string) {
	for _, j := range jobs {
		if j.takenBack || !j.waited() {
			continue
		}
		var worked, never []int
		for index, m := range j.elements {
			e, is := answer[key{j.ID, index}]
			if !is || e.State != hpc.Ended || e.End != hpc.EndCancelled || m.cancelled {
				continue
			}
			m.cancelled, m.raw = true, e.Raw
			if j.joined(index) {
				worked = append(worked, index)
			} else {
				m.told = true
				never = append(never, index)
			}
		}
		if len(worked) > 0 {
			j.trouble = j.cancelled(worked)
			said = append(said, j.trouble+"; "+its(len(worked), "tasks are tried again"))
		}
		if len(never) > 0 {
			j.trouble = j.cancelled(never) + " (" + j.elements[slices.Min(never)].raw + ") before " + its(len(never), "worker had joined")
			said = append(said, fmt.Sprintf("%s; `muster launch --launcher %s -n %d` starts as many again", j.trouble, j.Launcher, len(never)))
		}
	}
	return said
}

// cancelled says which elements were.
func (j *job) cancelled(indices []int) string {
	text := j.endpoint.called(j.Record, slices.Min(indices))
	if n := len(indices) - 1; n > 0 {
		return fmt.Sprintf("%s and %d more of its array were cancelled on the cluster", text, n)
	}
	return text + " was cancelled on the cluster"
}

// waited reports whether somebody waits for the job's workers.
func (j *job) waited() bool { return j.whose != plan.Foreign }

// its is what belongs to one, or to several.
func its(n int, what string) string {
	if n == 1 {
		return "its " + what
	}
	return "their " + strings.Replace(what, "worker ", "workers ", 1)
}
