package plan_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"muster/internal/plan"
)

const everyWord = `
  setup          = ["i ${worker.index}", "u ${worker.url}", "f ${worker.join_file}", "c ${worker.command}", "a ${jsonencode(worker.argv)}", "j ${join("|", worker.argv)}"]
  options        = "#SBATCH --comment=${worker.index}"
`

// numbered are settings that can have the index where that is a number.
const numbered = "name = \"n${worker.index}\"\noutput = \"/o/${worker.index}.out\""

// TestWorkerInJobs: each setting that speaks of the worker has what is minted for it.
func TestWorkerInJobs(t *testing.T) {
	const line = "/bin/muster worker --join-file /run/0.join --slots 1 --maxtasks 3"
	argv := strings.Fields(line)
	for _, c := range []struct {
		more    string
		times   plan.Times
		indices []string
	}{
		{numbered, 1, []string{"1"}},
		{numbered, 3, []string{"1", "2", "3"}},
		{"array = \"5-9\"", 1, []string{"$SLURM_ARRAY_TASK_ID"}},
		{"array = \"5-9\"", 2, []string{"$SLURM_ARRAY_TASK_ID", "$SLURM_ARRAY_TASK_ID"}},
	} {
		for name, command := range map[string]string{
			"own": "", "wrapped": `"apptainer exec i.sif ${worker.command} # ${worker.index}"`, "argv": `"apptainer exec i.sif ${join(" ", worker.argv)} # ${worker.index}"`,
		} {
			settings := "scheduler = \"slurm\"\n" + everyWord + c.more
			wants := []string{"exec " + line}
			if command != "" {
				settings += "\nworker_command = " + command
				wants = []string{"apptainer exec i.sif " + line + " # "}
			}
			p := named(t, draft(t, "cluster", settings, plan.Wish{Times: c.times, Options: plan.WorkerOptions{MaxTasks: 3}}))
			list := scripts(t, p)
			if len(list) != len(c.indices) {
				t.Fatalf("%s: %d jobs, want %d", settings, len(list), len(c.indices))
			}
			for i, s := range list {
				index := c.indices[i]
				all := append(slices.Clone(wants), "#SBATCH --comment="+index+"\n", "\ni "+index+"\n", "\nu tls+tcp://10.0.0.1:5\n",
					"\nf /run/0.join\n", "\nc "+line+"\n", "\na [\""+strings.Join(argv, `","`)+"\"]\n", "\nj "+strings.Join(argv, "|")+"\n")
				if c.more == numbered {
					all = append(all, "#SBATCH --output=/o/"+index+".out\n", "#SBATCH --job-name=n"+index+"-word00")
				}
				if name != "own" {
					all[0] += index + "\n"
				}
				for _, want := range all {
					if !strings.Contains(s, want) {
						t.Errorf("%s, %s: no %q in\n%s", name, c.more, want, s)
					}
				}
			}
		}
	}
	for scheduler, variable := range map[string]string{"slurm": "SLURM_ARRAY_TASK_ID", "pbs": "PBS_ARRAY_INDEX", "torque": "PBS_ARRAYID", "sge": "SGE_TASK_ID", "lsf": "LSB_JOBINDEX"} {
		p := named(t, draft(t, "cluster", "scheduler = \""+scheduler+"\"\narray = \"1-2\"\nworker_command = \"x ${worker.index}\"", once))
		if s := scripts(t, p)[0]; !strings.HasSuffix(s, "\nx $"+variable+"\n") {
			t.Errorf("%s:\n%s", scheduler, s)
		}
	}
	// An array in raw options is one too, also where nothing of them is changed.
	for _, bare := range []string{"", "\nbare = true"} {
		p := named(t, draft(t, "cluster", "scheduler = \"slurm\"\noptions = \"#SBATCH --array=1-2\"\nworker_command = \"x ${worker.index}\""+bare, plan.Wish{Times: plan.AsArray}))
		if s := scripts(t, p); len(s) != 1 || !strings.HasSuffix(s[0], "\nx $SLURM_ARRAY_TASK_ID\n") {
			t.Error(s)
		}
	}
	// PBS takes no array of one, so it is a plain job, and no variable is set in it.
	p := named(t, draft(t, "cluster", "scheduler = \"pbs\"\narray = \"1-9\"\nworker_command = \"x ${worker.index}\"", plan.Wish{Workers: 1}))
	if s := scripts(t, p)[0]; !strings.HasSuffix(s, "\nx 1\n") {
		t.Error(s)
	}
}

// TestWorkerOverSSH: workers are counted through all machines, and each has its own
// command line.
func TestWorkerOverSSH(t *testing.T) {
	p := named(t, draft(t, "ssh", `remotes = ["ssh://a", "ssh://b"]
  worker_command = "x ${worker.index} ${worker.url} ${worker.join_file} ${jsonencode(worker.argv)} -- ${worker.command}"`, plan.Wish{Workers: 2, Slots: 3}))
	number := 0
	for host := range 2 {
		for index := 1; index <= 2; index++ {
			number++
			argv := []string{"/bin/muster", "worker", "--join-file", fmt.Sprintf("/run/%d.join", host), "--slots", "3", "--element", fmt.Sprintf("l-word%02d.%d", host, index), "--patience", "1m0s"}
			want := []string{"sh", "-c", fmt.Sprintf("x %d tls+tcp://10.0.0.1:5 /run/%d.join [\"%s\"] -- %s", number, host, strings.Join(argv, `","`), strings.Join(argv, " "))}
			if got := ssh(p).Argv(p, host, index); !slices.Equal(got, want) {
				t.Errorf("%q\nwant %q", got, want)
			}
		}
	}
	own := named(t, draft(t, "ssh", `remotes = ["ssh://a"]`, plan.Wish{Workers: 2}))
	if got := strings.Join(ssh(own).Argv(own, 0, 2), " "); got != "/bin/muster worker --join-file /run/0.join --element l-word00.2 --patience 1m0s" {
		t.Error(got)
	}
}

// TestWorkersOfOthers dial what the profile says, as it says it.
func TestWorkersOfOthers(t *testing.T) {
	const command = "\nworker_command = \"Rscript -e 'mirai::daemon(\\\"${worker.url}\\\")'\""
	const want = `Rscript -e 'mirai::daemon("tcp://h:5555")'`
	w := plan.Wish{Times: 2, URL: "tcp://h:5555", Port: "5555"}
	for kind, settings := range map[string]string{"cluster": `scheduler = "slurm"`, "ssh": `remotes = ["ssh://a"]`} {
		for _, bare := range []string{"", "\nbare = true"} {
			d := draft(t, kind, settings+command+bare, w)
			pasted, err := d.Pasted("muster")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []*plan.Plan{named(t, d), pasted} {
				list, err := p.Submissions()
				if err != nil || p.Whose != plan.Foreign {
					t.Fatal(p.Whose, err)
				}
				said := 0
				for _, s := range list {
					said += strings.Count(s.Script+strings.Join(s.Argv, " "), want)
				}
				if said != 2 {
					t.Errorf("%s%s: %+v", kind, bare, list)
				}
			}
		}
		// A profile that does not say is no reason to dial nothing.
		d := draft(t, kind, settings+command, once)
		names := minted(d)
		names[0].URL = ""
		_, err := d.Named(names)
		inOrder(t, settings, err, []string{"muster.hcl:3:18: worker_command speaks of worker.url, and the profile does not say where workers dial", `hint: url = "tcp://HOST:PORT"`})
	}
}

// TestExpressionsOnce: programs may be one-time codes. Each is run once, or once for
// each worker that its setting speaks of.
func TestExpressionsOnce(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "count")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$2\" >>"+dir+"/\"$1\"\necho said\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	call := func(name, arg string) string { return fmt.Sprintf("exec([%q, %q, %s])", script, name, arg) }
	for _, c := range []struct {
		kind, settings string
		plain, worker  int
	}{
		{"cluster", "scheduler = \"slurm\"\naccount = " + call("plain", `""`) + "\nsetup = [" + call("worker", "worker.index") + "]", 1, 3},
		{"cluster", "scheduler = \"slurm\"\narray = \"1-5\"\naccount = " + call("plain", `""`) + "\nsetup = [" + call("worker", "worker.index") + "]", 1, 1},
		{"ssh", "remotes = [\"ssh://a\", \"ssh://b\"]\nworkdir = \"/${" + call("plain", `""`) + "}\"\nworker_command = \"${" + call("worker", "worker.index") + "} ${worker.index}\"", 1, 6},
	} {
		d := draft(t, c.kind, c.settings, plan.Wish{Times: 3})
		count := func(name string) int {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			return strings.Count(string(text), "\n")
		}
		if n := count("worker"); n != 0 {
			t.Errorf("%s: a draft has run what speaks of the worker %d times", c.settings, n)
		}
		plan.Digest([]*plan.Draft{d})
		p := named(t, d)
		if _, err := p.Submissions(); err != nil {
			t.Fatal(err)
		}
		named(t, d)
		if count("plain") != c.plain || count("worker") != c.worker {
			t.Errorf("%s\nhas run programs %d and %d times, want %d and %d", c.settings, count("plain"), count("worker"), c.plain, c.worker)
		}
		os.Remove(filepath.Join(dir, "plain"))
		os.Remove(filepath.Join(dir, "worker"))
	}
}

// TestWrappedIsPasted: what is shown names the program and the join file as they are on
// the machine where the line is run.
func TestWrappedIsPasted(t *testing.T) {
	const wrapped = "\nworker_command = \"wrap ${worker.command} ${worker.index} ${worker.join_file} ${worker.url}\""
	b := newBench(t)
	if err := os.WriteFile(b.dir+"/bin/wrap", []byte("#!/bin/sh\nexec \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, settings := range map[string]string{
		"a copy": "state = \"$SCRATCH/s\"", "a default": "", "there": "muster = \"" + b.muster + "\"",
		"with quotes": "worker_command = \"wrap ${worker.command} ${worker.index} ${worker.join_file} 'it'\\\\''s'\"",
	} {
		if name != "with quotes" {
			settings += wrapped
		}
		d := draft(t, "ssh", "remotes = [\"ssh://h\", \"ssh://g\"]\n"+settings, plan.Wish{Workers: 2, Slots: 2, URL: "tls+tcp://h:1"})
		names := d.Placeholders(b.muster)
		for i := range names {
			names[i].JoinFile = b.dir + "/JOIN_FILE"
		}
		p, err := d.Named(names)
		if err != nil {
			t.Fatal(err)
		}
		list, err := p.Submissions()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range list {
			words := b.paste(t, s)
			b.run(t, words[len(words)-1], s.File)
		}
		var got []string
		for _, argv := range b.saw(t) {
			got = append(got, strings.Join(argv, " "))
		}
		slices.Sort(got)
		end := "tls+tcp://h:1"
		if name == "with quotes" {
			end = "it's"
		}
		var want []string
		for i := 1; i <= 4; i++ {
			want = append(want, fmt.Sprintf("worker --join-file .JOIN_FILE --slots 2 %d .JOIN_FILE %s", i, end))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: workers were given %q, want %q", name, got, want)
		}
	}
}

// TestSideBySide: several of a command run at once, whatever it is made of.
func TestSideBySide(t *testing.T) {
	b := newBench(t)
	for _, command := range []string{`w ${worker.index}`, `cd ..; w ${worker.index}`, `w ${worker.index} # a remark`, `: && w ${worker.index}`, `x=1 w ${worker.index} &`, "cat <<E >/dev/null\n  it's\nE\nw ${worker.index}\n"} {
		if err := os.WriteFile(b.dir+"/bin/w", []byte("#!/bin/sh\nprintf '%s\\0' \"$@\" >$SAW/$$\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, whole := range []string{"", " # ${worker.command}"} {
			if strings.Contains(command, "\n") && whole != "" {
				whole = "\n: ${worker.command}"
			}
			p, err := draft(t, "ssh", "remotes = [\"ssh://h\"]\nworker_command = <<-E1\n"+command+whole+"\nE1", plan.Wish{Workers: 3}).Pasted(b.muster)
			if err != nil {
				t.Fatal(err)
			}
			list, err := p.Submissions()
			if err != nil {
				t.Fatal(err)
			}
			last := list[len(list)-1]
			words := b.paste(t, last)
			b.run(t, words[len(words)-1], "")
			var got []string
			for _, argv := range b.saw(t) {
				got = append(got, strings.Join(argv, " "))
			}
			if slices.Sort(got); !slices.Equal(got, []string{"1", "2", "3"}) {
				t.Errorf("%q runs %q", command+whole, got)
			}
		}
	}
}
