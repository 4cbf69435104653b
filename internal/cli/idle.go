package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"muster/dispatcher"
	"muster/internal/control"
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
				fmt.Fprintf(s.err, "muster: %s\n", text)
				return
			}
		}
	}()
	return submit()
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

// tellIdle tells, once for each profile, that futures which a command waits for are
// with a profile that has no worker. It returns when ctx is done.
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
		for _, name := range idle(st, ids) {
			if !told[name] {
				told[name] = true
				say(noWorker(name))
			}
		}
	}
}

// idle returns the profiles without a worker that have one of the futures, of those
// that are not resolved.
func idle(st *control.Status, ids []dispatcher.ID) (names []string) {
	waited := map[string]bool{}
	for _, f := range st.Futures {
		if f.State != "resolved" && slices.Contains(ids, f.ID) {
			waited[f.Profile] = true
		}
	}
	for _, p := range st.Profiles {
		if waited[p.Profile] && p.Info.Connections == 0 && !p.Sync {
			names = append(names, p.Profile)
		}
	}
	return names
}

func noWorker(profile string) string {
	return fmt.Sprintf("profile %s has no worker now, so this waits: `muster launch -p %s -n 1` starts one, `muster status` shows what there is", profile, profile)
}
