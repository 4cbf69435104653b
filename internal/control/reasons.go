package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"muster/dispatcher"
	"muster/internal/fleet"
	"muster/internal/host"
	"muster/internal/units"
)

// Reason is why tasks of a profile wait, or would wait if there were some.
type Reason struct {
	// Code is paused, full, pending, starting, none, away, leaving, sick, everywhere,
	// busy, queued or sync.
	Code string `json:"code"`
	// Cause is what somebody else says of it: a scheduler why a job is pending, a worker
	// what its machine lacks.
	Cause string `json:"cause,omitempty"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"` // which command shows it or changes it
}

// circumstances are what the reasons of a profile are told from, beside its own status.
type circumstances struct {
	name, kind string // of the dispatcher, as in Status
	standing   []fleet.JobStanding
	joins      []host.Join
	now        time.Time
}

// around returns the circumstances of a host's profiles.
func around(h *host.Host, name, kind string) circumstances {
	return circumstances{name, kind, h.Fleet().Standing(), h.Joins(), time.Now()}
}

// reasons says why a profile's tasks wait, and why it has no worker if it has none.
// trouble is why a worker on this machine was given up, nil if none was.
func (c circumstances) reasons(p *ProfileStatus, trouble error) (list []Reason) {
	if p.Sync {
		return c.ofSync(p)
	}
	if p.Paused != "" {
		list = append(list, Reason{"paused", p.Paused, "no task is started: " + p.Paused, c.shows()})
	}
	if p.Memory.Waiting > 0 && p.Memory.Capacity != nil {
		list = append(list, Reason{"full", "", fmt.Sprintf("the queue is full, with %s of tasks where %s may be: %s to submit", units.Megabytes(p.Memory.Used), units.Megabytes(*p.Memory.Capacity), waiting(p.Memory.Waiting)), c.shows()})
	}
	if p.Info.Connections == 0 {
		return append(list, c.workerless(p, trouble))
	}
	if p.Info.Awaiting == 0 && p.Info.Executing == 0 && p.Everywhere == nil {
		return list
	}
	if r, sick := c.sick(p); sick {
		list = append(list, r)
	}
	if e := p.Everywhere; e != nil && e.Missing > 0 {
		list = append(list, Reason{"everywhere", "", fmt.Sprintf("everywhere %d has to run on %s more before what comes after it", e.ID, workers(e.Missing)), c.starts(p)})
	}
	if len(list) > 0 {
		return list
	}
	return []Reason{c.occupied(p)}
}

// ofSync says that the tasks of a profile are run by those who submit them.
func (c circumstances) ofSync(p *ProfileStatus) []Reason {
	if p.Info.Awaiting+p.Info.Executing == 0 {
		return nil
	}
	return []Reason{{"sync", "", "whoever submits a task to profile " + p.Profile + " runs it, and has not ended with it", c.shows()}}
}

// workerless says why a profile has no worker.
func (c circumstances) workerless(p *ProfileStatus, trouble error) Reason {
	none := "no worker has joined yet"
	if p.Info.Cumulative > 0 {
		none = "no worker is left of " + fmt.Sprint(p.Info.Cumulative)
	}
	if n := len(p.Workers); n > 0 {
		return Reason{"away", "", because(all(n, "is away: its connection broke", "are away: their connections broke"), "on "+p.Workers[0].Host), c.shows()}
	}
	pending, begun, cause := c.jobs(p.Profile)
	if trouble != nil {
		cause = cmp.Or(cause, trouble.Error())
	}
	switch {
	case len(pending) > 0:
		return Reason{"pending", cause, none + "; " + strings.Join(pending, ", "), c.shows()}
	case p.Expected > 0 && begun > 0:
		return Reason{"starting", cause, because(none+"; "+count(begun, "job runs, and its worker has not joined", "jobs run, and their workers have not joined"), cause), c.shows()}
	case p.Expected > 0:
		return Reason{"starting", cause, none + "; " + because(count(p.Expected, "was started or asked for", "were started or asked for"), cause), c.shows()}
	}
	hint := c.starts(p)
	if len(c.standing) > 0 && cause != "" && trouble == nil {
		hint = "`muster doctor -p " + p.Profile + "` looks where that breaks; " + hint
	}
	if cause == "" {
		cause = strings.Join(slices.Sorted(maps.Keys(p.Left)), ", ")
	}
	text := none + ", and none is expected"
	if n := c.invited(p.Profile); n > 0 {
		text = fmt.Sprintf("%s; the join strings that were made let in %s more", none, workers(n))
	}
	return Reason{"none", cause, because(text, cause), hint}
}

// jobs says of a profile's jobs which wait, how many workers of the others have not
// ended, and what is known to be wrong.
func (c circumstances) jobs(profile string) (pending []string, begun int, cause string) {
	for _, j := range c.standing {
		if j.Profile != profile {
			continue
		}
		if j.Pending > 0 {
			text := because(count(j.Pending, "worker is", "workers are")+" pending at "+j.Endpoint, cmp.Or(j.Reason, j.Trouble))
			if !slices.Contains(pending, text) {
				pending = append(pending, text)
			}
		}
		begun += j.Running
		cause = cmp.Or(j.Reason, j.Trouble, cause)
	}
	if n := len(pending) - mostJobs; n > 0 {
		pending = append(pending[:mostJobs], fmt.Sprintf("and %d more jobs", n))
	}
	return pending, begun, cause
}

// mostJobs is how many different jobs one reason speaks of.
const mostJobs = 3

// invited is how many workers the join strings of a profile let in yet.
func (c circumstances) invited(profile string) (n int) {
	for _, j := range c.joins {
		if j.Profile == profile {
			n += j.Uses - j.Used
		}
	}
	return n
}

// sick says which machines lack something, if tasks wait for that.
func (c circumstances) sick(p *ProfileStatus) (Reason, bool) {
	var lacking []dispatcher.WorkerStatus
	able := 0
	for _, w := range p.Workers {
		if len(w.Lacks) > 0 {
			lacking = append(lacking, w)
		}
		if w.Busy > 0 || len(w.Lacks) == 0 {
			able++
		}
	}
	if len(lacking) == 0 || p.Info.Awaiting == 0 {
		return Reason{}, false
	}
	w := lacking[0]
	text := fmt.Sprintf("%d of %s cannot do all that waits", len(lacking), workers(len(p.Workers)))
	if able == 0 {
		text = "no worker can do what waits"
	}
	return Reason{"sick", w.Lacks[0], fmt.Sprintf("%s; on %s: %s", text, w.Host, w.Lacks[0]), c.shows()}, true
}

// occupied says what the workers of a profile do.
func (c circumstances) occupied(p *ProfileStatus) Reason {
	i := p.Info
	leaving, free := 0, false
	for _, w := range p.Workers {
		if w.State == "draining" {
			leaving++
		} else if w.Busy < w.Slots {
			free = true
		}
	}
	since := ""
	if p.Oldest != nil {
		since = ", the longest for " + units.Age(c.now.Sub(*p.Oldest))
	}
	switch {
	case i.Awaiting > 0 && leaving == len(p.Workers):
		return Reason{"leaving", "", fmt.Sprintf("%s nothing new and will leave; %s", all(leaving, "takes", "take"), waiting(i.Awaiting)), c.starts(p)}
	case i.Awaiting > 0 && !free:
		return Reason{"busy", "", fmt.Sprintf("%s busy: %s%s; %s", all(i.Connections, "is", "are"), running(i.Executing), since, waiting(i.Awaiting)), c.shows()}
	case i.Executing > 0:
		return Reason{"busy", "", running(i.Executing) + " on " + workers(i.Connections) + since, c.shows()}
	}
	return Reason{"queued", "", count(i.Awaiting, "task waits", "tasks wait") + ", and not all workers are busy", c.shows()}
}

// shows names the command that shows how a profile stands.
func (c circumstances) shows() string {
	return "`muster status" + c.which() + "` shows more"
}

// starts names the command that starts a worker.
func (c circumstances) starts(p *ProfileStatus) string {
	which := c.which()
	if c.kind != "run" {
		which += " -p " + p.Profile
	}
	return "`muster launch" + which + " -n 1` starts one"
}

// which is the option that names the dispatcher or the run.
func (c circumstances) which() string {
	switch {
	case c.kind == "run":
		return " --run " + c.name
	case c.name != "default":
		return " --dispatcher " + c.name
	}
	return ""
}

// because adds the cause of something, if it is known.
func because(text, cause string) string {
	if cause == "" {
		return text
	}
	return text + " (" + cause + ")"
}

// count is a number with what is counted, in the form for one or for more.
func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// all are all workers, with what they do.
func all(n int, does, do string) string {
	if n == 1 {
		return "the only worker " + does
	}
	return fmt.Sprintf("all %d workers %s", n, do)
}

func workers(n int) string { return count(n, "worker", "workers") }

func running(n int) string { return count(n, "task runs", "tasks run") }

func waiting(n int) string { return count(n, "waits", "wait") }
