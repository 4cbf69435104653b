package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// golden is an answer of slurmrestd 22.05.8, whose status is in the file's name.
func golden(t testing.TB, name string) Answer {
	files, err := filepath.Glob("testdata/slurmrestd-22.05/" + name + ".*.txt")
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %q, %v", name, files, err)
	}
	body, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	a := Answer{Body: string(body)}
	if _, err := fmt.Sscanf(files[0][strings.Index(files[0], name)+len(name):], ".%d.txt", &a.Status); err != nil {
		t.Fatal(err)
	}
	return a
}

var rest = Slurm{URL: "http://h:6820", User: "u", Token: "secret"}

func TestSlurmRequests(t *testing.T) {
	for _, c := range []struct {
		r    Request
		want string
	}{
		{rest.Ask(), "GET http://h:6820/openapi/v3  [{Accept application/json} {X-SLURM-USER-NAME u} {X-SLURM-USER-TOKEN secret}]"},
		{Slurm{Socket: "/s"}.Jobs("v0.0.38"), "GET http://localhost/slurm/v0.0.38/jobs /s [{Accept application/json}]"},
		{Slurm{URL: "https://h/rest/", Headers: []Header{{"X", "1"}}}.Job("v0.0.44", "12"), "GET https://h/rest/slurm/v0.0.44/job/12  [{Accept application/json} {X 1}]"},
		{Slurm{URL: "http://h"}.Cancel("v0.0.38", "12_3"), "DELETE http://h/slurm/v0.0.38/job/12_3  [{Accept application/json}]"},
		{Slurm{URL: "http://h"}.Cancel("v0.0.38", "../x?y"), "DELETE http://h/slurm/v0.0.38/job/..%2Fx%3Fy  [{Accept application/json}]"},
	} {
		if got := fmt.Sprint(c.r.Method, " ", c.r.URL, " ", c.r.Socket, " ", c.r.Headers); got != c.want || c.r.Body != "" {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestSlurmSubmit(t *testing.T) {
	j := SlurmJob{Script: "#!/bin/sh\necho \"<&>\"\n", Name: "n", Array: "1-3%2", Dir: "/d", Output: "/o", Partition: "p", Account: "a", TimeLimit: 61 * time.Second, CPUs: 2, MemoryMB: 100,
		Environment: []string{"A=b=c", "E="}, More: map[string]any{"name": "mine", "qos": "high"}}
	script := `"script":"#!/bin/sh\necho \"<&>\"\n"`
	rest := rest
	rest.Headers = []Header{{"Content-Type", "application/json"}}
	for version, want := range map[string]string{
		"v0.0.38": `{"job":{"account":"a","array":"1-3%2","cpus_per_task":2,"current_working_directory":"/d","environment":{"A":"b=c","E":""},"memory_per_node":100,"name":"mine","partition":"p","qos":"high","standard_output":"/o","time_limit":2},` + script + `}`,
		"v0.0.39": `{"job":{"account":"a","array":"1-3%2","cpus_per_task":2,"current_working_directory":"/d","environment":["A=b=c","E="],"memory_per_node":{"infinite":false,"number":100,"set":true},"name":"mine","partition":"p","qos":"high","standard_output":"/o","time_limit":{"infinite":false,"number":2,"set":true}},` + script + `}`,
	} {
		r, err := rest.Submit(version, j)
		if err != nil || r.Body != want || r.Method != "POST" || r.URL != "http://h:6820/slurm/"+version+"/job/submit" || len(r.Headers) != 4 {
			t.Errorf("%s: %v\n%s\nwant\n%s", version, err, r.Body, want)
		}
	}
	r, err := Slurm{}.Submit("v0.0.44", SlurmJob{Script: "#!/bin/sh\n", More: map[string]any{"environment": []string{"A=b"}}})
	if err != nil || r.Body != `{"job":{"environment":["A=b"]},"script":"#!/bin/sh\n"}` || fmt.Sprint(r.Headers) != "[{Accept application/json} {Content-Type application/json}]" {
		t.Errorf("%+v, %v", r, err)
	}
	for want, j := range map[string]SlurmJob{
		`v0.0.38 {"job":{"environment":{"A":"b"},"no_requeue":true},`:    {Once: true},
		`v0.0.39 {"job":{"environment":["A=b"],"requeue":false},`:        {Once: true},
		`v0.0.38 {"job":{"environment":{"A":"b"},"requeue":true},`:       {Once: true, More: map[string]any{"requeue": true}},
		`v0.0.44 {"job":{"environment":["A=b"],"requeue":true},"script"`: {Once: true, More: map[string]any{"requeue": true}},
	} {
		version, body, _ := strings.Cut(want, " ")
		j.Script, j.Environment = "#!/bin/sh\n", []string{"A=b"}
		if r, err := (Slurm{}).Submit(version, j); err != nil || !strings.HasPrefix(r.Body, body) {
			t.Errorf("%s, %v, want %s", r.Body, err, want)
		}
	}
	for want, j := range map[string]SlurmJob{
		"begin with #!":        {Script: "echo", Environment: []string{"A=b"}},
		"environment is empty": {Script: "#!/bin/sh"},
		"like NAME=VALUE":      {Script: "#!/bin/sh", Environment: []string{"secret"}},
		"not UTF-8":            {Script: "#!/bin/sh", Environment: []string{"A=\xff"}},
		"unsupported":          {Script: "#!/bin/sh", Environment: []string{"A=b"}, More: map[string]any{"x": make(chan int)}},
	} {
		if _, err := rest.Submit("v0.0.38", j); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestSlurmVersions(t *testing.T) {
	got, err := rest.Versions(golden(t, "openapi"))
	if err != nil || !slices.Equal(got, []string{"v0.0.36", "v0.0.37", "v0.0.38"}) {
		t.Errorf("%q, %v", got, err)
	}
	got, err = rest.Versions(Answer{Status: 200, Body: `{"paths":{"/slurm/v0.0.100/jobs/":{},"/slurm/v0.0.99/jobs/":{},"/slurmdb/v0.0.7/x":{},"/openapi":1,"/slurm/v0.0.x/":{}}}`})
	if err != nil || !slices.Equal(got, []string{"v0.0.99", "v0.0.100"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range []struct {
		a    Answer
		want string
	}{
		{Answer{Status: 200, Body: "{}"}, "see that url is that of a slurmrestd"}, {Answer{Status: 200, Body: "<html>"}, "is no JSON"}, {Answer{Status: 502, Body: "bad\x1bgate"}, "502 Bad Gateway: bad?gate"},
		{Answer{Status: 200, Body: "{", Truncated: true}, "more than 1 bytes"},
	} {
		if got, err := rest.Versions(c.a); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %v, want %s", got, err, c.want)
		}
	}
	for want, list := range map[string][]string{"v0.0.38": {"v0.0.36", "v0.0.37", "v0.0.38"}, "v0.0.45": {"v0.0.45", "v0.0.44", "v0.0.99"}, "v0.0.40": {"v0.0.40"}} {
		if got, err := Choose(list); err != nil || got != want {
			t.Errorf("%q is %s, %v", list, got, err)
		}
	}
	if _, err := Choose([]string{"v0.0.36", "v0.0.99"}); err == nil || err.Error() != "slurmrestd speaks v0.0.36, v0.0.99, and muster speaks v0.0.38 to v0.0.45: none is the same" {
		t.Error(err)
	}
}

func TestSlurmSubmitted(t *testing.T) {
	token := "the token may be wrong or have expired"
	nobody := Slurm{}
	for _, c := range []struct {
		s       Slurm
		a       Answer
		id      string
		want    string
		refused bool
	}{
		{rest, golden(t, "submit"), "5", "", false},
		{rest, golden(t, "partition"), "", "submit a job: slurmrestd refused the job: slurmrestd answered Invalid partition name specified (2000)", true},
		{rest, golden(t, "partition"), "", "(2000): queue in the launcher is to name a partition", true},
		{rest, golden(t, "environment"), "", "environment must be a dictionary (-1)", true},
		{rest, golden(t, "version"), "", "404 Not Found: Unable find", true},
		{rest, golden(t, "token-submit"), "", token, false}, // which a lost connection looks like
		{nobody, golden(t, "none"), "", "give it user and token", true},
		{rest, golden(t, "none"), "", token, true},
		{rest, Answer{Status: 200, Body: `{"result":{"job_id":{"set":true,"infinite":false,"number":7}},"errors":[],"warnings":[{"description":"x"}]}`}, "7", "", false},
		{rest, Answer{Status: 500, Body: `{"job_id":7,"errors":[{"error_number":2014,"error":"Requested node configuration is not available"}]}`}, "7", "", false},
		{rest, Answer{Status: 200, Body: `{"job_id":0,"errors":[{"error_number":2000,"description":"long","error":"short"}]}`}, "", "long (2000)", true},
		{rest, Answer{Status: 200, Body: `{"errors":[{"error_number":0,"error":"No error"}]}`}, "", "named no job", false},
		{rest, Answer{Status: 200, Body: `{}`}, "", "named no job", false}, {rest, Answer{Status: 200, Body: `no`}, "", "is no JSON", false},
		{rest, Answer{Status: 504, Body: "<html>"}, "", "504 Gateway Timeout", false},
		{rest, Answer{Status: 500, Body: `{"errors":[{"error_number":5004,"error":"Socket timed out on send/recv operation"}]}`}, "", "timed out", false},
		{rest, Answer{Status: 500, Body: `{"errors":[{"error_number":1802,"error":"x"},{"error_number":2000}]}`}, "", "x (1802); an error (2000)", false},
	} {
		id, err := c.s.Submitted(c.a)
		if id != c.id || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrRefused) != c.refused {
			t.Errorf("%+v: %q, %v, want %q, %s", c.a, id, err, c.id, c.want)
		}
	}
}

func TestSlurmListed(t *testing.T) {
	name := `probe "ü" $x`
	got, err := rest.Listed(golden(t, "jobs"))
	want := []SlurmElement{
		{"1", 1, true, "", "COMPLETED", "", "n1", "a", "nobody"}, {"2", 0, false, "", "COMPLETED", "", "n2", "p", "nobody"}, {"1", 2, true, "", "COMPLETED", "", "n1", "a", "nobody"},
		{"1", 3, true, "", "RUNNING", "", "n1", "a", "nobody"}, {"5", 1, true, "", "RUNNING", "", "n1", name, "nobody"}, {"6", 0, false, "", "RUNNING", "", "n2", name, "nobody"},
		{"5", 2, true, "", "RUNNING", "", "n2", name, "nobody"}, {"5", 0, true, "3-5", "PENDING", "JobArrayTaskLimit", "", name, "nobody"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v\nwant\n%+v", got, err, want)
	}
	got, err = rest.Listed(golden(t, "job"))
	want = []SlurmElement{
		{"5", 5, true, "", "PENDING", "JobArrayTaskLimit", "", name, "nobody"}, {"5", 3, true, "", "RUNNING", "", "n1", name, "nobody"},
		{"5", 2, true, "", "RUNNING", "", "n2", name, "nobody"}, {"5", 1, true, "", "CANCELLED", "", "n1", name, "nobody"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v\nwant\n%+v", got, err, want)
	}
	// As later versions write it (data_parser/v0.0.44/parsers.c).
	got, err = rest.Listed(Answer{Status: 200, Body: `{"jobs":[
		{"job_id":13,"array_job_id":{"set":true,"infinite":false,"number":12},"array_task_id":{"set":true,"infinite":false,"number":3},"job_state":["CONFIGURING","RUNNING"],"state_reason":"None","nodes":"n[1-2]","batch_host":"n1","name":"a","user_name":"u"},
		{"job_id":12,"array_job_id":{"set":true,"infinite":false,"number":12},"array_task_id":{"set":false,"infinite":false,"number":0},"array_task_string":"4-9","job_state":["PENDING"],"state_reason":"Priority"},
		{"job_id":14,"array_job_id":{"set":true,"infinite":false,"number":0},"array_task_id":{"set":false,"infinite":false,"number":0},"job_state":["COMPLETED","COMPLETING"],"batch_host":"n1"},
		{"job_id":15,"job_state":["REVOKED"]},{"job_id":16,"job_state":[]},{"job_id":17,"job_state":7,"name":null,"array_task_id":"x","nodes":{}},{"name":"nobody's"}],"errors":[]}`})
	want = []SlurmElement{
		{"12", 3, true, "", "RUNNING", "", "n[1-2]", "a", "u"}, {"12", 0, true, "4-9", "PENDING", "Priority", "", "", ""}, {"14", 0, false, "", "COMPLETED", "", "n1", "", ""},
		{Job: "15", State: "REVOKED"}, {Job: "16"}, {Job: "17"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v\nwant\n%+v", got, err, want)
	}
	if got, err := rest.Listed(golden(t, "job-unknown")); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, c := range []struct {
		a    Answer
		want string
	}{
		{golden(t, "token-jobs"), "Failed while looking for jobs (-1): the token may be wrong or have expired"}, {golden(t, "none"), "401 Unauthorized"}, {golden(t, "version"), "404 Not Found"},
		{Answer{Status: 200, Body: `{"errors":[]}`}, "no jobs in the answer"}, {Answer{Status: 200, Body: `{"jobs":[`, Truncated: true}, "more than 9 bytes"}, {Answer{Status: 200, Body: `{"jobs":{}}`}, "is no JSON that is expected"},
		{Answer{Status: 200, Body: `{"jobs":[],"errors":[{"error":"half"}]}`}, "half (0)"},
	} {
		if got, err := rest.Listed(c.a); err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrRefused) {
			t.Errorf("%+v, %v, want %s", got, err, c.want)
		}
	}
}

func TestSlurmCancelled(t *testing.T) {
	for name, want := range map[string]string{"cancel": "", "cancel-unknown": "", "token-cancel": "the token may be wrong", "none": "401", "version": "404"} {
		if err := rest.Cancelled(golden(t, name)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := rest.Cancelled(Answer{Status: 500, Body: `{"errors":[{"error_number":2021}]}`}); err != nil {
		t.Error(err)
	}
	if err := rest.Cancelled(Answer{Status: 500, Body: `{"errors":[{"error_number":2021},{"error_number":2002}]}`}); err == nil {
		t.Error("a job that may not be cancelled is taken for one that has ended")
	}
}

func TestSlurmServed(t *testing.T) {
	for name, want := range map[string]string{"job": "", "job-unknown": "", "token-jobs": "the token may be wrong", "none": "401", "version": "404"} {
		if err := rest.Served(golden(t, name)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzSlurm has whatever an answer may be make an error at worst.
func FuzzSlurm(f *testing.F) {
	files, _ := filepath.Glob("testdata/slurmrestd-22.05/*.txt")
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(200, string(body))
		f.Add(500, string(body))
	}
	f.Add(200, `{"jobs":[{"job_id":1e400},{"job_id":{"set":null}},null,{"array_job_id":-1,"job_id":99999999999999999999}],"job_id":{"number":"x"},"result":null,"paths":{"":0}}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		a := Answer{Status: status, Body: body}
		list, err := rest.Listed(a)
		for _, e := range list {
			if err != nil || e.Job == "" || strings.HasPrefix(e.Job, "-") || e.Job == "0" {
				t.Errorf("%+v, %v", e, err)
			}
		}
		versions, err := rest.Versions(a)
		if (err == nil) != (len(versions) > 0) {
			t.Errorf("%q, %v", versions, err)
		}
		id, err := rest.Submitted(a)
		if (err == nil) != (id != "") || err != nil && strings.ContainsAny(err.Error(), "\r\n\x1b") {
			t.Errorf("%q, %v", id, err)
		}
		if err := rest.Cancelled(a); err != nil && strings.ContainsAny(err.Error(), "\r\n\x1b") {
			t.Errorf("%q", err)
		}
		w := Workbench{Server: "https://h", Cookie: "c"}
		if r, err := w.Job(a); err == nil && !json.Valid([]byte(r.Body)) {
			t.Errorf("%q", r.Body)
		}
	})
}
