package report_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/report"
	"muster/task"
)

// timeless replaces the two columns that differ from run to run by their form.
func timeless(t *testing.T, log string) string {
	t.Helper()
	log = regexp.MustCompile(`(?m)^(\d+\t[^\t]*)\t\d{10}\.\d{3}\t`).ReplaceAllString(log, "$1\tSTART\t")
	return regexp.MustCompile(`(?m)\tSTART\t {5}\d\.\d{3}\t`).ReplaceAllString(log, "\tSTART\tTIME\t")
}

func TestJobLogIsThatOfParallel(t *testing.T) {
	commands := []string{"true", "exit 3", "printf 12345", "kill -9 $$", "printf a\nprintf b", "echo 'a\tb' >&2"}
	dir := parallel(t, strings.Join(commands, "\x00")+"\x00", "-0", "--joblog", "log")
	want := timeless(t, read(t, filepath.Join(dir, "log")))

	m := newMaker(t)
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, report.Options{JobLog: path})
	outputs := []string{"", "", "12345", "", "ab", ""}
	errs := []*task.ErrorValue{nil, {Kind: task.KindExit, Code: 3}, nil, {Kind: task.KindSignal, Code: 137, Signal: "SIGKILL"}, nil, nil}
	for i, command := range commands {
		it := failed(m.item(i+1, outputs[i], "e"), errs[i])
		it.Command = command
		put(t, w, it)
		if lines := strings.Count(read(t, path), "\n"); lines != i+2 {
			t.Errorf("%d lines after %d tasks", lines, i+1)
		}
	}
	closeIt(t, w)
	if got := timeless(t, read(t, path)); got != want {
		t.Errorf("got\n%q\nparallel has\n%q", got, want)
	}
}

func TestParallelRetriesFromOurJobLog(t *testing.T) {
	m := newMaker(t)
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, report.Options{JobLog: path})
	for i, e := range []*task.ErrorValue{nil, {Kind: task.KindExit, Code: 1}, task.Reset("")} {
		it := failed(m.item(i+1, "", ""), e)
		it.Command = fmt.Sprintf("touch %d\ntouch again", i+1)
		put(t, w, it)
	}
	closeIt(t, w)
	dir := parallel(t, "", "--retry-failed", "--joblog", path)
	got := slices.DeleteFunc(slices.Sorted(maps.Keys(tree(t, dir))), func(s string) bool { return strings.HasPrefix(s, ".") })
	if !slices.Equal(got, []string{"2", "3", "again"}) {
		t.Errorf("parallel ran what made %q", got)
	}
}

func TestJobLogFields(t *testing.T) {
	for _, tc := range []struct {
		err  *task.ErrorValue
		want string
	}{
		{nil, "0\t0"},
		{&task.ErrorValue{Kind: task.KindExit, Code: 127}, "127\t0"},
		{&task.ErrorValue{Kind: task.KindError, Code: 4}, "4\t0"},
		{&task.ErrorValue{Kind: task.KindError}, "-1\t0"},
		{&task.ErrorValue{Kind: task.KindSpawn}, "-1\t0"},
		{&task.ErrorValue{Kind: task.KindSignal, Code: 139}, "0\t11"},
		{&task.ErrorValue{Kind: task.KindSignal, Signal: "SIGSEGV"}, "0\t11"},
		{&task.ErrorValue{Kind: task.KindInterrupt, Signal: "SIGINT", Code: 130}, "0\t2"},
		{&task.ErrorValue{Kind: task.KindOOM, Code: 137}, "0\t9"},
		{&task.ErrorValue{Kind: task.KindOOM}, "-1\t0"},
		{task.Timeout(""), "-1\t15"},
		{task.Reset(""), "-1\t0"},
		{task.Cancelled(""), "-1\t0"},
		{&task.ErrorValue{Kind: task.KindWalltime, Signal: "SIGKILL"}, "-1\t9"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		w := open(t, report.Options{JobLog: path})
		it := failed(newMaker(t).item(7, "abc", "e"), tc.err)
		it.Host = "no\tde"
		it.Result.Elapsed = 1234567*time.Second + 4*time.Millisecond
		put(t, w, it)
		closeIt(t, w)
		want := "7\tno_de\t1772600767.890\t1234567.004\t0\t3\t" + tc.want + "\techo x"
		if got := strings.Split(read(t, path), "\n")[1]; got != want {
			t.Errorf("%+v: %q, want %q", tc.err, got, want)
		}
	}
}

func TestReadJobLog(t *testing.T) {
	heading := "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
	ok := "1\t:\t1772600767.890\t     0.004\t0\t3\t0\t0\techo 'a\tb'\x00c\n"
	bad := "1\t:\t1772600767.890\t     0.004\t0\t3\t7\t0\tfalse\n"
	killed := "12\tuser@host -p 1\t1772600767.890\t     0.004\t0\t3\t0\t9\t\n"
	lost := "2\t:\t0.000\t     0.000\t0\t0\t-1\t0\tx\n"
	did := report.PastTask{Command: "echo 'a\tb'\nc"}
	for _, c := range []struct {
		name, log string
		want      map[int]report.PastTask
		torn      bool
	}{
		{"empty", "", nil, false},
		{"a heading", heading, nil, false},
		{"a torn heading", heading[:20], nil, true},
		{"newline and tab", heading + ok, map[int]report.PastTask{1: did}, false},
		{"failed, then done", heading + bad + ok, map[int]report.PastTask{1: did}, false},
		{"done stays done", heading + ok + bad, map[int]report.PastTask{1: did}, false},
		{"two logs", heading + bad + heading + killed, map[int]report.PastTask{1: {7, 0, "false"}, 12: {0, 9, ""}}, false},
		{"lost", heading + lost, map[int]report.PastTask{2: {-1, 0, "x"}}, false},
		{"torn", heading + ok + bad[:len(bad)-3], map[int]report.PastTask{1: did}, true},
		{"torn in its numbers", heading + ok + bad[:9], map[int]report.PastTask{1: did}, true},
		{"by an editor", strings.ReplaceAll(heading+bad, "\n", "\r\n"), map[int]report.PastTask{1: {7, 0, "false"}}, false},
		{"a carriage return of its own", heading + strings.Replace(bad, "\n", "\r\n", 1), map[int]report.PastTask{1: {7, 0, "false\r"}}, false},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(c.log), 0o600); err != nil {
			t.Fatal(err)
		}
		past, err := report.ReadJobLog(path)
		if err != nil || !maps.Equal(past.Entries, c.want) || past.Torn != c.torn {
			t.Errorf("%s: %+v, %v", c.name, past, err)
			continue
		}
		// What is appended stands on a line of its own, and all is read again.
		w := open(t, report.Options{JobLog: path, Past: past})
		put(t, w, newMaker(t).item(99, "", ""))
		closeIt(t, w)
		again, err := report.ReadJobLog(path)
		if err != nil || len(again.Entries) != len(c.want)+1 || again.Torn || again.Entries[99].Command != "echo x" {
			t.Errorf("%s, appended to: %+v, %v", c.name, again, err)
		}
		if _, err := report.New(report.Options{JobLog: path, Past: past}); err == nil || !strings.Contains(err.Error(), "has changed since it was read") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if past, err := report.ReadJobLog(filepath.Join(t.TempDir(), "none")); err != nil || len(past.Entries) > 0 {
		t.Errorf("none: %+v, %v", past, err)
	}
	for name, log := range map[string]string{"text": "hello\n", "no heading": ok, "text below": heading + "hello\n", "no number": heading + "x" + ok, "zero": heading + "0" + ok[1:]} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		if past, err := report.ReadJobLog(path); err == nil || !strings.Contains(err.Error(), "this is no line of a job log") {
			t.Errorf("%s: %+v, %v", name, past, err)
		}
		if _, err := report.New(report.Options{JobLog: path}); err == nil || read(t, path) != log {
			t.Errorf("%s was overwritten: %v", name, err)
		}
	}
}

// FuzzReadJobLog: whatever a file has, it is refused, or it is a log that can be gone on
// with and says the same again.
func FuzzReadJobLog(f *testing.F) {
	heading := "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
	line := "1\t:\t1772600767.890\t     0.004\t0\t3\t0\t0\techo 'a\tb'\x00c\n"
	for _, s := range []string{"", heading, heading + line, heading + line[:20], heading[:9], "\r\n", heading + "\n", strings.ReplaceAll(heading+line, "\n", "\r\n")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, log string) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		past, err := report.ReadJobLog(path)
		if err != nil {
			return
		}
		closeIt(t, open(t, report.Options{JobLog: path, Past: past}))
		again, err := report.ReadJobLog(path)
		if err != nil || again.Torn || !maps.Equal(again.Entries, past.Entries) {
			t.Errorf("%q: %+v, then %+v, %v", log, past, again, err)
		}
	})
}

// TestOneRunAtATime: neither a log nor a directory is shared.
func TestOneRunAtATime(t *testing.T) {
	dir := t.TempDir()
	for _, opt := range []report.Options{{JobLog: filepath.Join(dir, "log")}, {ResultsDir: filepath.Join(dir, "results")}} {
		w := open(t, opt)
		_, err := report.New(opt)
		if err == nil || !strings.Contains(err.Error(), "is being written to by") || runtime.GOOS == "linux" && !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
			t.Errorf("%+v: %v", opt, err)
		}
		closeIt(t, w)
		closeIt(t, open(t, opt))
	}
}

func TestJobLogOfTasksThatNeverStarted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, report.Options{JobLog: path})
	put(t, w,
		report.Item{Result: task.Result{Index: 1, Err: task.Cancelled("")}, Command: "a"},
		report.Item{Result: task.Result{Index: 2, Err: &task.ErrorValue{Kind: task.KindSpawn, Code: 127}}, Command: "b"})
	closeIt(t, w)
	_, lines, _ := strings.Cut(read(t, path), "\n")
	if want := "2\t:\t0.000\t     0.000\t0\t0\t127\t0\tb\n"; lines != want {
		t.Errorf("got %q, want %q", lines, want)
	}
}
