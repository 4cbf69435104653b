package terminal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"plain, ünïcode, 日本":          "plain, ünïcode, 日本",
		"two\nlines\tand a tab":       "two\nlines\tand a tab",
		"\x1b[31mred\x1b]0;title\x07": "?[31mred?]0;title?",
		"over\rwritten\b\x7f":         "over?written??",
		"\u009b31m":                   "?31m", // the one-character form of ESC [
		"\xff\xfe":                    "??",
		"turned \u202e\u2066\u200f":   "turned ???", // the bidirectional controls
		"split\u2028\u2029\u0085":     "split???",   // other ends of lines
		"hidden\ufeff\U000e0041":      "hidden??",
		"joined \u200d\u200c":         "joined \u200d\u200c",
	} {
		if got := Safe(in); got != want {
			t.Errorf("Safe(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nmuster: b\tc": `a\r\nmuster: b\tc`,
		"\x1b[2K":           "?[2K",
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Line(strings.Repeat("ü", 1<<20)); len(got) > most+100 || !strings.HasSuffix(got, "... (cut: 2097152 bytes)") || strings.Contains(got, "?") {
		t.Errorf("a long line has %d bytes and ends with %q", len(got), got[len(got)-40:])
	}
}

func TestSprintf(t *testing.T) {
	type word string
	const forged = "x\nmuster: 3 tasks: 3 ok\x1b[8m"
	got := Sprintf("%s|%-12s|%v|%q|%s|%s|%d|%5.1f|%v|%v\n", forged, word("a\tb"), errors.Join(errors.New(forged), errors.New("second")), "\n\x1b", []byte("one\ntwo"),
		Text("  | kept\nindented\n  as it is"), 7, 2.5, time.Second, []string{"a\nb"})
	want := `x\nmuster: 3 tasks: 3 ok?[8m|a\tb        |x` + "\n  muster: 3 tasks: 3 ok?[8m\n  second|" + `"\n\x1b"|one` + "\n  two|  | kept\n  indented\n  as it is|7|  2.5|1s|" + `[a\nb]` + "\n"
	if got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestVoice(t *testing.T) {
	var b strings.Builder
	v := NewVoice(&b)
	v.Say("the worker said: %s", "\x1b]0;x\x07\nmuster: all is well")
	v.Hint("do this\nor that")
	fmt.Fprintf(v.Lines(), "[WARN] \u009b8m\n")
	fmt.Fprintf(v.Exact(), "\x1b[1m\n")
	if got, want := b.String(), "muster: the worker said: ?]0;x?"+`\nmuster: all is well`+"\nhint: do this\n  or that\n[WARN] ?8m\n\x1b[1m\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJSONStaysExact(t *testing.T) {
	const text = "\x1b[8m\u009b\u202e\U000e0041\x7f\u2028 ünïcode"
	line, err := json.Marshal(map[string]string{"message": text})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if n, err := NewVoice(&b).JSON().Write(line); n != len(line) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(line), err)
	}
	if got := b.String(); Safe(got) != got {
		t.Errorf("it is not safe: %q", got)
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back["message"] != text {
		t.Errorf("read back %q (%v), want %q", back["message"], err, text)
	}
}
