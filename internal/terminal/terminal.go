// Package terminal makes text that came from elsewhere safe to show: nothing in it
// moves a cursor, colours, titles, turns lines around, or passes for a line of
// muster's own. Voice is the one way by which commands talk to a person.
package terminal

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe returns s with a question mark in the place of each control character but
// newline and tab (ECMA-48, sections 5.2 and 5.3: C0 and C1), of each character that
// is invisible or turns text around (Unicode's Cf, Zl and Zp, but for the two that
// join letters), and of each byte that is not UTF-8.
func Safe(s string) string {
	if plain(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if harmless(r) {
			return r
		}
		return '?'
	}, s)
}

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '\n' && c != '\t' && (c < ' ' || c >= 0x7f) {
			return false
		}
	}
	return true
}

// The zero-width non-joiner and joiner, which scripts and emoji need.
const nonJoiner, joiner = '\u200c', '\u200d'

func harmless(r rune) bool {
	switch {
	case r == '\n' || r == '\t' || r == nonJoiner || r == joiner:
		return true
	case r < ' ' || r >= 0x7f && r <= 0x9f || r == utf8.RuneError:
		return false
	}
	return r < 0x7f || !unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Line returns s as one line: Safe, with \n, \r and \t in the place of what they stand
// for, and no longer than 64 KiB.
func Line(s string) string {
	if strings.ContainsAny(s, "\n\r\t") {
		s = strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s)
	}
	return Safe(Cut(s, most))
}

// Block returns s as lines of which none but the first begins at the margin, where
// muster's own lines begin: Safe, and no longer than 64 KiB.
func Block(s string) string {
	lines := strings.Split(Safe(Cut(s, most)), "\n")
	for i, l := range lines {
		if i > 0 && l != "" && l[0] != ' ' {
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "\n")
}

// most is how much of one text is shown, in bytes.
const most = 64 << 10

// Cut returns the beginning of s, about n bytes of it, and how long it was, if it was
// longer.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	end := n
	for end > n-utf8.UTFMax && end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s... (cut: %d bytes)", s[:end], len(s))
}

// Text is a text of several lines, for Sprintf.
type Text string

// Sprintf is fmt.Sprintf for what a person reads. The format is our own. Of the
// arguments, texts become one line each (Line); errors, bytes and what is a Text may
// have several (Block).
func Sprintf(format string, args ...any) string {
	if false {
		_ = fmt.Sprintf(format, args...) // tells go vet what this is
	}
	safe := make([]any, len(args))
	for i, a := range args {
		safe[i] = argument(a)
	}
	return fmt.Sprintf(format, safe...)
}

// Fprintf writes what Sprintf returns.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	return io.WriteString(w, Sprintf(format, args...))
}

func argument(a any) any {
	switch a := a.(type) {
	case nil, bool, int, int64:
		return a
	case Text:
		return shown{a, string(a), Block}
	case []byte:
		return shown{a, string(a), Block}
	case error:
		return shown{a, a.Error(), Block}
	case fmt.Stringer:
		return shown{a, a.String(), Line}
	}
	switch v := reflect.ValueOf(a); v.Kind() {
	case reflect.String:
		return shown{a, v.String(), Line}
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return a
	}
	return shown{a, fmt.Sprint(a), Line}
}

// shown is an argument whose text is made safe as it is printed.
type shown struct {
	arg  any
	text string
	safe func(string) string
}

func (s shown) Format(f fmt.State, verb rune) {
	var arg any
	switch verb {
	case 's', 'v':
		arg = s.safe(s.text)
	case 'q': // which is safe already
		arg = Cut(s.text, most)
	default: // a number
		arg = s.arg
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), arg)
}

// Voice tells a person something, on standard error.
type Voice struct{ w io.Writer }

// NewVoice returns one that writes to w.
func NewVoice(w io.Writer) Voice { return Voice{w} }

// Say prints one message.
func (v Voice) Say(format string, args ...any) { Fprintf(v.w, "muster: "+format+"\n", args...) }

// Hint prints what to do about the message before it.
func (v Voice) Hint(text string) { Fprintf(v.w, "hint: %s\n", Text(text)) }

// Lines is for what writes whole lines by itself, such as a log.
func (v Voice) Lines() io.Writer { return lines{v.w, Safe} }

// JSON is for lines of JSON, which keep their meaning.
func (v Voice) JSON() io.Writer { return lines{v.w, escaped} }

// Exact is for what is nobody's but the user's, what their own commands print, and for
// what leaves room for the line of progress.
func (v Voice) Exact() io.Writer { return v.w }

// lines makes what is written safe. Each write has whole characters.
type lines struct {
	w    io.Writer
	safe func(string) string
}

func (l lines) Write(p []byte) (int, error) {
	if _, err := io.WriteString(l.w, l.safe(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escaped writes what is not harmless as JSON's strings may have it. Between strings
// JSON has none of it (RFC 8259, sections 2 and 7).
func escaped(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case harmless(r) || r == '\r':
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
