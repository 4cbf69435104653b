package testbed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/testbed"
)

// rest asks a slurmrestd.
type rest struct {
	t      *testing.T
	client *http.Client
	base   string
	header http.Header
}

// restAnswer is what is looked at of any answer.
type restAnswer struct {
	Status int
	Text   string
	JobID  int `json:"job_id"`
	Errors []struct {
		Error string `json:"error"`
		Code  int    `json:"error_code"`
		// The same under another name, in lists of jobs and where one is cancelled.
		Number int `json:"error_number"`
	}
	Jobs []struct {
		JobID int    `json:"job_id"`
		State string `json:"job_state"`
		User  string `json:"user_name"`
	}
}

func (r *rest) ask(method, path, body string) restAnswer {
	r.t.Helper()
	req, err := http.NewRequest(method, r.base+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header = r.header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := restAnswer{Status: resp.StatusCode, Text: string(b)}
	json.Unmarshal(b, &a) // not all of it is JSON
	return a
}

// submit submits a script, waits until it has run, and returns what it wrote.
func (r *rest) submit(dir, name, script string) string {
	r.t.Helper()
	out := filepath.Join(dir, name)
	a := r.ask("POST", "/slurm/"+testbed.RESTVersion+"/job/submit", job(dir, out, script))
	if a.Status != 200 || a.JobID == 0 || len(a.Errors) > 0 {
		r.t.Fatalf("submit: %d %s", a.Status, a.Text)
	}
	r.await(a.JobID, "COMPLETED")
	b, err := os.ReadFile(out)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func job(dir, out, script string) string {
	b, err := json.Marshal(map[string]any{"script": "#!/bin/sh\n" + script, "job": map[string]any{"name": "muster test", "environment": map[string]string{"GIVEN": "a b"},
		"current_working_directory": dir, "standard_output": out, "time_limit": 5}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (r *rest) await(id int, state string) restAnswer {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		a := r.ask("GET", fmt.Sprintf("/slurm/%s/job/%d", testbed.RESTVersion, id), "")
		if a.Status == 200 && len(a.Jobs) == 1 && a.Jobs[0].State == state {
			return a
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("job %d is not %s: %d %s", id, state, a.Status, a.Text)
		}
	}
}

func overSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

// rests boots Slurm and returns both ways to its slurmrestd, and a folder in which
// everybody may write.
func rests(t *testing.T, local string) (s *testbed.Slurm, socket, url *rest, dir string) {
	t.Helper()
	need(t, "munged", "slurmctld", "slurmd", "sbatch", "slurmrestd", "auth_jwt.so")
	dir = open(t)
	s, err := testbed.StartSlurmREST(filepath.Join(dir, "slurm"), 1, 4, local)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	dir = filepath.Join(dir, "out")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	socket = &rest{t: t, client: overSocket(s.Socket), base: "http://localhost"}
	url = &rest{t: t, client: &http.Client{Transport: &http.Transport{}}, base: s.URL}
	t.Cleanup(func() { socket.client.CloseIdleConnections(); url.client.CloseIdleConnections() })
	return s, socket, url, dir
}

// as returns the same with another name and token.
func (r *rest) as(name, token string) *rest {
	c := *r
	c.header = http.Header{"X-Slurm-User-Name": {name}, "X-Slurm-User-Token": {token}}
	return &c
}

func TestSlurmREST(t *testing.T) {
	s, socket, url, dir := rests(t, "")
	token := func(name string, life time.Duration) string {
		tok, err := s.Token(name, life)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	root := url.as("root", token("root", time.Hour))

	// As whom jobs run.
	if got := socket.submit(dir, "a", "id -un"); got != "root\n" {
		t.Errorf("over the socket of root's daemon jobs run as %q", got)
	}
	if got := root.submit(dir, "b", "id -un"); got != "root\n" {
		t.Errorf("with root's token jobs run as %q", got)
	}
	if got := url.as("nobody", token("nobody", time.Hour)).submit(dir, "c", "id -un"); got != "nobody\n" {
		t.Errorf("with nobody's token jobs run as %q", got)
	}
	// SlurmUser's own token is good for others.
	if got := url.as("nobody", token("root", time.Hour)).submit(dir, "d", "id -un"); got != "nobody\n" {
		t.Errorf("as nobody with root's token jobs run as %q", got)
	}

	// A job has what it was given and SLURM_*, SLURM_CONF among them, and neither
	// HOME nor USER nor a PATH of its own: its shell takes a default for that.
	env := root.submit(dir, "e", "env; pwd")
	for _, want := range []string{"GIVEN=a b\n", "SLURM_CONF=" + s.Dir + "/slurm.conf\n", "SLURM_JOB_ID=", "SLURM_JOB_NAME=muster test\n", "\n" + dir + "\n"} {
		if !strings.Contains(env, want) {
			t.Errorf("a job lacks %q: %s", want, env)
		}
	}
	for line := range strings.Lines(env) {
		if name, _, _ := strings.Cut(line, "="); slices.Contains([]string{"HOME", "USER", "PATH", "SLURM_JWT"}, name) {
			t.Errorf("a job has %s", line)
		}
	}

	// Lists, and cancellation.
	for _, r := range []*rest{socket, root} {
		a := r.ask("POST", "/slurm/"+testbed.RESTVersion+"/job/submit", job(dir, dir+"/sleep", "echo $$; exec sleep 1000"))
		if a.Status != 200 {
			t.Fatalf("submit: %d %s", a.Status, a.Text)
		}
		r.await(a.JobID, "RUNNING")
		list := r.ask("GET", "/slurm/"+testbed.RESTVersion+"/jobs", "")
		if list.Status != 200 || len(list.Errors) > 0 || !slices.ContainsFunc(list.Jobs, func(j struct {
			JobID int    `json:"job_id"`
			State string `json:"job_state"`
			User  string `json:"user_name"`
		}) bool {
			return j.JobID == a.JobID && j.State == "RUNNING" && j.User == "root"
		}) {
			t.Errorf("the list lacks job %d: %d %s", a.JobID, list.Status, list.Text)
		}
		path := fmt.Sprintf("/slurm/%s/job/%d", testbed.RESTVersion, a.JobID)
		if c := r.ask("DELETE", path, ""); c.Status != 200 || len(c.Errors) > 0 {
			t.Errorf("cancel: %d %s", c.Status, c.Text)
		}
		r.await(a.JobID, "CANCELLED")
		// One that has ended is cancelled without a word.
		if c := r.ask("DELETE", path, ""); c.Status != 200 || len(c.Errors) > 0 {
			t.Errorf("cancel again: %d %s", c.Status, c.Text)
		}
		if c := r.ask("DELETE", "/slurm/"+testbed.RESTVersion+"/job/999", ""); c.Status != 500 || len(c.Errors) != 1 || c.Errors[0].Number != 2017 {
			t.Errorf("cancel what there is not: %d %s", c.Status, c.Text)
		}
	}

	// Refusals.
	list := "/slurm/" + testbed.RESTVersion + "/jobs"
	short := token("root", time.Second)
	eventually(t, "the token's end", func() bool { return url.as("root", short).ask("GET", list, "").Status != 200 })
	for what, a := range map[string]restAnswer{
		"no token":             url.ask("GET", list, ""),
		"a name alone":         (&rest{t: t, client: url.client, base: url.base, header: http.Header{"X-Slurm-User-Name": {"root"}}}).ask("GET", list, ""),
		"Authorization":        (&rest{t: t, client: url.client, base: url.base, header: http.Header{"Authorization": {"Bearer " + token("root", time.Minute)}}}).ask("GET", list, ""),
		"a name on the socket": socket.as("nobody", "").ask("GET", list, ""),
	} {
		if a.Status != 401 || a.Text != "Authentication failure" {
			t.Errorf("%s: %d %s", what, a.Status, a.Text)
		}
	}
	// A token that is no good is 500, with an empty list that is not to be believed.
	for what, r := range map[string]*rest{"a bad token": url.as("root", "x"), "one that has expired": url.as("root", short), "another's": url.as("root", token("nobody", time.Minute))} {
		if a := r.ask("GET", list, ""); a.Status != 500 || len(a.Errors) != 1 || a.Errors[0].Number != -1 || a.Errors[0].Error != "Unspecified error" || !strings.Contains(a.Text, `"jobs": [`) {
			t.Errorf("%s: %d %s", what, a.Status, a.Text)
		}
		if a := r.ask("POST", "/slurm/"+testbed.RESTVersion+"/job/submit", job(dir, dir+"/no", "true")); a.Status != 500 || len(a.Errors) != 1 || a.Errors[0].Code != 5005 || a.JobID != 0 {
			t.Errorf("submit with %s: %d %s", what, a.Status, a.Text)
		}
	}
	if a := root.ask("GET", "/slurm/v0.0.39/jobs", ""); a.Status != 404 || !strings.HasPrefix(a.Text, "Unable find requested URL.") {
		t.Errorf("a version that it has not: %d %s", a.Status, a.Text)
	}
	submit := "/slurm/" + testbed.RESTVersion + "/job/submit"
	if a := root.ask("POST", submit, "{"); a.Status != 400 || a.Text != "Unable to parse query." {
		t.Errorf("no JSON: %d %s", a.Status, a.Text)
	}
	if a := root.ask("POST", submit, `{"script": "#!/bin/sh\n", "job": {"name": "x"}}`); a.Status != 400 {
		t.Errorf("no environment: %d %s", a.Status, a.Text)
	}
	if a := root.ask("POST", submit, `{"script": "#!/bin/sh\n", "job": {"environment": {"A": "b"}, "current_working_directory": "/", "partition": "nowhere"}}`); a.Status != 500 || len(a.Errors) != 1 || a.Errors[0].Code != 2000 {
		t.Errorf("an unknown partition: %d %s", a.Status, a.Text)
	}
}

// TestSlurmRESTOfAnother: the socket of a user's daemon serves that user and root,
// and for both jobs run as that user.
func TestSlurmRESTOfAnother(t *testing.T) {
	_, socket, _, dir := rests(t, "nobody")
	if got := socket.submit(dir, "a", "id -un"); got != "nobody\n" {
		t.Errorf("jobs run as %q", got)
	}
	if a := socket.as("root", "").ask("GET", "/slurm/"+testbed.RESTVersion+"/jobs", ""); a.Status != 401 {
		t.Errorf("root who asks to be root: %d %s", a.Status, a.Text)
	}
}
