package shell

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// words lets a real sh take a line apart: its words, each ended by NUL.
func words(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", `printf '%s\0' `+line).Output()
	if err != nil {
		t.Fatalf("sh refused %q: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":         "''",
		"plain":    "plain",
		"a/b-c.d":  "a/b-c.d",
		"two word": "'two word'",
		"it's":     `'it'\''s'`,
		"~":        "'~'",
		"a=b":      "'a=b'",
		"{}":       "'{}'",
		"ü":        "'ü'",
		"#x":       "'#x'",
	} {
		if got := Quote(in); got != want {
			t.Errorf("Quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestJoinStartsWithACommand(t *testing.T) {
	for _, w := range []string{"if", "while", "x=1", "!", "{", "[["} {
		out, err := exec.Command("/bin/sh", "-c", Join([]string{w})).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "not found") {
			t.Errorf("sh took %q for something else than a command: %s", Join([]string{w}), out)
		}
	}
}

func TestJoinLeavesOptionsReadable(t *testing.T) {
	if got := Join([]string{"a=b", "-o", "Port=22", "=x", "--dir=~/x"}); got != "'a=b' -o Port=22 '=x' '--dir=~/x'" {
		t.Errorf("%s", got)
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a b", "it's", "$HOME `id` $(id)", "\n", "~root", "*", "\\", "-n", "\xff\xfe", "'", "''", "a=b", "=b", "a==", "a=~", "!x", "#"} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsRune(a+b, 0) {
			t.Skip("no word of a command can hold a NUL")
		}
		if got := words(t, Join([]string{"w", a, b})); !slices.Equal(got, []string{"w", a, b}) {
			t.Fatalf("%q %q came back as %q", a, b, got)
		}
	})
}
