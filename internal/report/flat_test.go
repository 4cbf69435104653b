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
		{[]string{`"a"`, `"b"`, "3"}, `["a","b"]` + "\n", "left out: result 3 (n3): number, the ones before are strings"},
		{[]string{"1", "null", "2", "x"}, "[1,2]\n", "2 results are left out; the first: result 2 (n2): null, the ones before are numbers"},
		{[]string{"1", "hello"}, "[1]\n", "result 2 (n2): its output is not a JSON value"},
		{[]string{"1 2"}, "[]\n", "result 1 (n1): its output is not a JSON value"},
		{[]string{"\n"}, "[]\n", "result 1 (n1): its output is not a JSON value: it is empty"},
		{[]string{"\"\xff\""}, "[]\n", "result 1 (n1): its output is not a JSON value: it is not UTF-8"},
	} {
		m := newMaker(t)
		var out bytes.Buffer
		w := open(t, report.Options{Stdout: &out, Flat: true, JSON: true})
		for i := len(tc.outputs); i > 0; i-- {
			it := m.item(i, tc.outputs[i-1], "")
			it.Result.Name = "n" + it.Row.Values[0]
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

// TestFlatLeavesFailuresOut: what succeeded is kept, before and after a task that failed or
// never ran.
func TestFlatLeavesFailuresOut(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		m := newMaker(t)
		var out, errs bytes.Buffer
		w := open(t, report.Options{Stdout: &out, Stderr: &errs, Flat: true, JSON: asJSON})
		bad := failed(m.item(2, "2\n", "because\n"), &task.ErrorValue{Kind: task.KindExit, Code: 9, Message: "exit status 9"})
		put(t, w, bad, m.item(1, "1", ""), m.item(3, "3"+strings.Repeat(" ", 100<<10), "later\n"), m.item(5, "5", ""))
		if err := w.Close(); err != nil {
			t.Errorf("error %v", err)
		}
		if want := map[bool]string{false: "1\n3" + strings.Repeat(" ", 100<<10) + "\n5\n", true: "[1,3,5]\n"}[asJSON]; out.String() != want {
			t.Errorf("JSON %v: printed %q, want %q", asJSON, out.String(), want)
		}
		if errs.String() != "because\nlater\n" {
			t.Errorf("stderr %q", errs.String())
		}
		if m.left() > 0 {
			t.Error("files are left")
		}
	}
}
