package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	mhttp "muster/http"
	"muster/internal/fleet"
	"muster/internal/plan"
)

// slurmrestd is one that can lose its answers. What the real one says is tested by the
// scripts.
type slurmrestd struct {
	*httptest.Server

	mu        sync.Mutex // guards all below
	names     []string   // of the jobs that it has taken, which are called 1, 2, ...
	cancelled []string
	lost      bool // it takes a job and does not say so
	silent    bool // it lists nothing
	refuses   bool
}

func newSlurmrestd(t *testing.T) *slurmrestd {
	s := &slurmrestd{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.handle))
	t.Cleanup(s.Close)
	return s
}

func (s *slurmrestd) set(lost, silent, refuses bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost, s.silent, s.refuses = lost, silent, refuses
}

func (s *slurmrestd) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const failed = `{"errors":[{"error_number":%d,"error":"x"}],"jobs":[]}`
	switch path := strings.TrimPrefix(r.URL.Path, "/slurm/v0.0.38/"); {
	case path == "job/1" && r.Method == "GET":
		w.WriteHeader(500)
		fmt.Fprintf(w, failed, 2017)
	case path == "job/submit" && s.refuses:
		w.WriteHeader(500)
		fmt.Fprintf(w, failed, 2000)
	case path == "job/submit":
		var said struct {
			Job struct{ Name string } `json:"job"`
		}
		b, _ := io.ReadAll(r.Body)
		json.Unmarshal(b, &said)
		s.names = append(s.names, said.Job.Name)
		if s.lost {
			w.WriteHeader(500)
			fmt.Fprintf(w, failed, 5004)
			return
		}
		fmt.Fprintf(w, `{"job_id":%d,"errors":[]}`, len(s.names))
	case path == "jobs" && s.silent:
		w.WriteHeader(500)
		fmt.Fprintf(w, failed, 1800)
	case path == "jobs":
		// Elements of an array, between those of another job.
		list := []string{`{"job_id":900,"job_state":"RUNNING","name":"another"}`}
		for i, name := range s.names {
			state := "RUNNING"
			if strings.Contains(strings.Join(s.cancelled, " "), fmt.Sprint(i+1)) {
				state = "CANCELLED"
			}
			one := `{"job_id":%d,"array_job_id":%d,"array_task_id":%d,"job_state":%q,"name":%q}`
			list = append([]string{fmt.Sprintf(one, 500+i, i+1, 1, state, name)}, append(list, fmt.Sprintf(one, 600+i, i+1, 2, state, name))...)
		}
		fmt.Fprintf(w, `{"jobs":[%s],"errors":[]}`, strings.Join(list, ","))
	case r.Method == "DELETE":
		s.cancelled = append(s.cancelled, strings.TrimPrefix(path, "job/"))
		io.WriteString(w, `{"errors":[]}`)
	default:
		w.WriteHeader(404)
	}
}

// plan is for an array of two.
func (s *slurmrestd) plan(t *testing.T) *plan.Plan {
	k := &plan.Slurmrestd{Web: plan.Web{Timeout: time.Minute}, Slurm: mhttp.Slurm{URL: s.URL}, Version: "v0.0.38", Count: 1,
		Job: mhttp.SlurmJob{Script: "#!/bin/sh\n", Name: "muster", Environment: []string{"A=b"}}}
	if err := json.Unmarshal([]byte(`["1-2"]`), &k.Arrays); err != nil {
		t.Fatal(err)
	}
	return &plan.Plan{Launcher: "rest", Config: "/muster.hcl", Poll: time.Second, Kind: k}
}

func (s *slurmrestd) submit(t *testing.T, f *bed) ([]fleet.Submitted, error) {
	t.Helper()
	p := s.plan(t)
	names, release, err := f.Names(t.Context(), p, "")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	p.Names = names
	return f.Submit(t.Context(), p, "")
}

func records(t *testing.T, f *bed) []*fleet.Record {
	t.Helper()
	list, err := fleet.Records(f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSlurmrestdLostAnswer: a job of which slurmrestd has not said that it took it is
// looked for by its name. When it cannot be looked for either the record stays, and
// another process finds the job.
func TestSlurmrestdLostAnswer(t *testing.T) {
	s, f := newSlurmrestd(t), newBed(t, &scheduler{})
	s.set(true, false, false)
	if done, err := s.submit(t, f); err != nil || len(done) != 1 || done[0].ID != "1" {
		t.Fatalf("it was found by its name: %+v, %v", done, err)
	}
	s.set(true, true, false)
	_, err := s.submit(t, f)
	list := records(t, f)
	if err == nil || !strings.Contains(err.Error(), "it may have been accepted all the same: look for a job muster-") || len(list) != 2 {
		t.Fatalf("%d records, %v", len(list), err)
	}
	s.set(false, false, true)
	if _, err := s.submit(t, f); err == nil || strings.Contains(err.Error(), "may have been") || len(records(t, f)) != 2 {
		t.Errorf("what it has refused is on record: %v", err)
	}

	later := newBed(t, &scheduler{})
	reopened := 0
	later.Reopen = func(context.Context, *fleet.Record) (*plan.Plan, error) { reopened++; return s.plan(t), nil }
	for _, o := range later.TakeBack(t.Context(), list, "") {
		if o.Err != nil || !strings.HasSuffix(o.String(), "is gone") {
			t.Error(o)
		}
	}
	if len(s.cancelled) != 2 || len(records(t, f)) != 0 || reopened != 2 {
		t.Errorf("cancelled %q, the config was read %d times", s.cancelled, reopened)
	}
}

// TestSlurmrestdElsewhere: a launcher that speaks to another service by now ends
// nothing there.
func TestSlurmrestdElsewhere(t *testing.T) {
	s, elsewhere, f := newSlurmrestd(t), newSlurmrestd(t), newBed(t, &scheduler{})
	if _, err := s.submit(t, f); err != nil {
		t.Fatal(err)
	}
	later := newBed(t, &scheduler{})
	ctx, stop := context.WithCancel(t.Context())
	later.Reopen = func(context.Context, *fleet.Record) (*plan.Plan, error) {
		stop() // it would try again
		return elsewhere.plan(t), nil
	}
	o := later.TakeBack(ctx, records(t, f), "")
	if len(o) != 1 || o[0].Err == nil || !strings.Contains(o[0].Err.Error(), "write it there as it was") {
		t.Error(o)
	}
	if len(elsewhere.cancelled)+len(s.cancelled) != 0 || len(records(t, f)) != 1 {
		t.Errorf("cancelled %q and %q", s.cancelled, elsewhere.cancelled)
	}
}
