package input

import (
	"io"
	"math/rand/v2"
)

// Group puts the values of each n rows into one. The last has what is left.
func (r *Reader) Group(n int) {
	next := r.next
	r.next = func() ([]string, error) {
		var group []string
		for i := range n {
			row, err := next()
			if err == io.EOF && i > 0 {
				return group, nil
			}
			if err != nil {
				return nil, err
			}
			group = append(group, row...)
		}
		return group, nil
	}
	if r.total >= 0 {
		r.total = (r.total + n - 1) / n
	}
	r.many(n)
}

// many widens the rows.
func (r *Reader) many(n int) {
	if n == 0 || r.width > Unlimited/n {
		r.width = Unlimited
		return
	}
	r.width *= n
}

// Packing says how many rows go into one.
type Packing struct {
	Most   int                    // rows; 0 is any number
	Room   int                    // the size of all, but for one that is larger by itself
	Size   func(row []string) int // of one row
	Shares int                    // what fills no row goes into so many, for as many slots
}

// Packed puts rows into one until that is full. Width says what Pack will make of it:
// a command is compiled between the two.
func (r *Reader) Packed(most int) { r.many(most) }

// Pack puts the values of rows into one as long as there is room. What is left in the
// end is shared out, so that every slot gets some of it, as GNU parallel does.
func (r *Reader) Pack(p Packing) {
	k := &packer{p: p, next: r.next}
	r.next, r.total = k.group, -1
}

type packer struct {
	p     Packing
	next  func() ([]string, error)
	ahead []string // a row that has been read and had no room
	tail  [][]string
	per   int   // rows of the tail in each group, once that has begun
	err   error // what ended the rows
}

func (k *packer) group() ([]string, error) {
	if k.per == 0 {
		rows := k.fill()
		if k.err == nil {
			return concat(rows), nil
		}
		k.tail, k.per = rows, max(1, (len(rows)+k.p.Shares-1)/max(1, k.p.Shares))
	}
	if len(k.tail) == 0 {
		return nil, k.err
	}
	n := min(k.per, len(k.tail))
	rows := k.tail[:n]
	k.tail = k.tail[n:]
	return concat(rows), nil
}

// fill reads rows until one has no room, which waits, or there are no more.
func (k *packer) fill() (rows [][]string) {
	size := 0
	for {
		row := k.ahead
		if k.ahead = nil; row == nil {
			if row, k.err = k.next(); k.err != nil {
				return rows
			}
		}
		size += k.p.Size(row)
		if len(rows) > 0 && (size > k.p.Room || len(rows) == k.p.Most) {
			k.ahead = row
			return rows
		}
		rows = append(rows, row)
	}
}

func concat(rows [][]string) (all []string) {
	for _, row := range rows {
		all = append(all, row...)
	}
	return all
}

// shuffle reads all rows and puts them into an order that seed stands for.
func (r *Reader) shuffle(seed uint64) error {
	t := table{next: r.next}
	l, err := t.readAll()
	if err != nil {
		return err
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(l.rows), func(i, j int) { l.rows[i], l.rows[j] = l.rows[j], l.rows[i] })
	i := 0
	r.total = len(l.rows)
	r.next = func() ([]string, error) {
		if i == len(l.rows) {
			return nil, io.EOF
		}
		i++
		return l.rows[i-1], nil
	}
	return nil
}
