// Package shell writes words so that a POSIX shell reads them back unchanged.
package shell

import "strings"

// Quote returns s as one word of a POSIX shell: as it is if nothing in it
// means anything to a shell, else in single quotes (POSIX, "Quoting").
func Quote(s string) string {
	if s != "" && strings.IndexFunc(s, special) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// special reports whether a shell may treat r as anything but itself. A leading
// ~ or # and a = in the first word are among what it covers.
func special(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("-_./,:@%+^", r))
}

// reserved are the words that mean something where a command is expected
// (POSIX, "Reserved Words", and what common shells add).
var reserved = map[string]bool{"case": true, "do": true, "done": true, "elif": true, "else": true,
	"esac": true, "fi": true, "for": true, "function": true, "if": true, "in": true, "select": true,
	"then": true, "time": true, "until": true, "while": true, "coproc": true, "namespace": true}

// Join returns a command line of which a shell makes the words of argv again.
func Join(argv []string) string {
	var b strings.Builder
	for i, w := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		if i == 0 && reserved[w] {
			b.WriteString("'" + w + "'")
			continue
		}
		if i > 0 && plainAfterFirst(w) {
			b.WriteString(w)
			continue
		}
		b.WriteString(Quote(w))
	}
	return b.String()
}

// plainAfterFirst reports whether a word that is not the first is as it is but
// for a =, which then assigns nothing. zsh expands one at a word's start.
func plainAfterFirst(w string) bool {
	before, after, ok := strings.Cut(w, "=")
	return ok && before != "" && Quote(before+strings.ReplaceAll(after, "=", "")) == before+strings.ReplaceAll(after, "=", "")
}
