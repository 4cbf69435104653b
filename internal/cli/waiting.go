package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/fleet"
	"muster/internal/host"
	"muster/internal/stall"
)

// envPatience, a duration, is stall.Patience for tests.
const envPatience = "_MUSTER_PATIENCE"

// patience is how long a command that waits says nothing.
func patience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(envPatience)); err == nil && d > 0 {
		return d
	}
	return stall.Patience
}

// looksPerPatience is how often it is looked how things stand, while somebody waits.
const looksPerPatience = 4

// progressMark is what counts as progress for who waits: something has happened when one
// of these is another.
type progressMark struct {
	joined, connected  int // workers
	completed, handed  int // tasks that are resolved, and that workers have
	resolved           int // of the futures that are waited for
	begun, gone, asked int // workers of jobs, and jobs and questions
	own                int64
}

// outlook is how things stand for who waits, and why they wait.
type outlook struct {
	mark progressMark
	why  []stall.Reason
}

// tellWaits says what a command waits for whenever nothing has happened for a while,
// until the returned function is called; nothing is said after that. look is called every
// few seconds, from one goroutine.
func tellWaits(ctx context.Context, say func(format string, args ...any), look func(context.Context) outlook) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		after, began := patience(), time.Now()
		tick := time.NewTicker(after / looksPerPatience)
		defer tick.Stop()
		var teller *stall.Teller[progressMark]
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			o := look(ctx)
			if ctx.Err() != nil {
				return
			}
			if teller == nil {
				teller = stall.New(after, began, o.mark)
			}
			for _, r := range teller.Look(time.Now(), o.mark, o.why) {
				say("%s", r.Text)
			}
		}
	}()
	return func() {
		cancel()
		<-over
	}
}

// unasked is an outlook in which nothing is said while a person is asked something on the
// terminal that bar is on: it is they who are waited for.
func unasked(bar *progress, look func(context.Context) outlook) func(context.Context) outlook {
	asked := 0
	return func(ctx context.Context) outlook {
		o := look(ctx)
		if bar.asks() {
			asked++
		}
		o.mark.asked += asked
		return o
	}
}

// asks reports whether a person is asked something.
func (p *progress) asks() bool { return p != nil && p.line.Paused() }

// doing is the outlook of who waits for one thing.
func doing(format string, args ...any) func(context.Context) outlook {
	text := fmt.Sprintf(format, args...)
	return func(context.Context) outlook { return outlook{why: []stall.Reason{{Key: text, Text: text}}} }
}

// statusOf returns how a dispatcher stands, with the futures that are waited for.
type statusOf func(context.Context) (*control.Status, error)

// statusThere returns how the dispatcher of a client stands, with some futures.
func statusThere(client *control.Client, ids ...dispatcher.ID) statusOf {
	return func(ctx context.Context) (*control.Status, error) { return client.StatusOf(ctx, ids...) }
}

// statusHere returns how the dispatcher of this process stands.
func statusHere(st func() *control.Status) statusOf {
	return func(context.Context) (*control.Status, error) { return st(), nil }
}

// waitingFor is the outlook of who waits for futures.
func waitingFor(client *control.Client, ids ...dispatcher.ID) func(context.Context) outlook {
	return watching(statusThere(client, ids...), func(st *control.Status) (of []string, resolved int) {
		for _, f := range st.Futures {
			if !slices.Contains(ids, f.ID) { // an older dispatcher lists all
				continue
			}
			resolved += f.Resolved
			if f.State != "resolved" {
				of = append(of, f.Profile)
			}
		}
		return of, resolved
	})
}

// waitingIn is the outlook of who waits for tasks of a profile.
func waitingIn(status statusOf, profile string) func(context.Context) outlook {
	return watching(status, func(*control.Status) ([]string, int) { return []string{profile}, 0 })
}

// watching is the outlook of who waits for what some profiles do, with how much of it
// has resolved.
func watching(status statusOf, wanted func(*control.Status) (profiles []string, resolved int)) func(context.Context) outlook {
	var last progressMark
	return func(ctx context.Context) outlook {
		ctx, cancel := context.WithTimeout(ctx, patience())
		defer cancel()
		st, err := status(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return outlook{last, []stall.Reason{{Key: "mute", Text: "the dispatcher does not answer: its process may be stopped, or its machine be out of memory; `muster status` answers when it goes on"}}}
		case err != nil:
			return outlook{mark: last} // the command's own call fails too, and says so
		}
		names, resolved := wanted(st)
		o := outlook{mark: progressMark{resolved: resolved, asked: len(st.Jobs)}}
		defer func() { last = o.mark }()
		for _, p := range st.Profiles {
			if slices.Contains(names, p.Profile) {
				o.add(st, p)
			}
		}
		if len(o.why) == 0 {
			o.why = []stall.Reason{{Key: "nothing", Text: "nothing has happened for a while; `muster status` shows how it stands"}}
		}
		return o
	}
}

// add adds what is known of a profile.
func (o *outlook) add(st *control.Status, p control.ProfileStatus) {
	m := &o.mark
	m.joined, m.connected = m.joined+p.Info.Cumulative, m.connected+p.Info.Connections
	m.completed, m.handed = m.completed+p.Info.Completed, m.handed+p.Info.Executing
	for _, j := range st.Standing {
		if j.Profile == p.Profile {
			m.begun, m.gone = m.begun+j.Running, m.gone+j.Ended
		}
	}
	for _, r := range p.Reasons {
		o.why = append(o.why, stall.Reason{Key: p.Profile + " " + r.Code + " " + r.Cause, Text: reasonText(st, p, r)})
	}
}

// reasonText is a reason as it is said and shown, with the profile where there may be
// several.
func reasonText(st *control.Status, p control.ProfileStatus, r control.Reason) string {
	if st.Kind == "run" {
		return hintedText(r)
	}
	return "profile " + p.Profile + ": " + hintedText(r)
}

// hintedText is a reason with the command that shows or changes it.
func hintedText(r control.Reason) string {
	if r.Hint == "" {
		return r.Text
	}
	return r.Text + "; " + r.Hint
}

// submitting returns what submit returns. It says why that takes long: the profile may
// have no room for a task. read, if not nil, is how many inputs have been read.
func submitting(ctx context.Context, s streams, client *control.Client, profile string, read func() int64, submit func() (control.SubmitAnswer, error)) (control.SubmitAnswer, error) {
	of := waitingIn(statusThere(client), profile)
	stop := tellWaits(ctx, s.err.Say, func(ctx context.Context) outlook {
		o := of(ctx)
		if read == nil {
			return o
		}
		o.mark.own = read()
		if !slices.ContainsFunc(o.why, func(r stall.Reason) bool { return r.Key == profile+" full " }) {
			o.why = []stall.Reason{{Key: "inputs", Text: fmt.Sprintf("waiting for more inputs, after %d", o.mark.own)}}
		}
		return o
	})
	defer stop()
	return submit()
}

// launching has a dispatcher carry plans out. It says when that takes long: what the
// dispatcher itself says of it is in its log.
func launching(ctx context.Context, s streams, bar *progress, client *control.Client, profile string, q control.LaunchRequest) (host.Launched, error) {
	defer tellWaits(ctx, s.err.Say, unasked(bar, askingThere(client, profile)))()
	return client.Launch(ctx, profile, q)
}

// asking is the outlook of who waits until workers have been asked for, by the fleet of
// this process.
func asking(f *fleet.Fleet, profile string) func(context.Context) outlook {
	return func(context.Context) outlook {
		return outlook{progressMark{asked: len(f.Jobs())}, []stall.Reason{unanswered(profile)}}
	}
}

// askingThere is asking by a dispatcher.
func askingThere(client *control.Client, profile string) func(context.Context) outlook {
	of := waitingIn(statusThere(client), profile)
	return func(ctx context.Context) outlook {
		o := of(ctx)
		o.why = []stall.Reason{unanswered(profile)}
		return o
	}
}

func unanswered(profile string) stall.Reason {
	return stall.Reason{Key: "asking", Text: fmt.Sprintf("not all workers of profile %s are asked for yet: whoever is to start them has not answered; `muster doctor -p %[1]s` looks where that breaks", profile)}
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

// outlook is how a run stands.
func (e *execution) outlook(ctx context.Context) outlook {
	o := waitingIn(statusHere(e.server.Status), e.profile.Spec.Name)(ctx)
	o.mark.own = e.delivered.Load()
	if e.b.Queued() == 0 && !e.allRead.Load() {
		o.why = []stall.Reason{{Key: "inputs", Text: fmt.Sprintf("waiting for more inputs, after %d", e.b.Submitted())}}
	}
	return o
}

// upkeep is the outlook of a dispatcher that stays: what keeps tasks from being done,
// and workers that were asked for from coming.
func upkeep(server *control.Server) func(context.Context) outlook {
	return func(context.Context) outlook {
		var o outlook
		st := server.Status()
		for _, p := range st.Profiles {
			p.Reasons = slices.DeleteFunc(p.Reasons, func(r control.Reason) bool {
				waits := p.Info.Awaiting+p.Memory.Waiting > 0 || cmp.Or(p.Expected, p.Info.Executing) > 0
				return !waits || slices.Contains([]string{"busy", "full", "queued", "sync"}, r.Code)
			})
			o.add(st, p)
		}
		return o
	}
}
