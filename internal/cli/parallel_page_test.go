package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	safe "muster/internal/terminal"
)

// pageRow is a row of a table of the page for users of GNU parallel.
type pageRow struct {
	theirs, ours []string // what stands in backticks
	none         bool     // ours says that there is none, and why
	test         string
}

var inBackticks = regexp.MustCompile("`([^`]+)`")

func pageRows(t *testing.T) (rows []pageRow) {
	t.Helper()
	text, err := os.ReadFile("../../docs/coming-from-parallel.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.HasPrefix(line, "| `") {
			continue
		}
		r := pageRow{test: strings.TrimSpace(cells[2]), none: strings.HasPrefix(cells[1], " no: ")}
		for _, m := range inBackticks.FindAllStringSubmatch(cells[0], -1) {
			r.theirs = append(r.theirs, m[1])
		}
		for _, m := range inBackticks.FindAllStringSubmatch(cells[1], -1) {
			r.ours = append(r.ours, m[1])
		}
		rows = append(rows, r)
	}
	return rows
}

// TestPageOfGNUParallel: what the page says muster has it has, and a test runs it; what it
// says is missing is missing.
func TestPageOfGNUParallel(t *testing.T) {
	app := newApp(streams{strings.NewReader(""), io.Discard, safe.NewVoice(io.Discard)}, &commandLine{})
	has := func(option string) bool {
		return slices.Contains([]string{"--help", "-h", "--version"}, option) || findFlag(app.Command("run").Flags, strings.TrimLeft(option, "-")) != nil
	}
	rows := pageRows(t)
	if len(rows) < 140 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, r := range rows {
		switch {
		case r.none && r.test != "":
			t.Errorf("%s: there is none, and %s tests it", r.theirs, r.test)
		case r.none:
			for _, w := range r.theirs {
				option, _, _ := strings.Cut(w, " ")
				if strings.HasPrefix(option, "-") && !slices.Contains(otherwise, option) && has(option) {
					t.Errorf("%s: muster has %s, and the page says that it has not", r.theirs, option)
				}
			}
			continue
		}
		script := testText(t, r.test)
		if script == "" {
			t.Errorf("%s: there is no test %q", r.theirs, r.test)
		}
		found := len(r.ours) == 0
		for _, w := range r.ours {
			option, _, _ := strings.Cut(w, " ")
			if strings.HasPrefix(option, "-") && !has(option) {
				t.Errorf("%s: muster has no %s", r.theirs, option)
			}
			found = found || strings.Contains(script, w)
		}
		if !found && !strings.Contains(script, r.theirs[0]) {
			t.Errorf("%s: %s has none of %q", r.theirs, r.test, r.ours)
		}
	}
}

// TestHintsOfGNUParallel: who writes an option of GNU parallel's that has another name
// here, or is not needed, is told what the page says.
func TestHintsOfGNUParallel(t *testing.T) {
	run := testApp().Command("run")
	for _, r := range pageRows(t) {
		for _, w := range r.theirs {
			option, _, _ := strings.Cut(w, " ")
			name, long := strings.CutPrefix(option, "--")
			if r.none || !long || name == "help" || name == "version" || findFlag(run.Flags, name) != nil {
				continue
			}
			hint := fromElsewhere(run, name)
			says := func(ours string) bool { return !strings.HasPrefix(ours, "-") || strings.Contains(hint, ours) }
			if hint == "" || len(r.ours) > 0 && !slices.ContainsFunc(r.ours, says) {
				t.Errorf("%s: the page has %q, and the hint is %q", option, r.ours, hint)
			}
		}
	}
}

// otherwise are options of GNU parallel's that are others here.
var otherwise = []string{"--profile", "-p"}

// testText is the text of a script, or of a file of this package with the Go test of a
// name; empty if there is none.
func testText(t *testing.T, name string) string {
	t.Helper()
	names := []string{"../../testdata/script/" + name + ".txtar"}
	if strings.HasPrefix(name, "Test") {
		names, _ = filepath.Glob("*_test.go")
	}
	for _, file := range names {
		text, err := os.ReadFile(file)
		if err == nil && (len(names) == 1 || bytes.Contains(text, []byte("\nfunc "+name+"("))) {
			return string(text)
		}
	}
	return ""
}

// TestPageHasAllOfTheManual: each option of GNU parallel's manual has a row, in the version
// that the page is about.
func TestPageHasAllOfTheManual(t *testing.T) {
	f, err := os.Open("/usr/share/man/man1/parallel.1.gz")
	if err != nil {
		t.Skip("GNU parallel's manual is not installed")
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range pageRows(t) {
		for _, w := range r.theirs {
			option, _, _ := strings.Cut(w, " ")
			known[option] = true
		}
	}
	heading := regexp.MustCompile(`^\.IP "\\fB(--?[a-zA-Z0-9_][a-z0-9_-]*)`)
	n := 0
	for s := bufio.NewScanner(z); s.Scan() && !strings.Contains(s.Text(), "EXAMPLES"); {
		if strings.HasPrefix(s.Text(), ".TH") && !strings.Contains(s.Text(), "20221122") {
			t.Skipf("this manual is of another version: %s", s.Text())
		}
		m := heading.FindStringSubmatch(strings.ReplaceAll(s.Text(), `\-`, "-"))
		if m == nil {
			continue
		}
		if n++; !known[m[1]] {
			t.Errorf("%s is not in the page", m[1])
		}
	}
	if n < 150 {
		t.Errorf("%d options were found in the manual", n)
	}
}
