package plan_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/config"
	"muster/internal/plan"
	"muster/internal/remote"
	"muster/internal/units"
	mssh "muster/ssh"
)

// formula is one at the first line of a config.
func formula(text string) config.Formula {
	return config.Formula{Text: text, File: "f", Line: 1, Column: 1}
}

// whole are plans with something in every field, one of each kind.
func whole() []*plan.Plan {
	login := remote.Login{Target: mssh.Target{User: "me", Host: "h", Port: 22}, Jump: []mssh.Target{{User: "a", Host: "gate", Port: 2}},
		Client: mssh.OpenSSH, Command: "ssh -4", Timeout: time.Second, AcceptNew: true, State: "/s", Muster: "/m", Binary: "/b", Addresses: []string{"login-ib0"}}
	array := &hpc.Array{Spans: []hpc.Span{{First: 1, Last: 9, Step: 2}}, Throttle: 3}
	job := hpc.Job{Name: "n", Array: array, Walltime: time.Hour, Warn: time.Minute, CPUs: 4, Memory: 5, GPUs: 6, Queue: "q", Account: "a", Output: "o", PE: "pe",
		Shell: "/bin/bash", Workdir: "/w", Setup: []string{"module load x"}, Options: "#PBS -x\n", Body: "b"}
	names := []plan.Names{{Launch: "l-x", Unique: "x", JoinFile: "/j", Output: "/o", Muster: "/m", URL: "tls+tcp://h:1", Port: "1", Join: "j", Index: 2, Of: 3}}
	worker := plan.Worker{Before: []string{"env", "A=1"}, Slots: 2, Walltime: time.Hour, Estimate: time.Minute, Dir: "/d",
		Options: plan.WorkerOptions{IdleTime: units.Duration(time.Second), MaxTasks: 7, NoCleanup: true, AutoExit: "finish", Output: "echo", AsyncDial: true}}
	web := plan.Web{CA: "-----BEGIN", CAFile: "/ca", Timeout: time.Second}
	request := mhttp.Request{Method: "POST", URL: "http://h", Socket: "/s", Headers: []mhttp.Header{{Name: "A", Value: "b"}}, Body: "x", Secrets: []string{"s"}, Once: true, Most: 1}
	states := plan.States{Pending: []string{"P"}, Running: []string{"R"}, Ended: []string{"E"}}
	var list []*plan.Plan
	for _, k := range []plan.Kind{
		&plan.Cluster{Scheduler: "pbs", Login: login, Command: []string{"qsub", "-x"}, Jobs: []hpc.Job{job, {}}, Bare: true, JoinInScript: true, Counted: true},
		&plan.SSH{Hosts: []remote.Login{login}, PerHost: 1, Tunnel: true, Bare: true, Workdir: "/w", Commands: []string{"dask worker"}},
		&plan.HTTP{Web: web, Count: 1, Sent: true, Starts: []plan.Start{{Request: request, Follow: plan.Follow{ID: formula("answer.json.id"), Status: formula("\"http://h/${id}\""), StatusMethod: "GET",
			State: formula("answer.json.state"), States: states, Cancel: formula("\"http://h/${id}\""), CancelMethod: "DELETE", CancelData: formula("id")}}}},
		&plan.Workbench{Web: web, Count: 1, Sent: true, Jobs: []mhttp.Workbench{{Server: "http://h", Cookie: "c", Cluster: "k", Profile: "s", CPUs: 1, Memory: 2, JobName: "n", Exe: "/bin/sh", Args: []string{"-c"}, Headers: request.Headers}}},
		&plan.Slurmrestd{Web: web, Slurm: mhttp.Slurm{URL: "http://h", Socket: "/s", User: "u", Token: "t", Headers: request.Headers}, Version: "v0.0.38", Arrays: []*hpc.Array{array}, Count: 1, Sent: true,
			Job: mhttp.SlurmJob{Script: "s", Name: "n", Dir: "/d", Output: "/o", Partition: "q", Account: "a", Array: "1", TimeLimit: time.Minute, CPUs: 1, MemoryMB: 2, Once: true, Environment: []string{"A=1"}, More: map[string]any{"x": "1"}}},
		&plan.Command{Count: 1, Each: 1, Sent: true, Starts: []plan.Run{{Argv: []string{"a"}, Stdin: "i", Line: true, Dir: "/d", Ends: true, ID: formula("output"), Status: formula("[id]"), State: formula("output"), States: states,
			Cancel: formula("[id]"), Secrets: []string{"s"}, Timeout: time.Minute}}},
	} {
		list = append(list, &plan.Plan{Profile: "p", Launcher: "l", Config: "/c", Poll: time.Minute, Whose: plan.Wrapped, Worker: worker, Muster: "/m", Names: names, Kind: k})
	}
	return list
}

// empty lists the fields of a value, and of what it holds, that have their zero
// value.
func empty(v reflect.Value, name string) (list []string) {
	switch {
	case v.IsZero():
		return []string{name}
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface:
		return empty(v.Elem(), name)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			list = append(list, empty(v.Field(i), name+"."+v.Type().Field(i).Name)...)
		}
	case v.Kind() == reflect.Slice && v.Len() > 0:
		list = empty(v.Index(0), name+"[0]")
	}
	return list
}

// TestPlanTravelsWhole: the process that carries a plan out has all that the one that
// evaluated it has.
func TestPlanTravelsWhole(t *testing.T) {
	kinds := map[string]bool{}
	for _, p := range whole() {
		kinds[p.Kind.Tag()] = true
		if list := empty(reflect.ValueOf(p), "Plan"); len(list) > 0 {
			t.Fatalf("the plan of this test has nothing in %s", strings.Join(list, ", "))
		}
		bare := &plan.Plan{Launcher: "l", Kind: reflect.New(reflect.TypeOf(p.Kind).Elem()).Interface().(plan.Kind)}
		switch k := bare.Kind.(type) {
		case *plan.Cluster:
			k.Scheduler = "slurm"
		case *plan.Command:
			k.Each = 1
		}
		for _, p := range []*plan.Plan{p, bare} {
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			q := &plan.Plan{Launcher: "nothing of it stays", Worker: plan.Worker{Slots: 99}, Kind: &plan.SSH{PerHost: 99}}
			if err := json.Unmarshal(b, q); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(p, q) {
				t.Errorf("%s\ngives %+v %+v\nwant %+v %+v", b, q, q.Kind, p, p.Kind)
			}
		}
	}
	for _, k := range plan.Schema().Kinds {
		if !kinds[k.Name] {
			t.Errorf("there is no plan of the kind %s here", k.Name)
		}
	}
}

// TestPlanTravelsByteForByte: paths and a user's own lines need not be UTF-8.
func TestPlanTravelsByteForByte(t *testing.T) {
	for _, s := range []string{"caf\xe9", "\xff\x00\xc3", "\U0010ff41 \U0010ffff", "\ufffd\u2028é", "\xf4\x8f\xbd"} {
		for _, p := range whole() {
			p.Worker.Dir, p.Worker.Before, p.Names[0].Output = s, []string{s}, s
			switch k := p.Kind.(type) {
			case *plan.Cluster:
				k.Jobs[0].Options, k.Jobs[0].Setup, k.Jobs[1].Workdir, k.Command = s, []string{s}, s, []string{s}
			case *plan.SSH:
				k.Commands[0], k.Hosts[0].State = s, s
			case *plan.HTTP:
				k.Starts[0].Request.Body, k.Starts[0].Request.Headers[0].Value = s, s
			case *plan.Workbench:
				k.Jobs[0].Args = []string{s}
			case *plan.Slurmrestd:
				k.Job.Script, k.Job.Dir = s, s
			case *plan.Command:
				k.Starts[0].Argv, k.Starts[0].Stdin = []string{s}, s
			}
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			q := &plan.Plan{}
			if err := json.Unmarshal(b, q); err != nil || !reflect.DeepEqual(p, q) {
				t.Errorf("%q\n%s, %v\ngives %+v %+v\nwant %+v %+v", s, b, err, q, q.Kind, p, p.Kind)
			}
			n := plan.Names{}
			if b, err := json.Marshal(p.Names[0]); err != nil || json.Unmarshal(b, &n) != nil || n != p.Names[0] {
				t.Errorf("%q: %+v, %v", s, n, err)
			}
		}
	}
}

// TestPlanOfAnotherMuster: what this one cannot carry out is refused when it comes.
func TestPlanOfAnotherMuster(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind": "cluster", "spec": {"scheduler": "nqs"}}`: `a plan for the scheduler "nqs", which is not known here`,
		`{"kind": "cluster", "spec": {}}`:                   `a plan for the scheduler ""`,
		`{"kind": "cluster", "spec": null}`:                 `a plan for the scheduler ""`,
		`{"kind": "cluster"}`:                               "JSON",
		`{"kind": "cloud", "spec": {}}`:                     `a plan of the kind "cloud", which is not known here`,
		`{}`:                                                `a plan of the kind ""`,
		`{"worker": {"slots": "two"}}`:                      "cannot unmarshal",
		`{"kind": "ssh", "spec": {"per_host": "two"}}`:      "cannot unmarshal",
		`{"kind": "ssh", "whose": 9, "spec": {}}`:           "a plan of workers of the kind 9, which is not known here",
		`{"kind": "ssh", "spec": {"per_host": -1}}`:         "0 commands for 0 workers",
		`{"kind": "ssh", "whose": 2, "spec": {"hosts": [{"target": {}}], "per_host": 2}}`:        "0 commands for 2 workers",
		`{"kind": "ssh", "names": [{}, {}], "spec": {"hosts": [{"target": {}}], "per_host": 2}}`: "2 names for 1 places",
		`{"kind": "http", "names": [{}], "spec": {"count": 1}}`:                                  "a plan of 0 starts for 1 workers",
		`{"kind": "http", "spec": {"count": -1}}`:                                                "a plan of 0 starts for -1 workers",
		`{"kind": "posit-workbench", "names": [{}], "spec": {"count": 1}}`:                       "a plan of 0 starts for 1 workers",
		`{"kind": "slurmrestd", "spec": {"count": 2, "arrays": [null, "1"]}}`:                    "arrays for 2 jobs",
		`{"kind": "command", "spec": {"count": 1}}`:                                              "a plan of 1 starts of 0 workers",
		`{"kind": "command", "spec": {"count": 99999999, "each": 1}}`:                            "a plan of 99999999 starts of 1 workers",
	} {
		p := &plan.Plan{Launcher: "as before"}
		if err := json.Unmarshal([]byte(text), p); err == nil || !strings.Contains(err.Error(), want) || p.Launcher != "as before" {
			t.Errorf("%s: %v, %+v", text, err, p)
		}
	}
}

// FuzzPlanTravels: names and lines of any bytes come as they were sent.
func FuzzPlanTravels(f *testing.F) {
	f.Add("caf\xe9", "\U0010ff41\xf4")
	f.Fuzz(func(t *testing.T, a, b string) {
		p, q := whole()[0], &plan.Plan{}
		p.Worker.Dir, p.Launcher, p.Names[0].JoinFile = a, b, b
		p.Kind.(*plan.Cluster).Jobs[0].Options = a + b
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, q); err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%q, %q: %v, %+v\n%s", a, b, err, q, text)
		}
	})
}
