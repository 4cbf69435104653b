package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/internal/cli"
	"muster/internal/testbed"
)

// TestMain makes the test binary muster itself when a script runs muster, and
// when that starts its worker and slots; and the commands of the schedulers
// that cannot be had here.
func TestMain(m *testing.M) {
	commands := map[string]func(){
		"muster": func() { os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) },
	}
	for _, kind := range []string{"pbs", "torque", "lsf"} {
		commands["double-"+kind] = func() { os.Exit(testbed.Double(kind, os.Args[1:])) }
	}
	testscript.Main(m, commands)
}

// TestScript is the contract of the command line: testdata/script/*.txtar.
func TestScript(t *testing.T) {
	p := scriptParams()
	p.Dir = "testdata/script"
	testscript.Run(t, p)
}

// scriptParams give each script a home and a state of its own.
func scriptParams() testscript.Params {
	return testscript.Params{
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                scriptCommands,
		Condition:           scriptCondition,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			// Sockets have short paths, and are the script's own.
			sockets, err := os.MkdirTemp("", "m")
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(sockets) })
			env.Setenv("XDG_RUNTIME_DIR", sockets)
			// The race detector has each program sleep a second before it exits.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("MUSTER_STATE", filepath.Join(env.WorkDir, "state"))
			env.Setenv("PARALLEL_HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("LC_ALL", "C.UTF-8")
			examples, err := filepath.Abs("examples")
			if err != nil {
				return err
			}
			env.Setenv("EXAMPLES", examples)
			for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY", "GOTOOLCHAIN"} {
				env.Setenv(name, goEnv(name))
			}
			// Some scripts become another user, who has to get here.
			if err := os.Chmod(filepath.Dir(env.WorkDir), 0o711); err != nil {
				return err
			}
			return os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o700)
		},
	}
}

// goEnv is what the go command uses, whatever HOME scripts have.
func goEnv(name string) string {
	out, _ := exec.Command("go", "env", name).Output()
	return strings.TrimSpace(string(out))
}
