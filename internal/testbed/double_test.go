package testbed_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/internal/testbed"
)

// TestMain makes the test binary the commands of the doubles too.
func TestMain(m *testing.M) {
	commands := map[string]func(){}
	for _, kind := range []string{"pbs", "torque", "lsf"} {
		commands["double-"+kind] = func() { os.Exit(testbed.Double(kind, os.Args[1:])) }
	}
	testscript.Main(m, commands)
}

// asked is a line of shell, and what it is to answer: expressions for the whole of
// stdout and stderr.
type asked struct {
	line      string
	code      int
	out, errs string
}

// helpers are for the lines. until_ COMMAND waits until it succeeds. hold LINE...
// makes a script of directives that runs until there is a file called go, and then
// writes down its environment and its directory.
const helpers = `
until_() { while ! eval "$1" >/dev/null 2>&1; do sleep 0.05; done; }
hold() {
	printf '#!/bin/sh\n' >script
	for line; do printf '%s\n' "$line" >>script; done
	cat >>script <<'end'
n=${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-$LSB_JOBINDEX}}
while ! test -e "$HOME/go"; do sleep 0.05; done
{ env; pwd; } >"$HOME/ran.$n"
echo said $n
echo complained $n >&2
end
}
`

// double answers lines one after another, in one folder that is home too.
type double struct {
	t    *testing.T
	kind string
	dir  string
	env  []string
}

func newDouble(t *testing.T, kind string, env ...string) *double {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range testbed.DoubleCommands(kind) {
		text := "#!/bin/sh\nexec double-" + kind + " " + c + ` "$@"` + "\n"
		if err := os.WriteFile(filepath.Join(bin, c), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := &double{t: t, kind: kind, dir: dir, env: append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "DOUBLE_DIR=" + dir,
		"DOUBLE_KILL_DELAY=200ms", "GORACE=atexit_sleep_ms=0", "MINE=1"}, env...)}
	t.Cleanup(func() {
		// No element outlives its test.
		ends := map[string]string{"pbs": "qdel $(qselect)", "torque": "qdel $(qselect)", "lsf": "bkill 0"}
		d.run(ends[kind])
		left := map[string]string{"pbs": "test -z \"$(qselect -u $(id -un))\"", "torque": "test -z \"$(qselect -u $(id -un))\"", "lsf": "! bjobs"}
		d.run("until_ '" + left[kind] + "'")
	})
	return d
}

func (d *double) run(line string) (out, errs string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", helpers+line)
	cmd.Dir, cmd.Env = d.dir, d.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		d.t.Fatalf("%s: %v, %v\n%s%s", line, err, ctx.Err(), stdout.String(), stderr.String())
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

func (d *double) ask(list ...asked) {
	d.t.Helper()
	for _, a := range list {
		out, errs, code := d.run(a.line)
		matches := func(want, got string) bool {
			return regexp.MustCompile(`(?s)^(?:` + want + `)$`).MatchString(strings.TrimRight(got, "\n"))
		}
		if code != a.code || !matches(a.out, out) || !matches(a.errs, errs) {
			d.t.Errorf("%s: %s\nexit status %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", d.kind, a.line, code, a.code, out, a.out, errs, a.errs)
		}
	}
}

// TestDoubleRefuses: nothing of this is taken, whatever the scheduler.
func TestDoubleRefuses(t *testing.T) {
	const usage = "\nusage: qsub.*"
	for kind, list := range map[string][]asked{
		"pbs": {
			{"echo | qsub -J 1-1", 2, "", "qsub: illegal -J value" + usage},
			{"echo | qsub -J 5", 2, "", "qsub: illegal -J value" + usage},
			{"echo | qsub -J 1,3", 2, "", "qsub: illegal -J value" + usage},
			{"echo | qsub -J 3-1", 2, "", "qsub: illegal -J value" + usage},
			{"echo | qsub -t 1-3", 2, "", "qsub: invalid option -- 't'" + usage},
			{"echo | qsub -J 0-10000", 3, "", "qsub: Array job exceeds server or queue size limit"},
			{"echo | qsub -N my.job", 2, "", "qsub: illegal -N value" + usage},
			{"echo | qsub -N 'my job'", 2, "", "qsub: illegal -N value" + usage},
			{"echo | qsub -N 'my|job'", 2, "", "qsub: illegal -N value" + usage},
			{"echo '#PBS -N my job' | qsub", 2, "", "qsub: directive error: .*" + usage},
			{"echo | qsub -q nowhere", 170, "", "qsub: Unknown queue"},
			{"echo | qsub -l foo=1", 187, "", "qsub: Unknown resource: foo"},
			{"echo | qsub -l select=1:foo=1", 187, "", "qsub: Unknown resource: foo"},
			{"echo | qsub -l walltime=1d", 166, "", "qsub: Illegal attribute or resource value Resource_List.walltime"},
			{"echo | qsub -l select=1:ncpus=x", 166, "", "qsub: Illegal attribute or resource value Resource_List.select"},
			{"echo | qsub -l select=1:mem=much", 166, "", "qsub: Illegal attribute or resource value Resource_List.mem"},
			{"echo | qsub -l select=1 -l ncpus=2", 5, "", `qsub: "-lresource=" cannot be used with "select" or "place", resource is: ncpus`},
			{"echo | qsub -l walltime=169:00:00", 188, "", "qsub: Job violates queue and/or server resource limits"},
			{"echo | qsub -l select=1:ncpus=65", 188, "", "qsub: Job violates queue and/or server resource limits"},
			{"echo | qsub -l select=1:mem=300gb", 188, "", "qsub: Job violates queue and/or server resource limits"},
			{`printf '#PBS -N a\r\n' | qsub`, 1, "", "qsub: script contains cr, lf"},
			{"echo | qsub -r x", 2, "", "qsub: illegal -r value" + usage},
			{"echo | qsub -I", 1, "", "qsub:\tstandard input and output must be a terminal for\n\tinteractive job submission"},
			{"qselect -u $(id -un)", 0, "", ""},
		},
		"torque": {
			{"echo | qsub -J 1-3", 2, "", "qsub: invalid option -- 'J'" + usage},
			{"echo | qsub -t 1-20:2", 2, "", `qsub: submit error \(Bad Job Array Request\)`},
			{"echo | qsub -t x", 2, "", `qsub: submit error \(Bad Job Array Request\)`},
			{"echo | qsub -t 1-5001", 2, "", `qsub: submit error \(Bad Job Array Request MSG=.* limit is 5000\)`},
			{"echo | qsub -N 1a", 2, "", "qsub: illegal -N value" + usage},
			{"echo | qsub -N a234567890123456", 2, "", "qsub: illegal -N value" + usage},
			{"echo | qsub -N 'a b'", 2, "", "qsub: illegal -N value" + usage},
			{"echo | qsub -q workq", 170, "", "qsub: Unknown queue"},
			{"echo | qsub -l select=1", 187, "", "qsub: Unknown resource: select"},
			{"echo | qsub -l nodes=2:ppn=33", 188, "", "qsub: Job exceeds queue resource limits.*"},
			{"echo | qsub -l mem=257gb", 188, "", "qsub: Job exceeds queue resource limits.*"},
			{"qselect -u $(id -un)", 0, "", ""},
		},
		"lsf": {
			{"bsub </dev/null", 255, "", "Empty job. Job not submitted."},
			{`echo | bsub -J 'a[0-3]'`, 255, "", `Empty job. Job not submitted.`},
			{`echo true | bsub -J 'a[0-3]'`, 255, "", `a\[0-3\]: Bad job name. Job not submitted.`},
			{`echo true | bsub -J 'a[1-3'`, 255, "", `a\[1-3: Bad job name. Job not submitted.`},
			{`echo true | bsub -J 'a[1-1001]'`, 255, "", `a\[1-1001\]: Job array index too large. Job not submitted.`},
			{"echo true | bsub -q nowhere", 255, "", "nowhere: No such queue. Job not submitted."},
			{"echo true | bsub -W x", 255, "", "x: Bad RUNLIMIT specification. Job not submitted."},
			{"echo true | bsub -W 169:00", 255, "", `RUNLIMIT: Cannot exceed queue's hard limit\(s\). Job not submitted.`},
			{"echo true | bsub -M 300g", 255, "", `MEMLIMIT: Cannot exceed queue's hard limit\(s\). Job not submitted.`},
			{"echo true | bsub -M much", 255, "", "much: Bad MEMLIMIT specification. Job not submitted."},
			{"echo true | bsub -n 65", 255, "", "Too many processors requested. Job not submitted."},
			{"echo true | bsub -foo", 255, "", "-foo: Illegal option. Job not submitted."},
			{"echo true | bsub -n", 255, "", "-n: Missing argument. Job not submitted."},
			{"bjobs -a", 255, "", "No job found"},
			{"bjobs", 255, "", "No unfinished job found"},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			newDouble(t, kind).ask(list...)
		})
	}
}

// TestDoubleServer: what a scheduler says of itself.
func TestDoubleServer(t *testing.T) {
	for kind, list := range map[string][]asked{
		"pbs": {
			{"qsub --version", 0, "", `pbs_version = 23.06.06`},
			{"qstat -B -f", 0, `Server: server\n.*\n    max_array_size = 10000\n.*job_history_enable = True`, ""},
			{"qstat -Q -f", 0, `Queue: workq\n.*resources_max.mem = 256gb\n    resources_max.ncpus = 64\n    resources_max.walltime = 168:00:00\n.*`, ""},
			{"qstat -Q", 0, `Queue  .*\nworkq .*`, ""},
			{"qstat -Q nowhere", 170, "", "qstat: Unknown queue nowhere"},
			{"qstat -f -u me", 2, "", "qstat: conflicting options.\nusage: .*"},
			{"qstat -F json", 2, "", "qstat: conflicting options.\nusage: .*"},
			{"qstat -y", 2, "", "qstat: invalid option -- 'y'\nusage: .*"},
		},
		"torque": {
			{"qsub --version", 0, "", `Version: 6.1.3`},
			{"qmgr -c 'print server'", 0, ".*resources_max.walltime = 168:00:00\n.*set server keep_completed = 5\nset server max_job_array_size = 5000", ""},
			{"qmgr -c 'p s'", 0, ".*set server max_job_array_size = 5000", ""},
			{"qstat -Q -f batch", 0, "Queue: batch\n.*", ""},
			{"qstat -f -u me", 2, "", "qstat: conflicting options."},
		},
		"lsf": {
			{"bsub -V", 0, "", "IBM Spectrum LSF Standard 10.*"},
			{"lsid", 0, "IBM Spectrum LSF Standard 10.*My cluster name is cluster1.*", ""},
			{"bparams -a", 0, ".*    CLEAN_PERIOD = 3600 .*\n    MAX_JOB_ARRAY_SIZE = 1000\n.*", ""},
			{"bparams", 0, "Default Queues:  normal\n.*", ""},
			{"bqueues", 0, "QUEUE_NAME .*\nnormal .*", ""},
			{"bqueues -l normal", 0, `.*QUEUE: normal\n.* RUNLIMIT +\n 10080.0 min\n.*`, ""},
			{"bqueues nowhere", 255, "", "nowhere: No such queue"},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			newDouble(t, kind).ask(list...)
		})
	}
}
