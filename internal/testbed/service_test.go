package testbed_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/internal/testbed"
)

// served is a service and a client that knows its token.
type served struct {
	*testbed.Service
	t      *testing.T
	client *http.Client
	dir    string
}

func service(t *testing.T, o testbed.ServiceOptions) *served {
	t.Helper()
	dir := t.TempDir()
	o.Dir, o.Work, o.Env = filepath.Join(dir, "service"), dir, []string{"PATH=" + os.Getenv("PATH")}
	s, err := testbed.StartService(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	c, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return &served{s, t, c, dir}
}

func (s *served) ask(method, path, body string, header ...string) (int, string) {
	s.t.Helper()
	return call(s.t, s.client, method, s.URL+path, body, append([]string{"Authorization", "Bearer " + s.Token, "Content-Type", "application/json"}, header...)...)
}

// want checks an answer.
func (s *served) want(status int, re, method, path, body string, header ...string) {
	s.t.Helper()
	got, text := s.ask(method, path, body, header...)
	if got != status || !regexp.MustCompile(`(?s)^(?:`+re+`)$`).MatchString(text) {
		s.t.Errorf("%s %s %s: %d %s; want %d %s", method, path, body, got, text, status, re)
	}
}

func (s *served) until(id, state string) {
	s.t.Helper()
	eventually(s.t, id+" is "+state, func() bool { _, text := s.ask("GET", "/jobs/"+id, ""); return strings.Contains(text, `"`+state+`"`) })
}

func TestService(t *testing.T) {
	s := service(t, testbed.ServiceOptions{TLS: true})
	s.want(201, `{"id": "job-1", "state": "QUEUED"}`, "POST", "/jobs", `{"command": "echo $0; while ! test -e go; do sleep 0.05; done"}`)
	s.until("job-1", "RUNNING")
	if err := os.WriteFile(s.dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.until("job-1", "DONE")
	if b, _ := os.ReadFile(s.dir + "/service/job-1.out"); string(b) != "/bin/sh\n" {
		t.Errorf("its output: %s", b)
	}
	s.want(201, `.*job-2.*`, "POST", "/jobs", `{"command": "exit 3"}`)
	s.until("job-2", "FAILED")

	// DELETE ends the whole tree, whoever does not want to or has gone away.
	s.want(201, `.*job-3.*`, "POST", "/jobs", `{"command": "setsid -f sh -c 'trap : TERM; while :; do sleep 0.1; done' stray-of-job-3; sleep 1000 & wait"}`)
	stray := regexp.MustCompile("stray-of-job-3$")
	eventually(t, "the stray", func() bool { return len(testbed.Running(stray)) > 0 })
	s.until("job-3", "RUNNING")
	s.want(204, ``, "DELETE", "/jobs/job-3", "")
	s.want(404, `{"error": "there is no job job-3"}`, "GET", "/jobs/job-3", "")
	s.want(404, `.*`, "DELETE", "/jobs/job-3", "")
	eventually(t, "the stray's end", func() bool { return len(testbed.Running(stray)) == 0 })

	// And Stop ends all.
	s.want(201, `.*job-4.*`, "POST", "/jobs", `{"command": "setsid -f sh -c 'trap : TERM; while :; do sleep 0.1; done' stray-of-job-3; sleep 1000"}`)
	eventually(t, "the stray", func() bool { return len(testbed.Running(stray)) > 0 })
	if s.Started() != 4 || s.Repeated() != 0 || s.Doubled() != 0 {
		t.Errorf("%d started, %d repeated, %d doubled", s.Started(), s.Repeated(), s.Doubled())
	}
	s.Stop()
	if left := testbed.Running(stray); len(left) > 0 {
		t.Errorf("it has left %q", left)
	}
}

func TestServiceRefuses(t *testing.T) {
	s := service(t, testbed.ServiceOptions{})
	for what, header := range map[string][]string{"none": nil, "another": {"Authorization", "Bearer x"}, "no bearer": {"Authorization", s.Token}} {
		for _, m := range []string{"GET /jobs/job-1", "POST /jobs", "DELETE /jobs/job-1", "GET /x"} {
			method, path, _ := strings.Cut(m, " ")
			if status, text := call(t, s.client, method, s.URL+path, "", header...); status != 401 || !strings.HasPrefix(text, `{"error": "`) {
				t.Errorf("%s with %s token: %d %s", m, what, status, text)
			}
		}
	}
	s.want(400, `.*no JSON object.*`, "POST", "/jobs", "")
	s.want(400, `.*no command.*`, "POST", "/jobs", `{}`)
	s.want(400, `.*unknown key x.*`, "POST", "/jobs", `{"command": "true", "x": 1}`)
	s.want(400, `.*has to be a string.*`, "POST", "/jobs", `{"command": ["true"]}`)
	s.want(400, `.*`, "POST", "/jobs", "{\"command\": \"a\nb\"}")
	s.want(415, `.*`, "POST", "/jobs", `{"command": "true"}`, "Content-Type", "text/plain")
	s.want(405, `.*`, "GET", "/jobs", "")
	s.want(405, `.*`, "PUT", "/jobs/job-1", "")
	s.want(404, `.*`, "GET", "/jobs/job-1", "")
	s.want(404, `.*`, "GET", "/jobs/", "")
	s.want(404, `.*`, "GET", "/", "")
	if s.Started() != 0 {
		t.Errorf("%d jobs were started", s.Started())
	}
	if err := s.SetMode("fast", 0); err == nil {
		t.Error("there is a mode fast")
	}
}

func TestServiceKeys(t *testing.T) {
	s := service(t, testbed.ServiceOptions{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s.want(201, `{"id": "job-1", .*`, "POST", "/jobs", `{"command": "true"}`, "Idempotency-Key", "k")
		})
	}
	all.Wait()
	s.want(422, `.*`, "POST", "/jobs", `{"command": "false"}`, "Idempotency-Key", "k")
	s.want(201, `{"id": "job-2", .*`, "POST", "/jobs", `{"command": "true"}`, "Idempotency-Key", "l")
	s.want(201, `{"id": "job-3", .*`, "POST", "/jobs", `{"command": "exit 0"}`)
	s.want(201, `{"id": "job-4", .*`, "POST", "/jobs", `{"command": "exit 0"}`)
	if s.Started() != 4 || s.Repeated() != 7 || s.Doubled() != 2 {
		t.Errorf("%d started, %d repeated, %d doubled", s.Started(), s.Repeated(), s.Doubled())
	}
	n := service(t, testbed.ServiceOptions{NoKeys: true})
	for range 2 {
		n.want(201, `.*`, "POST", "/jobs", `{"command": "true"}`, "Idempotency-Key", "k")
	}
	if n.Started() != 2 || n.Repeated() != 0 || n.Doubled() != 1 {
		t.Errorf("without keys: %d started, %d repeated, %d doubled", n.Started(), n.Repeated(), n.Doubled())
	}
}

func TestServiceQueueAndRate(t *testing.T) {
	s := service(t, testbed.ServiceOptions{Queue: 300 * time.Millisecond})
	s.want(201, `.*`, "POST", "/jobs", `{"command": "exec sleep 1000"}`)
	s.want(200, `{"id": "job-1", "state": "QUEUED"}`, "GET", "/jobs/job-1", "")
	s.want(201, `.*`, "POST", "/jobs", `{"command": "touch never"}`)
	s.want(204, ``, "DELETE", "/jobs/job-2", "")
	s.until("job-1", "RUNNING")
	s.want(201, `.*job-3.*`, "POST", "/jobs", `{"command": "exec sleep 1000"}`)
	s.until("job-3", "RUNNING") // so the other's time has come before
	if _, err := os.Stat(s.dir + "/never"); err == nil || s.Started() != 2 {
		t.Errorf("what was taken back has run: %d started", s.Started())
	}

	r := service(t, testbed.ServiceOptions{Rate: 2})
	began := time.Now()
	r.want(404, `.*`, "GET", "/jobs/a", "")
	r.want(404, `.*`, "GET", "/jobs/a", "")
	req, err := http.NewRequest("GET", r.URL+"/jobs/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if time.Since(began) < time.Second && (resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "1") {
		t.Errorf("the third: %d %v", resp.StatusCode, resp.Header)
	}
	eventually(t, "it answers again", func() bool { status, _ := r.ask("GET", "/jobs/a", ""); return status == 404 })
}

func TestServiceTLS(t *testing.T) {
	s, wrong := service(t, testbed.ServiceOptions{TLS: true}), service(t, testbed.ServiceOptions{WrongName: true})
	for what, c := range map[string]struct {
		client *http.Client
		url    string
	}{"certificate signed by unknown authority": {http.DefaultClient, s.URL}, "127.0.0.1": {wrong.client, wrong.URL}} {
		if resp, err := c.client.Get(c.url); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v; want %s", err, what)
			if err == nil {
				resp.Body.Close()
			}
		}
	}
	if len(wrong.Requests()) > 0 {
		t.Errorf("it got %+v", wrong.Requests())
	}
}

func TestServiceModes(t *testing.T) {
	s := service(t, testbed.ServiceOptions{})
	// get reads so much of an answer as comes within a while.
	get := func(path string, most int64, while time.Duration) (*http.Response, string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), while)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "POST", s.URL+path, strings.NewReader(`{"command": "true"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.Token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := s.client.Do(req)
		if err != nil {
			return nil, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, most))
		return resp, string(b), err
	}
	const short, long = 300 * time.Millisecond, 20 * time.Second
	if _, _, err := get("/slow/jobs", 1, short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("slow: %v", err)
	}
	if resp, text, err := get("/drip/jobs", 100, 2*time.Second); resp == nil || resp.StatusCode != 200 || text == "" || len(text) > 30 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drip: %v %q", err, text)
	}
	for _, mode := range []string{"endless", "bomb"} {
		if _, text, err := get("/"+mode+"/jobs", 64<<20, long); err != nil || len(text) != 64<<20 || !strings.HasPrefix(text, `{"id": "aaaa`) {
			t.Errorf("%s: %v, %d bytes: %.20q", mode, err, len(text), text)
		}
	}
	if resp, text, err := get("/html/jobs", 1000, long); err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(text, "Sign in") {
		t.Errorf("html: %v %s", err, text)
	}
	if resp, text, err := get("/error/jobs", 1<<20, long); err != nil || resp.StatusCode != 500 || len(text) < 64<<10 || !strings.Contains(text, s.Token) || !strings.Contains(text, "\x1b[2J") {
		t.Errorf("error: %v %.100q", err, text)
	}
	if resp, _, err := get("/loop/jobs?n=4", 100, long); err != nil || resp.StatusCode != 307 || resp.Header.Get("Location") != "/loop/jobs?n=5" {
		t.Errorf("loop: %v", err)
	}
	if _, _, err := get("/hangup/jobs", 100, long); err == nil {
		t.Error("hangup: an answer")
	}
	if s.Started() != 0 {
		t.Errorf("%d jobs were started", s.Started())
	}

	// A job that was taken, and no answer.
	if _, _, err := get("/lost/jobs", 100, long); err == nil || s.Started() != 1 {
		t.Errorf("lost: %v, %d jobs", err, s.Started())
	}
	s.want(200, `{"id": "job-1", .*`, "GET", "/jobs/job-1", "")

	// The other origin gets what a client that follows sends it, and answers.
	follow := *s.client
	follow.CheckRedirect = nil
	if status, text := call(t, &follow, "POST", s.URL+"/redirect/jobs", "body", "X-Mine", "1"); status != 201 || !strings.Contains(text, "job-1") {
		t.Errorf("redirect: %d %s", status, text)
	}
	if got, want := s.ElsewhereText("X-Mine"), "POST /redirect/jobs\nX-Mine: 1\n\nbody\n"; got != want || len(s.Elsewhere()) != 1 {
		t.Errorf("elsewhere: %q, want %q", got, want)
	}

	// As an option: for a method, and so many times.
	if err := s.SetMode("GET:html", 1); err != nil {
		t.Fatal(err)
	}
	s.want(204, ``, "DELETE", "/jobs/job-1", "")
	s.want(200, `.*Sign in.*`, "GET", "/jobs/job-1", "")
	s.want(404, `.*`, "GET", "/jobs/job-1", "")
	if err := s.SetMode("html", 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.want(200, `.*Sign in.*`, "POST", "/jobs", `{}`)
	}
	if err := s.SetMode("ok", 0); err != nil {
		t.Fatal(err)
	}
	s.want(400, `.*`, "POST", "/jobs", `{}`)
	if n := len(s.Requests()); n != 18 {
		t.Errorf("%d requests were recorded:\n%s", n, s.RequestsText("x"))
	}
}
