package dispatcher

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds on what of a peer's own words is kept, logged and said, in bytes.
const (
	maxReason   = 300 // of a stranger's words
	maxElement  = 200
	maxHost     = 255
	maxBuild    = 100
	maxLine     = 1 << 10
	maxEvidence = 16 << 10 // such as the directories of a search path
)

// oneLine returns a peer's words as one printable line of bounded length.
func oneLine(words string) string {
	words = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\t", " ").Replace(cut(words, maxLine))
	return printable(words)
}

// cutPrintable returns at most n bytes of a peer's words, printable.
func cutPrintable(words string, n int) string { return printable(cut(words, n)) }

// printable puts a question mark in the place of whatever has no picture of its own, as
// controls, directions of text and bytes that are not UTF-8.
func printable(words string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, words)
}

// cut returns at most the first n bytes of a peer's words, and says if there were more.
func cut(words string, n int) string {
	if len(words) <= n {
		return words
	}
	return strings.ToValidUTF8(words[:n], "") + fmt.Sprintf("... (%d bytes)", len(words))
}
