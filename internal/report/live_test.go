package report_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"muster/internal/report"
	"muster/internal/spool"
)

// TestGrow: what two outputs are given, piece by piece, is shown as their way says.
func TestGrow(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for _, c := range []struct {
		name  string
		live  report.Live
		tag   string
		steps []string // "1:" or "2:" and a piece of that output, or "1." when it has ended
		want  string
	}{
		{"whole lines", report.Lines, "", []string{"1:a", "2:b\nc", "1:1\n", "2:2\n", "1.", "2."}, "b\na1\nc2\n"},
		{"rest at the end", report.Lines, "", []string{"1:a\nb", "2:c", "1.", "2."}, "a\nbc"},
		{"tags", report.Lines, "T", []string{"1:a\n\nb", "1:c\n", "1:d", "1."}, "T1 a\nT1 \nT1 bc\nT1 d"},
		{"bytes", report.Ungrouped, "T", []string{"1:a", "2:b\nc", "1:1\n", "2:2\n", "1.", "2."}, "ab\nc1\n2\n"},
		{"grouped", report.Grouped, "T", []string{"1:a\n", "2.", "1."}, "T1 a\n"},
		{"a long line", report.Lines, "T", []string{"1:" + long, "1:" + long, "2:b\n", "1:\na", "1."}, "T2 b\nT1 " + long + long + "\nT1 a"},
		{"many lines", report.Lines, "", []string{"1:" + strings.Repeat("y\n", 100_000) + "z", "2.", "1."}, strings.Repeat("y\n", 100_000) + "z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMaker(t)
			var out bytes.Buffer
			w := open(t, report.Options{Stdout: &out, Live: c.live})
			items := map[byte]report.Item{'1': m.item(1, "", ""), '2': m.item(2, "", "")}
			for i, item := range items {
				if c.tag != "" {
					item.Tag = fmt.Sprintf("%s%c ", c.tag, i)
				}
				items[i] = item
			}
			for _, step := range c.steps {
				item := items[step[0]]
				var err error
				if step[1] == '.' {
					err = w.Print(item)
				} else if err = item.Output.Write(spool.Stdout, []byte(step[2:])); err == nil && c.live != report.Grouped {
					err = w.Grow(item)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if got := out.String(); got != c.want {
				t.Errorf("printed %.300q, want %.300q", got, c.want)
			}
		})
	}
}

// TestGrowOver: an attempt that came to nothing stays printed, and one whose result has
// been printed is not printed again.
func TestGrowOver(t *testing.T) {
	m := newMaker(t)
	var out, errs bytes.Buffer
	w := open(t, report.Options{Stdout: &out, Stderr: &errs, Live: report.Lines})
	lost, done := m.item(1, "lost", "e\n"), m.item(1, "done\n", "")
	for _, err := range []error{w.Grow(lost), w.GrownOver(lost), w.Grow(done), w.Print(done), w.Grow(done), w.GrownOver(m.item(2, "", ""))} {
		if err != nil {
			t.Error(err)
		}
	}
	if out.String() != "lostdone\n" || errs.String() != "e\n" || m.left() != 0 {
		t.Errorf("printed %q and %q, left %d", &out, &errs, m.left())
	}
}
