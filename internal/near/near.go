// Package near finds the name that somebody probably meant who wrote another.
package near

import (
	"slices"

	"github.com/xrash/smetrics"
)

// least is how much two words have to be alike, of 1.
const least = 0.8

// Name returns the name that is most like a word, or nothing if none is.
func Name(word string, names []string) string {
	best, found := least, ""
	for _, n := range names {
		like := smetrics.JaroWinkler(n, word, 0.7, 4)
		if n != "" && slices.Equal(letters(n), letters(word)) {
			like = 1 // of a short word it says little that two letters are exchanged
		}
		if like > best {
			best, found = like, n
		}
	}
	return found
}

func letters(word string) []byte { return slices.Sorted(slices.Values([]byte(word))) }
