package dispatcher

import (
	"fmt"
	"strings"
)

// Bounds on what of a peer's own words is kept, logged and said, in bytes.
const (
	maxReason   = 300 // of a stranger's words
	maxLine     = 1 << 10
	maxEvidence = 16 << 10 // such as the directories of a search path
)

// oneLine returns a peer's words as one line of bounded length.
func oneLine(words string) string {
	return strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ").Replace(cut(words, maxLine))
}

// cut returns at most the first n bytes of a peer's words, and says if there were more.
func cut(words string, n int) string {
	if len(words) <= n {
		return words
	}
	return strings.ToValidUTF8(words[:n], "") + fmt.Sprintf("... (%d bytes)", len(words))
}
