package cli

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/fleet"
	"muster/internal/stall"
	safe "muster/internal/terminal"
	"muster/task"
)

// TestUnasked: while a person is asked something, something happens.
func TestUnasked(t *testing.T) {
	var out bytes.Buffer
	free, _ := newProgress("always", streams{err: safe.NewVoice(&out)}, 1)
	asking, _ := newProgress("always", streams{err: safe.NewVoice(&out)}, 1)
	for _, bar := range []*progress{free, asking} {
		bar.start()
		defer bar.end()
	}
	asking.terminal().Before()
	for _, c := range []struct {
		name  string
		bar   *progress
		moves bool
	}{
		{"no terminal", nil, false},
		{"nothing is asked", free, false},
		{"a password is", asking, true},
	} {
		look := unasked(c.bar, doing("x"))
		before := look(t.Context())
		if after := look(t.Context()); (after.mark != before.mark) != c.moves {
			t.Errorf("%s: progress is %v, want %v", c.name, after.mark != before.mark, c.moves)
		}
	}
}

// TestWatching: what counts as progress, and why nothing happens, is taken from the
// profiles that are waited for alone.
func TestWatching(t *testing.T) {
	profile := func(name string, i task.Info, why ...control.Reason) control.ProfileStatus {
		return control.ProfileStatus{PoolStatus: dispatcher.PoolStatus{Profile: name, Info: i}, Reasons: why}
	}
	status := func() *control.Status {
		return &control.Status{Kind: "up", Jobs: []string{"7"}, Standing: []fleet.JobStanding{{Profile: "a", Running: 2, Ended: 1}, {Profile: "b", Running: 5}},
			Profiles: []control.ProfileStatus{
				profile("a", task.Info{Connections: 1, Cumulative: 2, Executing: 3, Completed: 4}, control.Reason{Code: "busy", Text: "all are", Hint: "`x` shows more"}),
				profile("b", task.Info{Cumulative: 9}, control.Reason{Code: "none", Cause: "c", Text: "nobody"})}}
	}
	var err error
	look := watching(func(context.Context) (*control.Status, error) { return status(), err }, func(*control.Status) ([]string, int) { return []string{"a"}, 6 })
	first := look(t.Context())
	mark := progressMark{joined: 2, connected: 1, completed: 4, handed: 3, resolved: 6, begun: 2, gone: 1, asked: 1}
	if first.mark != mark || len(first.why) != 1 || first.why[0] != (stall.Reason{Key: "a busy ", Text: "profile a: all are; `x` shows more"}) {
		t.Errorf("%+v", first)
	}
	err = context.DeadlineExceeded
	if o := look(t.Context()); o.mark != mark || len(o.why) != 1 || o.why[0].Key != "mute" {
		t.Errorf("one that does not answer: %+v", o)
	}
	err = errors.New("gone")
	if o := look(t.Context()); o.mark != mark || len(o.why) != 0 {
		t.Errorf("one that is gone: %+v", o)
	}
	err = nil
	none := watching(func(context.Context) (*control.Status, error) { return status(), nil }, func(*control.Status) ([]string, int) { return nil, 0 })
	if o := none(t.Context()); len(o.why) != 1 || o.why[0].Key != "nothing" {
		t.Errorf("of no profile: %+v", o)
	}
}
