package hpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// submitted returns the id that a submission finds in what is printed.
func submitted(t *testing.T, dialect, printed string) string {
	id, _ := answering(dialect, Output{Stdout: []byte(printed)}).Submit(t.Context(), Command{Argv: []string{"submit"}})
	return id
}

func TestIDs(t *testing.T) {
	for _, c := range []struct{ dialect, printed, want string }{
		{"slurm", "12\n", "12"}, {"slurm", "12;alpha\n", "12;alpha"}, {"slurm", "Submitted batch job 12\n", "12"}, {"slurm", "sbatch: 12", ""}, {"slurm", "", ""},
		{"pbs", "0[].server\n", "0[].server"}, {"pbs", "12.server.example.org", "12.server.example.org"}, {"pbs", "qsub: no", ""},
		{"sge", "12.1-4:1\n", "12"}, {"sge", "12\n", "12"}, {"sge", `Your job 12 ("a") has been submitted`, "12"}, {"sge", `Your job-array 12.1-4:1 ("a") has been submitted`, "12"}, {"sge", "12 no", ""},
		{"lsf", "Job <101> is submitted to default queue <normal>.", "101"}, {"lsf", "Job not submitted.", ""},
	} {
		if got := submitted(t, c.dialect, c.printed); got != c.want {
			t.Errorf("%s: %q is the id %q, want %q", c.dialect, c.printed, got, c.want)
		}
	}
}

// TestIDBesideOtherLines: login files and wrappers print lines of their own.
func TestIDBesideOtherLines(t *testing.T) {
	for dialect, line := range map[string]string{"slurm": "12", "pbs": "0[].s", "torque": "7[].s", "sge": "12.1-4:1", "lsf": "Job <12> is submitted to queue <q>."} {
		want := submitted(t, dialect, line+"\n")
		if got := submitted(t, dialect, "*** Welcome to X, 2 users ***\n\n"+line+"\r\nQuota: 3 of 5\n"); got != want || want == "" {
			t.Errorf("%s: the id is %q, want %q", dialect, got, want)
		}
		c := answering(dialect, Output{Stdout: []byte("Welcome\n")})
		if id, err := c.Submit(t.Context(), Command{Argv: []string{"submit"}}); id != "" || err == nil || errors.Is(err, ErrRefused) {
			t.Errorf("%s: no id at all is %q, %v", dialect, id, err)
		}
		c = answering(dialect, Output{Stdout: []byte(line + "\n"), Code: 1})
		if id, err := c.Submit(t.Context(), Command{Argv: []string{"submit"}}); id != "" || err == nil || errors.Is(err, ErrRefused) {
			t.Errorf("%s: an id and a failure are %q, %v", dialect, id, err)
		}
	}
}

// TestUnanswered: a submission that fails for want of an answer may have been taken.
func TestUnanswered(t *testing.T) {
	for _, c := range []struct {
		dialect, said string
		refused       bool
	}{
		{"slurm", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", false},
		{"slurm", "sbatch: error: Batch job submission failed: Unable to contact slurm controller (receive failure)", false},
		{"slurm", "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", false},
		{"slurm", "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", true},
		{"slurm", "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", true},
		{"pbs", "qsub: End of File", false},
		{"pbs", "qsub: Batch protocol error", false},
		{"pbs", "Connection refused\nqsub: cannot connect to server s (errno=111)", true},
		{"torque", "qsub: submit error (Time out)", false},
		{"sge", "Unable to run job: failed receiving gdi request response for mid=1 (got syncron message receive timeout error).\nExiting.", false},
		{"sge", "error: commlib error: got select error (Connection refused)\nUnable to run job: unable to contact qmaster using port 1 on host \"h\".\nExiting.", true},
		{"lsf", "Failed in an LSF library call: Communication time out. Job not submitted.", false},
		{"lsf", "no: No such queue. Job not submitted.", true},
	} {
		id, err := answering(c.dialect, Output{Stderr: []byte(c.said), Code: 1}).Submit(t.Context(), Command{Argv: []string{"submit"}})
		if id != "" || err == nil || errors.Is(err, ErrRefused) != c.refused || !strings.Contains(err.Error(), strings.Fields(c.said)[0]) {
			t.Errorf("%s: %q is the id %q, %v", c.dialect, c.said, id, err)
		}
	}
}

// recording is a scheduler that keeps what it is told and answers by command.
func recording(dialect string, answers map[string]string) (*Client, *[]string) {
	var told []string
	var mu sync.Mutex // a check asks side by side
	return &Client{Dialect: Dialects[dialect], User: "me", Run: func(_ context.Context, argv []string, _ string) (Output, error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, strings.Join(argv, " "))
		for begin, answer := range answers {
			if strings.HasPrefix(told[len(told)-1], begin) {
				return Output{Stdout: []byte(answer)}, nil
			}
		}
		return Output{}, nil
	}}, &told
}

// TestClusters: what a job's id says of its cluster goes with each question and
// each order.
func TestClusters(t *testing.T) {
	c, told := recording("slurm", map[string]string{
		"squeue -M other": "CLUSTER: other\n12_1|RUNNING|None|n1\n5|RUNNING|None|n1\n", "squeue -h": "12|PENDING|Priority|\n99_1|RUNNING|None|n2\n"})
	list, err := c.List(t.Context(), []string{"12;other", "12", "13;other"})
	if want := []Element{{Job: "12", State: Pending, Raw: "PENDING", Reason: "Priority"}, {Job: "12;other", Index: 1, State: Running, Raw: "RUNNING", Node: "n1"}}; err != nil || !slices.Equal(list, want) {
		t.Errorf("%+v, %v\nwant %+v", list, err, want)
	}
	c.Cancel(t.Context(), "12;other")
	c.CancelElements(t.Context(), "12;other", []int{3, 1})
	c.Command = []string{"sbatch", "-M", "other", "--clusters=far,near"}
	*told = append(*told, strings.Join(c.CancelCommand("12;other"), " "))
	c.Find(t.Context(), "a,b")
	want := []string{"squeue -h -r -t all -u me -j 12 -o %i|%T|%r|%N", "squeue -M other -h -r -t all -u me -j 12,13 -o %i|%T|%r|%N",
		"scancel -M other 12", "scancel -M other 12_1 12_3", "scancel -M other 12", "squeue -M far,near -t all -u me -o %F|%j"}
	if !slices.Equal(*told, want) {
		t.Errorf("it is told %q\nwant %q", *told, want)
	}
	if got := slurm.Element("12;other", 3, true); got != "12_3" {
		t.Errorf("an element is called %s", got)
	}
	if ids, err := answering("slurm", Output{Stdout: []byte("CLUSTER: far\nARRAY_JOB_ID|NAME\n7|x\n8|n\n\nCLUSTER: near\nARRAY_JOB_ID|NAME\n8|n\n")}).Find(t.Context(), "n"); err != nil || !slices.Equal(ids, []string{"8;far", "8;near"}) {
		t.Errorf("found %v, %v", ids, err)
	}
	if ids, err := answering("slurm", Output{Stdout: []byte("7|x\n8|n\n")}).Find(t.Context(), "n"); err != nil || !slices.Equal(ids, []string{"8"}) {
		t.Errorf("found %v, %v", ids, err)
	}
}

// TestPrints: it is known where raw options send what a job prints.
func TestPrints(t *testing.T) {
	for _, c := range []struct{ dialect, options, want string }{
		{"slurm", "#SBATCH -o /a/out-%j", "/a/out-%j"},
		{"slurm", "#SBATCH --output=/a -p x\n#SBATCH --output /b", "/b"},
		{"slurm", "#SBATCH -p x", ""},
		{"slurm", "", ""},
		{"pbs", "#PBS -o /a/out", "/a/out"},
		{"sge", "#$ -cwd -o /a/out", "/a/out"},
		{"lsf", "#BSUB -o /a/%J", "/a/%J"},
	} {
		if got := Dialects[c.dialect].Prints(c.options); got != c.want {
			t.Errorf("%s %q prints to %q, want %q", c.dialect, c.options, got, c.want)
		}
	}
}

// TestSent: where a job goes is known from its command, else the environment, else its
// options, as sbatch has it.
func TestSent(t *testing.T) {
	for _, c := range []struct{ dialect, command, options, env, want string }{
		{"slurm", "", "", "", ""},
		{"slurm", "", "#SBATCH -C ib\n#SBATCH -t 1 -M far", "", "sbatch --clusters=far"},
		{"slurm", "", "#SBATCH --comment='-M x' --clusters=far,near", "", "sbatch --clusters=far,near"},
		{"slurm", "my -q", "#SBATCH -M far", "SLURM_CLUSTERS=near", "my -q --clusters=near"},
		{"slurm", "", "", "SLURM_CLUSTERS=near SBATCH_CLUSTERS=far", "sbatch --clusters=far"},
		{"slurm", "sbatch -Mx", "#SBATCH -M far", "SBATCH_CLUSTERS=far", "sbatch -Mx"},
		{"pbs", "qsub -f", "#PBS -M me@x", "SLURM_CLUSTERS=near", "qsub -f"},
	} {
		got := Dialects[c.dialect].Sent(strings.Fields(c.command), c.options, strings.Fields(c.env))
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestFind: other jobs have names with line breaks and bars, which make lines of
// their own.
func TestFind(t *testing.T) {
	for _, c := range []struct {
		dialect, answer string
		want            []string
	}{
		{"slurm", "12|sim|n\n12|sim|n\n13|sim|n|x\n14|other\nsim|n\n15|sim\n", []string{"12"}},
		{"pbs", "Welcome\n0[].s\n0[].s\n", []string{"0[].s"}},
		{"torque", "7[2].s\n7[].s\n8.s\n", []string{"7[].s", "8.s"}},
		{"sge", "<?xml version='1.0'?>\n<job_info><job_info><job_list><JB_job_number>4</JB_job_number><JB_name>sim|n</JB_name></job_list>" +
			"<job_list><JB_job_number>5</JB_job_number><JB_name>sim</JB_name></job_list></job_info></job_info>\n", []string{"4"}},
		{"lsf", "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n101     me      RUN   normal     login       n1          sim|n[2]  Nov 24 12:00\n" +
			"101     me      RUN   normal     login       n1          sim|n[3]  Nov 24 12:00\n102     me      RUN   normal     login       n1          sim|n x  Nov 24 12:00\n", []string{"101"}},
	} {
		got, err := answering(c.dialect, Output{Stdout: []byte(c.answer)}).Find(t.Context(), "sim|n")
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.dialect, got, err, c.want)
		}
		if got, err := answering(c.dialect, Output{Code: 1, Stderr: []byte("cannot connect")}).Find(t.Context(), "n"); err == nil {
			t.Errorf("%s: no answer is %v", c.dialect, got)
		}
	}
}

// TestListOfManyIsOneQuery: a thousand ids fit into one command line, and none
// into no question at all.
func TestListOfManyIsOneQuery(t *testing.T) {
	for dialect, form := range map[string]string{"slurm": "%d", "pbs": "%d[].server.example.org", "torque": "%d[].server.example.org", "sge": "%d", "lsf": "%d"} {
		c, told := recording(dialect, nil)
		var ids []string
		for i := range 1000 {
			ids = append(ids, fmt.Sprintf(form, 12_345_678+i))
		}
		c.List(t.Context(), ids)
		if len(*told) != 1 {
			t.Errorf("%s is asked %d times", dialect, len(*told))
		}
		for i := range 20_000 {
			ids = append(ids, fmt.Sprintf(form, 22_345_678+i))
		}
		c.List(t.Context(), ids)
		for _, line := range *told {
			if len(line) > 128<<10-100 {
				t.Errorf("%s is asked in a line of %d bytes", dialect, len(line))
			}
		}
		before := len(*told)
		if list, err := c.List(t.Context(), nil); list != nil || err != nil || len(*told) != before {
			t.Errorf("%s: no ids are answered %v, %v", dialect, list, err)
		}
	}
}

// TestCancelNamesAJob: an empty id, or 0 for LSF, would mean all of a user's.
func TestCancelNamesAJob(t *testing.T) {
	for dialect := range Dialects {
		for _, id := range []string{"", " ", "-u", "x", "123 456", "123,456", "1;", "12;-x", "[]", ".", "12;a b", "*", "0"} {
			if dialect == "pbs" && id == "0" {
				continue // its first job
			}
			c := &Client{Dialect: Dialects[dialect], Run: nil} // nothing may be run
			if c.Cancel(t.Context(), id) == nil || c.CancelElements(t.Context(), id, []int{1}) == nil {
				t.Errorf("%s: %q was cancelled", dialect, id)
			}
			if _, err := c.List(t.Context(), []string{id}); err == nil {
				t.Errorf("%s: %q was asked after", dialect, id)
			}
		}
	}
	c, told := recording("pbs", nil)
	if err := c.Cancel(t.Context(), "0"); err != nil || !slices.Equal(*told, []string{"qdel 0"}) {
		t.Errorf("%v, %v", *told, err)
	}
}

// TestCancelWhatIsGone: that there is nothing to cancel is no failure, and any other
// refusal is one.
func TestCancelWhatIsGone(t *testing.T) {
	for _, c := range []struct {
		dialect string
		code    int
		said    string
		gone    bool
	}{
		{"slurm", 1, "scancel: error: Kill job error on job id 9: Invalid job id specified", true},
		{"slurm", 210, "scancel: error: Kill job error on job id 9: Access/permission denied", false},
		{"pbs", 153, "qdel: Unknown Job Id 9.s", true},
		{"pbs", 35, "qdel: Job has finished 9.s", true},
		{"pbs", 168, "qdel: Request invalid for state of job 9.s", true}, // its output is being copied
		{"pbs", 55, "qdel: Request invalid for finished array subjob 9[2].s", true},
		{"pbs", 159, "qdel: Unauthorized Request  9.s", false},
		{"torque", 153, "qdel: nonexistent job id: 9\nqdel: Unknown Job Id Error 9.s", true},
		{"torque", 168, "qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE 9.s", true},
		{"torque", 159, "qdel: Unauthorized Request  9.s", false},
		{"sge", 1, `denied: job "9" does not exist`, true},
		{"sge", 1, "error: commlib error: got select error (Connection refused)", false},
		{"lsf", 255, "Job <9>: No matching job found", true},
		{"lsf", 255, "Job <9>: Job has already finished", true},
		{"lsf", 255, "LSF is down. Please wait ...", false},
	} {
		err := answering(c.dialect, Output{Code: c.code, Stderr: []byte(c.said + "\n")}).Cancel(t.Context(), "9")
		if (err == nil) != c.gone {
			t.Errorf("%s: %q is %v", c.dialect, c.said, err)
		}
	}
}

// TestElementsOfAnArray: cancelling a thousand takes few commands of bounded size.
func TestElementsOfAnArray(t *testing.T) {
	for dialect, id := range map[string]string{"slurm": "12345678;other", "pbs": "12345678[].server.example.org", "torque": "12345678[].server.example.org", "sge": "12", "lsf": "12"} {
		c, told := recording(dialect, nil)
		a, _ := ParseArray("1-1000")
		if err := c.CancelElements(t.Context(), id, a.Expand()); err != nil || len(*told) != 2 {
			t.Errorf("%s: %d commands, %v", dialect, len(*told), err)
		}
		a, _ = ParseArray("1-999:2")
		if err := c.CancelElements(t.Context(), id, a.Expand()); err != nil || len(*told) != 3 {
			t.Errorf("%s: %d commands with those that do not follow each other, %v", dialect, len(*told), err)
		}
		for _, line := range *told {
			if len(line) > 64<<10 {
				t.Errorf("%s is told a line of %d bytes", dialect, len(line))
			}
		}
	}
}
