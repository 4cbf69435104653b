package task

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// How many bytes of what a task says of its error are kept: by itself, and where the
// memory for all of them is used up.
const (
	maxError = 64 << 10
	maxBrief = 1 << 10
)

// Bounded returns an error value of which no more than 64 KiB are kept, and that says
// so if it had more. Whoever sends or keeps what a task says of its error calls it. A
// nil one stays nil.
func (e *ErrorValue) Bounded() *ErrorValue { return e.bounded(maxError) }

// Brief is Bounded with 1 KiB.
func (e *ErrorValue) Brief() *ErrorValue { return e.bounded(maxBrief) }

// Size is how many bytes the error value's words have, 0 for a nil one.
func (e *ErrorValue) Size() int {
	if e == nil {
		return 0
	}
	return len(e.Message) + len(e.Evidence) + len(e.Detail) + len(e.Signal)
}

func (e *ErrorValue) bounded(most int) *ErrorValue {
	total := e.Size()
	if total <= most {
		return e
	}
	short := *e
	note := fmt.Sprintf(" [cut: the error had %d bytes]", total)
	short.Detail = nil // JSON that is cut is none
	short.Signal = cut(e.Signal, maxSignal)
	short.Message = cut(e.Message, most/2)
	short.Evidence = cut(e.Evidence, most-len(short.Signal)-len(short.Message)-len(note)) + note
	return &short
}

// maxNote bounds the note of a result, in bytes.
const maxNote = 512

// BoundedNote returns the beginning of a note, of 512 bytes at most.
func BoundedNote(note string) string { return cut(note, maxNote) }

// maxSignal is longer than the name of any signal.
const maxSignal = 32

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
