package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// helpOf runs muster, which has to show something on stdout and nothing on stderr.
func helpOf(t *testing.T, words ...string) string {
	t.Helper()
	var out, err bytes.Buffer
	if code := Main(append([]string{"muster"}, words...), strings.NewReader(""), &out, &err); code != exitOK || err.Len() > 0 {
		t.Errorf("muster %s: exit code %d, stderr %q", strings.Join(words, " "), code, err.String())
	}
	return out.String()
}

// TestHelp: each command says how it is used, with an example, all its options and the exit
// codes, in lines of 100 columns, whichever way it is asked.
func TestHelp(t *testing.T) {
	all := helpOf(t, "help")
	if helpOf(t, "--help") != all || helpOf(t, "-h") != all || !strings.HasSuffix(all, exitTable) {
		t.Error("muster help and muster --help differ, or have no exit codes")
	}
	for _, cmd := range testApp().Commands {
		if cmd.Hidden {
			if strings.Contains(all, "\n   "+cmd.Name+" ") {
				t.Errorf("%s is hidden, and is shown", cmd.Name)
			}
			continue
		}
		text := helpOf(t, "help", cmd.Name)
		if helpOf(t, cmd.Name, "--help") != text || helpOf(t, cmd.Name, "-h") != text || helpOf(t, "--help", cmd.Name) != text {
			t.Errorf("the ways to ask for the help of %s differ", cmd.Name)
		}
		if !strings.Contains(all, "\n   "+cmd.Name+" ") {
			t.Errorf("muster help does not show %s", cmd.Name)
		}
		if !strings.Contains(text, "\n      muster "+cmd.Name) && !strings.Contains(text, "muster "+cmd.Name+" bash)\n") {
			t.Errorf("the help of %s has no example", cmd.Name)
		}
		for _, f := range cmd.Flags {
			for _, name := range f.Names() {
				if !strings.Contains(text, dashed(name)) {
					t.Errorf("the help of %s has no %s", cmd.Name, dashed(name))
				}
			}
		}
		for line := range strings.SplitSeq(all+text, "\n") {
			if utf8.RuneCountInString(line) > helpWidth || strings.HasSuffix(line, " ") || strings.Count(line, "`")%2 == 1 {
				t.Errorf("in the help of %s: %q", cmd.Name, line)
			}
		}
		if !strings.HasSuffix(text, "\n\n"+exitTable) {
			t.Errorf("the help of %s does not end with the exit codes", cmd.Name)
		}
	}
	for name, words := range subcommands {
		for _, w := range words {
			if helpOf(t, "help", name, w) != helpOf(t, "help", name) {
				t.Errorf("muster help %s %s is something else", name, w)
			}
		}
	}
}

// TestHelpIsNoValue: --help that is an option's value, or CMD's, asks for nothing.
func TestHelpIsNoValue(t *testing.T) {
	for line, want := range map[string]bool{"run --help": true, "run -k -h": true, "run -k --help -- c": true, "run -kh": true, "status --help": true, "wait 1 --help": true, "--help": true, "--log-level info -h": true,
		"run --name --help -- c": false, "run -- c --help": false, "run c -h": false, "run -a -h c": false, "collect --results --help 1": false, "": false, "run": false} {
		l := &commandLine{}
		if _, err := l.take(testApp(), append([]string{"muster"}, strings.Fields(line)...)); err != nil || (l.help != "") != want {
			t.Errorf("%q: asks for help: %t, %v", line, l.help != "", err)
		}
	}
}

func TestNoSuchHelp(t *testing.T) {
	for line, want := range map[string]string{
		"help colect":        "there is no command \"colect\"\nhint: did you mean `muster collect`?",
		"--help colect":      "there is no command \"colect\"",
		"help slot":          "there is no command \"slot\"",
		"help config shwo":   "did you mean `muster config show`?",
		"help run extra":     "help run: there is no place for \"extra\"",
		"help join new more": "help join: there is no place for \"more\"",
	} {
		var out, err bytes.Buffer
		if code := Main(append([]string{"muster"}, strings.Fields(line)...), strings.NewReader(""), &out, &err); code != exitUsage || out.Len() > 0 || !strings.Contains(err.String(), want) {
			t.Errorf("muster %s: exit code %d, stdout %q, stderr %q", line, code, out.String(), err.String())
		}
	}
}

// brokenWriter is a full disk.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestVersion(t *testing.T) {
	text := helpOf(t, "version")
	for _, want := range []string{"muster version " + Version + "\n", "\ncommit: ", "\nGo:       " + runtime.Version() + "\n", "\nplatform: " + runtime.GOOS + "/" + runtime.GOARCH + "\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	if line := "muster version " + Version + "\n"; helpOf(t, "--version") != line || helpOf(t, "-v") != line {
		t.Error("muster --version is not one line, which others read")
	}
	var b build
	if err := json.Unmarshal([]byte(helpOf(t, "version", "--json")), &b); err != nil || b != thisBuild() {
		t.Errorf("%+v, %v", b, err)
	}
	for _, words := range []string{"version", "help", "--help", "--version", "run --help"} {
		var err bytes.Buffer
		if code := Main(append([]string{"muster"}, strings.Fields(words)...), strings.NewReader(""), brokenWriter{}, &err); code != exitFailure || err.Len() == 0 {
			t.Errorf("muster %s to a full disk: exit code %d, stderr %q", words, code, err.String())
		}
	}
	commits := []string{build{}.String(), build{Commit: "c0ffee"}.String(), build{Commit: "c0ffee", Changed: true}.String()}
	for i, want := range []string{"not known", "c0ffee\n", "c0ffee, with changes\n"} {
		if !slices.ContainsFunc(commits[i:i+1], func(s string) bool { return strings.Contains(s, "commit:   "+want) }) {
			t.Errorf("%q is not in %q", want, commits[i])
		}
	}
}
