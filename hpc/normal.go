package hpc

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Normal moves an array, how many of its elements may run at once, and a name out
// of j's raw options into j.Array and j.Name. All else in the options stays as it
// is, less leading blanks. Its error is made of FieldErrors.
func (d *Dialect) Normal(j Job) (Job, error) {
	j, _, err := d.normal(j)
	return j, err
}

// normal is Normal, with what the options that stay are.
func (d *Dialect) normal(j Job) (Job, []line, error) {
	parsed, err := d.parse(j.Options)
	bad := []error{err}
	var kept []line
	for _, l := range parsed {
		var rest []option
		for _, o := range slices.Backward(l.options) { // those behind keep their places
			if !o.has(setsArray) && !o.has(setsThrottle) && !o.has(setsName) {
				rest = append(rest, o)
				continue
			}
			l.text = l.text[:o.start] + o.left + l.text[o.start:]
			l.text = cut(l.text, o.start+len(o.left), o.end+len(o.left))
			if l.text != "" && l.text[0] != '-' && !blank(l.text[0]) {
				l.text = " " + l.text
			}
		}
		for _, o := range l.options { // of two the last counts
			if err := d.take(&j, o); err != nil {
				bad = append(bad, &FieldError{"options", l.number, err.Error(), ""})
			}
		}
		if slices.Reverse(rest); len(l.options) > len(rest) && strings.TrimSpace(l.text) == "" {
			continue
		}
		l.options = rest
		kept = append(kept, l)
	}
	for len(kept) > 0 && !kept[len(kept)-1].directive && strings.TrimSpace(kept[len(kept)-1].text) == "" {
		kept = kept[:len(kept)-1]
	}
	if err := errors.Join(bad...); err != nil {
		return j, nil, err
	}
	var texts []string
	for _, l := range kept {
		texts = append(texts, l.String(&d.grammar))
	}
	j.Options = strings.Join(texts, "\n")
	return j, kept, nil
}

// take sets what an option says of the array and the name.
func (d *Dialect) take(j *Job, o option) error {
	switch {
	case o.has(setsThrottle):
		n, err := strconv.Atoi(o.value)
		if err != nil || n < 0 {
			return fmt.Errorf("%s %q is no number", o.key, o.value)
		}
		a := Array{}
		if j.Array != nil {
			a.Spans = j.Array.Spans
		}
		a.Throttle = n
		j.Array = &a
	case o.has(setsArray):
		text := o.value
		if o.has(setsName) { // LSF says both in one
			text = ""
			if name, array, ok := cutArray(o.value); ok {
				if text = array; name != "" {
					j.Name = name
				}
			} else {
				j.Name = o.value
			}
		}
		if text == "" {
			return nil
		}
		a, err := ParseArray(text)
		if err != nil {
			return err
		}
		if d.throttleApart && j.Array != nil {
			a.Throttle = j.Array.Throttle
		}
		j.Array = a
	case o.has(setsName):
		j.Name = o.value
	}
	return nil
}

var namedArray = regexp.MustCompile(`^([^\[\]]*)\[([^\[\]]*)\](%[0-9]+)?$`)

// cutArray takes name[1-9]%2 apart, as LSF writes an array.
func cutArray(text string) (name, array string, ok bool) {
	m := namedArray.FindStringSubmatch(text)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2] + m[3], true
}
