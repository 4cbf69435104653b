package main

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"
)

// forged begins a line that only muster itself may print; scripts' hostile texts have
// it, with this word at its end.
var forged = regexp.MustCompile(`(?m)^(muster|hint|\d{4}-).*FORGED`)

// cmdHarmless checks that files, or stdout or stderr, hold nothing that does something
// to a terminal, and no line that somebody else has made look like one of muster's own.
func cmdHarmless(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: harmless stdout|stderr|FILE...")
	}
	for _, file := range args {
		text := ts.ReadFile(file)
		for i, r := range text {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar) {
				ts.Fatalf("%s has the character %U: %q", file, r, text[max(0, i-40):min(len(text), i+40)])
			}
		}
		for _, line := range forged.FindAllString(text, -1) {
			if strings.Index(line, "FORGED") < 40 { // behind words of muster's own it is on their line
				ts.Fatalf("%s has a forged line: %q", file, line)
			}
		}
	}
}
