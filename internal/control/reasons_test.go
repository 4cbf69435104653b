package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"muster/dispatcher"
	"muster/internal/fleet"
	"muster/internal/host"
	"muster/task"
)

// TestReasons: a profile whose tasks wait says why, and a profile without workers says
// whether any is expected.
func TestReasons(t *testing.T) {
	now := time.Unix(100_000, 0)
	type profile = ProfileStatus
	with := func(i task.Info, change func(*profile)) profile {
		p := profile{PoolStatus: dispatcher.PoolStatus{Profile: "p", Info: i}}
		for n := range i.Connections {
			p.Workers = append(p.Workers, dispatcher.WorkerStatus{Host: fmt.Sprintf("n%d", n+1), Slots: 1})
		}
		change(&p)
		return p
	}
	as := func(p *profile) {}
	limit := int64(1e6)
	minuteAgo := now.Add(-63 * time.Second)
	sick := func(busy int) func(*profile) {
		return func(p *profile) {
			p.Workers[0].Lacks = []string{"cannot enter /a"}
			if len(p.Workers) > 1 {
				p.Workers[1].Busy = busy
				p.Workers[1].Lacks = []string{"cannot enter /a"}
			}
		}
	}
	busy := func(p *profile) {
		p.Oldest = &minuteAgo
		for i := range p.Workers {
			p.Workers[i].Busy = 1
		}
	}
	for _, c := range []struct {
		name    string
		p       profile
		jobs    []fleet.JobStanding
		joins   []host.Join
		trouble error
		kind    string
		want    string // CODE CAUSE: TEXT; HINT | ...
	}{
		{name: "workers and nothing to do", p: with(task.Info{Connections: 1, Cumulative: 1}, as), want: ""},
		{name: "none, and none expected", p: with(task.Info{}, as),
			want: "none : no worker has joined yet, and none is expected; `muster launch -p p -n 1` starts one"},
		{name: "a run", p: with(task.Info{}, as), kind: "run",
			want: "none : no worker has joined yet, and none is expected; `muster launch --run d -n 1` starts one"},
		{name: "all have left", p: with(task.Info{Cumulative: 3}, func(p *profile) { p.Left = map[string]int{"its walltime": 3} }),
			want: "none its walltime: no worker is left of 3, and none is expected (its walltime); `muster launch -p p -n 1` starts one"},
		{name: "one was given up", p: with(task.Info{}, as), trouble: errors.New("it ended 5 times"),
			want: "none it ended 5 times: no worker has joined yet, and none is expected (it ended 5 times); `muster launch -p p -n 1` starts one"},
		{name: "its jobs have died", p: with(task.Info{}, as), jobs: []fleet.JobStanding{{Profile: "p", Ended: 1, Trouble: "job 7 ended (FAILED)"}, {Profile: "other", Trouble: "x"}},
			want: "none job 7 ended (FAILED): no worker has joined yet, and none is expected (job 7 ended (FAILED)); `muster doctor -p p` looks where that breaks; `muster launch -p p -n 1` starts one"},
		{name: "people may start some", p: with(task.Info{}, as), joins: []host.Join{{Profile: "p", Uses: 3, Used: 1}, {Profile: "other", Uses: 9}},
			want: "none : no worker has joined yet; the join strings that were made let in 2 workers more; `muster launch -p p -n 1` starts one"},
		{name: "pending", p: with(task.Info{Awaiting: 5}, func(p *profile) { p.Expected = 3 }), jobs: []fleet.JobStanding{{Profile: "p", Endpoint: "slurm", Pending: 3, Reason: "Resources"}},
			want: "pending Resources: no worker has joined yet; 3 workers are pending at slurm (Resources); `muster status` shows more"},
		{name: "pending at two places", p: with(task.Info{}, func(p *profile) { p.Expected = 2 }), jobs: []fleet.JobStanding{{Profile: "p", Endpoint: "slurm", Pending: 1, Reason: "Resources"}, {Profile: "p", Endpoint: "pbs", Pending: 1}},
			want: "pending Resources: no worker has joined yet; 1 worker is pending at slurm (Resources), 1 worker is pending at pbs; `muster status` shows more"},
		{name: "jobs run, and nobody comes", p: with(task.Info{}, func(p *profile) { p.Expected = 2 }), jobs: []fleet.JobStanding{{Profile: "p", Running: 2, Trouble: "job 7 runs, and its worker has not joined yet"}},
			want: "starting job 7 runs, and its worker has not joined yet: no worker has joined yet; 2 jobs run, and their workers have not joined (job 7 runs, and its worker has not joined yet); `muster status` shows more"},
		{name: "started here", p: with(task.Info{}, func(p *profile) { p.Expected = 1 }),
			want: "starting : no worker has joined yet; 1 was started or asked for; `muster status` shows more"},
		{name: "away", p: with(task.Info{Awaiting: 1}, func(p *profile) { p.Workers = []dispatcher.WorkerStatus{{Host: "n1", State: "away"}} }),
			want: "away : the only worker is away: its connection broke (on n1); `muster status` shows more"},
		{name: "the disk is full", p: with(task.Info{Connections: 1, Awaiting: 1}, func(p *profile) { p.Paused = "the disk is full at /x" }),
			want: "paused the disk is full at /x: no task is started: the disk is full at /x; `muster status` shows more"},
		{name: "no room", p: with(task.Info{Connections: 1, Awaiting: 1}, func(p *profile) {
			p.Memory = dispatcher.Memory{Used: 1e6, Waiting: 2, Capacity: &limit}
		}), want: "full : the queue is full, with 1 MB of tasks where 1 MB may be: 2 wait to submit; `muster status` shows more"},
		{name: "no room and nobody", p: with(task.Info{Awaiting: 1}, func(p *profile) {
			p.Memory = dispatcher.Memory{Used: 1e6, Waiting: 1, Capacity: &limit}
		}), want: "full : the queue is full, with 1 MB of tasks where 1 MB may be: 1 waits to submit; `muster status` shows more" +
			" | none : no worker has joined yet, and none is expected; `muster launch -p p -n 1` starts one"},
		{name: "all are sick", p: with(task.Info{Connections: 2, Awaiting: 1}, sick(0)),
			want: "sick cannot enter /a: no worker can do what waits; on n1: cannot enter /a; `muster status` shows more"},
		{name: "one is sick", p: with(task.Info{Connections: 2, Awaiting: 1, Executing: 1}, sick(1)),
			want: "sick cannot enter /a: 2 of 2 workers cannot do all that waits; on n1: cannot enter /a; `muster status` shows more"},
		{name: "sick, and nothing waits for it", p: with(task.Info{Connections: 1, Executing: 1}, sick(0)),
			want: "busy : 1 task runs on 1 worker; `muster status` shows more"},
		{name: "an everywhere for more than there are", p: with(task.Info{Connections: 1, Awaiting: 1}, func(p *profile) { p.Everywhere = &dispatcher.EverywhereStatus{ID: 4, Missing: 1} }),
			want: "everywhere : everywhere 4 has to run on 1 worker more before what comes after it; `muster launch -p p -n 1` starts one"},
		{name: "all busy", p: with(task.Info{Connections: 2, Awaiting: 7, Executing: 2}, busy),
			want: "busy : all 2 workers are busy: 2 tasks run, the longest for 1m03s; 7 wait; `muster status` shows more"},
		{name: "some busy", p: with(task.Info{Connections: 1, Executing: 1}, busy),
			want: "busy : 1 task runs on 1 worker, the longest for 1m03s; `muster status` shows more"},
		{name: "leaving", p: with(task.Info{Connections: 1, Awaiting: 1}, func(p *profile) { p.Workers[0].State = "draining" }),
			want: "leaving : the only worker takes nothing new and will leave; 1 waits; `muster launch -p p -n 1` starts one"},
		{name: "nobody knows", p: with(task.Info{Connections: 1, Awaiting: 2}, as),
			want: "queued : 2 tasks wait, and not all workers are busy; `muster status` shows more"},
		{name: "sync", p: with(task.Info{Awaiting: 1}, func(p *profile) { p.Sync = true }),
			want: "sync : whoever submits a task to profile p runs it, and has not ended with it; `muster status` shows more"},
		{name: "sync, and nothing is open", p: with(task.Info{}, func(p *profile) { p.Sync = true }), want: ""},
	} {
		name := "default"
		if c.kind == "run" {
			name = "d"
		}
		around := circumstances{name: name, kind: c.kind, standing: c.jobs, joins: c.joins, now: now}
		var got []string
		for _, r := range around.reasons(&c.p, c.trouble) {
			got = append(got, fmt.Sprintf("%s %s: %s; %s", r.Code, r.Cause, r.Text, r.Hint))
		}
		if all := strings.Join(got, " | "); all != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, all, c.want)
		}
	}
	elsewhere := circumstances{name: "mine", kind: "up", now: now}
	p := with(task.Info{}, as)
	if hint := elsewhere.reasons(&p, nil)[0].Hint; hint != "`muster launch --dispatcher mine -p p -n 1` starts one" {
		t.Errorf("of another dispatcher the hint is %q", hint)
	}
}
