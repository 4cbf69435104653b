// Package terminal makes text that came from elsewhere safe to print: nothing in
// it moves a cursor, colours, titles or answers for the person who reads it.
package terminal

import "strings"

// Safe returns s with a question mark in the place of each control character but
// newline and tab, and of each byte that is not UTF-8 (ECMA-48, sections 5.2 and
// 5.3: C0 and C1).
func Safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r < 0x7f || r > 0x9f && r != '\uFFFD' {
			return r
		}
		return '?'
	}, s)
}
