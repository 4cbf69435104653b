package fleet_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	mhttp "muster/http"
	"muster/internal/fleet"
	"muster/internal/plan"
)

// TestWorkbenchAnswers: an answer says that a job was launched, or that it was not; that
// of a gateway says neither. What all requests are told is said once.
func TestWorkbenchAnswers(t *testing.T) {
	status := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/get_compute_envs") {
			io.WriteString(w, `{"result":{"clusters":[{"name":"c","defaultImage":"i","resourceProfiles":[{"name":"p"}]}]}}`)
			return
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	for _, c := range []struct {
		status, started int
		err, said       string
	}{
		{200, 3, "", ""},
		{400, 0, "submit wb: posit-workbench: launch a job: the service answered 400 Bad Request (3 times)", ""},
		{502, 3, "", "it is not known whether"},
		{504, 3, "", "it is not known whether"},
	} {
		status = c.status
		f := newBed(t, &scheduler{})
		k := &plan.Workbench{Web: plan.Web{Timeout: time.Minute}, Count: 3}
		for range k.Count {
			k.Jobs = append(k.Jobs, mhttp.Workbench{Server: s.URL, Cookie: "c", Args: []string{"-c", "true"}})
		}
		p := &plan.Plan{Launcher: "wb", Poll: time.Second, Kind: k}
		var err error
		if p.Names, _, err = f.Names(t.Context(), p, ""); err != nil {
			t.Fatal(err)
		}
		done, err := f.Submit(t.Context(), p, "")
		text := ""
		if err != nil {
			text = err.Error()
		}
		list, failed := fleet.Records(f.Dir)
		if text != c.err || len(done) != c.started || len(list) != c.started || failed != nil || !strings.Contains(f.words(), c.said) {
			t.Errorf("%d: %d started, %d records, error %q, said %q", c.status, len(done), len(list), text, f.words())
		}
	}
}
