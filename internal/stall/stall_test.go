package stall

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTeller: what is waited for is said after the patience, again when the reason
// changes or rarely when it does not, and never while something happens.
func TestTeller(t *testing.T) {
	for _, c := range []struct {
		name  string
		looks string // SECONDS MARK REASONS of each look; reasons are KEY or KEY:TEXT
		want  string // SECONDS KEYS of what is said
	}{
		{"nothing before the patience", "1 0 a, 9 0 a", ""},
		{"at the patience", "5 0 a, 10 0 a", "10 a"},
		{"once", "10 0 a, 11 0 a, 20 0 a, 60 0 a, 309 0 a", "10 a"},
		{"again after five minutes, then ten, then twenty", "10 0 a, 310 0 a, 610 0 a, 910 0 a, 1510 0 a, 2110 0 a", "10 a, 310 a, 910 a, 2110 a"},
		{"an hour apart at last", "10 0 a, 310 0 a, 910 0 a, 2110 0 a, 4510 0 a, 8110 0 a, 11709 0 a, 11710 0 a", "10 a, 310 a, 910 a, 2110 a, 4510 a, 8110 a, 11710 a"},
		{"a text that counts up is the same reason", "10 0 a:10s, 20 0 a:20s, 40 0 a:40s", "10 a"},
		{"progress is silent and begins anew", "5 0 a, 8 1 a, 12 1 a, 18 1 a", "18 a"},
		{"what goes on is never said", "9 1 a, 18 2 a, 27 3 a, 36 4 a", ""},
		{"progress does not make an old reason new", "10 0 a, 15 1 a, 25 1 a, 60 1 a", "10 a"},
		{"another reason, after a pause", "10 0 a, 20 0 b, 29 0 b, 30 0 b", "10 a, 30 b"},
		{"pauses grow", "10 0 a, 30 0 b, 69 0 c, 70 0 c, 149 0 d, 150 0 d", "10 a, 30 b, 70 c, 150 d"},
		{"two minutes are the longest pause", "10 0 a, 30 0 b, 70 0 c, 150 0 d, 269 0 e, 270 0 e, 390 0 f", "10 a, 30 b, 70 c, 150 d, 270 e, 390 f"},
		{"progress makes the pause short again", "10 0 a, 30 0 b, 31 1 c, 41 1 c", "10 a, 30 b, 41 c"},
		{"two reasons, each once", "10 0 a b, 30 0 b a c", "10 a b, 30 c"},
		{"a reason that was not said is no less new", "10 0 a, 15 0 b, 30 0 b", "10 a, 30 b"},
		{"no reason, nothing to say", "10 0, 100 0", ""},
	} {
		begin := time.Unix(1000, 0)
		teller := New(10*time.Second, begin, 0)
		var got []string
		for look := range strings.SplitSeq(c.looks, ", ") {
			var at, mark int
			fmt.Sscan(look, &at, &mark)
			var why []Reason
			for _, r := range strings.Fields(look)[2:] {
				key, text, _ := strings.Cut(r, ":")
				why = append(why, Reason{key, text})
			}
			said := ""
			for _, r := range teller.Look(begin.Add(time.Duration(at)*time.Second), mark, why) {
				said += " " + r.Key
			}
			if said != "" {
				got = append(got, fmt.Sprint(at)+said)
			}
		}
		if all := strings.Join(got, ", "); all != c.want {
			t.Errorf("%s: said %q, want %q", c.name, all, c.want)
		}
	}
}

// TestMemory: reasons that are always new are not remembered for ever.
func TestMemory(t *testing.T) {
	begin := time.Unix(1000, 0)
	teller := New(time.Second, begin, 0)
	for i := range 10 * mostReasons {
		teller.Look(begin.Add(time.Duration(i+1)*time.Hour), 0, []Reason{{fmt.Sprint(i), ""}})
	}
	if n := len(teller.said); n > mostReasons {
		t.Errorf("%d reasons are remembered, want %d at most", n, mostReasons)
	}
}
