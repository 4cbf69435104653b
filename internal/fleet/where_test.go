package fleet_test

import (
	"testing"
	"testing/synctest"

	"muster/internal/fleet"
)

// TestTakeBackElsewhere: a job is taken back from the scheduler that has it, whichever
// this process's environment names.
func TestTakeBackElsewhere(t *testing.T) {
	for _, c := range []struct{ conf, clusters, want string }{
		{"/a", "far", "scancel 1"},
		{"/a", "", "env SLURM_CLUSTERS=far scancel 1"},
		{"/b", "far", "env SLURM_CONF=/a scancel 1"},
		{"", "near", "env SLURM_CONF=/a SLURM_CLUSTERS=far scancel 1"},
	} {
		t.Setenv("SLURM_CONF", "/a")
		t.Setenv("SLURM_CLUSTERS", "far")
		synctest.Test(t, func(t *testing.T) {
			s := &scheduler{}
			f := newBed(t, s)
			f.must(t, job(""))
			t.Setenv("SLURM_CONF", c.conf)
			t.Setenv("SLURM_CLUSTERS", c.clusters)
			other := &fleet.Fleet{Run: s.run, User: "me", Log: f.Log, Say: f.Say}
			if o := other.TakeBack(t.Context(), f.records(t), ""); o[0].Err != nil || s.count(c.want) != 1 {
				t.Errorf("%+v: %v, ran %v", c, o[0].Err, s.calls)
			}
		})
	}
}
