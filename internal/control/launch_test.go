package control_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/hpc"
	"muster/internal/control"
	"muster/internal/plan"
)

// TestLaunchFailsHalfway: what was submitted before is told, and watched over.
func TestLaunchFailsHalfway(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"sbatch":  "cat >/dev/null\nset -o noclobber\n{ >first; } 2>/dev/null && { echo 7; exit; }\necho 'sbatch: error: no such account' >&2\nexit 1\n",
		"squeue":  "test -e gone || echo '7|PENDING|Priority|'\n",
		"scancel": ": >gone\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/bash\ncd "+dir+"\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	c, _ := serve(t, "up")
	var plans []*plan.Plan
	for range 2 {
		p := &plan.Plan{Profile: "default", Launcher: "c", Poll: time.Second, Worker: plan.Worker{Slots: 1},
			Kind: &plan.Cluster{Scheduler: "slurm", Jobs: []hpc.Job{{Name: "x"}}}}
		a, err := c.Names(t.Context(), "default", control.NamesRequest{Plan: p})
		if err != nil {
			t.Fatal(err)
		}
		p.Names = a.Names
		plans = append(plans, p)
	}
	_, err := c.Launch(t.Context(), "default", control.LaunchRequest{Plans: plans})
	if err == nil || !strings.Contains(err.Error(), "no such account; submitted before that: 7") {
		t.Errorf("it fails with %v", err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		st, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Standing) == 1 && st.Standing[0].Pending == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody asks about it: %+v", st.Standing)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
