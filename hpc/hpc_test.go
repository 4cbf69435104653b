package hpc

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseArray(t *testing.T) {
	for text, want := range map[string]struct {
		count, last int
		again       string
	}{
		"1-100%20": {100, 100, "1-100%20"}, "1-20:2%4": {10, 20, "1-20:2%4"}, "5": {1, 5, "5"},
		"1,3,7-9": {5, 9, "1,3,7-9"}, "0-3": {4, 3, "0-3"}, "1-1": {1, 1, "1"},
	} {
		a, err := ParseArray(text)
		if err != nil || a.Count() != want.count || a.Last() != want.last || a.String() != want.again {
			t.Errorf("%q is %+v, %v", text, a, err)
		}
	}
	for _, text := range []string{"", "x", "3-1", "1-", "-1", "1:2", "1-5:0", "1-5%0", "1-5%", "1,,2", "1-99999999999", "1 - 5"} {
		if a, err := ParseArray(text); err == nil {
			t.Errorf("%q is taken as %+v", text, a)
		}
	}
	for _, c := range []struct{ array, limit, want string }{
		{"1-10", "0", "1-10"}, {"1-10", "10", "1-10"}, {"1-10", "4", "1-4 1-4 1-2"}, {"2-10:2%3", "5", "2-4:2%3 2-4:2%3 2%3"},
	} {
		a, _ := ParseArray(c.array)
		limit, _ := strconv.Atoi(c.limit)
		var parts []string
		for _, p := range a.Split(limit) {
			parts = append(parts, p.String())
		}
		if got := strings.Join(parts, " "); got != c.want {
			t.Errorf("%s at most %s is split into %s, want %s", c.array, c.limit, got, c.want)
		}
	}
	if got := spans([]int{5, 1, 2, 3, 9}); !slices.Equal(got, []Span{{1, 3, 1}, {5, 5, 1}, {9, 9, 1}}) {
		t.Errorf("spans %v", got)
	}
	a, _ := ParseArray("3-9:3%2")
	if got := a.Sized(5).String(); got != "3-15:3%2" {
		t.Errorf("resized to %s", got)
	}
	if got := (*Array)(nil).Sized(1).String(); got != "1" {
		t.Errorf("one is %s", got)
	}
}

func FuzzParseArray(f *testing.F) {
	f.Add("1-20:2%4")
	f.Add("1,3,7-9")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseArray(text)
		if err != nil {
			return
		}
		if b, err := ParseArray(a.String()); err != nil || b.Count() != a.Count() || b.Throttle != a.Throttle {
			t.Errorf("%q is written %q, which is %+v, %v", text, a, b, err)
		}
	})
}

// full uses every field.
var full = Job{Name: "sim", Array: &Array{Spans: []Span{{1, 20, 2}}, Throttle: 4}, Walltime: 26*time.Hour + 30*time.Second,
	Warn: time.Minute, CPUs: 4, Memory: 16e9, GPUs: 1, Queue: "main", Account: "proj", Output: "/o/x.log",
	Workdir: "/home/it's", Setup: []string{"export A=1"}, Body: "exec muster worker\n"}

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
#PBS -t 1-20:2%4
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
		if got, err := Dialects[name].Script(full); err != nil || got != want {
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
		{"torque", "#PBS -lnodes=2:ppn=1", "options set -l nodes", "\n#PBS -l nodes=1"},
		{"sge", "#$ -t 1-6 -tc 2", "#$ -t 1-6\n#$ -tc 2\n", "1-20"},
		{"sge", "#$ -pe mpi 8", "options set -pe", "\n#$ -pe smp"},
		{"sge", "#$ -l h_rt=60,s_rt=50", "options set -l s_rt", "\n#$ -l h_rt=26"},
		{"lsf", `#BSUB -J "mine[1-3]%2"`, `#BSUB -J "mine[1-3]%2"`, "sim"},
		{"lsf", `#BSUB -R "rusage[mem=1]"`, "options set -R rusage", "\n#BSUB -R \"rusage[mem=15259]"},
	} {
		j := full
		j.Options = c.options
		got, err := Dialects[c.dialect].Script(j)
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
		{"slurm", func(j *Job) { j.Setup = []string{"module load gcc"} }, "setup", 0, "no `module`"},
		{"slurm", func(j *Job) { j.Setup = []string{"a\r"} }, "setup", 0, "CR LF"},
		{"slurm", func(j *Job) { j.Shell = "bash" }, "shell", 0, "no absolute path"},
		{"slurm", func(j *Job) { j.Queue = "a b" }, "queue", 0, "blanks"},
		{"slurm", func(j *Job) { j.Name = "a\nb" }, "name", 0, "line break"},
		{"pbs", func(j *Job) { j.Array = &Array{Spans: []Span{{1, 1, 1}, {3, 3, 1}}} }, "array", 0, "no lists"},
		{"pbs", func(j *Job) { j.Name = "a b" }, "name", 0, "no blanks"},
		{"torque", func(j *Job) { j.Name = "a23456789012345678" }, "name", 0, "15 characters"},
		{"torque", func(j *Job) { j.Name = "1a" }, "name", 0, "begins with a letter"},
		{"sge", func(j *Job) { j.Name = "1a" }, "name", 0, "begin with a digit"},
		{"sge", func(j *Job) { j.Name = "a/b" }, "name", 0, "none of /"},
		{"sge", func(j *Job) { j.Array = &Array{Spans: []Span{{0, 4, 1}}} }, "array", 0, "from 1"},
		{"lsf", func(j *Job) { j.Array = &Array{Spans: []Span{{0, 4, 1}}} }, "array", 0, "from 1"},
		{"lsf", func(j *Job) { j.Name = "a[1]" }, "name", 0, "brackets"},
	} {
		j := full
		c.change(&j)
		_, err := Dialects[c.dialect].Script(j)
		var f *FieldError
		if !errors.As(err, &f) || f.Field != c.field || f.Line != c.line || !strings.Contains(f.Msg, c.want) {
			t.Errorf("%s: %v; want one of %s, line %d: %q", c.dialect, err, c.field, c.line, c.want)
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
		s, err := d.Script(j)
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

func TestAnswers(t *testing.T) {
	out := func(code int, stdout, stderr string) Output {
		return Output{Stdout: []byte(stdout), Stderr: []byte(stderr), Code: code, Argv: []string{"ask"}}
	}
	for _, c := range []struct {
		name, dialect string
		answer        Output
		want          []Element // nil is an error
	}{
		{"squeue", "slurm", out(0, "12_3|RUNNING|None|n1|a|b\n12_4|PENDING|Priority||a|b\n13|COMPLETED|None|n2|c\n14|WHATEVER|||d\n", ""), []Element{
			{"12", 3, "a|b", Running, "RUNNING", "", "n1", EndUnknown}, {"12", 4, "a|b", Pending, "PENDING", "Priority", "", EndUnknown},
			{"13", 0, "c", Ended, "COMPLETED", "", "n2", EndOrdinary}, {"14", 0, "d", Unknown, "WHATEVER", "", "", EndUnknown}}},
		{"none", "slurm", out(0, "", ""), []Element{}},
		{"down", "slurm", out(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"), nil},
		{"cut short", "slurm", out(0, "12_3|RUNNING|None|n1|a\n12_4|PEN", ""), nil},
		{"qstat -F json", "pbs", out(35, `{"Jobs":{"0[].s":{"Job_Name":"a","job_state":"B"},"0[1].s":{"Job_Name":"a","job_state":"R","exec_host":"n1/0*2"},
			"0[2].s":{"Job_Name":"a","job_state":"X","Exit_status":271}}}`, "qstat: 9.s Job has finished, use -x"), []Element{
			{"0[].s", 1, "a", Running, "R", "", "n1", EndUnknown}, {"0[].s", 2, "a", Ended, "X (Exit_status 271)", "", "", EndCancelled}}},
		{"a name like a number", "pbs", out(0, `{"Jobs":{"3.s":{"Job_Name":12,"job_state":"Q","comment":7}}}`, ""), []Element{
			{"3.s", 0, "12", Pending, "Q", "7", "", EndUnknown}}},
		{"all unknown", "pbs", out(153, `{"timestamp":1,"pbs_server":"s"}`, "qstat: Unknown Job Id 12.s\n"), []Element{}},
		{"an answer and a failure", "pbs", out(153, `{"Jobs":{"3.s":{"job_state":"R"}}}`, "qstat: Server disconnected\n"), nil},
		{"ended", "pbs", out(153, "", "qstat: Unknown Job Id 12.s"), []Element{}},
		{"down", "pbs", out(153, "", "Connection refused\nqstat: cannot connect to server s (errno=111)"), nil},
		{"cut short", "pbs", out(0, `{"Jobs":{"0[1].s":{`, ""), nil},
		{"nothing", "pbs", out(0, "", ""), nil},
		{"qstat -x", "torque", out(0, `<Data><Job><Job_Id>7[2].s</Job_Id><Job_Name>a-2</Job_Name><job_state>C</job_state><exit_status>-11</exit_status></Job></Data>`, ""),
			[]Element{{"7[].s", 2, "a-2", Ended, "C (Exit_status -11)", "", "", EndWalltime}}},
		{"qstat -xml", "sge", out(0, `<?xml version='1.0'?><job_info><queue_info><job_list state="running"><JB_job_number>4</JB_job_number><JB_name>a</JB_name>
			<state>r</state><queue_name>all.q@h</queue_name><tasks>1</tasks></job_list></queue_info><job_info><job_list state="pending"><JB_job_number>4</JB_job_number>
			<JB_name>a</JB_name><state>qw</state><queue_name></queue_name><tasks>2-3:1</tasks></job_list><job_list><JB_job_number>5</JB_job_number><state>Eqw</state></job_list></job_info></job_info>`, ""),
			[]Element{{"4", 1, "a", Running, "r", "", "h", EndUnknown}, {"4", 2, "a", Pending, "qw", "", "", EndUnknown}, {"4", 3, "a", Pending, "qw", "", "", EndUnknown}, {"5", 0, "", Pending, "Eqw", "Eqw", "", EndUnknown}}},
		{"down", "sge", out(1, "", "error: commlib error: got select error (Connection refused)"), nil},
		{"cut short", "sge", out(0, "<?xml version='1.0'?><job_info><queue_info>", ""), nil},
		{"bjobs", "lsf", out(0, "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"+
			"101     me      RUN   normal     login       n1          my job[2]  Nov 24 12:00\n101     me      PEND  normal     login       -           my job[3]  Nov 24 12:00\n"+
			"101     me      PEND  normal     login                   job[4]  Nov 24 12:00\n101     me      EXIT  normal     login                   job[5]  Nov 24 12:00\n", ""),
			[]Element{{"101", 2, "my job", Running, "RUN", "", "n1", EndUnknown}, {"101", 3, "my job", Pending, "PEND", "", "", EndUnknown},
				{"101", 4, "job", Pending, "PEND", "", "", EndUnknown}, {"101", 5, "job", Ended, "EXIT", "", "", EndUnknown}}},
		{"none", "lsf", out(255, "", "No job found"), []Element{}},
		{"down", "lsf", out(255, "", "LSF is down. Please wait ..."), nil},
	} {
		got, err := Dialects[c.dialect].parseList(c.answer)
		slices.SortFunc(got, func(a, b Element) int { return strings.Compare(a.Job, b.Job)*1000 + a.Index - b.Index })
		if (err == nil) != (c.want != nil) || len(got) != len(c.want) || len(got) > 0 && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s, %s: %+v, %v\nwant %+v", c.dialect, c.name, got, err, c.want)
		}
	}
}

// TestEnds: how elements ended, in the words of those whose list does not tell.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		dialect, out string
		want         []Element
	}{
		{"lsf", `
Job <101[2]>, Job Name <a[2]>, User <me>, Project <default>, Status <EXIT>, Que
                     ue <normal>, Command <x>
Thu Nov 26 01:00:00: Exited; TERM_RUN
                     LIMIT: job killed after reaching LSF run time limit.
------------------------------------------------------------------------------

Job <101[3]>, Job Name <a[3]>, User <me>, Project <default>, Status <RUN>, Queue <normal>, Command <x>
------------------------------------------------------------------------------

Job <101[4]>, Job Name <a[4]>, User <me>, Project <default>, Status <EXIT>, Queue <normal>, Command <x>
Thu Nov 26 01:00:00: Exited; TERM_OWNER: job killed by owner.

Job <102>, User <me>, Status <DONE>, Queue <normal>, Command <x>
`, []Element{{Job: "101", Index: 2, State: Ended, Raw: "EXIT (TERM_RUNLIMIT)", End: EndWalltime},
			{Job: "101", Index: 4, State: Ended, Raw: "EXIT (TERM_OWNER)", End: EndCancelled},
			{Job: "102", State: Ended, Raw: "DONE", End: EndOrdinary}}},
		{"sge", `==============================================================
qname        all.q
jobnumber    4
taskid       2
failed       37  : qmaster enforced h_rt, h_cpu, or h_vmem limit
exit_status  137
==============================================================
jobnumber    5
taskid       undefined
failed       0
exit_status  0
==============================================================
jobnumber    6
taskid       1
failed       100 : assumedly after job
deleted_by   root@h
exit_status  137
Total System Usage
`, []Element{{Job: "4", Index: 2, State: Ended, Raw: "failed 37  : qmaster enforced h_rt, h_cpu, or h_vmem limit, exit_status 137", End: EndWalltime},
			{Job: "5", State: Ended, Raw: "failed 0, exit_status 0", End: EndOrdinary},
			{Job: "6", Index: 1, State: Ended, Raw: "failed 100 : assumedly after job, exit_status 137", End: EndCancelled}}},
		{"pbs", `{"Jobs":{"1[1].s":{"job_state":"F","Exit_status":-29},"1[2].s":{"job_state":"F","Exit_status":271,"substate":91},"1[3].s":{"job_state":"R"}}}`,
			[]Element{{Job: "1[].s", Index: 1, State: Ended, Raw: "F (Exit_status -29)", End: EndWalltime},
				{Job: "1[].s", Index: 2, State: Ended, Raw: "F (Exit_status 271)", End: EndCancelled}}},
		{"pbs", "", nil},
		{"sge", "error: job id 7 not found\n", nil},
		{"lsf", "Job <7> is not found\n", nil},
	} {
		got := Dialects[c.dialect].parseFates(c.out)
		slices.SortFunc(got, func(a, b Element) int { return strings.Compare(a.Job, b.Job)*1000 + a.Index - b.Index })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v\nwant %+v", c.dialect, got, c.want)
		}
	}
}

// TestFatesOfWhoIsListed: what waits or runs does so, whatever ended before it.
func TestFatesOfWhoIsListed(t *testing.T) {
	c := &Client{Dialect: Dialects["sge"], User: "me", Run: func(_ context.Context, argv []string, _ string) (Output, error) {
		if argv[0] == "qacct" {
			return Output{Stdout: []byte("=====\njobnumber 4\ntaskid 1\nfailed 25 : rescheduling\n=====\njobnumber 4\ntaskid 2\nfailed 37 : x\n")}, nil
		}
		return Output{Stdout: []byte("<job_info><queue_info><job_list><JB_job_number>4</JB_job_number><state>Rq</state><tasks>1</tasks></job_list></queue_info></job_info>")}, nil
	}}
	list, err := c.Fates(t.Context(), []string{"4"})
	if err != nil || len(list) != 2 || list[0].State != Pending || list[0].End != EndUnknown || list[1].End != EndWalltime {
		t.Errorf("%+v, %v", list, err)
	}
}

// FuzzAnswers: no answer makes a parser panic or invent jobs without an id.
func FuzzAnswers(f *testing.F) {
	f.Add("slurm", "12_3|RUNNING|None|n1|a\n", 0)
	f.Add("pbs", `{"Jobs":{"0[1].s":{"job_state":"R"}}}`, 35)
	f.Add("torque", `<Data><Job><Job_Id>7[2].s</Job_Id></Job></Data>`, 0)
	f.Add("sge", `<job_info><queue_info><job_list><JB_job_number>4</JB_job_number><state>r</state><tasks>1-9:2</tasks></job_list></queue_info></job_info>`, 0)
	f.Add("lsf", "JOBID\n101 me RUN q h n my job[2] Nov 24 12:00\n", 0)
	f.Fuzz(func(t *testing.T, dialect, text string, code int) {
		if d := Dialects[dialect]; d != nil && len(text) < 10_000 {
			list, err := d.parseList(Output{Stdout: []byte(text), Code: code})
			if err != nil && len(list) > 0 {
				t.Errorf("%q: %v, and %v", text, err, list)
			}
			if d.parseFates != nil {
				d.parseFates(text)
			}
			d.parseID(text)
			d.limit(text)
		}
	})
}

func TestIDs(t *testing.T) {
	for _, c := range []struct{ dialect, printed, want string }{
		{"slurm", "12\n", "12"}, {"slurm", "12;alpha\n", "12"}, {"slurm", "Submitted batch job 12\n", "12"}, {"slurm", "sbatch: 12", ""}, {"slurm", "", ""},
		{"pbs", "0[].server\n", "0[].server"}, {"pbs", "12.server.example.org", "12.server.example.org"}, {"pbs", "qsub: no", ""},
		{"sge", "12.1-4:1\n", "12"}, {"sge", "12\n", "12"}, {"sge", `Your job 12 ("a") has been submitted`, "12"}, {"sge", `Your job-array 12.1-4:1 ("a") has been submitted`, "12"}, {"sge", "12 no", ""},
		{"lsf", "Job <101> is submitted to default queue <normal>.", "101"}, {"lsf", "Job not submitted.", ""},
	} {
		if got := Dialects[c.dialect].parseID(c.printed); got != c.want {
			t.Errorf("%s: %q is the id %q, want %q", c.dialect, c.printed, got, c.want)
		}
	}
}

func TestInside(t *testing.T) {
	for _, c := range []struct {
		env  string
		want Identity
	}{
		{"SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=5 SLURM_ARRAY_TASK_ID=3 SLURM_RESTART_COUNT=2", Identity{"slurm", "5", 3, "5_3", 2}},
		{"SLURM_JOB_ID=5 SLURM_ARRAY_JOB_ID=5 SLURM_ARRAY_TASK_ID=0", Identity{"slurm", "5", 0, "5_0", 0}},
		{"SLURM_JOB_ID=7", Identity{"slurm", "7", 0, "7", 0}},
		{"SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_NTASKS=4 SLURM_PROCID=2", Identity{"slurm", "7", 0, "7.2", 0}},
		{"PBS_JOBID=123[4].server PBS_ARRAY_INDEX=4", Identity{"pbs", "123[].server", 4, "123[4]", 0}},
		{"PBS_JOBID=0.server", Identity{"pbs", "0.server", 0, "0", 0}},
		{"JOB_ID=9 SGE_TASK_ID=2 RESTARTED=1", Identity{"sge", "9", 2, "9.2", 1}},
		{"JOB_ID=9 SGE_TASK_ID=undefined", Identity{"sge", "9", 0, "9", 0}},
		{"LSB_JOBID=101 LSB_JOBINDEX=3", Identity{"lsf", "101", 3, "101[3]", 0}},
		{"LSB_JOBID=101 LSB_JOBINDEX=0", Identity{"lsf", "101", 0, "101", 0}},
	} {
		got, ok := Inside(func(name string) string {
			for _, kv := range strings.Fields(c.env) {
				if v, ok := strings.CutPrefix(kv, name+"="); ok {
					return v
				}
			}
			return ""
		})
		if !ok || got != c.want {
			t.Errorf("%s: %+v, want %+v", c.env, got, c.want)
		}
		d := Dialects[c.want.Scheduler]
		array := strings.ContainsAny(c.want.Element, "_[") || d == gridEngine && c.want.Index > 0
		if name := d.Element(got.Job, got.Index, array); name != strings.TrimSuffix(got.Element, ".2") && name != got.Element {
			t.Errorf("the dispatcher would call %+v %q", got, name)
		}
	}
	if _, ok := Inside(func(string) string { return "" }); ok {
		t.Error("a login node is taken for a job")
	}
}

func TestScrub(t *testing.T) {
	kept := func(env string) string { return strings.Join(Scrub(strings.Fields(env)), " ") }
	for env, want := range map[string]string{
		"HOME=/h SLURM_CONF=/c SBATCH_ACCOUNT=a TMPDIR=/t LD_LIBRARY_PATH=/l":                        "HOME=/h SLURM_CONF=/c SBATCH_ACCOUNT=a TMPDIR=/t LD_LIBRARY_PATH=/l",
		"SLURM_JOB_ID=1 SLURM_CONF=/c SLURM_MEM_PER_NODE=1 SBATCH_ACCOUNT=a TMPDIR=/t PATH=/b":       "SLURM_CONF=/c PATH=/b",
		"PBS_JOBID=1 PBS_DEFAULT=s PBS_SERVER=s PBS_ARRAY_INDEX=1 PBS_NODEFILE=/n":                   "PBS_DEFAULT=s PBS_SERVER=s",
		"JOB_ID=1 SGE_TASK_ID=1 SGE_ROOT=/r SGE_CELL=c NSLOTS=4 QUEUE=q TMPDIR=/t SGE_STDOUT_PATH=x": "SGE_ROOT=/r SGE_CELL=c",
		"QUEUE=mine NSLOTS=4 JOB_ID=1":                             "QUEUE=mine NSLOTS=4 JOB_ID=1",
		"LSB_JOBID=1 LSB_DEFAULTQUEUE=q LSF_ENVDIR=/e LS_SUBCWD=/": "LSB_DEFAULTQUEUE=q LSF_ENVDIR=/e",
	} {
		if got := kept(env); got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", env, got, want)
		}
	}
}

// TestCancelNamesAJob: an empty id, or 0 for LSF, would mean all of a user's.
func TestCancelNamesAJob(t *testing.T) {
	for _, id := range []string{"", " ", "-u", "x"} {
		c := &Client{Dialect: lsf, Run: nil} // nothing may be run
		if err := c.Cancel(t.Context(), id); err == nil {
			t.Errorf("%q was cancelled", id)
		}
	}
}
