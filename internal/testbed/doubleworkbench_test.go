package testbed_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"muster/internal/testbed"
)

// call makes one request, and returns the status and the body.
func call(t *testing.T, c *http.Client, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

func workbench(t *testing.T, old bool) *testbed.Workbench {
	t.Helper()
	dir := t.TempDir()
	w, err := testbed.StartWorkbench(testbed.WorkbenchOptions{Dir: filepath.Join(dir, "wb"), Work: dir, Old: old, Env: []string{"PATH=" + os.Getenv("PATH"), "WHERE=elsewhere"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

const launchJob = `{"method":"launch_job","kwparams":{"job":{"cluster":"Kubernetes","container":{"image":"registry.example/session:ubuntu22"},"name":"a","exe":"sh","args":["-c","echo $WHERE $0; pwd; exec sleep 1000.25","x y"],"resourceProfile":"small"}}}`

func TestWorkbenchRuns(t *testing.T) {
	w := workbench(t, false)
	const rpc = "X-RS-Session-Server-RPC-Cookie"
	status, body := call(t, http.DefaultClient, "GET", w.URL+"/api/get_compute_envs", "", "Cookie", w.Cookie, rpc, w.Cookie)
	if want := `{"result":{"clusters":[{"name":"Kubernetes","defaultImage":"registry.example/session:ubuntu22","resourceProfiles":[{"name":"small"},{"name":"large"}]},{"name":"Slurm","defaultImage":"registry.example/session:rocky9","resourceProfiles":[{"name":"default"}]}]}}`; status != 200 || body != want {
		t.Errorf("%d %s", status, body)
	}
	if status, body := call(t, http.DefaultClient, "POST", w.URL+"/api/launch_job", launchJob, "Cookie", w.Cookie, rpc, w.Cookie); status != 200 || body != `{"result": {"id": "job-1"}}` {
		t.Errorf("%d %s", status, body)
	}
	jobs := w.Jobs()
	if len(jobs) != 1 || jobs[0].Profile != "small" || jobs[0].Cluster != "Kubernetes" || jobs[0].Argv[3] != "x y" {
		t.Fatalf("%+v", jobs)
	}
	eventually(t, "the job's output", func() bool {
		b, _ := os.ReadFile(jobs[0].Output)
		return strings.HasPrefix(string(b), "elsewhere x y\n/") && strings.Count(string(b), "\n") == 2
	})
	want := "GET /api/get_compute_envs\nCookie: " + w.Cookie + "\nX-Rs-Session-Server-Rpc-Cookie: " + w.Cookie + "\n\nPOST /api/launch_job\nCookie: " + w.Cookie + "\nX-Rs-Session-Server-Rpc-Cookie: " + w.Cookie + "\n\n" + launchJob + "\n"
	if got := w.RequestsText(); got != want {
		t.Errorf("requests:\n%swant:\n%s", got, want)
	}
	if got := w.RequestsText("cookie"); strings.Contains(got, "X-Rs") || !strings.Contains(got, "Cookie: ") {
		t.Errorf("with one header: %s", got)
	}
	w.Stop()
	if left := testbed.Running(regexp.MustCompile("^sleep 1000[.]25$")); len(left) > 0 {
		t.Errorf("it has left %q", left)
	}
}

func TestWorkbenchRefuses(t *testing.T) {
	const rpc = "X-RS-Session-Server-RPC-Cookie"
	w, old := workbench(t, false), workbench(t, true)
	for what, header := range map[string][]string{"nothing": nil, "one header": {"Cookie", w.Cookie}, "the other": {rpc, w.Cookie}, "another cookie": {"Cookie", "x", rpc, "x"}, "a named cookie": {"Cookie", "c=" + w.Cookie, rpc, w.Cookie}} {
		for _, m := range []string{"GET", "POST"} {
			path := map[string]string{"GET": "/api/get_compute_envs", "POST": "/api/launch_job"}[m]
			if status, body := call(t, http.DefaultClient, m, w.URL+path, launchJob, header...); status != 401 || !strings.Contains(body, "error") {
				t.Errorf("%s with %s: %d %s", m, what, status, body)
			}
		}
	}
	if status, _ := call(t, http.DefaultClient, "GET", old.URL+"/api/get_compute_envs", "", "Cookie", old.Cookie, rpc, old.Cookie); status != 401 {
		t.Errorf("an old one: %d", status)
	}
	for _, what := range []string{"POST /api/get_compute_envs", "GET /api/launch_job", "POST /api/launch_job?x=1", "POST /api/launch_job/", "GET /"} {
		m, path, _ := strings.Cut(what, " ")
		if status, _ := call(t, http.DefaultClient, m, w.URL+path, "", "Cookie", w.Cookie, rpc, w.Cookie); status != 404 {
			t.Errorf("%s: %d", what, status)
		}
	}
	swap := func(old, new string) string {
		if !strings.Contains(launchJob, old) {
			t.Fatalf("there is no %s", old)
		}
		return strings.Replace(launchJob, old, new, 1)
	}
	for body, want := range map[string]string{
		"":                                 "the body is no JSON object",
		"[]":                               "the body is no JSON object",
		launchJob + "{}":                   "behind the body",
		launchJob[:len(launchJob)-1]:       "the body",
		swap(`"method":"launch_job",`, ``): "the body has no method",
		swap(`"launch_job"`, `"launch"`):   "method is",
		swap(`"method"`, `"Method"`):       "method",
		swap(`"kwparams":{`, `"kwparams":{"x":1,`):     "kwparams has an unknown key x",
		swap(`"name":"a",`, ``):                        "job has no name",
		swap(`"name":"a",`, `"name":"a","name":"b",`):  "job has name twice",
		swap(`"name":"a"`, `"name":null`):              "name is null",
		swap(`"name":"a"`, `"name":"a","command":"x"`): "unknown key command",
		swap(`"exe":"sh"`, `"exe":1`):                  "exe is 1",
		swap(`"exe":"sh"`, `"exe":""`):                 "exe is",
		swap(`"x y"`, `1`):                             "args is",
		swap(`"x y"`, `null`):                          "args has null",
		swap(`"args":["-c","echo $WHERE $0; pwd; exec sleep 1000.25","x y"]`, `"args":null`):               "args is null",
		swap(`{"image":"registry.example/session:ubuntu22"}`, `"registry.example/session:ubuntu22"`):       "container is no JSON object",
		swap(`ubuntu22"}`, `ubuntu22","x":1}`):                                                             "container has an unknown key x",
		swap(`ubuntu22`, `rocky9`):                                                                         "no image",
		swap(`"Kubernetes"`, `"kubernetes"`):                                                               "no cluster",
		swap(`"small"`, `"default"`):                                                                       "no resource profile",
		swap(`"small"`, `["small"]`):                                                                       "resourceProfile is",
		swap(`,"resourceProfile":"small"`, ``):                                                             "either",
		swap(`"resourceProfile":"small"`, `"resourceProfile":"small","resources":{"cpus":1,"memory":512}`): "either",
		swap(`"resourceProfile":"small"`, `"resources":{"cpus":1}`):                                        "resources has no memory",
		swap(`"resourceProfile":"small"`, `"resources":{"cpus":"1","memory":512}`):                         "cpus is",
		swap(`"resourceProfile":"small"`, `"resources":{"cpus":1,"memory":0}`):                             "memory is 0",
		swap(`"resourceProfile":"small"`, `"resources":{"cpus":1,"memory":1,"x":1}`):                       "unknown key x",
	} {
		status, text := call(t, http.DefaultClient, "POST", w.URL+"/api/launch_job", body, "Cookie", w.Cookie, rpc, w.Cookie)
		var e struct{ Error string }
		if err := json.Unmarshal([]byte(text), &e); status != 400 || err != nil || !strings.Contains(e.Error, want) {
			t.Errorf("%s: %d %s, want %s", body, status, text, want)
		}
	}
	if status, _ := call(t, http.DefaultClient, "POST", w.URL+"/api/launch_job", launchJob, "Cookie", w.Cookie, rpc, w.Cookie, "Content-Type", "application/x-www-form-urlencoded"); status != 400 {
		t.Errorf("a form: %d", status)
	}
	if jobs := w.Jobs(); len(jobs) > 0 {
		t.Errorf("jobs were started: %+v", jobs)
	}
	// And this it takes; a program that is not there is no business of the launch.
	ok := swap(`"resourceProfile":"small"`, `"resources":{"cpus":2,"memory":1024}`)
	for _, body := range []string{strings.Replace(ok, "session:ubuntu22", "gpu:1", 1), strings.Replace(ok, `"sh"`, `"nosuch"`, 1)} {
		if status, text := call(t, http.DefaultClient, "POST", w.URL+"/api/launch_job", body, "Cookie", w.Cookie, rpc, w.Cookie, "Content-Type", "application/json; charset=utf-8"); status != 200 {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	jobs := w.Jobs()
	if len(jobs) != 2 || jobs[0].CPUs != 2 || jobs[0].Memory != 1024 || jobs[0].Profile != "" {
		t.Fatalf("%+v", jobs)
	}
	if b, _ := os.ReadFile(jobs[1].Output); string(b) != "nosuch: not found\n" {
		t.Errorf("its output: %s", b)
	}
}
