package live

import (
	"strings"

	"github.com/rivo/uniseg"
)

// Fit returns s, or as much of its beginning as takes up so many columns, with dots at
// its end.
func Fit(s string, columns int) string {
	if uniseg.StringWidth(s) <= columns {
		return s
	}
	dots := strings.Repeat(".", max(0, min(3, columns-1)))
	columns -= len(dots)
	end, state := 0, -1
	for rest := s; rest != ""; {
		var cluster string
		var width int
		if cluster, rest, width, state = uniseg.FirstGraphemeClusterInString(rest, state); width > columns {
			break
		}
		columns -= width
		end += len(cluster)
	}
	return s[:max(0, end)] + dots
}

// Width is how many columns s takes up.
func Width(s string) int { return uniseg.StringWidth(s) }

// column is where the cursor is after a text that began in the column at, as far as
// that can be known of a text that may have anything in it.
func column(at int, text []byte) int {
	s := string(text[lastRow(text):])
	if len(s) < len(text) {
		at = 0
	}
	for i, part := range strings.Split(s, "\t") {
		if i > 0 {
			at = (at/8 + 1) * 8
		}
		at += uniseg.StringWidth(part)
	}
	return at
}

// lastRow is where what stands on the last row of a text begins.
func lastRow(text []byte) int { return strings.LastIndexAny(string(text), "\r\n") + 1 }
