package future_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/future"
	"muster/internal/testbed"
)

var node = future.Register("node", func(_ context.Context, _ struct{}) (string, error) {
	return os.Getenv("SLURM_ARRAY_TASK_ID") + " of " + os.Getenv("SLURM_ARRAY_JOB_ID"), nil
})

// TestLauncher: the elements of a job array on a real Slurm are this test
// binary, and call its functions.
func TestLauncher(t *testing.T) {
	if missing := testbed.Missing("munged", "slurmctld", "slurmd", "sbatch"); missing != "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("Slurm cannot be booted: it needs %s", missing)
		}
		t.Skipf("Slurm cannot be booted: it needs %s; test.sh installs it", missing)
	}
	c, err := testbed.StartSlurm(t.TempDir(), 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	for _, kv := range c.Env {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	file := filepath.Join(t.TempDir(), "muster.hcl")
	text := "launcher \"cluster\" \"slurm\" {\n  scheduler = \"slurm\"\n  poll = \"1s\"\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := session(t, future.Launcher(file, "slurm"), future.Workers(2), future.URL("tls+tcp://127.0.0.1:0"))
	m, err := future.Map(t.Context(), s, node, make([]struct{}, 4))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range got(m.Flat(t.Context()))(t) {
		if !strings.HasPrefix(at, "1 of ") && !strings.HasPrefix(at, "2 of ") {
			t.Errorf("it ran in %q", at)
		}
	}
	if i := got(s.Info(t.Context()))(t); i.Cumulative < 1 || i.Cumulative > 2 {
		t.Errorf("%+v", i)
	}
}
