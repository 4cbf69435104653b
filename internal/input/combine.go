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
	l := list{columns: t.columns, width: t.width}
	for {
		row, err := t.next()
		if err == io.EOF {
			return l, nil
		}
		if err != nil {
			return l, err
		}
		l.rows = append(l.rows, row)
	}
}

// combine makes all combinations of the lists, the last changing fastest, with
// those that are linked side by side.
func (r *Reader) combine(lists []list, link bool) error {
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
	n := 0
	r.next = func() ([]string, error) {
		if n == r.total {
			return nil, io.EOF
		}
		row := make([]string, r.width)
		at, left := n, r.width
		for _, g := range slices.Backward(groups) {
			left -= g.width
			copy(row[left:], g.rows[at%len(g.rows)])
			at /= len(g.rows)
		}
		n++
		return row, nil
	}
	return nil
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
