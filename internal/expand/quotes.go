package expand

// quotes follows a text for a shell (POSIX.1-2017, section 2.2), to tell people about
// placeholders in quotes. Here-documents and what is nested in $() it does not know, so
// nothing but advice may depend on it.
type quotes struct {
	in      byte // the quote that is open; 0 if none
	escaped bool
}

// around reports whether a placeholder for a value stands in quotes. It goes on where it
// ended.
func (q *quotes) around(parts []part) (found bool) {
	for _, p := range parts {
		if p.what == value && q.in != 0 {
			found = true
		}
		for i := range len(p.text) {
			q.next(p.text[i])
		}
	}
	return found
}

func (q *quotes) next(c byte) {
	switch {
	case q.escaped:
		q.escaped = false
	case c == '\\' && q.in != '\'':
		q.escaped = true
	case q.in == c:
		q.in = 0
	case q.in == 0 && (c == '\'' || c == '"'):
		q.in = c
	}
}
