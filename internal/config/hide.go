package config

import (
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// hidden are the texts that no message about a setting may show, by where its value
// stands. Evaluations add to it, and whoever finds mistakes may be another goroutine.
type hidden struct {
	mu    sync.Mutex
	texts map[hcl.Range]map[string]bool
}

// add hides texts in messages about what stands in r.
func (h *hidden) add(r hcl.Range, texts []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.texts == nil {
		h.texts = map[hcl.Range]map[string]bool{}
	}
	for _, t := range texts {
		if t = strings.TrimSpace(t); t == "" {
			continue
		}
		if h.texts[r] == nil {
			h.texts[r] = map[string]bool{}
		}
		h.texts[r][t] = true
	}
}

// in returns a message about what stands at a place, without what is hidden there.
func (h *hidden) in(msg string, at hcl.Pos) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r, texts := range h.texts {
		if before(at, r.Start) || before(r.End, at) {
			continue
		}
		for t := range texts {
			msg = without(msg, t)
		}
	}
	return msg
}

// before compares places by line and column.
func before(a, b hcl.Pos) bool {
	return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// minHidden is how long a text must be to be hidden where it has no quotes: a shorter
// one is part of many words.
const minHidden = 4

// without takes a secret out of a message, and what is quoted of it.
func without(msg, secret string) string {
	msg = quoted.ReplaceAllStringFunc(msg, func(q string) string {
		if text, err := strconv.Unquote(q); err == nil && text != "" && strings.Contains(secret, strings.TrimSpace(text)) {
			return Redacted
		}
		return q
	})
	if len(secret) >= minHidden {
		msg = strings.ReplaceAll(msg, secret, Redacted)
	}
	return msg
}

// secretTexts are the strings in a value, if it is secret.
func secretTexts(v cty.Value) (texts []string) {
	if !isSecret(v) {
		return nil
	}
	v, _ = v.UnmarkDeep()
	cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) { // it returns no error of its own
		if v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
			texts = append(texts, v.AsString())
		}
		return true, nil
	})
	return texts
}
