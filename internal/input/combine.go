package input

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// list is a source that has been read, or several that go side by side.
type list struct {
	columns []string
	width   int
	rows    [][]string
	linked  bool
	name    string
}

func (t *table) readAll() (list, error) {
	l, most := list{columns: t.columns, width: t.width}, max(1, len(t.columns))
	for {
		row, err := t.next()
		if err == io.EOF && l.width == Unlimited {
			l.width = most
		}
		if err == io.EOF {
			return l, nil
		}
		if err != nil {
			return l, err
		}
		l.rows = append(l.rows, row)
		most = max(most, len(row))
	}
}

// combine makes all combinations of the lists, the last changing fastest, with
// those that are linked side by side.
func (r *Reader) combine(lists []list, link bool) error {
	fill(lists)
	var groups []list
	for _, l := range lists {
		if len(groups) == 0 || !link && !l.linked {
			groups = append(groups, l)
			continue
		}
		g := &groups[len(groups)-1]
		if !link && len(g.rows) != len(l.rows) {
			return fmt.Errorf(":::+ puts sources side by side, but one has %s and the next %s; --link starts the shorter one again", values(len(g.rows)), values(len(l.rows)))
		}
		*g = beside(*g, l)
	}
	r.total = 1
	named := false
	for _, g := range groups {
		r.width += g.width
		names := g.columns
		if names == nil {
			names = make([]string, g.width)
		}
		named = named || g.columns != nil
		r.columns = append(r.columns, names...)
		if n := len(g.rows); n > 0 && r.total > math.MaxInt/n {
			return fmt.Errorf("the sources have too many combinations")
		}
		r.total *= len(g.rows)
	}
	if !named {
		r.columns = nil
	}
	if err := checkNames("inputs", r.columns); err != nil {
		return err
	}
	n, total := 0, r.total
	r.next = func() ([]string, error) {
		if n == total {
			return nil, io.EOF
		}
		n++
		return pick(groups, n-1), nil
	}
	return nil
}

// pick makes the n-th combination of the groups.
func pick(groups []list, n int) []string {
	rows := make([][]string, len(groups))
	for i, g := range slices.Backward(groups) {
		rows[i] = g.rows[n%len(g.rows)]
		n /= len(g.rows)
	}
	return slices.Concat(rows...)
}

// fill makes all rows as long as the longest, so that each value of a combination stands
// where its name is. Without names the values only have their order.
func fill(lists []list) {
	if !slices.ContainsFunc(lists, func(l list) bool { return l.columns != nil }) {
		return
	}
	for _, l := range lists {
		for i, row := range l.rows {
			if short := l.width - len(row); short > 0 {
				l.rows[i] = append(slices.Clone(row), make([]string, short)...)
			}
		}
	}
}

// beside puts two lists side by side; the shorter one starts again, as with
// GNU parallel's --link.
func beside(a, b list) list {
	out := list{width: a.width + b.width}
	if a.columns != nil || b.columns != nil {
		out.columns = append(padded(a), padded(b)...)
	}
	if len(a.rows) == 0 || len(b.rows) == 0 {
		return out
	}
	for i := range max(len(a.rows), len(b.rows)) {
		out.rows = append(out.rows, slices.Concat(a.rows[i%len(a.rows)], b.rows[i%len(b.rows)]))
	}
	return out
}

func padded(l list) []string {
	if l.columns == nil {
		return make([]string, l.width)
	}
	return slices.Clone(l.columns)
}
