package task

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxError is how many bytes of what a task says of its error are kept.
const maxError = 64 << 10

// Bounded returns an error value of which no more than 64 KiB are kept, and that says
// so if it had more. Whoever sends or keeps what a task says of its error calls it. A
// nil one stays nil.
func (e *ErrorValue) Bounded() *ErrorValue {
	if e == nil {
		return nil
	}
	total := len(e.Message) + len(e.Evidence) + len(e.Detail)
	if total <= maxError {
		return e
	}
	short := *e
	note := fmt.Sprintf(" [cut: the error had %d bytes]", total)
	short.Detail = nil // JSON that is cut is none
	short.Message = cut(e.Message, maxError/2)
	short.Evidence = cut(e.Evidence, maxError-len(short.Message)-len(note)) + note
	return &short
}

// cut returns at most the first n bytes of s, in memory of their own and through no
// rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n])
}
