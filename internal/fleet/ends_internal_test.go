package fleet

import (
	"fmt"
	"strings"
	"testing"
)

// TestEnds: of what is printed without end the begin and the end are kept.
func TestEnds(t *testing.T) {
	for _, size := range []int{1, 1000, 100000, 3 << 20} {
		var e ends
		total := 0
		for i := 0; total < 8<<20; i++ {
			text := fmt.Sprint(i, " ", strings.Repeat("x", size))
			if n, err := e.Write([]byte(text)); n != len(text) || err != nil {
				t.Fatal(n, err)
			}
			total += len(text)
		}
		all := e.all()
		if len(e.begin)+len(e.end)+e.left != total || len(e.begin) != maxBegin || len(e.end) != maxEnd || !strings.HasPrefix(all, "0 x") || !strings.HasSuffix(all, "x") || len(all) > maxBegin+maxEnd+100 {
			t.Errorf("writes of %d bytes: %d, %d and %d bytes between them, of %d", size, len(e.begin), len(e.end), e.left, total)
		}
	}
	var e ends
	e.Write([]byte("short"))
	if e.all() != "short" || e.head(3) != "sho" {
		t.Error(e.all(), e.head(3))
	}
}
