package hpc

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Span is First to Last by Step.
type Span struct{ First, Last, Step int }

// Array says which elements a job array has, and how many may run at once.
type Array struct {
	Spans    []Span
	Throttle int // 0 is no limit
}

// MaxElements bounds how many elements an array has: what is known of each is kept in
// memory.
const MaxElements = 1_000_000

// ParseArray reads Slurm's notation: 1-20:2%4, or a list such as 1,3,7-9. An index is
// there once.
func ParseArray(s string) (*Array, error) {
	bad := fmt.Errorf("%q is no array: it is written 1-100, 1-100:2 for every second, 1,3,7 for a list, and %%20 after it lets 20 run at once", s)
	list, throttle, throttled := strings.Cut(s, "%")
	a := &Array{}
	var err error
	if throttled {
		if a.Throttle, err = strconv.Atoi(throttle); err != nil || a.Throttle < 1 {
			return nil, bad
		}
	}
	for _, part := range strings.Split(list, ",") {
		sp := Span{Step: 1}
		span, step, stepped := strings.Cut(part, ":")
		first, last, ranged := strings.Cut(span, "-")
		if sp.First, err = strconv.Atoi(first); err != nil {
			return nil, bad
		}
		sp.Last = sp.First
		if ranged {
			if sp.Last, err = strconv.Atoi(last); err != nil {
				return nil, bad
			}
		}
		if stepped {
			if sp.Step, err = strconv.Atoi(step); err != nil || !ranged {
				return nil, bad
			}
		}
		if sp.First < 0 || sp.Last < sp.First || sp.Step < 1 || sp.Last > maxIndex {
			return nil, bad
		}
		a.Spans = append(a.Spans, sp)
	}
	if n := a.Count(); n > MaxElements {
		return nil, fmt.Errorf("the array %s has %d elements, and %d are the most", short(s), n, MaxElements)
	}
	if i, twice := a.twice(); twice {
		return nil, fmt.Errorf("the array %s has the index %d twice: each is one element", short(s), i)
	}
	return a, nil
}

const maxIndex = 1 << 30

// MarshalText writes the array as ParseArray reads it.
func (a *Array) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseArray.
func (a *Array) UnmarshalText(b []byte) error {
	read, err := ParseArray(string(b))
	if err != nil {
		return err
	}
	*a = *read
	return nil
}

// twice returns an index that is there more than once.
func (a *Array) twice() (index int, is bool) {
	if len(a.Spans) < 2 {
		return 0, false
	}
	list := a.Expand()
	slices.Sort(list)
	for i := 1; i < len(list); i++ {
		if list[i] == list[i-1] {
			return list[i], true
		}
	}
	return 0, false
}

// Count returns how many elements there are.
func (a *Array) Count() int {
	n := 0
	for _, s := range a.Spans {
		n += (s.Last-s.First)/s.Step + 1
	}
	return n
}

// Last returns the largest index, 0 of an array without elements.
func (a *Array) Last() int {
	if len(a.Spans) == 0 {
		return 0
	}
	return slices.MaxFunc(a.Spans, func(x, y Span) int { return cmp.Compare(x.Last, y.Last) }).Last
}

// Sized returns an array of n elements with the step and throttle of a, which
// may be nil.
func (a *Array) Sized(n int) *Array {
	sized := &Array{Spans: []Span{{First: 1, Step: 1}}}
	if a != nil {
		sized.Throttle = a.Throttle
		if len(a.Spans) == 1 {
			sized.Spans[0].First, sized.Spans[0].Step = a.Spans[0].First, a.Spans[0].Step
		}
	}
	s := &sized.Spans[0]
	s.Last = s.First + (n-1)*s.Step
	return sized
}

// spans writes the elements as Slurm does.
func (a *Array) spans() string {
	var parts []string
	for _, s := range a.Spans {
		text := strconv.Itoa(s.First)
		if s.Last > s.First {
			text += "-" + strconv.Itoa(s.Last)
			if s.Step > 1 {
				text += ":" + strconv.Itoa(s.Step)
			}
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ",")
}

func (a *Array) throttle() string {
	if a.Throttle == 0 {
		return ""
	}
	return "%" + strconv.Itoa(a.Throttle)
}

// String writes the array as ParseArray reads it.
func (a *Array) String() string { return a.spans() + a.throttle() }

// Expand lists the indices of a, in order.
func (a *Array) Expand() []int {
	var list []int
	for _, s := range a.Spans {
		for i := s.First; i <= s.Last; i += s.Step {
			list = append(list, i)
		}
	}
	return list
}

// stepless returns the elements of a without steps: every index of a range with a step
// for itself.
func (a *Array) stepless() *Array {
	b := &Array{Throttle: a.Throttle}
	for _, s := range a.Spans {
		if s.Step <= 1 {
			b.Spans = append(b.Spans, s)
			continue
		}
		for i := s.First; i <= s.Last; i += s.Step {
			b.Spans = append(b.Spans, Span{i, i, 1})
		}
	}
	return b
}

// Split cuts a into arrays whose largest index is at most limit.
func (a *Array) Split(limit int) []*Array {
	if limit <= 0 || a.Last() <= limit {
		return []*Array{a}
	}
	var parts []*Array
	for left := a.Count(); left > 0; {
		// Indices begin anew in each part: a limit is one on the index.
		part := a.Sized(1)
		s := &part.Spans[0]
		n := min(left, (limit-s.First)/s.Step+1)
		if n < 1 {
			return []*Array{a}
		}
		s.Last = s.First + (n-1)*s.Step
		parts = append(parts, part)
		left -= n
	}
	return parts
}
