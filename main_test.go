package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/internal/cli"
	"muster/internal/state"
	"muster/internal/testbed"
)

// TestMain makes the test binary muster itself when a script of raced runs it, and
// when that starts its worker and slots; and the commands of the schedulers
// that cannot be had here.
func TestMain(m *testing.M) {
	commands := map[string]func(){
		"muster": func() { os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) },
	}
	for _, kind := range []string{"pbs", "torque", "lsf"} {
		commands["double-"+kind] = func() { os.Exit(testbed.Double(kind, os.Args[1:])) }
	}
	testscript.Main(shipped{m}, commands)
}

// shipped runs tests whose scripts find muster in PATH as it is shipped: a static
// program, built without the race detector, which makes each start of a process
// several times as slow. The test binary stays beside it, in folder raced.
type shipped struct{ *testing.M }

// Run is called when testscript has put the test binary into PATH as muster.
func (s shipped) Run() int {
	if err := buildShipped(); err != nil {
		log.Print(err)
		return 1
	}
	return s.M.Run()
}

func buildShipped() error {
	program, err := exec.LookPath("muster")
	if err != nil {
		return err
	}
	if err := os.Mkdir(racedFolder(program), 0o777); err != nil {
		return err
	}
	if err := os.Rename(program, filepath.Join(racedFolder(program), "muster")); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the muster that scripts run: %w\n%s", err, out)
	}
	return nil
}

func racedFolder(program string) string { return filepath.Join(filepath.Dir(program), "raced") }

// raced are the scripts that run the test binary, which has the race detector if
// the tests have: in them much happens at the same time.
var raced = []string{"backpressure", "cluster_slurm", "collect_twice", "down", "http_slurmrestd", "interrupt", "limits",
	"manual_3_daemons", "manual_5_map", "output", "reattach", "run", "served_run", "ssh_tunnel", "status", "stopped", "tls", "up"}

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
			if slices.Contains(raced, strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")) {
				program, err := exec.LookPath("muster")
				if err != nil {
					return err
				}
				env.Setenv("PATH", racedFolder(program)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			}
			// The race detector has each program sleep a second before it exits.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("MUSTER_STATE", filepath.Join(env.WorkDir, "state"))
			sockets, err := state.SocketDir(env.Getenv)
			if err != nil {
				return err
			}
			env.Defer(func() {
				// A script that failed has left its dispatcher behind.
				if left, _ := filepath.Glob(filepath.Join(sockets, "*.ctl.sock")); len(left) > 0 {
					down := exec.Command("muster", "down")
					down.Env = append(os.Environ(), "MUSTER_STATE="+filepath.Join(env.WorkDir, "state"))
					down.Run()
				}
				os.RemoveAll(sockets)
			})
			env.Setenv("SOCKETS", sockets)
			if err := os.Remove(env.Getenv("MUSTER_STATE")); err != nil { // muster makes it
				return err
			}
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
