package cli

import (
	"strings"
	"testing"

	"muster/dispatcher"
)

func TestParseHalt(t *testing.T) {
	for text, want := range map[string]dispatcher.Halt{
		"never": {}, "0": {}, "": {},
		"1":              {Count: 1},
		"2":              {Count: 1, Now: true},
		"-1":             {On: dispatcher.Succeeded, Count: 1},
		"-2":             {On: dispatcher.Succeeded, Count: 1, Now: true},
		"7%":             {Percent: 7},
		"soon,fail=3":    {Count: 3},
		"now,fail=100%":  {Percent: 100, Now: true},
		"now,done=10%":   {On: dispatcher.Ended, Percent: 10, Now: true},
		"soon,success=2": {On: dispatcher.Succeeded, Count: 2},
	} {
		if got, err := parseHalt(text); got != want || err != nil {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"soon", "now,fail", "now,fail=", "now,fail=0", "now,fail=-1", "now,fail=+1", "now,fail=101%", "later,fail=1", "now,failed=1",
		"now,fail=1,done=2", "3", "-3", "%", "0%", "101%", "now,fail=99999999999999999999", "now,fail=1.5", " 1", "now;fail=1"} {
		if h, err := parseHalt(text); err == nil || !strings.Contains(err.Error(), "as in soon,fail=3") {
			t.Errorf("%q is %+v, %v", text, h, err)
		}
	}
}

func TestReached(t *testing.T) {
	for _, c := range []struct {
		halt                     string
		failed, succeeded, total int
		want                     bool
	}{
		{"never", 9, 9, 9, false},
		{"soon,fail=2", 1, 5, 9, false},
		{"soon,fail=2", 2, 0, 0, true},
		{"now,success=1", 5, 0, 9, false},
		{"now,success=1", 5, 1, 9, true},
		{"now,done=3", 1, 2, 9, true},
		{"soon,fail=50%", 4, 5, 9, false},
		{"soon,fail=50%", 5, 4, 9, true},
		{"soon,fail=50%", 5, 4, 0, false}, // who knows how many come
		{"soon,fail=1%", 0, 4, 9, false},
		{"soon,fail=1%", 1, 4, 9, true},
	} {
		h, err := parseHalt(c.halt)
		if got := h.Reached(c.failed, c.succeeded, c.total); got != c.want || err != nil {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}
