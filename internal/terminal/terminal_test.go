package terminal

import "testing"

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"plain, ünïcode, 日本":          "plain, ünïcode, 日本",
		"two\nlines\tand a tab":       "two\nlines\tand a tab",
		"\x1b[31mred\x1b]0;title\x07": "?[31mred?]0;title?",
		"over\rwritten\b\x7f":         "over?written??",
		"\u009b31m":                   "?31m", // the one-character form of ESC [
		"\xff\xfe":                    "??",
	} {
		if got := Safe(in); got != want {
			t.Errorf("Safe(%q) = %q, want %q", in, got, want)
		}
	}
}
