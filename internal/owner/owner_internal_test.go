package owner

import (
	"os/user"
	"strings"
	"testing"
)

func TestAlone(t *testing.T) {
	me := &user.User{Username: "me", Uid: "1000", Gid: "1000"}
	for groups, want := range map[string]bool{
		"":                          false,
		"root:x:0:\nme:x:1000:\n":   true,
		"me:x:1000:me":              true,
		"me:x:1000:me,you":          false,
		"me:x:1000:you":             false,
		"users:x:1000:":             false, // the primary group of many, perhaps
		"me:x:1000:\nme:x:1000:you": false,
		"me:x:1001:":                false,
		"me:1000":                   false,
		"me:x:1000:\n" + strings.Repeat("x", 1<<20): false, // who knows what would come
	} {
		if got := alone(strings.NewReader(groups), me); got != want {
			t.Errorf("%.40q: %v", groups, got)
		}
	}
}
