package hpc

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// answering is a scheduler that answers every question alike.
func answering(dialect string, o Output) *Client {
	return &Client{Dialect: Dialects[dialect], User: "me", Run: func(context.Context, []string, string) (Output, error) { return o, nil }}
}

// knowing is a scheduler that lists no jobs and has out in its books.
func knowing(dialect, out string) *Client {
	nothing := map[string]Output{"pbs": {Code: 153, Stderr: []byte("qstat: Unknown Job Id")}, "lsf": {Code: 255, Stderr: []byte("No matching job found")},
		"sge": {Stdout: []byte("<job_info></job_info>\n")}}
	c := answering(dialect, Output{Stdout: []byte(out)})
	c.Run = func(_ context.Context, argv []string, _ string) (Output, error) {
		if argv[0] == "qacct" || slices.Contains(argv, "-x") || slices.Contains(argv, "-l") {
			return Output{Stdout: []byte(out)}, nil
		}
		return nothing[dialect], nil
	}
	return c
}

// idsOf are the jobs that are asked after: those of the answer, or one.
func idsOf(dialect string, want []Element) []string {
	var ids []string
	for _, e := range want {
		if !slices.Contains(ids, e.Job) {
			ids = append(ids, e.Job)
		}
	}
	if ids == nil {
		ids = []string{map[string]string{"pbs": "12.s", "torque": "12.s"}[dialect]}
		if ids[0] == "" {
			ids[0] = "12"
		}
	}
	return ids
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
			{"12", 3, Running, "RUNNING", "", "n1", EndUnknown}, {"12", 4, Pending, "PENDING", "Priority", "", EndUnknown},
			{"13", 0, Ended, "COMPLETED", "", "n2", EndOrdinary}, {"14", 0, Unknown, "WHATEVER", "", "", EndUnknown}}},
		{"none", "slurm", out(0, "", ""), []Element{}},
		{"lines that are not ours", "slurm", out(0, "CLUSTER: x\nJob|of|somebody\n12|RUNNING|None|n1\nelse\n12_x|RUNNING|None|n1\n", ""), []Element{
			{"12", 0, Running, "RUNNING", "", "n1", EndUnknown}}},
		{"part of a heterogeneous job", "slurm", out(0, "12+0|RUNNING|None|n1\n", ""), []Element{{"12", 0, Running, "RUNNING", "", "n1", EndUnknown}}},
		{"one that is unknown", "slurm", out(1, "", "slurm_load_jobs error: Invalid job id specified\n"), []Element{}},
		{"down", "slurm", out(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"), nil},
		{"cut short", "slurm", out(0, "12_3|RUNNING|None|n1|a\n12_4|PEN", ""), nil},
		{"qstat -F json", "pbs", out(35, `{"Jobs":{"0[].s":{"Job_Name":"a","job_state":"B"},"0[1].s":{"Job_Name":"a","job_state":"R","exec_host":"n1/0*2"},
			"0[2].s":{"Job_Name":"a","job_state":"X","Exit_status":271}}}`, "qstat: 9.s Job has finished, use -x"), []Element{
			{"0[].s", 1, Running, "R", "", "n1", EndUnknown}, {"0[].s", 2, Ended, "X (Exit_status 271)", "", "", EndCancelled}}},
		{"a name like a number", "pbs", out(0, `{"Jobs":{"3.s":{"Job_Name":12,"job_state":"Q","comment":7}}}`, ""), []Element{
			{"3.s", 0, Pending, "Q", "7", "", EndUnknown}}},
		{"login files write too", "pbs", out(0, "Welcome {user}\n{\"Jobs\":{\"3.s\":{\"job_state\":\"Q\"},\"4.s\":{\"job_state\":\"Q\"}}}\n", ""), []Element{
			{"3.s", 0, Pending, "Q", "", "", EndUnknown}, {"4.s", 0, Pending, "Q", "", "", EndUnknown}}},
		{"all unknown", "pbs", out(153, `{"timestamp":1,"pbs_server":"s"}`, "qstat: Unknown Job Id 12.s\n"), []Element{}},
		{"an answer and a failure", "pbs", out(153, `{"Jobs":{"3.s":{"job_state":"R"}}}`, "qstat: Server disconnected\n"), nil},
		{"ended", "pbs", out(153, "", "qstat: Unknown Job Id 12.s"), []Element{}},
		{"down", "pbs", out(153, "", "Connection refused\nqstat: cannot connect to server s (errno=111)"), nil},
		{"cut short", "pbs", out(0, `{"Jobs":{"0[1].s":{`, ""), nil},
		{"nothing", "pbs", out(0, "", ""), nil},
		{"qstat -x", "torque", out(0, `<Data><Job><Job_Id>7[2].s</Job_Id><Job_Name>a-2</Job_Name><job_state>C</job_state><exit_status>-11</exit_status></Job></Data>`, ""),
			[]Element{{"7[].s", 2, Ended, "C (Exit_status -11)", "", "", EndWalltime}}},
		{"nothing", "torque", out(0, "", ""), nil},
		{"ended", "torque", out(153, "", "qstat: Unknown Job Id 12.s\n"), []Element{}},
		{"cut short", "torque", out(0, "<Data><Job><Job_Id>7[2].s", ""), nil},
		{"somebody else's", "sge", out(0, "<job_info><queue_info><job_list><JB_job_number>9</JB_job_number><state>r</state><tasks>x</tasks></job_list><job_list><JB_job_number>4</JB_job_number>"+
			"<state>r</state></job_list></queue_info></job_info>", ""), []Element{{"4", 0, Running, "r", "", "", EndUnknown}}},
		{"nothing", "sge", out(0, "", ""), nil},
		{"qstat -xml", "sge", out(0, `<?xml version='1.0'?><job_info><queue_info><job_list state="running"><JB_job_number>4</JB_job_number><JB_name>a</JB_name>
			<state>r</state><queue_name>all.q@h</queue_name><tasks>1</tasks></job_list></queue_info><job_info><job_list state="pending"><JB_job_number>4</JB_job_number>
			<JB_name>a</JB_name><state>qw</state><queue_name></queue_name><tasks>2-3:1</tasks></job_list><job_list><JB_job_number>5</JB_job_number><state>Eqw</state></job_list></job_info></job_info>`, ""),
			[]Element{{"4", 1, Running, "r", "", "h", EndUnknown}, {"4", 2, Pending, "qw", "", "", EndUnknown}, {"4", 3, Pending, "qw", "", "", EndUnknown}, {"5", 0, Pending, "Eqw", "Eqw", "", EndUnknown}}},
		{"down", "sge", out(1, "", "error: commlib error: got select error (Connection refused)"), nil},
		{"cut short", "sge", out(0, "<?xml version='1.0'?><job_info><queue_info>", ""), nil},
		{"bjobs", "lsf", out(0, "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"+
			"101     me      RUN   normal     login       n1          my job[2]  Nov 24 12:00\n101     me      PEND  normal     login       -           my job[3]  Nov 24 12:00\n"+
			"101     me      PEND  normal     login                   job[4]  Nov 24 12:00\n101     me      EXIT  normal     login                   job[5]  Nov 24 12:00\n", ""),
			[]Element{{"101", 2, Running, "RUN", "", "n1", EndUnknown}, {"101", 3, Pending, "PEND", "", "", EndUnknown},
				{"101", 4, Pending, "PEND", "", "", EndUnknown}, {"101", 5, Ended, "EXIT", "", "", EndUnknown}}},
		{"some unknown", "lsf", out(255, "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"+
			"101     me      RUN   normal     login       n1          x  Nov 24 12:00\n", "Job <102> is not found\n"), []Element{{"101", 0, Running, "RUN", "", "n1", EndUnknown}}},
		{"all unknown", "lsf", out(255, "", "Job <102> is not found\nJob <103> is not found\n"), []Element{}},
		{"cut short", "lsf", out(0, "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n101     me      RUN   nor", ""), nil},
		{"nothing", "lsf", out(0, "", ""), nil},
		{"rows and a failure", "lsf", out(255, "JOBID   USER\n", "Job <102> is not found\nlsbatch daemon not responding\n"), nil},
		{"none", "lsf", out(255, "", "No job found"), []Element{}},
		{"down", "lsf", out(255, "", "LSF is down. Please wait ..."), nil},
	} {
		got, err := answering(c.dialect, c.answer).List(t.Context(), idsOf(c.dialect, c.want))
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
		got, err := knowing(c.dialect, c.out).Fates(t.Context(), idsOf(c.dialect, c.want))
		if err != nil {
			t.Errorf("%s: %v", c.dialect, err)
		}
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

// FuzzAnswers: no answer makes a parser panic, and only jobs that were asked after
// come back.
func FuzzAnswers(f *testing.F) {
	f.Add("slurm", "12_3|RUNNING|None|n1|a\n", 0)
	f.Add("slurm", "9|RUNNING|None|n1\nCLUSTER: x\n|||\n12+1|PENDING|x|\n", 0)
	f.Add("pbs", `{"Jobs":{"0[1].s":{"job_state":"R"}}}`, 35)
	f.Add("torque", `<Data><Job><Job_Id>7[2].s</Job_Id></Job></Data>`, 0)
	f.Add("torque", "0", 0)
	f.Add("sge", `<job_info><queue_info><job_list><JB_job_number>4</JB_job_number><state>r</state><tasks>1-9:2</tasks></job_list></queue_info></job_info>`, 0)
	f.Add("lsf", "JOBID\n101 me RUN q h n my job[2] Nov 24 12:00\n", 0)
	ids := map[string][]string{"slurm": {"12", "13;other"}, "pbs": {"0[].s", "3.s"}, "torque": {"7[].s"}, "sge": {"4"}, "lsf": {"101"}}
	f.Fuzz(func(t *testing.T, dialect, text string, code int) {
		if ids[dialect] == nil || len(text) > 10_000 {
			return
		}
		c := answering(dialect, Output{Stdout: []byte(text), Code: code, Argv: []string{"x"}})
		list, err := c.List(t.Context(), ids[dialect])
		if err != nil && len(list) > 0 {
			t.Errorf("%q: %v, and %v", text, err, list)
		}
		fates, _ := c.Fates(t.Context(), ids[dialect])
		for _, e := range append(list, fates...) {
			if !slices.Contains(ids[dialect], e.Job) {
				t.Errorf("%q speaks of job %q, which nobody asked after", text, e.Job)
			}
		}
		if id, err := c.Submit(t.Context(), Command{Argv: []string{"x"}}); err == nil && c.Dialect.valid(id) != nil {
			t.Errorf("%q is the id %q", text, id)
		}
		c.Find(t.Context(), "a")
		c.Limit(t.Context())
		c.Check(t.Context(), full)
	})
}
