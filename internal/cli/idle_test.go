package cli

import (
	"slices"
	"testing"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/task"
)

// TestIdle: a command is told of a profile without workers if it waits for a future
// of that profile which is not resolved.
func TestIdle(t *testing.T) {
	profile := func(name string, workers int, sync bool) control.ProfileStatus {
		return control.ProfileStatus{PoolStatus: dispatcher.PoolStatus{Profile: name, Info: task.Info{Connections: workers}}, Sync: sync}
	}
	st := &control.Status{
		Profiles: []control.ProfileStatus{profile("busy", 1, false), profile("empty", 0, false), profile("sync", 0, true)},
		Futures: []dispatcher.FutureStatus{
			{ID: 1, Profile: "busy", State: "queued"},
			{ID: 2, Profile: "empty", State: "queued"},
			{ID: 3, Profile: "empty", State: "resolved"},
			{ID: 4, Profile: "sync", State: "queued"},
			{ID: 5, Profile: "empty", State: "running"}, // its worker has gone
		},
	}
	for _, c := range []struct {
		ids  []dispatcher.ID
		want []string
	}{
		{[]dispatcher.ID{1}, nil},
		{[]dispatcher.ID{2}, []string{"empty"}},
		{[]dispatcher.ID{3}, nil},
		{[]dispatcher.ID{4}, nil},
		{[]dispatcher.ID{1, 2, 5}, []string{"empty"}},
		{[]dispatcher.ID{5}, []string{"empty"}},
		{[]dispatcher.ID{6}, nil}, // forgotten
	} {
		if got := idle(st, c.ids); !slices.Equal(got, c.want) {
			t.Errorf("waiting for %v: told of %q, want %q", c.ids, got, c.want)
		}
	}
}
