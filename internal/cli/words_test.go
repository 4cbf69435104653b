package cli

import (
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	safe "muster/internal/terminal"
)

// TestTake asserts which words of a command line are options, inputs and CMD.
func TestTake(t *testing.T) {
	for line, want := range map[string]struct{ options, argv, sources string }{
		"run echo {}":               {"run", "echo {}", ""},
		"config check --help":       {"config --help", "", ""},
		"wait -h --any 3":           {"wait --help", "", ""},
		"config check -c f -h":      {"config --help", "", ""},
		"run -k echo -k":            {"run -k", "echo -k", ""},
		"run -k -- -k":              {"run -k", "-k", ""},
		"run -kn4 -- c":             {"run -k -n=4", "c", ""},
		"run -kn 4 c":               {"run -k -n 4", "c", ""},
		"run -n4 c":                 {"run -n=4", "c", ""},
		"run -n=4 c":                {"run -n=4", "c", ""},
		"run -j8 c":                 {"run -j=8", "c", ""},
		"run -aFILE c":              {"run -a=FILE", "c", ""},
		"run -a - c":                {"run -a -", "c", ""},
		"run -kx c":                 {"run -kx", "c", ""}, // the flag package says that there is no -kx
		"run --name n -- c":         {"run --name n", "c", ""},
		"run --name=n c":            {"run --name=n", "c", ""},
		"run --name=-- -- c":        {"run --name=--", "c", ""},
		"run --timeout 5s c":        {"run --timeout 5s", "c", ""},
		"run -I % c % ::: a":        {"run -I %", "c %", "a"},
		"run c ::: a b":             {"run", "c", "a b"},
		"run c ::: a ::: b":         {"run", "c", "a|b"},
		"run c ::: a :::+ b":        {"run", "c", "a|+b"},
		"run c :::":                 {"run", "c", ""},
		"run c ::: -- a":            {"run", "c", "-- a"},
		"run -- c ::: a":            {"run", "c", "a"},
		"run ::: a b -- c":          {"run", "c", "a b"},
		"run ::: -k -n -- c":        {"run", "c", "-k -n"},
		"run -k ::: a -- c ::: b":   {"run -k", "c ::: b", "a"}, // inputs were given
		"run ::: a :::+ b -- c":     {"run", "c", "a|+b"},
		"run -a f -- c ::: b":       {"run -a f", "c", "b"}, // sources of -a come first
		"run --arg-file=f c ::: b":  {"run --arg-file=f", "c", "b"},
		"run c :::: f g ::::+ h":    {"run", "c", "<f|<g|+<h"},
		"run c :::+ a :::: f":       {"run", "c", "+a|<f"},
		"run :::: f -- c ::: b":     {"run", "c ::: b", "<f"},
		"run -0k -C, -N2 c":         {"run -0 -k -C=, -N=2", "c", ""},
		"run -X -m c":               {"run -X -m", "c", ""},
		"run":                       {"run", "", ""},
		"run --":                    {"run", "", ""},
		"--log-level info run -k c": {"--log-level info run -k", "c", ""},
		"worker -- ::: x":           {"worker -- ::: x", "", ""},
		"":                          {"", "", ""},
		"join new -o F --uses 3":    {"join -o F --uses 3 new", "", ""},
		"collect 1 --json 2":        {"collect --json 1 2", "", ""},
		"config check -c F":         {"config -c F check", "", ""},
		"wait 1 -- --any":           {"wait -- 1 --any", "", ""},
		"nothing -x y":              {"nothing -x y", "", ""},
		"submit --wait -- a --wait": {"submit --wait", "a --wait", ""},
		"submit a ::: b":            {"submit", "a ::: b", ""},
		"with -p x -n2 -- a":        {"with -p x -n=2", "a", ""},
		"map --name {} -- a ::: b":  {"map --name {}", "a", "b"},
		"everywhere cd /":           {"everywhere", "cd /", ""},
	} {
		l := &commandLine{}
		options, err := l.take(newApp(streams{strings.NewReader(""), io.Discard, safe.NewVoice(io.Discard)}, l), append([]string{"muster"}, strings.Fields(line)...))
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		var list []string
		for _, s := range l.sources {
			text := strings.Join(s.Args, " ")
			if s.File != "" {
				text = "<" + s.File
			}
			if s.Linked {
				text = "+" + text
			}
			list = append(list, text)
		}
		got := struct{ options, argv, sources string }{strings.Join(options[1:], " "), strings.Join(l.argv, " "), strings.Join(list, "|")}
		if got != want {
			t.Errorf("%q is taken as %q, want %q", line, got, want)
		}
	}
}

// TestTakeRefuses asserts what is a mistake before any option is looked at.
func TestTakeRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"run ::: a b":             "no command to run",
		"run c ::::":              ":::: has no file",
		"run c :::: ::: a":        ":::: has no file",
		"run ::::+ -- c":          "::::+ has no file",
		"run --results -- echo":   "--results needs a value, and there is -- in its place",
		"run -n -- c":             "-n needs a value, and there is -- in its place",
		"run -kn -- c":            "-n needs a value, and there is -- in its place",
		"--log-level -- run c":    "--log-level needs a value, and there is -- in its place",
		"submit --name -- c":      "--name needs a value, and there is -- in its place",
		"collect 1 --results -- ": "--results needs a value, and there is -- in its place",
	} {
		l := &commandLine{}
		_, err := l.take(newApp(streams{}, l), append([]string{"muster"}, strings.Fields(line)...))
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", line, err, want)
		}
	}
}

// FuzzTake: no word is lost or moved, and what follows CMD's first word is CMD's.
func FuzzTake(f *testing.F) {
	f.Add("run -kn4 ::: a b -- c -k ::: d")
	f.Add("run -I {} -a x y --name z")
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Fields(line)
		l := &commandLine{}
		app := newApp(streams{strings.NewReader(""), io.Discard, safe.NewVoice(io.Discard)}, l)
		options, err := l.take(app, append([]string{"muster"}, words...))
		if err != nil {
			return
		}
		if len(options) == 0 || options[0] != "muster" {
			t.Fatalf("%q: options %q", line, options)
		}
		if len(l.argv) > 0 && len(l.sources) == 0 && !slices.Equal(words[len(words)-len(l.argv):], l.argv) {
			t.Errorf("%q: CMD is %q, not the last words", line, l.argv)
		}
		kept := strings.Join(options, "") + strings.Join(l.argv, "")
		for _, s := range l.sources {
			kept += s.File + strings.Join(s.Args, "")
		}
		// Clusters are written out and ::: and -- go: letters and digits stay.
		// Of a command without a CMD the options come first.
		if letters(kept) != letters("muster"+strings.Join(words, "")) {
			t.Errorf("%q became options %q, CMD %q, sources %v", line, options, l.argv, l.sources)
		}
		again := &commandLine{}
		round := append(slices.Clone(options), append([]string{"--"}, l.argv...)...)
		if len(l.sources) == 0 && len(l.argv) > 0 && slices.Contains(options, "run") && !slices.ContainsFunc(l.argv, isSource) {
			if o, err := again.take(app, round); err != nil || !slices.Equal(o, options) || !reflect.DeepEqual(nonNil(again.argv), nonNil(l.argv)) {
				t.Errorf("%q: taken again, options %q and CMD %q became %q and %q", line, options, l.argv, o, again.argv)
			}
		}
	})
}

func nonNil(s []string) []string { return append([]string{}, s...) }

// letters returns what of s is no punctuation of options, sorted.
func letters(s string) string {
	kept := []rune(strings.Map(func(r rune) rune {
		if strings.ContainsRune("-=:+", r) {
			return -1
		}
		return r
	}, s))
	slices.Sort(kept)
	return string(kept)
}
