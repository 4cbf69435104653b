package fleet_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/hpc"
	"muster/internal/fleet"
	"muster/internal/plan"
	"muster/internal/testbed"
)

// TestFatesOnSlurm: what a real Slurm says of a worker that somebody cancelled, of
// one that was requeued, one that was preempted and one whose time is over.
func TestFatesOnSlurm(t *testing.T) {
	if missing := testbed.Missing("munged", "slurmctld", "slurmd", "sbatch"); missing != "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("needs %s", missing)
		}
		t.Skipf("needs %s", missing)
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s, err := testbed.StartSlurm(filepath.Join(dir, "slurm"), 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	run := hpc.Here(append(os.Environ(), s.Env...))
	order := func(argv ...string) string {
		t.Helper()
		o, err := run(t.Context(), argv, "")
		if err != nil || o.Code != 0 {
			t.Fatalf("%v: %v, %s", argv, err, o.Stderr)
		}
		return strings.TrimSpace(string(o.Stdout))
	}
	worker := filepath.Join(dir, "worker")
	if err := os.WriteFile(worker, []byte("#!/bin/sh\ntrap '' USR1\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := newBed(t, &scheduler{})
	f.Run, f.User = run, "root"
	f.Program = func() (string, error) { return worker, nil }
	credentials := f.Credentials
	f.Credentials = func(ctx context.Context, l fleet.Launch) (fleet.Credentials, error) {
		c, err := credentials(ctx, l)
		c.Joined = func(string) bool { return true }
		return c, err
	}
	var names []string
	submit := func(array string, walltime time.Duration) string {
		t.Helper()
		p := job(array)
		p.Kind.(*plan.Cluster).Jobs[0].Walltime = walltime
		ids := f.must(t, p)
		names = append(names, f.Standing()[len(names)].Launch)
		return ids[0]
	}
	until := func(what string, limit time.Duration, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(limit); !is(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after %v it is not so that %s", limit, what)
			}
		}
	}
	runs := func(element string) bool {
		return strings.Contains(order("squeue", "-h", "-r", "-o", "%i %T"), element+" RUNNING")
	}
	running := func(element string) {
		t.Helper()
		until("job "+element+" runs", time.Minute, func() bool { return runs(element) })
	}
	fate := func(launched int, element string, want fleet.Fate) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if got := f.Fate(ctx, names[launched], element); got != want {
			t.Errorf("job %s: %+v, want %+v", element, got, want)
		}
	}
	id := submit("1-2", 0)
	running(id + "_1")
	running(id + "_2")
	order("scancel", id+"_1")
	fate(0, id+"_1", fleet.Fate{End: hpc.EndCancelled, Text: "job " + id + "_1 was cancelled on the cluster"})
	if text := f.words(); text != "job "+id+"_1 was cancelled on the cluster; its tasks are tried again" {
		t.Errorf("it was said: %s", text)
	}
	order("scontrol", "requeue", id+"_2")
	fate(0, id+"_2", fleet.Fate{End: hpc.EndPreempted, Text: "job " + id + "_2 was taken off its node and waits again"})
	order("scancel", id)

	preempted := submit("", time.Hour)
	running(preempted)
	order("sbatch", "-p", "high", "--exclusive", "-N", "2", "-o", "/dev/null", "--wrap", "sleep 1000")
	until("job "+preempted+" is preempted", time.Minute, func() bool { return !runs(preempted) })
	fate(1, preempted, fleet.Fate{End: hpc.EndPreempted, Text: "job " + preempted + " was taken off its node and waits again"})
	order("scancel", "-u", "root")

	// What is on record another process takes back, of what has started and of what has
	// not.
	for range 3 {
		submit("1-20", time.Hour)
	}
	other := &fleet.Fleet{Run: run, User: "root", Log: f.Log, Say: f.Say}
	for _, o := range other.TakeBack(t.Context(), f.records(t), "") {
		if o.Err != nil {
			t.Error(o.Err)
		}
	}
	for _, r := range f.records(t) {
		t.Errorf("%s is on record still", r.Name)
	}
	// What was cancelled before may still be completing.
	until("the queue is empty", time.Minute, func() bool { return order("squeue", "-h", "-t", "pending,running,completing") == "" })
	f.nothingLeft(t)

	if testing.Short() {
		return // a time limit is a minute at least
	}
	timed := submit("", time.Hour)
	running(timed)
	order("scontrol", "update", "jobid="+timed, "timelimit=1")
	fate(len(names)-1, timed, fleet.Fate{Text: "job " + timed + " still runs, without its worker"})
	until("job "+timed+" has ended", 5*time.Minute, func() bool {
		return order("squeue", "-h", "-j", timed, "-t", "running,signaling", "-o", "%i") == ""
	})
	fate(len(names)-1, timed, fleet.Fate{End: hpc.EndWalltime, Text: "job " + timed + " ran into its time limit"})
}
