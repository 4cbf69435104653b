package launch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/hpc"
	"muster/internal/config"
	"muster/internal/launch"
	"muster/internal/remote"
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
	said := make(chan string, 100)
	var names []string
	f := &launch.Fleet{Dir: t.TempDir(), Run: run, User: "root", Log: hclog.NewNullLogger(),
		Say: func(format string, args ...any) { said <- fmt.Sprintf(format, args...) },
		Credentials: func(_ context.Context, _ *launch.Plan, job string, _ int, _ *remote.Site) (launch.Credentials, error) {
			names = append(names, job)
			return launch.Credentials{Join: func() string { return "x" }, Joined: func(string) bool { return true }}, nil
		}}
	submit := func(settings string) string {
		t.Helper()
		file, err := config.Parse("muster.hcl", []byte("launcher \"cluster\" \"c\" {\nscheduler = \"slurm\"\n"+settings+"\n}"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := launch.Cluster(file, file.Launchers[0], config.Scope{}, launch.Wish{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := f.Submit(t.Context(), p, worker, "")
		if err != nil {
			t.Fatal(err)
		}
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
	fate := func(launched int, element string, want launch.Fate) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if got := f.Fate(ctx, names[launched], element); got != want {
			t.Errorf("job %s: %+v, want %+v", element, got, want)
		}
	}
	id := submit("array = \"1-2\"")
	running(id + "_1")
	running(id + "_2")
	order("scancel", id+"_1")
	fate(0, id+"_1", launch.Fate{End: hpc.EndCancelled, Text: "job " + id + "_1 was cancelled on the cluster"})
	if text := <-said; text != "job "+id+"_1 was cancelled on the cluster; its tasks are tried again" {
		t.Errorf("it was said: %s", text)
	}
	order("scontrol", "requeue", id+"_2")
	fate(0, id+"_2", launch.Fate{End: hpc.EndPreempted, Text: "job " + id + "_2 was taken off its node and waits again"})
	order("scancel", id)

	preempted := submit("walltime = \"1h\"")
	running(preempted)
	order("sbatch", "-p", "high", "--exclusive", "-N", "2", "-o", "/dev/null", "--wrap", "sleep 1000")
	until("job "+preempted+" is preempted", time.Minute, func() bool { return !runs(preempted) })
	fate(1, preempted, launch.Fate{End: hpc.EndPreempted, Text: "job " + preempted + " was taken off its node and waits again"})
	order("scancel", "-u", "root")

	if testing.Short() {
		return // a time limit is a minute at least
	}
	timed := submit("walltime = \"1h\"")
	running(timed)
	order("scontrol", "update", "jobid="+timed, "timelimit=1")
	fate(2, timed, launch.Fate{Text: "job " + timed + " still runs, without its worker"})
	until("job "+timed+" has ended", 5*time.Minute, func() bool {
		return order("squeue", "-h", "-j", timed, "-t", "running,signaling", "-o", "%i") == ""
	})
	fate(2, timed, launch.Fate{End: hpc.EndWalltime, Text: "job " + timed + " ran into its time limit"})
}
