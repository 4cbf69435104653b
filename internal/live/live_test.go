package live

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestPace: a line is drawn at most ten times a second, however often it changes, and at
// least once, if it does not.
func TestPace(t *testing.T) {
	for _, tc := range []struct {
		name        string
		changes     time.Duration // so often; 0 is never
		least, most int           // drawings in ten seconds
	}{
		{"never", 0, 10, 100},
		{"now and again", 300 * time.Millisecond, 20, 40},
		{"always", time.Millisecond, 90, 101},
	} {
		p, drawn := inPlace, 0
		start := time.Now()
		changed := false
		for at := time.Duration(0); at < 10*time.Second; at += time.Millisecond {
			changed = changed || tc.changes > 0 && at%tc.changes == 0
			if now := start.Add(at); p.wait(now, changed) == 0 {
				p.drew(now)
				drawn++
				changed = false
			}
		}
		if drawn < tc.least || drawn > tc.most {
			t.Errorf("%s: it is drawn %d times in ten seconds", tc.name, drawn)
		}
	}
}

func TestFit(t *testing.T) {
	for _, tc := range []struct {
		text    string
		columns int
		want    string
	}{
		{"", 0, ""}, {"abc", 3, "abc"}, {"abcdef", 5, "ab..."}, {"abcdef", 1, "a"}, {"abc", 0, ""}, {"abc", -1, ""},
		{"日本語日本", 10, "日本語日本"}, {"日本語日本", 8, "日本..."}, {"e\u0301tude", 5, "e\u0301tude"}, {"e\u0301tudes", 5, "e\u0301t..."},
		{"👩‍👩‍👧abcd", 5, "👩‍👩‍👧..."},
	} {
		if got := Fit(tc.text, tc.columns); got != tc.want || Width(got) > max(0, tc.columns) {
			t.Errorf("%q in %d columns is %q, want %q", tc.text, tc.columns, got, tc.want)
		}
	}
}

func TestColumn(t *testing.T) {
	for _, tc := range []struct {
		at   int
		text string
		want int
	}{
		{0, "abc", 3}, {3, "abc", 6}, {3, "abc\n", 0}, {3, "a\nbc", 2}, {3, "50%\r", 0}, {3, "\tx", 9}, {0, "日本", 4}, {0, "a\n\n日\t", 8},
	} {
		if got := column(tc.at, []byte(tc.text)); got != tc.want {
			t.Errorf("%q from column %d ends in %d, want %d", tc.text, tc.at, got, tc.want)
		}
	}
}

// TestPage: lines are cut, never folded, and what has no room below is counted.
func TestPage(t *testing.T) {
	var lines []string
	for i := range 30 {
		lines = append(lines, fmt.Sprintf("line %d of the status", i))
	}
	got := strings.Split(page(strings.Join(lines, "\n")+"\n", 13, 5), "\r\n")
	want := []string{"line 0 of...", "line 1 of...", "line 2 of...", "and 27 mo...", "\x1b[J"}
	for i := range want {
		if i >= len(got) || strings.TrimSuffix(got[i], "\x1b[K") != want[i] {
			t.Fatalf("it is %q, want %q", got, want)
		}
	}
	if got := page("a\nb\n", 80, 24); got != "a\x1b[K\r\nb\x1b[K\r\n\x1b[J" {
		t.Errorf("two lines are %q", got)
	}
	if got := page("a\nb\n", 80, 1); !strings.HasPrefix(got, "and 2 more") {
		t.Errorf("one row has %q", got)
	}
}

// TestLineInAFile: where there is no terminal each drawing is a line, the last one too,
// text does not wait, and what cannot be drawn matters to nobody.
func TestLineInAFile(t *testing.T) {
	var b strings.Builder
	asked := 0
	l := NewLine(&b, func(_ time.Time, columns int) string {
		asked++
		return fmt.Sprintf("%d of %d", asked, columns)
	})
	if l.Over(&b) != &b {
		t.Error("text waits")
	}
	l.Start()
	l.Redraw()
	if err := l.End(); err != nil {
		t.Error(err)
	}
	if got := b.String(); asked < 2 || !strings.HasPrefix(got, "1 of 79\n2 of 79\n") || strings.Count(got, "\n") != asked {
		t.Errorf("the file has %q", got)
	}
	if err := NewLine(broken{}, func(time.Time, int) string { return "x" }).End(); err != nil {
		t.Errorf("a line that never began: %v", err)
	}
	l = NewLine(broken{}, func(time.Time, int) string { return "x" })
	l.Start()
	if err := l.End(); err != nil {
		t.Errorf("a line that nobody can read fails what it tells of: %v", err)
	}
}

// broken is a file that takes nothing.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }
