package report_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"muster/internal/report"
	"muster/task"
)

func TestResultsBeyondParallel(t *testing.T) {
	long := strings.Repeat("x", 300)
	dir := t.TempDir()
	m := newMaker(t)
	w := open(t, report.Options{ResultsDir: dir})
	rows := [][]string{{""}, {"."}, {".."}, {"a\x00b"}, {long}, {long + "y"}, {strings.Repeat("é", 200)},
		{strings.Repeat("\t", 200)}, {strings.Repeat("\xff", 256)}}
	for i, row := range rows {
		it := m.item(i+1, fmt.Sprint(i), "")
		it.Row = task.Row{Values: row}
		put(t, w, it)
	}
	closeIt(t, w)
	got := tree(t, dir)
	if len(got) != 4*len(rows) {
		t.Fatalf("%d files for %d rows: %q", len(got), len(rows), slices.Sorted(maps.Keys(got)))
	}
	for path, want := range map[string]string{`1/\e/stdout`: "0", `1/\./stdout`: "1", `1/\../stdout`: "2", `1/a\0b/stdout`: "3"} {
		if got[path] != want {
			t.Errorf("%s holds %q, want %q", path, got[path], want)
		}
	}
}

func TestResultsOfManyColumns(t *testing.T) {
	dir := t.TempDir()
	it := newMaker(t).item(1, "o", "")
	it.Row.Values = slices.Repeat([]string{strings.Repeat("v", 255)}, 30) // a path beyond PATH_MAX
	w := open(t, report.Options{ResultsDir: dir})
	put(t, w, it)
	closeIt(t, w)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	path := ""
	for i, v := range it.Row.Values {
		path += fmt.Sprintf("%d/%s/", i+1, v)
	}
	if p, err := root.ReadFile(path + "stdout"); err != nil || string(p) != "o" {
		t.Errorf("stdout: %q, %.100v", p, err)
	}
}

func TestResultJSON(t *testing.T) {
	dir := t.TempDir()
	m := newMaker(t)
	it := m.item(1, "out", strings.Repeat("e", 3<<20))
	it.Row = task.Row{Values: []string{"v"}, Columns: []string{"c"}}
	w := open(t, report.Options{ResultsDir: dir})
	put(t, w, failed(it, &task.ErrorValue{Kind: task.KindExit, Code: 2, Message: "exit status 2"}))
	closeIt(t, w)
	if m.left() > 0 {
		t.Error("the spool keeps a file that the results directory has")
	}
	text := tree(t, dir)["c/v/result.json"]
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if got["index"] != 1.0 || got["exit"] != 2.0 || got["stderr_bytes"] != float64(3<<20) {
		t.Errorf("got %s", text)
	}
	for _, key := range []string{"stdout", "stderr", "stdout_truncated", "stderr_file"} {
		if _, ok := got[key]; ok {
			t.Errorf("%s is there", key)
		}
	}
}

func TestLaterResultReplacesEarlier(t *testing.T) {
	dir := t.TempDir()
	m := newMaker(t)
	w := open(t, report.Options{ResultsDir: dir})
	for _, text := range []string{"a long first one", "second"} {
		it := m.item(1, text, "")
		put(t, w, it)
	}
	put(t, w, report.Item{Row: task.Row{Values: []string{"1"}}, Result: task.Result{Index: 1, Err: task.Cancelled("")}})
	closeIt(t, w)
	got := tree(t, dir)
	if got["1/1/stdout"] != "second" || len(got) != 4 {
		t.Errorf("got %q", got)
	}
}

func TestResultsFollowNoLinkOut(t *testing.T) {
	base := t.TempDir()
	dir, outside := filepath.Join(base, "out"), filepath.Join(base, "outside")
	for _, d := range []string{dir, outside} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../outside", filepath.Join(dir, "1")); err != nil {
		t.Fatal(err)
	}
	w := open(t, report.Options{ResultsDir: dir})
	if err := w.Write(newMaker(t).item(1, "x", "")); err == nil {
		t.Error("no error")
	}
	if got := tree(t, outside); len(got) > 0 {
		t.Errorf("wrote %q outside", got)
	}
}
