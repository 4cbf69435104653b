package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/config"
	"muster/internal/plan"
)

// heard is a fleet, and what it tells the user.
func heard() (*Fleet, *[]string) {
	var said []string
	return &Fleet{Say: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}, &said
}

func TestStateWords(t *testing.T) {
	own := plan.States{Pending: []string{"parked", "DONE"}, Running: []string{"Up and away"}, Ended: []string{"Gone", "RUNNING"}}
	for word, want := range map[string]hpc.Element{
		"QUEUED": {State: hpc.Pending}, "queued": {State: hpc.Pending}, "Pending": {State: hpc.Pending}, "PD": {State: hpc.Pending},
		"IN_PROGRESS": {State: hpc.Running}, "in-progress": {State: hpc.Running}, "In Progress": {State: hpc.Running},
		"Succeeded": {State: hpc.Ended, End: hpc.EndOrdinary}, "FAILED": {State: hpc.Ended, End: hpc.EndOrdinary},
		"cancelled": {State: hpc.Ended, End: hpc.EndCancelled}, "Canceled": {State: hpc.Ended, End: hpc.EndCancelled},
		"Evicted": {State: hpc.Ended, End: hpc.EndPreempted}, "DeadlineExceeded": {State: hpc.Ended, End: hpc.EndWalltime},
		"OOMKilled": {State: hpc.Ended, End: hpc.EndMemory}, "OUT_OF_MEMORY": {State: hpc.Ended, End: hpc.EndMemory}, "NODE_FAIL": {State: hpc.Ended, End: hpc.EndNode},
		"": {}, " ": {}, "_": {}, "gone fishing": {}, "PENDINGS": {}, "PENDING RUNNING": {},
		// The user's own words come first, and are the words as they are.
		"PARKED": {State: hpc.Pending, Reason: "PARKED"}, "done": {State: hpc.Pending, Reason: "done"}, "up and away": {State: hpc.Running}, "UpAndAway": {}, "running": {State: hpc.Ended}, "GONE": {State: hpc.Ended},
	} {
		want.Raw = word
		if got := stands(word, own); got != want {
			t.Errorf("%q: %+v, want %+v", word, got, want)
		}
	}
	seen := map[string]bool{}
	for _, group := range knownWords {
		for _, w := range strings.Fields(group.words) {
			if seen[w] || stands(w, plan.States{}).State != group.state {
				t.Errorf("%s is there twice, or is not understood", w)
			}
			seen[w] = true
		}
	}
}

// TestStrangeWord is told once for each launcher, whatever it holds.
func TestStrangeWord(t *testing.T) {
	f, said := heard()
	for _, launcher := range []string{"a", "b", "a"} {
		a := apart{f: f, launcher: launcher, service: "http://s"}
		for range 2 {
			e := a.says(&Record{ID: "n", Theirs: "7"}, "odd\x1b[2J", plan.States{})
			if e.State != hpc.Unknown || !strings.Contains(e.Reason, `"odd?[2J", which is no word that is known`) {
				t.Errorf("%+v", e)
			}
		}
		a.says(&Record{ID: "n"}, "RUNNING", plan.States{})
	}
	if len(*said) != 2 || !strings.HasPrefix((*said)[0], "job 7 of http://s: it stands at ") {
		t.Errorf("said %q", *said)
	}
}

func TestJudge(t *testing.T) {
	late := errors.New("late")
	for _, c := range []struct {
		name   string
		status int
		err    error
		over   bool // ctx is done
		want   outcome
		fails  string // what the error has; empty is none
		note   bool
	}{
		{"taken", 201, nil, false, started, "", false},
		{"taken as it was given up", 200, nil, true, started, "", false},
		{"not sent", 0, fmt.Errorf("x: %w", mhttp.ErrNotSent), false, nothing, "not sent", false},
		{"refused", 400, nil, false, nothing, "POST http://s: it answered 400 Bad Request", false},
		{"refused, and cut off", 403, late, false, nothing, "late", false},
		{"broken", 500, nil, false, nothing, "500 Internal Server Error", false},
		{"busy for too long", 429, nil, false, nothing, "429", false},
		{"moved", 302, nil, false, nothing, "302 Found", false},
		{"no answer", 0, late, false, started, "", true},
		{"cut off", 200, late, false, started, "", true},
		{"broken, and cut off", 500, late, false, started, "", true},
		{"a gateway", 502, nil, false, started, "", true},
		{"a gateway in time", 504, nil, false, started, "", true},
		{"given up", 0, late, true, started, context.Canceled.Error(), true},
	} {
		f, said := heard()
		ctx, cancel := context.WithCancel(t.Context())
		if c.over {
			cancel()
		}
		r := &Record{Launch: "n", Launcher: "l"}
		got, err := apart{f, "l", "http://s"}.judge(ctx, r, "POST", mhttp.Answer{Status: c.status}, c.err)
		cancel()
		if got != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %d, %v", c.name, got, err)
		}
		// What may have been started has its launch's name, and is on nobody's list.
		if (r.ID == "n") != (c.want == started) || r.Blind != c.note || r.Endless != c.note || (r.note != "") != c.note || len(*said) != map[bool]int{true: 1}[c.note] {
			t.Errorf("%s: %+v, said %q", c.name, r, *said)
		}
	}
}

func TestAskEach(t *testing.T) {
	records := []*Record{{ID: "a", Array: "1-2"}, {ID: "b"}, {ID: "c"}}
	failing := func(ids ...string) func(*Record) ([]hpc.Element, error) {
		return func(r *Record) ([]hpc.Element, error) {
			switch {
			case slices.Contains(ids, r.ID):
				return nil, errors.New("no word of " + r.ID)
			case r.ID == "c":
				return nil, nil // it is not known there
			}
			return elements(r, hpc.Element{State: hpc.Running}), nil
		}
	}
	show := func(list []hpc.Element) (text string) {
		for _, e := range list {
			text += fmt.Sprintf("%s_%d %d%s%s;", e.Job, e.Index, e.State, e.Raw, e.Reason)
		}
		return text
	}
	for _, c := range []struct {
		ids        []string
		want, fail string
	}{
		{nil, "a_1 2;a_2 2;b_0 2;", ""},
		{[]string{"b"}, "a_1 2;a_2 2;b_0 0no answerno word of b;", ""},
		{[]string{"a", "c"}, "a_1 0no answerno word of a;a_2 0no answerno word of a;b_0 2;c_0 0no answerno word of c;", ""},
		{[]string{"a", "b", "c"}, "", "no word of a"},
	} {
		list, err := askEach(records, 2, failing(c.ids...))
		want := strings.ReplaceAll(c.want, " 2;", fmt.Sprintf(" %d;", hpc.Running))
		want = strings.ReplaceAll(want, " 0no", fmt.Sprintf(" %dno", hpc.Unknown))
		if show(list) != want || fmt.Sprint(err) != map[bool]string{true: c.fail, false: "<nil>"}[c.fail != ""] {
			t.Errorf("%v: %s, %v", c.ids, show(list), err)
		}
	}
	if list, err := askEach(nil, 2, failing()); list != nil || err != nil {
		t.Error(list, err)
	}
}

// FuzzAnswer has a service answer anything: what is read of that is an id and a state
// that can be shown, sent and recorded, or an error that can be shown.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{`{"id": "job-1", "state": "RUNNING"}`, `{"id": 12345678901234567890}`, `{"id": null}`, `{"id": ["a"]}`, `[]`, `{"id": "a\nb", "status": "\u001b[2J"}`, `{"id": "` + strings.Repeat("x", 300) + `"}`, "<html>", "", "{\"id\": \"\xff\"}", `{"id": {"": {}}, "state": 1e999}`, `{"id":[1,"a",{"b":null}],"state":true}`} {
		f.Add(200, body, "application/json")
	}
	id := config.Formula{Text: "answer.json.id", File: "f", Line: 1, Column: 1}
	word := config.Formula{Text: `"${answer.json.state}"`, File: "f", Line: 1, Column: 1}
	f.Fuzz(func(t *testing.T, code int, body, header string) {
		a := mhttp.Answer{Status: code, Body: body, Headers: http.Header{"Content-Type": {header}, "X-None": nil}}
		known := config.Known{"answer": answered(a)}
		readable := func(text string) {
			if !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\x00") {
				t.Errorf("%q is not to be shown", text)
			}
		}
		got, err := id.String(known)
		if err == nil {
			err = checkID(got)
		}
		if err == nil && (got == "" || len(got) > maxID || strings.ContainsAny(got, "\n\x00\x1b")) {
			t.Errorf("%q is an id", got)
		}
		if err != nil {
			readable(unread(a, err).Error() + a.Text())
		}
		fleet, said := heard()
		r := &Record{ID: "n", Theirs: got, Array: "1-2"}
		for _, formula := range []config.Formula{{}, word} {
			w, err := state(formula, known, a)
			if err != nil {
				readable(unread(a, err).Error())
				continue
			}
			list := elements(r, apart{fleet, "l", "http://s"}.says(r, w, plan.States{}))
			if len(list) != 2 || list[0].Job != "n" || list[1].Index != 2 {
				t.Errorf("%+v", list)
			}
			readable(list[0].Reason)
		}
		if err == nil {
			for _, text := range *said {
				readable(text)
			}
		}
	})
}

// TestAbout has services say where they are asked about what they have started: relative
// to where that was, and elsewhere, where nothing secret goes by their word alone.
func TestAbout(t *testing.T) {
	start := mhttp.Request{Method: "POST", URL: "https://me:pw@api.example.org/v1/jobs", Body: "{}", Headers: []mhttp.Header{
		{Name: "Authorization", Value: "Bearer key"}, {Name: "Idempotency-Key", Value: "n"}, {Name: "Content-Type", Value: "application/json"}}}
	for _, c := range []struct{ text, says, want, fails string }{
		{"id", "/v1/jobs/7", "https://me:pw@api.example.org/v1/jobs/7", ""},
		{"id", "jobs/7?x=y", "https://me:pw@api.example.org/v1/jobs/7?x=y", ""},
		{"id", "https://API.example.org:443/v2/7", "https://me:pw@API.example.org:443/v2/7", ""},
		{`"https://api.example.org/${id}"`, "7", "https://me:pw@api.example.org/7", ""},
		{`"https://other.example.org/${id}"`, "7", "https://other.example.org/7", ""},
		{`"${"https://other.example.org"}/${answer.json.id}"`, "7", "https://other.example.org/7", ""},
		{"id", "https://other.example.org/7", "", "leads to https://other.example.org: muster sends no credentials"},
		{"id", "//other.example.org/7", "", "leads to https://other.example.org"},
		{"id", "http://api.example.org/7", "", "leads to http://api.example.org"},
		{"answer.json.id", "https://api.example.org:8443/7", "", "leads to https://api.example.org:8443"},
		{`"https://api.example.org${id}"`, ".evil.org/7", "", "leads to https://api.example.org.evil.org"},
		{`"https://api.example.org${id}"`, ":8443/7", "", "leads to https://api.example.org:8443"},
		{`"https://api.example.org@${id}"`, "evil.org/7", "", "leads to https://evil.org"},
		{`"//${id}"`, "evil.org/7", "", "leads to https://evil.org"},
		{"id", "ftp://api.example.org/7", "", "it is no address of http:// or https://"},
		{"id", "http://%zz", "", "it is no address of http:// or https://"},
		{`""`, "", "", "it is no address of http:// or https://"},
	} {
		r := &Record{Theirs: c.says, Service: "https://api.example.org", answer: mhttp.Answer{Status: 200, Body: fmt.Sprintf(`{"id":%q}`, c.says)}}
		got, err := r.about(start, "GET", config.Formula{Text: c.text, File: "f", Line: 1, Column: 1}, "")
		if (err != nil) != (c.fails != "") || err != nil && (!strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "pw")) {
			t.Errorf("%s of %s: %v", c.text, c.says, err)
		}
		if got.URL != c.want || c.want != "" && len(got.Headers) != 1 {
			t.Errorf("%s of %s: %+v", c.text, c.says, got)
		}
	}
}

// TestState has services say how something stands without an expression that says where.
func TestState(t *testing.T) {
	for body, want := range map[string]string{
		`{"state": "RUNNING", "status": 200}`: "RUNNING", `{"state": {}, "status": "QUEUED"}`: "QUEUED", `{"state": 3}`: "3",
		`{"state": true}`: "", `{"state": null}`: "", `["RUNNING"]`: "", "RUNNING": "", "": "",
	} {
		if got, err := state(config.Formula{}, nil, mhttp.Answer{Status: 200, Body: body}); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
	for _, id := range []string{"", " ", "\u00a0"} {
		if checkID(id) == nil {
			t.Errorf("%q is an id", id)
		}
	}
}
