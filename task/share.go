package task

import (
	"slices"
	"strings"
)

// Share names memory that many tasks of a machine read in one place.
type Share struct {
	Name string `json:"name"` // see ValidShare
	Ref  string `json:"ref"`  // of package share, as JSON
	// Needed says that the task cannot begin where the share cannot be read.
	Needed bool `json:"needed,omitempty"`
}

// MaxShareName bounds the name of a share, in bytes.
const MaxShareName = 64

// ShareVariable begins the names of the variables in which tasks find the paths of
// shares.
const ShareVariable = "MUSTER_SHARE_"

// ValidShare reports whether a share can have the name, which is part of a variable's:
// letters, digits and _, no digit first.
func ValidShare(name string) bool {
	if name == "" || len(name) > MaxShareName || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for _, c := range []byte(name) {
		if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// ShareMark stands in a command for the path of a share, which is known where the task
// runs. It begins with a NUL, as SlotMark does, and can be told from it.
func ShareMark(name string) string { return "\x00{" + name + "}" }

// WithShares returns the spec with the paths of shares in the place of their marks, and
// in variables.
func (s Spec) WithShares(paths map[string]string) Spec {
	s.Env = slices.Clone(s.Env)
	for _, sh := range s.Shares {
		if path, ok := paths[sh.Name]; ok {
			s.Env = append(s.Env, ShareVariable+sh.Name+"="+path)
		}
	}
	return s.replaceShares(func(name string) string { return paths[name] })
}

// Shown returns the spec as people are to see its words: with the number of a slot,
// from 1, and shares as they are written.
func (s Spec) Shown(slot int) Spec {
	return s.replaceShares(func(name string) string { return "{share:" + name + "}" }).InSlot(slot)
}

// replaceShares puts words in the place of the marks of the spec's shares.
func (s Spec) replaceShares(word func(name string) string) Spec {
	if len(s.Shares) == 0 {
		return s
	}
	var pairs []string
	for _, sh := range s.Shares {
		pairs = append(pairs, ShareMark(sh.Name), word(sh.Name))
	}
	r := strings.NewReplacer(pairs...)
	s.Argv = slices.Clone(s.Argv)
	for i, w := range s.Argv {
		s.Argv[i] = r.Replace(w)
	}
	return s
}
