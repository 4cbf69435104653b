package cli

import (
	"strings"
	"testing"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/task"
)

// TestIdle: a command is told why nobody works at the futures that it waits for, if
// they are not resolved.
func TestIdle(t *testing.T) {
	profile := func(name string, sync bool, workers ...dispatcher.WorkerStatus) control.ProfileStatus {
		return control.ProfileStatus{PoolStatus: dispatcher.PoolStatus{Profile: name, Info: task.Info{Connections: len(workers)}, Workers: workers}, Sync: sync}
	}
	able := dispatcher.WorkerStatus{Host: "n1"}
	sick := dispatcher.WorkerStatus{Host: "n2", Lacks: []string{"cannot enter /a: no such directory"}}
	busy := dispatcher.WorkerStatus{Host: "n3", Lacks: sick.Lacks, Busy: 1}
	st := &control.Status{
		Profiles: []control.ProfileStatus{profile("able", false, sick, able), profile("busy", false, sick, busy), profile("empty", false), profile("sick", false, sick, sick), profile("sync", true)},
		Futures: []dispatcher.FutureStatus{
			{ID: 1, Profile: "able", State: "queued"},
			{ID: 2, Profile: "empty", State: "queued"},
			{ID: 3, Profile: "empty", State: "resolved"},
			{ID: 4, Profile: "sync", State: "queued"},
			{ID: 5, Profile: "empty", State: "running"}, // its worker has gone
			{ID: 7, Profile: "sick", State: "queued"},
			{ID: 8, Profile: "busy", State: "running"},
		},
	}
	const none, lacking = "profile empty has no worker now", "no worker of profile sick can do what waits; on n2: cannot enter /a: no such directory"
	for _, c := range []struct {
		ids  []dispatcher.ID
		want []string // prefixes
	}{
		{[]dispatcher.ID{1}, nil},
		{[]dispatcher.ID{2}, []string{none}},
		{[]dispatcher.ID{3}, nil},
		{[]dispatcher.ID{4}, nil},
		{[]dispatcher.ID{1, 2, 5}, []string{none}},
		{[]dispatcher.ID{5}, []string{none}},
		{[]dispatcher.ID{6}, nil}, // forgotten
		{[]dispatcher.ID{7}, []string{lacking}},
		{[]dispatcher.ID{8}, nil},
		{[]dispatcher.ID{7, 2}, []string{none, lacking}},
	} {
		got := idle(st, c.ids)
		ok := len(got) == len(c.want)
		for i := range got {
			ok = ok && strings.HasPrefix(got[i], c.want[i])
		}
		if !ok {
			t.Errorf("waiting for %v: told %q, want %q", c.ids, got, c.want)
		}
	}
}
