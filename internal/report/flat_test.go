package report_test

import (
	"bytes"
	"strings"
	"testing"

	"muster/internal/report"
	"muster/task"
)

func TestFlatLines(t *testing.T) {
	long := strings.Repeat("\n", 200<<10)
	m := newMaker(t)
	var out, errs bytes.Buffer
	w := open(t, report.Options{Stdout: &out, Stderr: &errs, Flat: true})
	put(t, w, m.item(6, "end"+long, ""), m.item(3, "", ""), m.item(2, "two\n\n", "warn\n"), m.item(1, "one", ""),
		m.item(5, long+"x\n", ""), m.item(4, "a\n\nb\r\n", ""))
	closeIt(t, w)
	if want := "one\ntwo\n\na\n\nb\r\n" + long + "x\nend\n"; out.String() != want {
		t.Errorf("got %d bytes %.40q, want %d", out.Len(), out.String(), len(want))
	}
	if errs.String() != "warn\n" {
		t.Errorf("stderr %q", errs.String())
	}
}

func TestFlatJSON(t *testing.T) {
	for _, tc := range []struct {
		outputs []string
		want    string
		err     string
	}{
		{nil, "[]\n", ""},
		{[]string{"1\n", " 2.50 ", "-3e4"}, "[1,2.50,-3e4]\n", ""},
		{[]string{`{"a": [1, 2]}`, "{}"}, `[{"a":[1,2]},{}]` + "\n", ""},
		{[]string{"true", "false"}, "[true,false]\n", ""},
		{[]string{"null", "null"}, "[null,null]\n", ""},
		{[]string{`"<é>"`}, `["<é>"]` + "\n", ""},
		{[]string{`"a"`, `"b"`, "3"}, "", "result 3 (n3): number, the ones before are strings"},
		{[]string{"1", "null"}, "", "result 2 (n2): null, the ones before are numbers"},
		{[]string{"1", "hello"}, "", "result 2 (n2): its output is not a JSON value"},
		{[]string{"1 2"}, "", "result 1 (n1): its output is not a JSON value"},
		{[]string{"\n"}, "", "result 1 (n1): its output is not a JSON value: it is empty"},
		{[]string{"\"\xff\""}, "", "result 1 (n1): its output is not a JSON value: it is not UTF-8"},
	} {
		m := newMaker(t)
		var out bytes.Buffer
		w := open(t, report.Options{Stdout: &out, Flat: true, JSON: true})
		for i := len(tc.outputs); i > 0; i-- {
			it := m.item(i, tc.outputs[i-1], "")
			it.Result.Name = "n" + it.Row[0]
			put(t, w, it)
		}
		if out.Len() > 0 {
			t.Errorf("%q: printed before Close", tc.outputs)
		}
		err := w.Close()
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%q: error %v, want %q", tc.outputs, err, tc.err)
		}
		if out.String() != tc.want {
			t.Errorf("%q: got %q, want %q", tc.outputs, out.String(), tc.want)
		}
	}
}

func TestFlatEndsAtAFailure(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		m := newMaker(t)
		var out, errs bytes.Buffer
		w := open(t, report.Options{Stdout: &out, Stderr: &errs, Flat: true, JSON: asJSON})
		bad := failed(m.item(2, "2\n", "because\n"), &task.ErrorValue{Kind: task.KindExit, Code: 9, Message: "exit status 9"})
		bad.Result.Name = "b\x1bb"
		big := m.item(3, strings.Repeat("3", 100<<10), "later\n")
		put(t, w, bad, m.item(1, "1", ""), big)
		err := w.Close()
		if err == nil || !strings.Contains(err.Error(), `result 2 ("b\x1bb") failed: exit status 9`) {
			t.Errorf("error %v", err)
		}
		if want := map[bool]string{false: "1\n", true: ""}[asJSON]; out.String() != want {
			t.Errorf("JSON %v: printed %q, want %q", asJSON, out.String(), want)
		}
		if errs.String() != "because\n" {
			t.Errorf("stderr %q", errs.String())
		}
		if m.left() > 0 {
			t.Error("files are left")
		}
	}
}

func TestFlatMissesAResult(t *testing.T) {
	m := newMaker(t)
	var out bytes.Buffer
	w := open(t, report.Options{Stdout: &out, Flat: true})
	put(t, w, m.item(1, "1", ""), m.item(3, "3", ""))
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "result 2 is missing") || out.String() != "1\n" {
		t.Errorf("error %v, output %q", err, out.String())
	}
}
