package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/fleet"
	"muster/internal/host"
)

// idlePatience is how long a command waits for futures before it looks whether
// anybody works at them, and then again.
const idlePatience = 10 * time.Second

// submitting returns what submit returns. It says when the profile has had no room
// for a task, or the dispatcher no answer, for idlePatience.
func submitting(ctx context.Context, s streams, client *control.Client, profile string, submit func() (control.SubmitAnswer, error)) (control.SubmitAnswer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		tick := time.NewTicker(idlePatience)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if text := noRoom(ctx, client, profile); text != "" && ctx.Err() == nil {
				s.err.Say("%s", text)
				return
			}
		}
	}()
	return submit()
}

// launching has a dispatcher carry plans out. It says when that takes longer than
// idlePatience: what the dispatcher itself says of it is in its log.
func launching(ctx context.Context, s streams, client *control.Client, profile string, q control.LaunchRequest) (host.Launched, error) {
	late := time.AfterFunc(idlePatience, func() {
		s.err.Say("after %v not all workers of profile %s are asked for; waiting for whoever is to start them", idlePatience, profile)
	})
	defer late.Stop()
	return client.Launch(ctx, profile, q)
}

// mostNotes is how many of them are shown of one launch.
const mostNotes = 5

// sayNotes says what is to be known of what was launched or taken back.
func (s streams) sayNotes(notes []string) {
	for _, note := range notes[:min(len(notes), mostNotes)] {
		s.err.Say("%s", note)
	}
	if n := len(notes) - mostNotes; n > 0 {
		s.err.Say("and %d more like these; `muster status` shows them", n)
	}
}

// noRoom says why the profile takes no task now; "" if it may take one.
func noRoom(ctx context.Context, client *control.Client, profile string) string {
	ctx, cancel := context.WithTimeout(ctx, idlePatience)
	defer cancel()
	st, err := client.Status(ctx)
	if err != nil {
		return fmt.Sprintf("the dispatcher has not taken the task yet, and does not say why: %v", err)
	}
	for _, p := range st.Profiles {
		switch {
		case p.Profile != profile || p.Memory.Waiting == 0 || p.Memory.Capacity == nil:
		case p.Info.Connections == 0:
			return fmt.Sprintf("profile %s is full, with %s of tasks queued, and has no worker: `muster launch -p %s -n 1` starts one", profile, megabytes(p.Memory.Used), profile)
		default:
			return fmt.Sprintf("profile %s is full, with %s of tasks queued: waiting until fewer are", profile, megabytes(p.Memory.Used))
		}
	}
	return ""
}

// tellIdle tells, each thing once, why nobody works at futures that a command waits
// for. It returns when ctx is done.
func tellIdle(ctx context.Context, client *control.Client, say func(text string), ids ...dispatcher.ID) {
	told := map[string]bool{}
	tick := time.NewTicker(idlePatience)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		st, err := client.Status(ctx)
		if err != nil {
			continue // the command's own call fails too, and says so
		}
		for _, text := range idle(st, ids) {
			if !told[text] {
				told[text] = true
				say(text)
			}
		}
	}
}

// idle says of each profile that has one of the futures, of those that are not
// resolved, why nobody works there: it has no worker, or each is free and lacks
// something.
func idle(st *control.Status, ids []dispatcher.ID) (texts []string) {
	waited := map[string]bool{}
	for _, f := range st.Futures {
		if f.State != "resolved" && slices.Contains(ids, f.ID) {
			waited[f.Profile] = true
		}
	}
	for _, p := range st.Profiles {
		able := func(w dispatcher.WorkerStatus) bool { return w.Busy > 0 || len(w.Lacks) == 0 }
		switch {
		case !waited[p.Profile] || p.Sync:
		case p.Info.Connections == 0:
			texts = append(texts, noWorker(p.Profile, st.Standing))
		case len(p.Workers) > 0 && !slices.ContainsFunc(p.Workers, able):
			w := p.Workers[0]
			texts = append(texts, fmt.Sprintf("no worker of profile %s can do what waits; on %s: %s; `muster status` shows more", p.Profile, w.Host, w.Lacks[0]))
		}
	}
	return texts
}

// noWorker says why a profile may have no worker, by what is known of its jobs.
func noWorker(profile string, jobs []fleet.JobStanding) string {
	pending, trouble := 0, ""
	for _, j := range jobs {
		if j.Profile != profile {
			continue
		}
		if pending += j.Pending; j.Pending > 0 && j.Reason != "" {
			trouble = j.Reason
		}
		if j.Trouble != "" {
			trouble = j.Trouble
		}
	}
	if trouble != "" {
		trouble = " (" + trouble + ")"
	}
	if pending > 0 {
		return fmt.Sprintf("profile %s has no worker yet: %s waiting with the scheduler%s; `muster status` shows more", profile, plural(pending, "worker"), trouble)
	}
	return fmt.Sprintf("profile %s has no worker now%s, so this waits: `muster launch -p %s -n 1` starts one, `muster status` shows what there is", profile, trouble, profile)
}
