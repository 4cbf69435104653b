package plan_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"muster/hpc"
	"muster/internal/config"
	"muster/internal/plan"
)

func cluster(p *plan.Plan) *plan.Cluster { return p.Kind.(*plan.Cluster) }

// TestJoinInScript: the worker reads the join string from its standard input, whatever
// is around it, and what is shown has a word in its place.
func TestJoinInScript(t *testing.T) {
	const secret = "muster1:s3cr3t"
	dir := t.TempDir()
	muster := filepath.Join(dir, "muster")
	if err := os.WriteFile(muster, []byte("#!/bin/sh\n{ echo \"$*\"; cat; } >"+dir+"/given\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	for name, command := range map[string]string{
		"own": "", "wrapped": "${worker.command}", "within": "sh -c '${worker.command}'", "file": muster + " worker --join-file ${worker.join_file} --slots 1",
		"in a pipe": "${worker.command} 2>&1 | cat", "with a remark": "${worker.command} # ${worker.index}", "in the middle": ": before\n${worker.command}\n: after",
		"replaced": "exec ${worker.command}", "in a condition": "if :; then ${worker.command}; fi", "a line that is continued": "env \\\\\n  ${worker.command}\n\n",
	} {
		settings := "scheduler = \"slurm\"\njoin = \"script\""
		if command != "" {
			settings += "\nworker_command = <<-E1\n" + strings.ReplaceAll(command, `\\`, `\`) + "\nE1"
		}
		d := draft(t, "cluster", settings, plan.Wish{Times: 2})
		names := minted(d)
		names[0].Muster = muster
		p, err := d.Named(names)
		if err != nil {
			t.Fatal(err)
		}
		for part := range p.Kind.Parts() {
			cmd, err := cluster(p).Render(p, part, secret+"\n")
			if err != nil {
				t.Fatal(err)
			}
			b.run(t, cmd.Stdin, "")
			got, err := os.ReadFile(filepath.Join(dir, "given"))
			if want := "worker --join-file - --slots 1\n" + secret + "\n"; err != nil || string(got) != want {
				t.Errorf("%s: %v: the worker was given %q, want %q, by\n%s", name, err, got, want, cmd.Stdin)
			}
			os.Remove(filepath.Join(dir, "given"))
		}
		for _, s := range scripts(t, p) {
			if strings.Contains(s, secret) || strings.Count(s, "\nJOIN_STRING\n") != 1 {
				t.Errorf("%s: it is shown as\n%s", name, s)
			}
		}
	}
	// Other people's workers join nothing.
	p := named(t, draft(t, "cluster", "scheduler = \"slurm\"\njoin = \"script\"\nworker_command = \"dask worker\"", once))
	if cmd, err := cluster(p).Render(p, 0, secret); err != nil || strings.Contains(cmd.Stdin, secret) || !strings.HasSuffix(cmd.Stdin, "\ndask worker\n") {
		t.Errorf("%v\n%s", err, cmd.Stdin)
	}
}

// TestJobNames: each job of a launch, and of any other, has a name of its own that its
// scheduler takes.
func TestJobNames(t *testing.T) {
	long := "a" + strings.Repeat("bcdefghij", 40)
	for _, scheduler := range hpc.Names() {
		most := hpc.Dialects[scheduler].NameMax()
		for _, name := range []string{"", "sim", long} {
			for _, command := range []string{"", "\nworker_command = \"dask worker\"", "\nworker_command = \"x ${worker.command}\""} {
				settings := fmt.Sprintf("scheduler = %q%s", scheduler, command)
				if name != "" {
					settings += fmt.Sprintf("\nname = %q", name)
				}
				p := named(t, draft(t, "cluster", settings, plan.Wish{Times: 99}))
				seen := map[string]bool{}
				for part := range p.Kind.Parts() {
					got := cluster(p).JobName(p, part)
					if p.Whose == plan.Foreign && name == "" {
						if got != "" {
							t.Errorf("%s: other people's jobs are called %q", scheduler, got)
						}
						continue
					}
					end := "-word00"
					if part > 0 {
						end += fmt.Sprintf("-%d", part+1)
					}
					begin, unique := strings.CutSuffix(got, end)
					if seen[got] || len(got) > most || !unique || begin == "" || !strings.HasPrefix(cmp.Or(name, "muster"), begin) {
						t.Errorf("%s, %s: the job %d is called %q", scheduler, settings, part, got)
					}
					seen[got] = true
					if cmd, err := cluster(p).Render(p, part, ""); err != nil || !strings.Contains(cmd.Stdin, got) {
						t.Errorf("%s: no %s in\n%s%v", scheduler, got, cmd.Stdin, err)
					}
				}
			}
		}
	}
	p := named(t, draft(t, "cluster", "scheduler = \"slurm\"\nname = \"n\"\nbare = true\nworker_command = \"x ${worker.command}\"", once))
	if got := cluster(p).JobName(p, 0); got != "" {
		t.Errorf("what is submitted as it is is called %q", got)
	}
}

// TestLimited: parts of an array that a scheduler finds too large have names of their
// own, and a part of one element is what the scheduler takes for one.
func TestLimited(t *testing.T) {
	for scheduler, want := range map[string][]string{"slurm": {"1-4", "1-4", "1"}, "pbs": {"1-4", "1-4", ""}} {
		p := named(t, draft(t, "cluster", "scheduler = \""+scheduler+"\"\narray = \"1-9\"", once))
		if n := cluster(p).Largest(); n != 9 {
			t.Errorf("%s: the largest index is %d", scheduler, n)
		}
		p.Kind = cluster(p).Limited(4)
		if got := arrays(t, p); !slices.Equal(got, want) || p.Workers() != 9 {
			t.Errorf("%s: %d workers, arrays %q, want %q", scheduler, p.Workers(), got, want)
		}
		if a, b := cluster(p).JobName(p, 0), cluster(p).JobName(p, 2); a != "muster-word00" || b != "muster-word00-3" {
			t.Errorf("%s: they are called %s and %s", scheduler, a, b)
		}
	}
}

// TestCounted: the indices of an array are the user's if they wrote them.
func TestCounted(t *testing.T) {
	const array, bare = "scheduler = \"slurm\"\narray = \"1-9\"", "scheduler = \"slurm\"\nbare = true\noptions = \"#SBATCH -a 1-9\"\nworker_command = \"x\""
	for _, c := range []struct {
		settings string
		wish     plan.Wish
		want     bool
	}{
		{array, once, false}, {array, plan.Wish{Times: plan.AsArray}, false}, {array, plan.Wish{Workers: 9}, true},
		{bare, once, false}, {bare, plan.Wish{Workers: 9}, false},
	} {
		if got := cluster(draft(t, "cluster", c.settings, c.wish).Plan).Counted; got != c.want {
			t.Errorf("%s, %+v: counted %v", c.settings, c.wish, got)
		}
	}
}

// TestClusterMistakes stand where they were made, in the order in which they stand.
func TestClusterMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "options")
	if err := os.WriteFile(file, []byte("#SBATCH --qos=x\n#PBS -q y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	array := filepath.Join(t.TempDir(), "array")
	if err := os.WriteFile(array, []byte("#$ -tc 4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const slurm = "  scheduler = \"slurm\"\n"
	for settings, wants := range map[string][]string{
		"  slots = 1": {"muster.hcl:1:1: it does not say which scheduler", `hint: scheduler = "slurm", "pbs"`},
		"  poll = \"0s\"\n  options = \"\"\n  options_file = \"" + file + "\"\n  bare = true": {"muster.hcl:1:1: it does not say which scheduler",
			"2:10: a scheduler is asked once a second at most", "4:18: there are options and options_file", "5:10: bare is for the command of other people's workers"},
		slurm + "  array = \"9-1\"": {`muster.hcl:3:11: "9-1" is no array`},
		slurm + "  options = <<-EOT\n    #SBATCH --qos=x\n    #PBS -q y\n  EOT":         {"muster.hcl:5:1: #PBS is a line for another scheduler"},
		slurm + "  options_file = \"" + file + "\"":                                     {"muster.hcl:3:18: line 2 of the file: #PBS is a line for another scheduler"},
		"  scheduler = \"sge\"\n  options_file = \"" + array + "\"":                     {"muster.hcl:3:18: -tc is there and no array"},
		"  scheduler = \"pbs\"\n  array = \"1,3\"":                                      {"muster.hcl:3:11: pbs has no lists in arrays", "hint: one range"},
		slurm + "  queue = \"a b\"":                                                     {`muster.hcl:3:11: "a b" has blanks, quotes or a #`},
		slurm + "  bare = true\n  array = 3\n  worker_command = \"x\"":                  {"muster.hcl:4:11: bare submits nothing but options and worker_command, and no array beside them", "hint: write it in options"},
		slurm + "  bare = true\n  join = \"script\"\n  worker_command = worker.command": {"muster.hcl:4:10: bare submits nothing but options and worker_command, so no script can carry the join string"},
		slurm + "  array = worker.index\n  slots = worker.index\n  walltime = \"${worker.index}h\"\n  name = worker.index": {"muster.hcl:3:11: array cannot speak of the worker: it has to be known before there is one",
			"4:11: slots cannot", "5:14: walltime cannot"},
		"  scheduler = \"sge\"\n  join = \"script\"": {"muster.hcl:3:10: other users could read the secret in a job script and join as workers: Grid Engine keeps a copy", "hint: leave join out"},
		"  scheduler = \"lsf\"\n  join = \"script\"": {"muster.hcl:3:10: other users could read the secret in a job script and join as workers: LSF shows them to others, with `bjobs -l`"},
		// All is told at once, in the order of the file.
		"  scheduler = \"pbs\"\n  queue = \"a b\"\n  name = \"c d\"\n  poll = \"1ms\"\n  account = \"'\\\"\"\n  shell = \"sh\"\n  array = \"9-1\"\n  options = <<EOT\n#!/bin/sh\n#SBATCH -C x\ntrue\n#PBS -V\nEOT\n  setup = [\"\\r\"]\n  via = launcher.ssh.two": {
			"muster.hcl:3:11: ", "muster.hcl:4:10: ", "muster.hcl:5:10: ", "muster.hcl:6:13: ", "muster.hcl:7:11: ", "muster.hcl:8:11: ",
			"muster.hcl:10:1: a #! line", "muster.hcl:11:1: #SBATCH", "muster.hcl:13:1: the scheduler stops", "muster.hcl:15:11: ", "muster.hcl:16:9: via leads through one machine"},
		slurm + "  array = \"1-3\"\n  output = \"/o/${worker.index}\"\n  name = worker.index": {"muster.hcl:4:12: worker.index of an array's element is a variable of the shell, and no shell reads output", "hint: the pattern of this scheduler is %a", "5:10: worker.index"},
		slurm + "  workdir = \"$SCRATCH/me\"":                                                 {"muster.hcl:3:13: workdir is \"$SCRATCH/me\", which depends on where a job begins", "hint: write a path from the root"},
		"  scheduler = worker.index":                                                          {"muster.hcl:2:15: scheduler cannot speak of the worker"},
	} {
		_, err := draftOf(parse(t, "cluster", settings), once)
		inOrder(t, settings, err, wants)
	}
	// A launcher that is asked for nothing yet has its mistakes at once too.
	for _, w := range []plan.Wish{{}, {Times: plan.AsArray}} {
		_, err := draftOf(parse(t, "cluster", slurm+"  queue = \"a b\""), w)
		inOrder(t, "none", err, []string{`muster.hcl:3:11: "a b" has blanks, quotes or a #`})
	}
	// What is known when there are names is told then.
	for settings, wants := range map[string][]string{
		slurm + "  options = \"#SBATCH --array=1-4 --comment=${worker.index}\"":               {"muster.hcl:3:13: there is an array in options that speak of the worker", "hint: write it as the setting array"},
		slurm + "  options = <<-EOT\n    #SBATCH --qos=x\n    #PBS -q ${worker.index}\n  EOT": {"muster.hcl:5:1: #PBS is a line for another scheduler"},
		slurm + "  queue = \"a ${worker.index}\"":                                             {`muster.hcl:3:11: "a 1" has blanks, quotes or a #`},
		slurm + "  setup = [exec([\"false\", worker.index])]":                                 {"muster.hcl:3:12: exec(): false: exit status 1"},
	} {
		d := draft(t, "cluster", settings, once)
		_, err := d.Named(minted(d))
		inOrder(t, settings, err, wants)
	}
}

// TestSchedulerFromOutside: without its name nothing can be said, and nothing breaks.
func TestSchedulerFromOutside(t *testing.T) {
	for _, o := range []config.Options{{Exec: config.Leave}, {Exec: config.Placeholder}} {
		f := parse(t, "cluster", "  scheduler = exec([\"echo\", \"slurm\"])")
		_, err := plan.New(f.Evaluate(o), f, f.Launchers[0], once)
		inOrder(t, "exec", err, []string{"muster.hcl:2:15: it cannot be told here which scheduler it is", "hint: write the name out"})
	}
	for _, o := range []config.Options{{}, {Redact: true}} {
		f := parse(t, "cluster", "  scheduler = exec([\"echo\", \"slurm\"])")
		if d, err := plan.New(f.Evaluate(o), f, f.Launchers[0], once); err != nil || cluster(d.Plan).Scheduler != "slurm" {
			t.Error(err)
		}
	}
}

// TestClusterIsShownWithoutSecrets: what comes from outside does not keep a launcher
// from being shown, whatever its scheduler takes.
func TestClusterIsShownWithoutSecrets(t *testing.T) {
	secret := "sEcrEt"
	join := ""
	getenv := func(name string) (string, bool) {
		value, ok := map[string]string{"ARRAY": "1-4%2", "CPUS": "3", "TIME": "2h", "JOIN": join}[name]
		if !ok {
			value = "/" + secret
		}
		return value, true
	}
	for _, scheduler := range hpc.Names() {
		join = "script"
		if hpc.Dialects[scheduler].ShowsScripts() != "" {
			join = "file"
		}
		for _, call := range []string{`env("X")`, `"${env("X")}/y"`, `exec(["` + secret + `"])`} {
			f := parse(t, "cluster", fmt.Sprintf(`
  scheduler = %q
  array     = env("ARRAY")
  cpus      = env("CPUS")
  walltime  = env("TIME")
  join      = env("JOIN")
  worker_command = "${%s} ${worker.command}"
  `, scheduler, call)+strings.Join([]string{"command", "queue", "account", "name", "output", "parallel_environment", "shell", "workdir", "muster", "options", ""}, " = "+call+"\n")+"setup = ["+call+"]")
			d, err := plan.New(f.Evaluate(config.Options{Getenv: getenv, Exec: config.Placeholder, Redact: true}), f, f.Launchers[0], once)
			if err != nil {
				t.Errorf("%s, %s: %v", scheduler, call, err)
				continue
			}
			p, err := d.Pasted("muster")
			if err != nil {
				t.Errorf("%s, %s: %v", scheduler, call, err)
				continue
			}
			for _, s := range scripts(t, p) {
				if strings.Contains(s, secret) != strings.HasPrefix(call, "exec") || strings.Contains(s, "JOIN_STRING") != (join == "script") || p.Workers() != 4 || p.Worker.Slots != 3 {
					t.Errorf("%s, %s: %d workers, and it is shown as\n%s", scheduler, call, p.Workers(), s)
				}
			}
		}
	}
	// An array is no secret, but for a text that is none.
	f := parse(t, "cluster", "scheduler = \"slurm\"\n  array = env(\"X\")")
	_, err := plan.New(f.Evaluate(config.Options{Getenv: getenv, Redact: true}), f, f.Launchers[0], once)
	inOrder(t, "array", err, []string{"muster.hcl:3:11: \"[redacted]\" is no array"})
}

// TestWarnings do no harm where there is nothing to warn of.
func TestWarnings(t *testing.T) {
	for _, d := range []*plan.Draft{draft(t, "cluster", `scheduler = "slurm"`, once), draft(t, "cluster", `scheduler = "slurm"`, plan.Wish{}), draft(t, "ssh", `remotes = ["ssh://a"]`, once)} {
		if list := d.Warnings(); len(list) > 0 {
			t.Error(list)
		}
	}
}
