package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"muster/internal/units"
	"muster/rng"
)

// secret marks values that come from outside; a value of exec() that was not run
// is unknown and has the mark notRun too.
const secret = "secret"

// notRun marks what depends on the output of a program that was not run.
type notRun string

// fromFile marks what file() has read.
type fromFile struct{ path, text string }

// fileOf is the path of the file of which a value is the whole text; empty if it is of
// none.
func fileOf(v cty.Value, text string) string {
	_, marks := v.UnmarkDeep()
	for m := range marks {
		if f, ok := m.(fromFile); ok && f.text == text {
			return f.path
		}
	}
	return ""
}

// unknownError says that a value depends on the output of a program that was
// not run.
type unknownError struct{ program string }

func (e unknownError) Error() string { return "it depends on " + e.placeholder() }

func (e unknownError) placeholder() string { return outputOf + e.program + "]" }

// reading says how values are made of what expressions give.
type reading struct {
	redact       bool // strings that are secret
	placeholders bool // stand for strings that are not known
}

// value makes a value of the field's type.
func (r reading) value(f *Field, v cty.Value) (any, error) {
	got, err := r.typed(f, v)
	var unknown unknownError
	switch {
	case err == nil:
		return got, f.allowed(got, isSecret(v) || f.Secret)
	case errors.As(err, &unknown):
		return nil, err
	case isSecret(v) || f.Secret:
		return nil, fmt.Errorf("its value, which is not shown, is not %s", an(f.Type))
	}
	return nil, err
}

func (r reading) typed(f *Field, v cty.Value) (any, error) {
	if f.Secret && r.redact {
		v = v.Mark(secret)
	}
	switch zero(f).(type) {
	case string:
		text, err := r.text(v, true)
		if open, _ := (reading{}).text(v, true); text == Redacted && !f.Secret && slices.Contains(f.OneOf, open) {
			return open, nil // no secret is one of a few words
		}
		return text, err
	case Text:
		text, err := r.text(v, true)
		return Text{text, fileOf(v, text)}, err
	case TextFile:
		path, err := r.text(v, true)
		return TextFile{Path: path}, err
	case Array:
		text, err := reading{}.text(v, false)
		if r.redact && isSecret(v) && strings.Trim(text, "0123456789,:-%") != "" {
			text = Redacted
		}
		return Array(text), err
	case []string:
		return r.texts(v)
	case Pairs:
		return r.pairs(v, f.Secret)
	case Words:
		return r.words(v)
	case Data:
		return r.data(v)
	case URLs:
		if !isList(v) {
			text, err := r.text(v, true)
			return URLs{text}, err
		}
		list, err := r.texts(v)
		return URLs(list), err
	case int:
		return wholeNumber(v)
	case Count:
		n, err := wholeNumber(v)
		return Count{n, true}, err
	case rng.Streams:
		return seed(v)
	case bool:
		v, err := known(v, cty.Bool)
		if err != nil {
			return nil, err
		}
		return v.True(), nil
	case time.Duration:
		text, err := f.measure(v, "4h or 4:00:00")
		if err != nil {
			return nil, err
		}
		return units.ParseDuration(text)
	case Size:
		text, err := f.measure(v, "16GB or 16GiB")
		if err != nil {
			return nil, err
		}
		n, err := units.ParseSize(text)
		return Size(n), err
	}
	return nil, errors.New("a launcher cannot be named here")
}

// measure is the text of a duration or a size. Where schedulers disagree on what a number
// alone would mean, it is refused, and such is what to write.
func (f *Field) measure(v cty.Value, such string) (string, error) {
	v, err := known(v, cty.String)
	if err != nil {
		return "", err
	}
	text := v.AsString()
	if f.unit {
		err = units.WithUnit(text, such)
	}
	return text, err
}

// allowed checks a text that may have some values only.
func (f *Field) allowed(got any, hidden bool) error {
	text, ok := got.(string)
	if !ok || len(f.OneOf) == 0 || slices.Contains(f.OneOf, text) || StandsIn(text) {
		return nil
	}
	all := strings.Join(f.OneOf, ", ")
	if hidden {
		return fmt.Errorf("its value, which is not shown, is none of %s", all)
	}
	lower := strings.ToLower(text)
	hint := nearest(lower, f.OneOf)
	if value, ok := f.like[lower]; ok {
		hint = fmt.Sprintf("%s = %q", f.local(), value)
	}
	return hintedError{fmt.Sprintf("%s is %q, and can be %s", f.local(), text, all), hint}
}

// hintedError is a mistake in a value, which says itself of which setting.
type hintedError struct{ msg, hint string }

func (e hintedError) Error() string { return e.msg }

// Hint is what to write in its place, if that is known.
func (e hintedError) Hint() string { return e.hint }

// text makes a string. Unless strict, a number will do.
func (r reading) text(v cty.Value, strict bool) (string, error) {
	got, err := known(v, cty.String)
	var unknown unknownError
	switch {
	case errors.As(err, &unknown) && r.placeholders:
		return unknown.placeholder(), nil
	case err != nil:
		return "", err
	}
	if t := v.Type(); t != cty.String && (strict || t != cty.Number) {
		return "", fmt.Errorf("this must be a string, and is %s", an(t.FriendlyName()))
	}
	if isSecret(v) && r.redact {
		return Redacted, nil
	}
	return got.AsString(), nil
}

func isList(v cty.Value) bool {
	t := v.Type()
	return t.IsListType() || t.IsTupleType() || t.IsSetType()
}

// texts makes a list of strings.
func (r reading) texts(v cty.Value) ([]string, error) {
	if t := v.Type(); !isList(v) && t != cty.DynamicPseudoType {
		return nil, hintedError{"this must be a list of strings, and is " + an(t.FriendlyName()), `a list is written ["...", "..."]`}
	}
	inner, marks := v.Unmark()
	if inner.IsNull() {
		return nil, errors.New("it is null")
	}
	if !inner.IsKnown() {
		text, err := r.text(cty.UnknownVal(cty.String).WithMarks(marks), true)
		return []string{text}, err
	}
	list := make([]string, 0, inner.LengthInt())
	for _, e := range inner.AsValueSlice() {
		text, err := r.text(e.WithMarks(marks), false)
		if err != nil && e.IsKnown() && e.IsNull() {
			err = errors.New("an element is null")
		}
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, nil
}

// openNames are headers of a request that hold no secret, whatever sets them.
var openNames = []string{"accept", "content-type", "user-agent"}

// pairs makes names with values. secret says that the values of all are, but of
// openNames.
func (r reading) pairs(v cty.Value, secret bool) (Pairs, error) {
	inner, marks := v.Unmark()
	t := inner.Type()
	switch {
	case t == cty.DynamicPseudoType && !inner.IsKnown():
		text, err := r.text(cty.UnknownVal(cty.String).WithMarks(marks), true)
		return Pairs{{text, text}}, err
	case !t.IsObjectType() && !t.IsMapType():
		return nil, hintedError{"this must be an object of strings, and is " + an(t.FriendlyName()), `an object is written { "NAME" = "VALUE" }`}
	case inner.IsNull():
		return nil, errors.New("it is null")
	}
	var list Pairs
	for it := inner.ElementIterator(); it.Next(); {
		key, e := it.Element()
		name := key.AsString()
		open := r
		if secret && slices.Contains(openNames, strings.ToLower(name)) {
			open.redact = false
		} else if !isSecret(e) {
			e = e.WithMarks(marks)
		}
		text, err := open.text(e, false)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, Pair{name, text})
	}
	return list, nil
}

// words makes a list of words, or several.
func (r reading) words(v cty.Value) (Words, error) {
	inner, marks := v.Unmark()
	if isList(v) && inner.IsKnown() && !inner.IsNull() && inner.LengthInt() > 0 {
		if first := inner.AsValueSlice()[0]; isList(first) {
			w := Words{Nested: true}
			for _, e := range inner.AsValueSlice() {
				list, err := r.texts(e.WithMarks(marks))
				if err != nil {
					return Words{}, err
				}
				w.Lists = append(w.Lists, list)
			}
			return w, nil
		}
	}
	list, err := r.texts(v)
	return Words{Lists: [][]string{list}}, err
}

// data makes JSON of any value. What is secret in it is redacted by itself.
func (r reading) data(v cty.Value) (Data, error) {
	v, err := cty.Transform(v, func(_ cty.Path, e cty.Value) (cty.Value, error) {
		inner, marks := e.Unmark()
		_, hidden := marks[secret]
		switch {
		case !inner.IsKnown() && r.placeholders:
			return cty.StringVal(unknownError{programOf(marks)}.placeholder()), nil
		case !inner.IsKnown():
			return inner, unknownError{programOf(marks)}
		case hidden && r.redact && inner.Type().IsPrimitiveType():
			return cty.StringVal(Redacted), nil
		}
		return inner, nil
	})
	var unknown unknownError
	if errors.As(err, &unknown) {
		return "", unknown
	}
	if err != nil {
		return "", err
	}
	b, err := ctyjson.Marshal(v, v.Type())
	return Data(b), err
}

func wholeNumber(v cty.Value) (int, error) {
	text, err := numeral(v)
	if err != nil {
		return 0, err
	}
	return units.ParseCount(text)
}

func seed(v cty.Value) (rng.Streams, error) {
	text, err := numeral(v)
	if err != nil {
		return rng.Streams{}, err
	}
	return rng.ParseStreams(text)
}

// numeral is the text of a number, written as a number or as a string.
func numeral(v cty.Value) (string, error) {
	if inner, _ := v.UnmarkDeep(); inner.Type() == cty.String && inner.IsWhollyKnown() && !inner.IsNull() {
		return inner.AsString(), nil
	}
	v, err := known(v, cty.Number)
	if err != nil {
		return "", err
	}
	n := v.AsBigFloat()
	if n.IsInt() && n.MantExp(nil) < 64 {
		return n.Text('f', 0), nil
	}
	return n.Text('g', -1), nil
}

// known returns a value without its marks, as the type that is wanted.
func known(v cty.Value, want cty.Type) (cty.Value, error) {
	v, marks := v.UnmarkDeep()
	if !v.IsWhollyKnown() {
		return v, unknownError{programOf(marks)}
	}
	if v.IsNull() {
		return v, errors.New("it is null")
	}
	got, err := convert.Convert(v, want)
	if err != nil {
		return v, fmt.Errorf("this must be %s, and is %s", wanted[want], an(v.Type().FriendlyName()))
	}
	return got, nil
}

var wanted = map[cty.Type]string{cty.String: "a string", cty.Number: "a whole number", cty.Bool: "true or false"}

// an puts the article before the name of a type.
func an(name string) string {
	switch {
	case name == "true or false":
		return name
	case strings.ContainsRune("aeiou", rune(name[0])):
		return "an " + name
	}
	return "a " + name
}

func isSecret(v cty.Value) bool {
	_, marks := v.UnmarkDeep()
	_, ok := marks[secret]
	return ok
}

func programOf(marks cty.ValueMarks) string {
	var all []string
	for m := range marks {
		if p, ok := m.(notRun); ok {
			all = append(all, string(p))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
