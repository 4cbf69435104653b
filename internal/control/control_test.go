package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/host"
	"muster/rng"
	"muster/task"
)

// serve runs a server without workers and returns its client and socket.
func serve(t *testing.T, kind string) (*control.Client, string) {
	t.Helper()
	sockets, err := os.MkdirTemp("", "m")
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.Open(host.Options{StateDir: t.TempDir(), SocketDir: sockets, Log: hclog.NewNullLogger(), Stderr: io.Discard,
		Worker: []string{"false"}, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	path := control.Socket(sockets, "test")
	l, err := host.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v: %v", st.Mode(), err)
	}
	s := control.NewServer(l, control.Options{Host: h, Name: "test", Kind: kind, Version: "test"})
	if _, err := h.Up(context.Background(), host.Spec{Name: "default", Slots: 1}); err != nil {
		t.Fatal(err)
	}
	c := control.NewClient(path)
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx, time.Second); err != nil {
			t.Error(err)
		}
		s.Close(ctx)
		os.RemoveAll(sockets)
	})
	return c, path
}

// post sends a body as it is.
func post(t *testing.T, socket, method, path, body string) (status int, answer string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	q, err := http.NewRequest(method, "http://muster"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func TestRefusals(t *testing.T) {
	_, socket := serve(t, "up")
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/profiles/default/everywhere", `{"command": "true"}`, 200, `"id":1`},
		{"POST", "/v1/profiles/default/everywhere", `{"command": ""}`, 400, "needs a command"},
		{"GET", "/v2/status", "", 404, "there is no call GET /v2/status"},
		{"POST", "/v1/status", "", 404, "there is no call"},
		{"GET", "/v1/info?profile=x", "", 404, `there is no profile \"x\" here`},
		{"POST", "/v1/profiles/x/submit", "{}", 404, "there is no profile"},
		{"POST", "/v1/profiles/default/submit", "{", 400, "the body is not what this call takes"},
		{"POST", "/v1/profiles/default/submit", `{"tsk": {}}`, 400, `unknown field \"tsk\"`},
		{"POST", "/v1/profiles/default/submit", `{"task": {"argv": []}}`, 400, "a task needs a command"},
		{"POST", "/v1/profiles/default/submit", `{"task": {"argv": ["a\u0000"]}}`, 400, "NUL"},
		{"POST", "/v1/profiles/default/submit", `{"task": {"argv": ["a"], "env": ["x"]}}`, 400, "not NAME=VALUE"},
		{"POST", "/v1/profiles/default/submit", `{"task": {"argv": ["a"], "dir": "here"}}`, 400, "not absolute"},
		{"POST", "/v1/profiles/default/submit", `{"task": {"argv": ["a"], "timeout": "soon"}}`, 400, "no duration"},
		{"POST", "/v1/profiles/default/submit", `{"task": {"argv": ["a"], "timeout": -1}}`, 400, "is negative"},
		{"POST", "/v1/profiles", `{"profiles": [{"name": "x", "memory": "much"}]}`, 400, "no size: write 512MB"},
		{"POST", "/v1/profiles", `{"profiles": [{"name": "x", "reattach": "10:30"}]}`, 400, "two ways"},
		{"POST", "/v1/profiles", `{"profiles": [{"name": "x", "options": {"idletime": "soon"}}]}`, 400, "no duration: write 90s"},
		{"POST", "/v1/profiles/default/submit", `{"task": {"argv": ["?"], "base64": true}}`, 400, "says base64 and is not"},
		{"POST", "/v1/profiles/default/map", "{}\n", 400, "task 1: a task needs a command"},
		{"POST", "/v1/profiles/default/map", `{"argv": ["a"]}` + "\n!\n", 400, "task 2: "},
		{"POST", "/v1/profiles/default/join", `{"uses": 0}`, 400, "0 workers"},
		{"POST", "/v1/profiles", `{"profiles": [{"name": "a b"}]}`, 400, "is no name of a profile"},
		{"POST", "/v1/profiles", `{"profiles": [{"name": "default", "memory": 5}]}`, 409, "up with other values"},
		{"POST", "/v1/wait", `{"ids": [99]}`, 404, "there is no future 99"},
		{"GET", "/v1/futures/x", "", 400, "is no id"},
		{"GET", "/v1/futures/99", "", 404, "there is no future 99"},
		{"GET", "/v1/status?futures=1,x", "", 400, "is no id"},
		{"GET", "/v1/status?futures=1,99", "", 200, `"futures":[{"id":1,`},
		{"GET", "/v1/status?futures=", "", 200, `"futures":[]`},
		{"GET", "/v1/futures/1/results/1/stdin", "", 400, "/stdout"},
		{"POST", "/v1/futures/1/finish", "{}", 409, "only tasks of a sync profile"},
		{"DELETE", "/v1/joins/x", "", 404, "there is no join string"},
		{"POST", "/v1/shutdown", "", 409, "a run ends by itself"},
	} {
		status, answer := post(t, socket, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(answer, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, answer, c.status, c.want)
		}
		if status >= 400 {
			var e control.Error
			if json.Unmarshal([]byte(answer), &e) != nil || e.Code == "" || e.Message == "" {
				t.Errorf("%s %s: the error is %s", c.method, c.path, answer)
			}
		}
	}
}

func TestBodyTooLarge(t *testing.T) {
	_, socket := serve(t, "up")
	status, answer := post(t, socket, "POST", "/v1/profiles/default/submit", `{"task": {"argv": ["`+strings.Repeat("x", 65<<20)+`"]}}`)
	if status != 413 {
		t.Errorf("%d %.200s", status, answer)
	}
	status, answer = post(t, socket, "POST", "/v1/profiles/default/map", strings.Repeat("x", 65<<20))
	if status != 400 || !strings.Contains(answer, "longer than") {
		t.Errorf("%d %.200s", status, answer)
	}
}

// TestMapIsAllOrNothing: a map whose submission breaks off runs nothing.
func TestMapIsAllOrNothing(t *testing.T) {
	c, _ := serve(t, "up")
	body, w := io.Pipe()
	go func() {
		io.WriteString(w, `{"argv": ["true"], "dir": "/"}`+"\n")
		w.CloseWithError(errors.New("the disk is gone"))
	}()
	if _, err := c.Map(t.Context(), "default", false, rng.Streams{}, body); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("%v", err)
	}
	err := c.Watch(t.Context(), func(st *control.Status) error {
		if i := st.Profiles[0].Info; i.Awaiting == 0 && i.Completed == 1 && len(st.Futures) == 0 {
			return io.EOF
		}
		return nil
	})
	if err != io.EOF {
		t.Error(err)
	}
}

func TestRunTakesNoTasks(t *testing.T) {
	c, _ := serve(t, "run")
	var e *control.Error
	if _, err := c.Submit(t.Context(), "default", control.SubmitRequest{Task: control.Task{Argv: []string{"true"}}}); !errors.As(err, &e) || e.Status != 409 {
		t.Errorf("submit: %v", err)
	}
	if _, err := c.Map(t.Context(), "default", false, rng.Streams{}, strings.NewReader("")); !errors.As(err, &e) || e.Status != 409 {
		t.Errorf("map: %v", err)
	}
	if _, err := c.Up(t.Context(), control.UpRequest{Profiles: []host.Spec{{Name: "x"}}}); !errors.As(err, &e) || e.Status != 409 {
		t.Errorf("up: %v", err)
	}
	if _, err := c.Down(t.Context(), "default"); !errors.As(err, &e) || e.Status != 409 {
		t.Errorf("down: %v", err)
	}
}

// TestWaitersEnd: waiters end with their client, and with the dispatcher.
func TestWaitersEnd(t *testing.T) {
	c, _ := serve(t, "up")
	a, err := c.Submit(t.Context(), "default", control.SubmitRequest{Task: control.Task{Argv: []string{"true"}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for _, any := range []bool{false, true} {
		if _, err := c.Wait(ctx, control.WaitRequest{IDs: []dispatcher.ID{a.ID}, Any: any}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("any %v: %v", any, err)
		}
	}
	waited := make(chan control.WaitAnswer)
	go func() {
		w, err := c.Wait(context.Background(), control.WaitRequest{IDs: []dispatcher.ID{a.ID}})
		if err != nil {
			t.Error(err)
		}
		waited <- w
	}()
	if _, err := c.Down(t.Context(), "default"); err != nil {
		t.Error(err)
	}
	if w := <-waited; len(w.Resolved) != 1 || !w.Resolved[0] {
		t.Errorf("%+v", w)
	}
	err = c.InOrder(t.Context(), a.ID, func(r *control.Result) error {
		if r.OK || r.Error.Code != task.CodeReset || r.Error.Class != "neither" || r.Result().Err.Kind != task.KindReset {
			t.Errorf("%+v", r)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNobodyThere(t *testing.T) {
	c := control.NewClient(filepath.Join(t.TempDir(), "x.sock"))
	if _, err := c.Status(t.Context()); !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// TestTaskRoundTrip: whatever bytes a task has come out as they went in.
func TestTaskRoundTrip(t *testing.T) {
	for _, s := range []task.Spec{
		{Argv: []string{"a", ""}, Dir: "/", Env: []string{"A=b"}, Name: "n", Timeout: time.Second, Input: []byte("x")},
		{Argv: []string{"\xff"}, Dir: "/\xfe", Env: []string{"A=\x80"}, Name: "\xc0", Input: []byte{0, 255}},
	} {
		b, err := json.Marshal(control.NewTask(s))
		if err != nil {
			t.Fatal(err)
		}
		var back control.Task
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		got, err := back.Spec()
		if err != nil || got.Argv[0] != s.Argv[0] || got.Dir != s.Dir || got.Env[0] != s.Env[0] || got.Name != s.Name ||
			!bytes.Equal(got.Input, s.Input) || got.Timeout != s.Timeout {
			t.Errorf("%+v became %+v: %v", s, got, err)
		}
	}
}

// FuzzTask: what is no task is refused, and what is one stays one.
func FuzzTask(f *testing.F) {
	f.Add([]byte(`{"argv": ["a"], "env": {"A": "b"}, "timeout": "1s"}`))
	f.Add([]byte(`{"argv": ["YQ=="], "base64": true, "stdin": "YQ=="}`))
	f.Add([]byte(`{"func": "f", "timeout": 1e300, "env": ["A=b"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in control.Task
		if json.Unmarshal(b, &in) != nil {
			return
		}
		s, err := in.Spec()
		if err != nil {
			return
		}
		if len(s.Argv) == 0 || !filepath.IsAbs(s.Dir) || s.Timeout < 0 {
			t.Fatalf("%s became %+v", b, s)
		}
		again, err := control.NewTask(s).Spec()
		if err != nil || again.Argv[0] != s.Argv[0] || again.Dir != s.Dir || !bytes.Equal(again.Input, s.Input) {
			t.Fatalf("%+v became %+v: %v", s, again, err)
		}
	})
}

// TestOneDispatcher: calls that name another run are refused.
func TestOneDispatcher(t *testing.T) {
	c, _ := serve(t, "up")
	st, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Of(st.Run).Status(t.Context()); err != nil {
		t.Errorf("its own run: %v", err)
	}
	var refused *control.Error
	if _, err := c.Of("another").Status(t.Context()); !errors.As(err, &refused) || refused.Code != "closed" {
		t.Errorf("another run: %v", err)
	}
}

// TestResultsFrom: what the caller has is left out.
func TestResultsFrom(t *testing.T) {
	c, socket := serve(t, "up")
	if status, answer := post(t, socket, "POST", "/v1/profiles/default/map", strings.Repeat(`{"argv": ["a"]}`+"\n", 3)); status != http.StatusOK {
		t.Fatal(answer)
	}
	if _, err := c.Cancel(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[int][]int{0: {1, 2, 3}, 2: {3}, 3: nil, 4: nil} {
		var got []int
		err := c.ResultsFrom(t.Context(), 1, from, func(r *control.Result) error {
			got = append(got, r.Index)
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("from %d: %v, %v; want %v", from, got, err, want)
		}
	}
	for _, from := range []string{"-1", "x"} {
		if status, answer := post(t, socket, "GET", "/v1/futures/1/results?from="+from, ""); status != http.StatusBadRequest {
			t.Errorf("from %s: %d %s", from, status, answer)
		}
	}
}

// TestCollectedByTwo: who reads a future fetches its large outputs too, although
// another who was quicker has forgotten it.
func TestCollectedByTwo(t *testing.T) {
	c, _ := serve(t, "up")
	if _, err := c.Up(t.Context(), control.UpRequest{Profiles: []host.Spec{{Name: "sync", Sync: true}}}); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("large\n"), 100_000)
	for name, read := range map[string]func(context.Context, dispatcher.ID, func(*control.Result) error) error{"resolved": c.Results, "in order": c.InOrder} {
		a, err := c.Submit(t.Context(), "sync", control.SubmitRequest{Task: control.Task{Argv: []string{"a"}}})
		if err == nil {
			err = c.Finish(t.Context(), a.ID, control.FinishRequest{Stdout: want})
		}
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = read(t.Context(), a.ID, func(r *control.Result) error {
			n++
			if err := c.Forget(t.Context(), a.ID); err != nil {
				t.Error(err)
			}
			var got bytes.Buffer
			if err := c.Stream(t.Context(), a.ID, r.Index, "stdout", &got); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s: %d bytes came: %v", name, got.Len(), err)
			}
			return nil
		})
		if err != nil || n != 1 {
			t.Errorf("%s: %d results, %v", name, n, err)
		}
		if err := c.Finish(t.Context(), a.ID, control.FinishRequest{}); err == nil {
			t.Errorf("%s: the future is not forgotten", name)
		}
	}
}
