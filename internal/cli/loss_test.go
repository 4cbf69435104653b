package cli

import (
	"strings"
	"testing"

	"muster/dispatcher"
	"muster/internal/control"
)

// TestLoss: who ends a dispatcher or a profile is told what goes with it.
func TestLoss(t *testing.T) {
	st := &control.Status{
		Profiles: []control.ProfileStatus{{PoolStatus: dispatcher.PoolStatus{Profile: "a"}}, {PoolStatus: dispatcher.PoolStatus{Profile: "b"}}},
		Futures: []dispatcher.FutureStatus{
			{ID: 1, Kind: dispatcher.KindMap, Profile: "a", State: "running", Total: 9, Resolved: 3, Name: "x", Argv: []string{"fit", "a b"}},
			{ID: 2, Kind: dispatcher.KindSubmit, Profile: "a", State: "resolved", Resolved: 1, Argv: []string{"fit"}},
			{ID: 3, Kind: dispatcher.KindSubmit, Profile: "b", State: "queued", Argv: []string{"go"}},
			{ID: 4, Kind: dispatcher.KindSubmit, Profile: "b", State: "resolved", Resolved: 1, Collected: true},
			{ID: 5, Kind: dispatcher.KindEverywhere, Profile: "b", State: "queued"},
		},
	}
	last := &control.Status{Profiles: st.Profiles[:1], Futures: st.Futures[1:2]}
	none := &control.Status{Futures: st.Futures[3:]}
	for _, c := range []struct {
		name string
		loss loss
		want []string
	}{
		{"all", ofDispatcher(st), []string{
			"2 futures are unresolved, and will resolve with 19, Connection reset: 1 (x: fit 'a b'), 3 (go)",
			"4 results are not collected, and will be gone, of 2 futures: 1 (x: fit 'a b'), 2 (fit)"}},
		{"one profile of two", ofProfile(st, "a"), []string{"1 future is unresolved, and will resolve with 19, Connection reset: 1 (x: fit 'a b')"}},
		{"the last profile", ofProfile(last, "a"), []string{"1 result is not collected, and will be gone, of 1 future: 2 (fit)"}},
		{"a profile that is replaced", ofReplaced(last, "a"), nil},
		{"a profile that is not there", ofProfile(st, "c"), nil},
		{"what was collected and kept, and an everywhere", ofDispatcher(none), nil},
	} {
		if got := c.loss.lines(); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}
