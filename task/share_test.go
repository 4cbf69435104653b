package task

import (
	"slices"
	"strings"
	"testing"
)

func TestShareMarksAndSlotMarks(t *testing.T) {
	s := Spec{Argv: []string{"p", SlotMark + "{a}", "x" + ShareMark("a") + "%" + SlotMark, ShareMark("ab") + ShareMark("a")},
		Name: SlotMark, Env: []string{"K=V"}, Shares: []Share{{Name: "a"}, {Name: "ab"}, {Name: "none"}}}
	got := s.WithShares(map[string]string{"a": "/A", "ab": "/AB"}).InSlot(3)
	if want := []string{"p", "3{a}", "x/A%3", "/AB/A"}; !slices.Equal(got.Argv, want) {
		t.Errorf("%q, want %q", got.Argv, want)
	}
	if want := []string{"K=V", "MUSTER_SHARE_a=/A", "MUSTER_SHARE_ab=/AB"}; !slices.Equal(got.Env, want) {
		t.Errorf("%q, want %q", got.Env, want)
	}
	if want := []string{"p", "1{a}", "x{share:a}%1", "{share:ab}{share:a}"}; !slices.Equal(s.Shown(1).Argv, want) {
		t.Errorf("shown as %q, want %q", s.Shown(1).Argv, want)
	}
	if s.Argv[3] != ShareMark("ab")+ShareMark("a") || len(s.Env) != 1 {
		t.Errorf("the spec itself has changed: %q", s.Argv)
	}
}

func TestValidShare(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "_": true, "A_9z": true, strings.Repeat("x", 64): true,
		"": false, "9a": false, "a-b": false, "a/b": false, "../x": false, "a b": false, "ü": false, "a\x00": false, "a}": false, strings.Repeat("x", 65): false} {
		if ValidShare(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
