package http

import (
	"fmt"
	"strings"
	"testing"
)

const clusters = `{"result":{"clusters":[
	{"name":"Kubernetes","defaultImage":"r:4.5","resourceProfiles":[{"name":"small"},{"name":"big"}]},
	{"name":"Local","defaultImage":null,"resourceProfiles":[]},
	{"name":"bare"}]}}`

func TestWorkbench(t *testing.T) {
	base := Workbench{Server: "https://wb.example/s/", Cookie: "user|secret", Args: []string{"-e", `{.libPaths(c("/a"));mirai::daemon("tcp://h:5555",tlscert="<&>")}`}}
	envs := base.Environments()
	if envs.Method != "GET" || envs.URL != "https://wb.example/s/api/get_compute_envs" || envs.Body != "" ||
		fmt.Sprint(envs.Headers) != "[{Cookie user|secret} {X-RS-Session-Server-RPC-Cookie user|secret}]" {
		t.Errorf("%+v", envs)
	}
	args := `"args":["-e","{.libPaths(c(\"/a\"));mirai::daemon(\"tcp://h:5555\",tlscert=\"<&>\")}"]`
	for name, c := range map[string]struct {
		change func(w *Workbench)
		want   string
	}{
		"as mirai": {func(w *Workbench) {}, `{"method":"launch_job","kwparams":{"job":{"cluster":"Kubernetes","container":{"image":"r:4.5"},"name":"mirai_daemon","exe":"Rscript",` + args + `,"resourceProfile":"small"}}}`},
		"named": {func(w *Workbench) {
			w.Cluster, w.Profile, w.JobName, w.Exe, w.CPUs = "Kubernetes", "big", `j"`, "/r", 4
		}, `{"method":"launch_job","kwparams":{"job":{"cluster":"Kubernetes","container":{"image":"r:4.5"},"name":"j\"","exe":"/r",` + args + `,"resourceProfile":"big"}}}`},
		"CPUs":            {func(w *Workbench) { w.CPUs = 4 }, `{"method":"launch_job","kwparams":{"job":{"cluster":"Kubernetes","container":{"image":"r:4.5"},"name":"mirai_daemon","exe":"Rscript",` + args + `,"resources":{"cpus":4,"memory":512}}}}`},
		"memory":          {func(w *Workbench) { w.Memory = 8192 }, `{"method":"launch_job","kwparams":{"job":{"cluster":"Kubernetes","container":{"image":"r:4.5"},"name":"mirai_daemon","exe":"Rscript",` + args + `,"resources":{"cpus":1,"memory":8192}}}}`},
		"without a image": {func(w *Workbench) { w.Cluster = "Local" }, `{"method":"launch_job","kwparams":{"job":{"cluster":"Local","name":"mirai_daemon","exe":"Rscript",` + args + `}}}`},
		"missing fields":  {func(w *Workbench) { w.Cluster = "bare" }, `{"method":"launch_job","kwparams":{"job":{"cluster":"bare","name":"mirai_daemon","exe":"Rscript",` + args + `}}}`},
	} {
		w := base
		c.change(&w)
		r, err := w.Job(Answer{Status: 200, Body: clusters})
		if err != nil || r.Body != c.want || r.Method != "POST" || r.URL != "https://wb.example/s/api/launch_job" || len(r.Headers) != 3 {
			t.Errorf("%s: %v\n%+v\nwant\n%s", name, err, r, c.want)
		}
	}
	w := base
	w.Headers = []Header{{"content-type", "x/y"}, {"X-A", "1"}}
	r, err := w.Unasked()
	want := `{"method":"launch_job","kwparams":{"job":{"cluster":"CLUSTER","container":{"image":"IMAGE"},"name":"mirai_daemon","exe":"Rscript",` + args + `,"resourceProfile":"PROFILE"}}}`
	if err != nil || r.Body != want || len(r.Headers) != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWorkbenchRefuses(t *testing.T) {
	base := Workbench{Server: "https://wb.example", Cookie: "secret", Args: []string{"-e", "x"}}
	html := map[string][]string{"Content-Type": {"text/html; charset=utf-8"}}
	old := "this needs Posit Workbench 2026.01 or later"
	for _, c := range []struct {
		change func(w *Workbench)
		a      Answer
		want   string
	}{
		{func(w *Workbench) { w.Server = "" }, Answer{}, "posit-workbench: RS_SERVER_ADDRESS is not set: this preset works from a session of Posit Workbench"},
		{func(w *Workbench) { w.Cookie = "" }, Answer{}, "posit-workbench: RS_SESSION_RPC_COOKIE is not set"},
		{nil, Answer{Status: 401}, old}, {nil, Answer{Status: 403, Body: "no"}, old}, {nil, Answer{Status: 200, Body: "sign in", Headers: html}, old}, {nil, Answer{Status: 200, Body: "\n<!doctype html>"}, old},
		{nil, Answer{Status: 500, Body: "boom\x1b"}, "the service answered 500 Internal Server Error: boom?"}, {nil, Answer{Status: 404, Headers: html, Body: "<p>"}, "404 Not Found"},
		{nil, Answer{Status: 200, Body: "no"}, "is no JSON"}, {nil, Answer{Status: 200}, "is no JSON"}, {nil, Answer{Status: 200, Body: `{"error":{"message":"bad session"}}`}, "bad session"},
		{nil, Answer{Status: 200, Body: `[]`}, "is no JSON that is expected"}, {nil, Answer{Status: 200, Body: `{"result":{"clusters":[{"name":1}]}}`}, "is no JSON that is expected"},
		{nil, Answer{Status: 200, Body: `{}`}, "no cluster on which"}, {nil, Answer{Status: 200, Body: `{"result":null}`}, "no cluster on which"}, {nil, Answer{Status: 200, Body: `{"result":{"clusters":[]}}`}, "no cluster on which"},
		{func(w *Workbench) { w.Cluster = "x" }, Answer{Status: 200, Body: clusters}, `cluster "x" is not there: there are Kubernetes, Local, bare`},
		{func(w *Workbench) { w.Profile = "x" }, Answer{Status: 200, Body: clusters}, `resource profile "x" is not there: there are small, big`},
		{func(w *Workbench) { w.Profile, w.Cluster = "x", "Local" }, Answer{Status: 200, Body: clusters}, `resource profile "x" is not there: there is none`},
		{func(w *Workbench) { w.Args = []string{"\xff"} }, Answer{Status: 200, Body: clusters}, "not UTF-8"},
	} {
		w := base
		if c.change != nil {
			c.change(&w)
		}
		if r, err := w.Job(c.a); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "posit-workbench: ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %+v, %v, want %s", c.a, r, err, c.want)
		}
	}
	for _, c := range []struct {
		a    Answer
		want string
	}{
		{Answer{Status: 200, Body: `{"result":"id"}`}, ""}, {Answer{Status: 201}, ""}, {Answer{Status: 200, Body: `{"error":null}`}, ""},
		{Answer{Status: 200, Body: `{"error":{"code":1}}`}, `"code":1`}, {Answer{Status: 403}, old}, {Answer{Status: 200, Headers: html}, old}, {Answer{Status: 503, Body: "later"}, "503 Service Unavailable: later"},
	} {
		if err := base.Launched(c.a); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.a, err, c.want)
		}
	}
}

func TestMiraiArgs(t *testing.T) {
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{nil, `-e {mirai::daemon("u")}`}, {[]string{"/p1", "/p2"}, `-e {.libPaths(c("/p1","/p2"));mirai::daemon("u")}`}, {[]string{`C:\a "b"` + "\n"}, `-e {.libPaths(c("C:\\a \"b\"\n"));mirai::daemon("u")}`},
	} {
		if got := strings.Join(MiraiArgs(c.paths, `mirai::daemon("u")`), " "); got != c.want {
			t.Errorf("%q: %s, want %s", c.paths, got, c.want)
		}
	}
}
