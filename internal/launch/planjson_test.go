package launch

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"muster/hpc"
	"muster/internal/remote"
	mssh "muster/ssh"
)

// whole is a plan with something in every field.
func whole() *Plan {
	login := remote.Login{Target: mssh.Target{User: "me", Host: "h", Port: 22}, Jump: []mssh.Target{{User: "a", Host: "gate", Port: 2}},
		Client: mssh.OpenSSH, Command: "ssh -4", Timeout: time.Second, AcceptNew: true, State: "/s", Muster: "/m", Binary: "/b", Addresses: []string{"login-ib0"}}
	array := &hpc.Array{Spans: []hpc.Span{{First: 1, Last: 9, Step: 2}}, Throttle: 3}
	return &Plan{Profile: "p", Launcher: "l", Dialect: hpc.Dialects["pbs"], Arrays: []*hpc.Array{array, nil}, Slots: 2, Foreign: true, Poll: time.Minute,
		JoinInScript: true, Muster: "/m", Before: []string{"env", "A=1"}, Via: &login, Hosts: []remote.Login{login}, PerHost: 3, Tunnel: true, Port: "5555",
		job: hpc.Job{Name: "n", Array: array, Walltime: time.Hour, Warn: time.Minute, CPUs: 4, Memory: 5, GPUs: 6, Queue: "q", Account: "a", Output: "o", PE: "pe",
			Shell: "/bin/bash", Workdir: "/w", Setup: []string{"module load x"}, Options: "#PBS -x\n", Body: "b"},
		bare: true, command: []string{"qsub", "-x"}, walltime: time.Hour, estimate: time.Minute, foreign: "dask worker",
		options: WorkerOptions{IdleTime: time.Second, MaxTasks: 7, NoCleanup: true, AutoExit: "finish", Output: "echo", AsyncDial: true}, dir: "/d"}
}

// empty lists the fields of a value, and of what it holds, that have their zero
// value.
func empty(v reflect.Value, name string) (list []string) {
	switch {
	case v.IsZero():
		return []string{name}
	case v.Kind() == reflect.Pointer && v.Type() != reflect.TypeFor[*hpc.Dialect]():
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

// TestPlanTravelsWhole: the process that submits a plan has all that the one that
// evaluated it has.
func TestPlanTravelsWhole(t *testing.T) {
	p := whole()
	if list := empty(reflect.ValueOf(p), "Plan"); len(list) > 0 {
		t.Fatalf("the plan of this test has nothing in %s", strings.Join(list, ", "))
	}
	for name, change := range map[string]func(*Plan){
		"whole":   func(*Plan) {},
		"by SSH":  func(p *Plan) { p.Dialect, p.Arrays, p.Via = nil, nil, nil },
		"cluster": func(p *Plan) { p.Hosts, p.PerHost, p.Foreign, p.foreign = nil, 0, false, "" },
	} {
		p := whole()
		change(p)
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q := &Plan{Launcher: "nothing of it stays", PerHost: 99}
		if err := json.Unmarshal(b, q); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p, q) {
			t.Errorf("%s:\n%s\nwant\n%s", name, fmt.Sprintf("%+v", q), fmt.Sprintf("%+v", p))
		}
	}
}

func TestPlanOfAnotherMuster(t *testing.T) {
	for text, want := range map[string]string{
		`{"scheduler": "nqs"}`: `a plan for the scheduler "nqs", which is not known here`,
		`{}`:                   `a plan for the scheduler ""`,
		`{"slots": "two"}`:     "cannot unmarshal",
	} {
		if err := json.Unmarshal([]byte(text), &Plan{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
