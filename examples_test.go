package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/internal/cli"
	"muster/internal/plan"
)

// TestExamples prints what each example would submit and compares it with the
// text beside it. With UPDATE=1 it writes that text anew.
func TestExamples(t *testing.T) {
	t.Setenv("MUSTER_STATE", t.TempDir())
	for _, name := range []string{"MY_API_KEY", "MY_TOKEN", "SLURM_JWT", "RS_SESSION_RPC_COOKIE"} {
		t.Setenv(name, "hidden")
	}
	t.Setenv("RS_SERVER_ADDRESS", "https://workbench.example.org")
	paths, err := filepath.Glob("examples/*/*.hcl")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d examples: %v", len(paths), err)
	}
	for _, path := range paths {
		var out, errs bytes.Buffer
		if code := cli.Main([]string{"muster", "launch", "-c", path, "-p", "cluster", "--print"}, strings.NewReader(""), &out, &errs); code != 0 {
			t.Errorf("%s: exit status %d\n%s", path, code, &errs)
			continue
		}
		golden := strings.TrimSuffix(path, ".hcl") + ".txt"
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if out.String() != string(want) {
			t.Errorf("%s is printed as\n%s\nand %s has\n%s", path, &out, golden, want)
		}
		out.Reset()
		errs.Reset()
		// The limits of a scheduler that happens to be here are another test's.
		t.Setenv("PATH", t.TempDir())
		if code := cli.Main([]string{"muster", "config", "-c", path, "check"}, strings.NewReader(""), &out, &errs); code != 0 {
			t.Errorf("config check %s: exit status %d\n%s", path, code, &errs)
		}
	}
}

// TestFullExample reads the config that has everything.
func TestFullExample(t *testing.T) {
	f, err := plan.Load("examples/full.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Launchers) != 14 || len(f.Profiles) != 3 {
		t.Errorf("%d launchers, %d profiles", len(f.Launchers), len(f.Profiles))
	}
	t.Setenv("PATH", t.TempDir())
	for _, name := range []string{"MY_API_KEY", "MY_COOKIE", "MY_TOKEN", "SLURM_JWT"} {
		t.Setenv(name, "hidden")
	}
	var out, errs bytes.Buffer
	if code := cli.Main([]string{"muster", "config", "-c", "examples/full.hcl", "check"}, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), "sbatch is not on PATH") {
		t.Errorf("config check: exit status %d\n%s%s", code, &out, &errs)
	}
}
