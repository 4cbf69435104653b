package http

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// redacted stands in the place of a secret.
const redacted = "[redacted]"

// joins are join strings, as they are and as forms have them.
var joins = regexp.MustCompile(`muster1(?::|%3[Aa])[A-Za-z0-9_-]+`)

// plainHeaders say nothing that is secret.
var plainHeaders = map[string]bool{"accept": true, "content-type": true, "user-agent": true, "idempotency-key": true, "host": true, "x-slurm-user-name": true}

// minSecret is how long a text must be to be hidden wherever it stands: a shorter one
// is part of many words.
const minSecret = 4

// minQuery is that of a value in a URL's query, most of which are no secrets.
const minQuery = 8

// hidden are texts that are secret, in the ways in which they may stand in others.
type hidden map[string]bool

func (h hidden) add(text string) {
	escaped, _ := json.Marshal(text) // a string always marshals
	for _, t := range []string{text, strings.Trim(string(escaped), `"`), url.QueryEscape(text)} {
		if len(t) >= minSecret {
			h[t] = true
		}
	}
}

// addWords adds a text, of which a part may have been taken: it may be a file of several
// secrets, or JSON.
func (h hidden) addWords(text string) {
	h.add(strings.TrimSpace(text))
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`"',;:={}[]`, r) }) {
		if len(word) >= minQuery {
			h.add(word)
		}
	}
}

// list is the texts, the longest first.
func (h hidden) list() []string {
	return slices.SortedFunc(maps.Keys(h), func(a, b string) int { return len(b) - len(a) })
}

// Hide takes secrets out of a text, and join strings.
func Hide(text string, secrets []string) string {
	found := hidden{}
	for _, s := range secrets {
		found.addWords(s)
	}
	return hide(text, found.list())
}

func hide(text string, list []string) string {
	text = joins.ReplaceAllString(text, redacted)
	for _, s := range list {
		text = strings.ReplaceAll(text, s, redacted)
	}
	return text
}

// secrets are the texts by which a service knows who asks, the longest first: what the
// request's headers say, whole and word by word, those of its body, and the password and
// the query of its URL.
func (r Request) secrets() []string {
	found := hidden{}
	for _, h := range r.Headers {
		if plainHeaders[strings.ToLower(h.Name)] {
			continue
		}
		found.add(strings.TrimSpace(h.Value))
		for _, word := range strings.FieldsFunc(h.Value, func(r rune) bool { return strings.ContainsRune(" \t;,", r) }) {
			if word == "Bearer" || word == "Basic" {
				continue
			}
			found.add(word)
			if _, value, pair := strings.Cut(word, "="); pair {
				found.add(value)
			}
		}
	}
	for _, s := range r.Secrets {
		found.addWords(s)
	}
	if u, err := parse(r.URL); err == nil {
		if password, has := u.User.Password(); has {
			found.add(password)
		}
		for _, values := range u.Query() {
			for _, v := range values {
				if len(v) >= minQuery {
					found.add(v)
				}
			}
		}
	}
	return found.list()
}

// hide takes out of a text what the request had that is secret, and join strings: there
// are services that answer with what they were sent.
func (a Answer) hide(text string) string { return hide(text, a.secrets) }

// Shown is the answer as a person may read it: without what the request had that is
// secret, and without the cookies that it sets.
func (a Answer) Shown() Answer {
	headers := map[string][]string{}
	for name, values := range a.Headers {
		for _, v := range values {
			if http.CanonicalHeaderKey(name) == "Set-Cookie" {
				v = redacted
			}
			headers[name] = append(headers[name], a.hide(v))
		}
	}
	a.Body, a.Headers = a.hide(a.Body), headers
	return a
}
