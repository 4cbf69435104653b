package near_test

import (
	"testing"

	"muster/internal/near"
)

func TestName(t *testing.T) {
	names := []string{"timeout", "tag", "joblog", "keep-order", "n", "queue", ""}
	for word, want := range map[string]string{"timout": "timeout", "timeuot": "timeout", "joblgo": "joblog", "keep": "keep-order", "atg": "tag", "queu": "queue", "zzz": "", "": "", "x": "", "timeout": "timeout"} {
		if got := near.Name(word, names); got != want {
			t.Errorf("%q is near %q, want %q", word, got, want)
		}
	}
	if got := near.Name("a", nil); got != "" {
		t.Errorf("of no names, %q is near", got)
	}
}
