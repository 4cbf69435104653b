package hpc

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// full uses every field.
var full = Job{Name: "sim", Array: &Array{Spans: []Span{{1, 20, 2}}, Throttle: 4}, Walltime: 26*time.Hour + 30*time.Second,
	Warn: time.Minute, CPUs: 4, Memory: 16e9, GPUs: 1, Queue: "main", Account: "proj", Output: "/o/x.log",
	Workdir: "/home/it's", Setup: []string{"export A=1"}, Body: "exec muster worker\n"}

// rendered returns what a job's script is.
func rendered(d *Dialect, j Job) (string, error) {
	c, err := d.Render(j, nil)
	return c.Stdin, err
}

func TestScripts(t *testing.T) {
	for name, want := range map[string]string{
		"slurm": `#!/bin/sh
#SBATCH --job-name=sim
#SBATCH --array=1-20:2%4
#SBATCH --time=1-02:00:30
#SBATCH --signal=B:USR1@60
#SBATCH --cpus-per-task=4
#SBATCH --mem=15259M
#SBATCH --gpus-per-node=1
#SBATCH --partition=main
#SBATCH --account=proj
#SBATCH --output=/o/x.log
`,
		"pbs": `#!/bin/sh
#PBS -N sim
#PBS -J 1-20:2%4
#PBS -l walltime=26:00:30
#PBS -l select=1:ncpus=4:ngpus=1:mem=15259mb
#PBS -q main
#PBS -A proj
#PBS -j oe
#PBS -o /o/x.log
`,
		"torque": `#!/bin/sh
#PBS -N sim
#PBS -t 1,3,5,7,9,11,13,15,17,19%4
#PBS -l walltime=26:00:30
#PBS -l nodes=1:ppn=4:gpus=1
#PBS -l mem=15259mb
#PBS -q main
#PBS -A proj
#PBS -j oe
#PBS -o /o/x.log
`,
		"sge": `#!/bin/sh
#$ -S /bin/sh
#$ -N sim
#$ -t 1-20:2
#$ -tc 4
#$ -l h_rt=26:00:30
#$ -l s_rt=25:59:30
#$ -pe smp 4
#$ -l h_vmem=3815M
#$ -l gpu=1
#$ -q main
#$ -P proj
#$ -j y
#$ -o /o/x.log
`,
		"lsf": `#!/bin/sh
#BSUB -J "sim[1-20:2]%4"
#BSUB -W 26:01
#BSUB -n 4
#BSUB -R "span[hosts=1]"
#BSUB -M 15625000
#BSUB -R "rusage[mem=15259]"
#BSUB -gpu "num=1"
#BSUB -q main
#BSUB -P proj
#BSUB -o /o/x.log
`,
	} {
		want += "cd '/home/it'\\''s' || exit 1\nexport A=1\nexec muster worker\n"
		if got, err := rendered(Dialects[name], full); err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
}

// TestOptionsWin: a user's own directive replaces the generated one, and the
// script says so; an array among them counts as array.
func TestOptionsWin(t *testing.T) {
	for _, c := range []struct{ dialect, options, has, lacks string }{
		{"slurm", "  #SBATCH -t 5\n\t#SBATCH -C ib", "#SBATCH -t 5\n#SBATCH -C ib\n# muster: options set --time, so \"#SBATCH --time=1-02:00:30\" is left out", "\n#SBATCH --time"},
		{"slurm", "#SBATCH --mem-per-cpu=2G", "# muster: options set --mem-per-cpu", "\n#SBATCH --mem="},
		{"slurm", "#SBATCH --gres=gpu:a100:2", "options set --gres", "\n#SBATCH --gpus"},
		{"slurm", "#SBATCH -a 1-7%2", "#SBATCH --array=1-7%2", "-a "},
		{"slurm", "#SBATCH --array=3,4 -C ib", "#SBATCH --array=3,4\n", "1-20"},
		{"slurm", "ulimit -n 4096", "\nulimit -n 4096\n", "is left out"},
		{"pbs", "#PBS -l ncpus=2,walltime=1:00:00", "options set -l ncpus", "\n#PBS -l select"},
		{"pbs", "#PBS -l ncpus=2,walltime=1:00:00", "options set -l walltime", "\n#PBS -l walltime=26"},
		{"pbs", "#PBS -J 2-9", "\n#PBS -J 2-9\n", "1-20"},
		{"pbs", "#PBS -J 3-3", "#PBS -N sim", "-J"}, // PBS Pro refuses arrays of one
		{"torque", "#PBS -t 1,5", "\n#PBS -t 1,5\n", "1-20"},
		{"torque", "#PBS -t 0-6:3,9", "\n#PBS -t 0,3,6,9\n", "0-6"}, // Torque has no steps
		{"torque", "#PBS -lnodes=2:ppn=1", "options set -l nodes", "\n#PBS -l nodes=1"},
		{"sge", "#$ -t 1-6 -tc 2", "#$ -t 1-6\n#$ -tc 2\n", "1-20"},
		{"sge", "#$ -pe mpi 8", "options set -pe", "\n#$ -pe smp"},
		{"sge", "#$ -l h_rt=60,s_rt=50", "options set -l s_rt", "\n#$ -l h_rt=26"},
		{"lsf", `#BSUB -J "mine[1-3]%2"`, `#BSUB -J "mine[1-3]%2"`, "sim"},
		{"lsf", `#BSUB -R "rusage[mem=1]"`, "options set -R rusage", "\n#BSUB -R \"rusage[mem=15259]"},
	} {
		j := full
		j.Options = c.options
		got, err := rendered(Dialects[c.dialect], j)
		if err != nil || !strings.Contains(got, c.has) || strings.Contains(got, c.lacks) {
			t.Errorf("%s, %q: %v; want %q and not %q in\n%s", c.dialect, c.options, err, c.has, c.lacks, got)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		dialect string
		change  func(*Job)
		field   string
		line    int
		want    string
	}{
		{"slurm", func(j *Job) { j.Options = "#SBATCH -C ib\n#!/bin/bash" }, "options", 2, "a #! line"},
		{"slurm", func(j *Job) { j.Options = "true\n#SBATCH -C ib" }, "options", 2, "stops reading"},
		{"slurm", func(j *Job) { j.Options = "#SBATCH -C ib\r" }, "options", 1, "CR LF"},
		{"slurm", func(j *Job) { j.Options = "#PBS -q x" }, "options", 1, "another scheduler"},
		{"slurm", func(j *Job) { j.Options = "#SBATCH --array=9-1" }, "options", 1, "is no array"},
		{"slurm", func(j *Job) { j.Setup = []string{"a\r"} }, "setup", 0, "CR LF"},
		{"slurm", func(j *Job) { j.Shell = "bash" }, "shell", 0, "no absolute path"},
		{"slurm", func(j *Job) { j.Queue = "a b" }, "queue", 0, "blanks"},
		{"slurm", func(j *Job) { j.Name = "a\nb" }, "name", 0, "line break"},
		{"lsf", func(j *Job) { j.Account = strings.Repeat("a", 4001) }, "account", 0, "it has 4001 bytes, and 4000 are the most"},
		{"pbs", func(j *Job) { j.Array = &Array{Spans: []Span{{1, 1, 1}, {3, 3, 1}}} }, "array", 0, "no lists"},
		{"pbs", func(j *Job) { j.Name = "a b" }, "name", 0, "no blanks"},
		{"torque", func(j *Job) { j.Name = "a23456789012345678" }, "name", 0, "15 characters"},
		{"torque", func(j *Job) { j.Array = &Array{Spans: []Span{{1, 2000, 2}}} }, "array", 0, "no steps"},
		{"torque", func(j *Job) { j.Name = "1a" }, "name", 0, "begins with a letter"},
		{"sge", func(j *Job) { j.Name = "1a" }, "name", 0, "begin with a digit"},
		{"sge", func(j *Job) { j.Name = "a/b" }, "name", 0, "none of /"},
		{"sge", func(j *Job) { j.Array = &Array{Spans: []Span{{0, 4, 1}}} }, "array", 0, "from 1"},
		{"lsf", func(j *Job) { j.Array = &Array{Spans: []Span{{0, 4, 1}}} }, "array", 0, "from 1"},
		{"lsf", func(j *Job) { j.Name = "a[1]" }, "name", 0, "brackets"},
	} {
		j := full
		c.change(&j)
		_, err := rendered(Dialects[c.dialect], j)
		var f *FieldError
		if !errors.As(err, &f) || f.Field != c.field || f.Line != c.line || !strings.Contains(f.Msg, c.want) {
			t.Errorf("%s: %v; want one of %s, line %d: %q", c.dialect, err, c.field, c.line, c.want)
		}
	}
}

// TestQuoting: values of any characters are one word for each scheduler, or
// refused with the setting's name.
func TestQuoting(t *testing.T) {
	for _, c := range []struct {
		dialect string
		job     Job
		want    string // a line, or the beginning of an error
	}{
		{"slurm", Job{Name: "my sim"}, `#SBATCH --job-name="my sim"`},
		{"slurm", Job{Name: `a"b\c#d`}, `#SBATCH --job-name="a\"b\\c#d"`},
		{"slurm", Job{Name: "äöü|$x"}, "#SBATCH --job-name=äöü|$x"},
		{"slurm", Job{Output: "/a b/%%c/%a.out"}, `#SBATCH --output="/a b/%%c/%a.out"`},
		{"slurm", Job{Output: `/a\b`}, "output: "},
		{"slurm", Job{Account: "my account"}, `#SBATCH --account="my account"`},
		{"slurm", Job{Name: strings.Repeat("a", 201)}, "name: "},
		{"pbs", Job{Output: "/a b/x"}, `#PBS -o "/a b/x"`},
		{"pbs", Job{Output: `/a"b/x`}, `#PBS -o '/a"b/x'`},
		{"pbs", Job{Output: `/a"b'/x`}, "output: "},
		{"pbs", Job{Name: "a#b"}, "name: "},
		{"pbs", Job{Name: "1a.b_c+d-e"}, "#PBS -N 1a.b_c+d-e"},
		{"pbs", Job{Name: strings.Repeat("a", 231)}, "name: "},
		{"torque", Job{Output: "/a b/x"}, `#PBS -o "/a b/x"`},
		{"torque", Job{Name: "it's"}, "name: "},
		{"sge", Job{Output: "/a b/$TASK_ID.out"}, `#$ -o "/a b/$TASK_ID.out"`},
		{"sge", Job{Output: "/a:b/x"}, "#$ -o :/a:b/x"},
		{"sge", Job{Output: "host:/a/x"}, "#$ -o host:/a/x"},
		{"sge", Job{Output: "/a,b"}, "output: "}, {"sge", Job{Output: "/a#b"}, "output: "}, {"sge", Job{Output: "/it's"}, "output: "},
		{"sge", Job{Account: "a b"}, "account: "}, {"sge", Job{Name: "a<b"}, "name: "},
		{"sge", Job{Shell: "/my shell"}, "#$ -S /my"}, // the shell is its first word
		{"lsf", Job{Output: "/a b/%I.out"}, `#BSUB -o "/a b/%I.out"`},
		{"lsf", Job{Output: "/a$b/x"}, "#BSUB -o '/a$b/x'"},
		{"lsf", Job{Output: "/a$b'/x"}, "output: "},
		{"lsf", Job{Name: "my sim"}, `#BSUB -J "my sim"`},
		{"slurm", Job{Queue: "a#b"}, "queue: "}, {"slurm", Job{Workdir: "/a\nb"}, "workdir: "}, {"slurm", Job{Output: "/a\x00"}, "output: "},
		// Of several mistakes the first is told each time.
		{"slurm", Job{Name: "a\n", Queue: "b\n", Account: "c\n", Output: "d\n", Shell: "e\n"}, "name: "},
		{"slurm", Job{Queue: "b c", Account: "c\n"}, "account: "},
		{"slurm", Job{Queue: "b c", PE: "d e"}, "queue: "},
	} {
		for range 3 {
			c.job.Body = "true"
			got, err := rendered(Dialects[c.dialect], c.job)
			if err != nil && !strings.HasPrefix(err.Error(), c.want) || err == nil && !strings.Contains(got, "\n"+c.want+"\n") {
				t.Errorf("%s, %+v: %v; want %q in\n%s", c.dialect, c.job, err, c.want, got)
			}
		}
	}
}

// TestCommand: the user's own command submits, with what has the scheduler print
// the id.
func TestCommand(t *testing.T) {
	for dialect, want := range map[string]string{"slurm": "my-sbatch -M x --parsable", "sge": "my-sbatch -M x -terse", "pbs": "my-sbatch -M x", "lsf": "my-sbatch -M x"} {
		command := []string{"my-sbatch", "-M", "x"}
		got, err := Dialects[dialect].Render(Job{Body: "true"}, command)
		if err != nil || strings.Join(got.Argv, " ") != want || len(got.Files) != 0 || len(command) != 3 {
			t.Errorf("%s: %q, %v", dialect, got.Argv, err)
		}
	}
	if got, _ := slurm.Render(Job{}, []string{"sbatch", "--parsable"}); strings.Join(got.Argv, " ") != "sbatch --parsable" {
		t.Errorf("%q", got.Argv)
	}
}

// TestWarnings: module works on many clusters with /bin/sh, and not on all.
func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		shell, setup string
		warned       bool
	}{
		{"", "module load gcc", true}, {"/bin/sh", "cd x\n  module purge", true}, {"/bin/sh -l", "module load gcc", true},
		{"/bin/bash -l", "module load gcc", false}, {"/bin/bash", "module load gcc", false}, {"", "my module load", false}, {"", "", false},
	} {
		j := Job{Shell: c.shell, Setup: []string{c.setup}, Body: "true"}
		if _, err := slurm.Render(j, nil); err != nil {
			t.Errorf("%q with %q: %v", c.setup, c.shell, err)
		}
		got := slurm.Warnings(j)
		if (len(got) == 1) != c.warned || len(got) > 0 && (got[0].Field != "setup" || !strings.Contains(got[0].Hint, "bash -l")) {
			t.Errorf("%q with %q: %v", c.setup, c.shell, got)
		}
	}
}

// FuzzOptions: whatever options say, a script is one that the scheduler reads,
// or an error names the field.
func FuzzOptions(f *testing.F) {
	f.Add("slurm", "  #SBATCH --constraint=ib\n\n#SBATCH -a 1-3")
	f.Add("pbs", "#PBS -l select=1:ncpus=3 -J 1-4%2")
	f.Add("sge", "#$ -t 1-3 -tc 2")
	f.Add("lsf", `#BSUB -J "x[1-3]%2" -R "span[hosts=1]"`)
	f.Fuzz(func(t *testing.T, dialect, options string) {
		d := Dialects[dialect]
		if d == nil {
			return
		}
		j := full
		j.Options = options
		s, err := rendered(d, j)
		var fe *FieldError
		if err != nil && !errors.As(err, &fe) {
			t.Errorf("%q: %v", options, err)
		}
		if err == nil && (!strings.HasPrefix(s, "#!/bin/sh\n") || !strings.HasSuffix(s, "exec muster worker\n")) {
			t.Errorf("%q became\n%s", options, s)
		}
	})
}

func TestMiraiScript(t *testing.T) {
	got, err := MiraiScript("#SBATCH --mem=10G\n\t   #SBATCH --job-name=job\n", `Rscript -e 'mirai::daemon("tcp://h:5555")'`)
	if want := "#!/bin/sh\n#SBATCH --mem=10G\n#SBATCH --job-name=job\n\nRscript -e 'mirai::daemon(\"tcp://h:5555\")'\n"; err != nil || got != want {
		t.Errorf("%v\n%q\nwant\n%q", err, got, want)
	}
	got, _ = MiraiScript("", "x")
	if got != "#!/bin/sh\n\nx\n" {
		t.Errorf("no options are rendered as %q", got)
	}
}

// FuzzQuote: what is quoted for a scheduler is one word for it, and the same.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"my sim", "it's", `a"b\c`, "a#b", "#", "-x", "äöü☃", "$x`y`", `"'`, "a\vb", ":a"} {
		for _, d := range Names() {
			f.Add(d, s)
		}
	}
	f.Fuzz(func(t *testing.T, dialect, s string) {
		d := Dialects[dialect]
		if d == nil || s == "" || strings.ContainsAny(s, "\n\r\x00") {
			return
		}
		quoted, why := d.quote(s)
		if why != "" {
			return
		}
		words, err := d.grammar.quoting.words(" -o " + quoted)
		if err != nil || len(words) != 2 || words[1].text != s {
			t.Errorf("%s: %q is written %s, which is read as %+v, %v", dialect, s, quoted, words, err)
		}
	})
}
