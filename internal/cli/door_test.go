package cli

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/fleet"
	safe "muster/internal/terminal"
	"muster/task"
)

// exact are the places that write to standard output what no door may change: results,
// numbers, and texts that programs read.
var exact = map[string]bool{
	`fmt.Fprint(s.out, fillCompletion(c.App, name, text))`: true, // a script
	`fmt.Fprintln(s.out)`:               true,
	`fmt.Fprintln(s.out, 0)`:            true,
	`fmt.Fprintln(s.out, a.Found)`:      true, // a boolean
	`fmt.Fprintln(s.out, a.ID)`:         true, // a number
	`fmt.Fprintln(s.out, a.Index)`:      true,
	`fmt.Fprintln(s.out, "unresolved")`: true,
	`fmt.Fprintln(s.out, "resolved")`:   true,
	`fmt.Fprintln(s.out, j.Text)`:       true, // a join string
	`fmt.Fprintln(s.out, l.text())`:     true, // what a person pastes
	`fmt.Fprintln(out, line)`:           true, // --dry-run, which has a door of its own
}

// TestDoor: nothing is printed in this package but by package terminal, or where it
// must stay exact. Standard error has no other way at all: it is a terminal.Voice.
func TestDoor(t *testing.T) {
	files := token.NewFileSet()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is {
				return true
			}
			var text bytes.Buffer
			printer.Fprint(&text, files, call)
			s := text.String()
			printing := strings.HasPrefix(s, "fmt.Fprint") || strings.HasPrefix(s, "fmt.Print") || strings.HasPrefix(s, "println(") || strings.HasPrefix(s, "print(")
			if printing && !strings.HasPrefix(s, "fmt.Fprintf(&") && !exact[s] {
				t.Errorf("%s: %s: print it by s.err.Say or safe.Fprintf", files.Position(call.Pos()), s)
			}
			return true
		})
	}
}

// evil is what nobody's terminal should get, and ends with a line that muster may print.
const evil = "a\x1b]0;x\a\rb\u009b8m\u202e\xff\nmuster: 9 tasks: 9 ok"

func harmless(t *testing.T, what, text string) {
	t.Helper()
	if text == "" || strings.Contains(text, "\nmuster: 9") {
		t.Errorf("%s: %q", what, text)
	}
	for _, r := range text {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar) {
			t.Errorf("%s has the character %U: %q", what, r, text)
		}
	}
}

// TestHostileStatus: what workers, schedulers and servers say of themselves is shown.
func TestHostileStatus(t *testing.T) {
	var b strings.Builder
	showStatus(&b, &control.Status{Name: evil, Kind: evil, Version: evil, Started: time.Now(),
		Standing: []fleet.JobStanding{{ID: evil, Endpoint: evil, Reason: evil, Trouble: evil}, {Launch: evil}},
		Profiles: []control.ProfileStatus{{PoolStatus: dispatcher.PoolStatus{Profile: evil, Scheduling: evil, Left: map[string]int{evil: 1},
			Workers: []dispatcher.WorkerStatus{{ID: evil, State: evil, Host: evil, Lacks: []string{evil}}}},
			Reasons: []control.Reason{{Code: evil, Text: evil, Hint: evil}}}},
		Log: evil, Futures: []dispatcher.FutureStatus{{Name: evil, Argv: []string{evil}}}}, time.Now())
	harmless(t, "status", b.String())
	if strings.Count(b.String(), `a?]0;x?\rb?8m??\nmuster: 9 tasks: 9 ok`) < 10 {
		t.Errorf("it does not show all:\n%s", b.String())
	}
}

// TestHostileResults: so is what tasks failed of, and why nothing goes on.
func TestHostileResults(t *testing.T) {
	var b strings.Builder
	s := streams{err: safe.NewVoice(&b)}
	failed := task.Result{Index: 1, Name: evil, Err: &task.ErrorValue{Kind: task.KindError, Message: evil, Evidence: evil}}
	var sum tally
	sum.add(&dispatcher.Done{Result: failed})
	s.err.Say("%s", sum.summary(0, runOptions{}))
	(&collector{s: s, failed: 1, first: &failed, o: collectOptions{stop: true}}).verdict()
	co := &collector{s: s}
	co.tell("%s", co.say(&failed, task.Row{}))
	failed.Name = ""
	co.tell("%s", co.say(&failed, task.Row{Values: []string{evil}}))
	(&collector{s: s, failed: 1, first: &failed, firstRow: task.Row{Values: []string{evil}}, o: collectOptions{stop: true}}).verdict()
	s.err.Say("%s", hintedText(control.Reason{Text: evil, Hint: evil}))
	s.report(hinted{usagef("%s", evil), evil})
	harmless(t, "messages", b.String())
}

// TestHostileDoctor: so is what a machine says of itself.
func TestHostileDoctor(t *testing.T) {
	var out, err strings.Builder
	d := &doctor{s: streams{out: &out, err: safe.NewVoice(&err)}}
	d.ok("relay", evil)
	d.fail("login", usagef("%s", evil), evil)
	harmless(t, "doctor", out.String())
}
