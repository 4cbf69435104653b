package config_test

import (
	"strings"
	"testing"
	"time"

	"muster/internal/config"
)

func TestReattach(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"":                        config.DefaultReattach,
		`reattach = "90s"`:        90 * time.Second,
		`reattach = "1-00:00:00"`: 24 * time.Hour,
		`reattach = "0s"`:         0,
	} {
		f := parse(t, "profile \"p\" {\n"+line+"\n}")
		set, err := f.Settings(f.Profiles[0], scope)
		if err != nil || set.Reattach != want {
			t.Errorf("%s: %v, %v; want %v", line, set, err, want)
		}
	}
	if _, err := config.Parse("f", []byte("profile \"p\" {\n  reattach = \"soon\"\n}")); err == nil || !strings.Contains(err.Error(), `2:14: reattach: "soon" is no duration`) {
		t.Errorf("a duration that is none: %v", err)
	}
}
